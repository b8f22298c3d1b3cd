"""
The conformance kit against a real MariaDB.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fustor_core.models.config import PasswdCredential, SourceConfig
from fustor_core.testing.mariadb_server import PASSWORD, USER, MariaDbServer
from fustor_core.testing.source_contract import SourceConformance
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.config import parse_address, parse_params
from fustor_source_mysql.connection import Server

_numbers = itertools.count(1)


class TableBench:
    """
    Rows of one table with a key of two columns.
    """

    def __init__(self, server: MariaDbServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.database = f"kit{next(_numbers)}"
        credential = PasswdCredential(user=USER, passwd=PASSWORD)
        self._connection = Server(parse_address(server.uri()), credential, parse_params({})).connect()
        self.run(f"CREATE DATABASE {self.database}")
        self.run(
            f"CREATE TABLE {self.database}.items (a VARCHAR(20), n INT, name VARCHAR(50), amount DECIMAL(10,2),"
            " at DATETIME(3), PRIMARY KEY (a, n))"
        )

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def make_driver(self) -> MysqlDriver:
        config = SourceConfig(
            driver="mysql",
            uri=self._server.uri(self.database),
            credential=PasswdCredential(user=USER, passwd=PASSWORD),
            driver_params={"state_dir": str(self._folder), "rows_at_once": 8},
        )
        return MysqlDriver("kit", config)

    def write(self, n: int, version: int) -> None:
        self.run(
            f"REPLACE INTO {self.database}.items VALUES ('k{n % 3}', {n}, 'v{version}', {version}.5, '2024-01-02 03:04:05.{version % 1000:03}')"
        )

    def delete(self, n: int) -> None:
        self.run(f"DELETE FROM {self.database}.items WHERE n = {n}")

    def rows(self) -> dict[Hashable, Mapping[str, Any]]:
        return {
            (a, n): {"name": name, "amount": str(amount)}
            for a, n, name, amount, _ in self.run(f"SELECT * FROM {self.database}.items")
        }

    def lose_position(self) -> bool:
        self.run("FLUSH BINARY LOGS")
        ((last, *_),) = self.run("SHOW MASTER STATUS")
        deadline = time.monotonic() + 20
        while len(self.run("SHOW BINARY LOGS")) > 1:
            # The server keeps a log as long as it has not noticed that its reader went away.
            assert time.monotonic() < deadline
            self.run(f"PURGE BINARY LOGS TO '{last}'")
            time.sleep(0.02)
        return True

    def close(self) -> None:
        self.run(f"DROP DATABASE {self.database}")
        self._connection.close()


class TestMariaDb(SourceConformance):
    """
    The kit.
    """

    @pytest.fixture
    def bench(self, server: MariaDbServer, tmp_path: Path) -> Iterator[TableBench]:
        bench = TableBench(server, tmp_path)
        yield bench
        bench.close()
