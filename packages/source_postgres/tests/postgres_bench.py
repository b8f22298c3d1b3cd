"""
What the tests of this package share: a database of their own, and a driver whose stream is walked in a thread.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from fustor_core.models.config import PasswdCredential, SourceConfig
from fustor_core.models.event import UntoldMark
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER
from fustor_core.testing.source_contract import Stream
from fustor_source_postgres import PostgresDriver

_numbers = itertools.count(1)


class Database:
    """
    One database on a server.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.name = f"db{next(_numbers)}"
        server.sql(f"CREATE DATABASE {self.name}")
        self.admin = self.connect()
        self.streams: list[Stream] = []
        self.drivers: list[PostgresDriver] = []

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=USER,
            password=PASSWORD,
            dbname=self.name,
            autocommit=True,
            **more,
        )

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = self.admin.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return rows

    def again(self) -> None:
        """
        Connect anew, after the server was restarted.
        """
        self.admin.close()
        self.admin = self.connect()

    def driver(
        self, name: str | None = None, *, user: str = USER, password: str = PASSWORD, **params: Any
    ) -> PostgresDriver:
        made = PostgresDriver(
            name or self.name,
            SourceConfig(
                driver="postgres",
                uri=self.server.uri(self.name),
                credential=PasswdCredential(user=user, passwd=password),
                driver_params={"state_dir": str(self.folder), **params},
            ),
        )
        self.drivers.append(made)
        return made

    def stream(self, driver: PostgresDriver, position: int = -1) -> Stream:
        made = Stream(driver, position)
        self.streams.append(made)
        return made

    def end(self, stream: Stream, driver: PostgresDriver) -> None:
        """
        Close a stream and its driver, so that another driver can read the slot.
        """
        stream.close()
        self.streams.remove(stream)
        close(driver)

    def drop_slots(self) -> None:
        """
        Drop every slot of the database; the server takes a moment to notice that a reader went away.
        """
        deadline = time.monotonic() + 20
        while self.run("SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND active"):
            assert time.monotonic() < deadline, "a slot is still being read"
            time.sleep(0.02)
        self.run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )

    def slots(self) -> list[str]:
        return [
            str(name)
            for (name,) in self.run("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
        ]

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        for driver in self.drivers:
            close(driver)
        self.again()
        self.drop_slots()
        self.admin.close()
        self.server.sql(f"DROP DATABASE {self.name} WITH (FORCE)")


class Holding:
    """
    A server that writes a commit to its log and shows it to others only when told: it waits for a standby that is not there.
    """

    def __init__(self, server: PostgresServer, database: Database) -> None:
        self.server = server
        self.writer = database.connect()
        self.thread: threading.Thread | None = None

    def on(self) -> None:
        self.server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while self.server.sql("SHOW synchronous_standby_names").strip() != "nobody":
            assert time.monotonic() < deadline

    def write(self, statement: str) -> None:
        self.thread = threading.Thread(target=self.writer.execute, args=(statement,))
        self.thread.start()

    def off(self) -> None:
        self.server.sql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
        if self.thread is not None:
            self.thread.join(20)
            assert not self.thread.is_alive()
        self.writer.close()


def close(driver: PostgresDriver) -> None:
    """
    Close a driver, also from within a running event loop.
    """
    thread = threading.Thread(target=lambda: asyncio.run(driver.close()))
    thread.start()
    thread.join()


def marks_of(stream: Stream) -> list[UntoldMark]:
    return [event for event in stream.events if isinstance(event, UntoldMark)]


def until_marked(stream: Stream, *tables: str) -> UntoldMark:
    """
    Wait for marks of these tables; return the newest.
    """
    stream.until(lambda: set(tables) <= {mark.table for mark in marks_of(stream)})
    return marks_of(stream)[-1]
