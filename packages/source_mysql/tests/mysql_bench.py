"""
What the tests of this package share: a database of their own, and a driver whose stream is walked in a thread.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from fustor_core.models.config import PasswdCredential, SourceConfig
from fustor_core.models.event import UntoldMark
from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.private_server import PASSWORD, USER
from fustor_core.testing.source_contract import Stream, settle
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.config import parse_address, parse_params
from fustor_source_mysql.connection import Server

SERVERS: dict[str, type[BinlogServer]] = {"mariadb": MariaDbServer, "mysql": MysqlServer}
only_mariadb = pytest.mark.parametrize("server", ["mariadb"], indirect=True)
only_mysql = pytest.mark.parametrize("server", ["mysql"], indirect=True)

_numbers = itertools.count(1)
_NUMBERS = r"(WITH RECURSIVE s (seq) AS (SELECT CAST(\1 AS SIGNED) UNION ALL SELECT seq + 1 FROM s WHERE seq < \2) SELECT seq FROM s) AS s"


class Database:
    """
    One database on a server.
    """

    def __init__(self, server: BinlogServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.name = f"db{next(_numbers)}"
        self.admin = self.connect()
        self.run(f"CREATE DATABASE {self.name}")
        self.run(f"USE {self.name}")
        self.streams: list[Stream] = []

    def connect(self) -> Any:
        credential = PasswdCredential(user=USER, passwd=PASSWORD)
        connection = Server(parse_address(self.server.uri()), credential, parse_params({})).connect()
        if self.is_mysql:
            with connection.cursor() as cursor:
                cursor.execute("SET cte_max_recursion_depth = 100000")
        return connection

    @property
    def is_mysql(self) -> bool:
        return isinstance(self.server, MysqlServer)

    def own(self, statement: str) -> str:
        """
        Return a statement of MariaDB in the words of this server; MySQL has no tables of numbers (`seq_1_to_10`).
        """
        if not self.is_mysql:
            return statement
        if statement == "RESET MASTER":
            return "RESET BINARY LOGS AND GTIDS"
        if statement == "SHOW MASTER STATUS":
            return "SHOW BINARY LOG STATUS"
        return re.sub(r"\bseq_(\d+)_to_(\d+)\b", _NUMBERS, statement)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self.admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(self.own(statement))
                rows = list(cursor.fetchall())
        return rows

    def again(self) -> None:
        """
        Connect anew, after the server was restarted.
        """
        self.admin = self.connect()
        self.run(f"USE {self.name}")

    def driver(
        self, *, user: str = USER, password: str = PASSWORD, everywhere: bool = False, **params: Any
    ) -> MysqlDriver:
        return MysqlDriver(
            "test",
            SourceConfig(
                driver="mysql",
                uri=self.server.uri("" if everywhere else self.name),
                credential=PasswdCredential(user=user, passwd=password),
                driver_params={"state_dir": str(self.folder), **params},
            ),
        )

    def stream(self, driver: MysqlDriver, position: int = -1) -> Stream:
        made = Stream(driver, position)
        self.streams.append(made)
        return made

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        self.again()
        self.run(f"DROP DATABASE {self.name}")
        self.admin.close()


def marks(stream: Stream, driver: MysqlDriver) -> list[str]:
    """
    Return the tables that the stream has called untold by now.
    """
    settle(stream, driver)
    return [event.table for event in stream.events if isinstance(event, UntoldMark)]
