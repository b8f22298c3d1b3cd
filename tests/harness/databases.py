"""
Databases for tests that work on them at random: how each is started, written to, and read for comparison.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import psycopg
import pymysql

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER, PrivateServer

Rows = Counter[tuple[tuple[str, Any], ...]]


class Work(Protocol):
    """
    One kind of database.

    Attributes:
        server: Private to the test.
        schema: That the tables are in.
        tables: Their names.
        keyless: Those without a key, whose rows are there several times.
        passing: Errors of a killed server, a deadlock, a key that is there already: what was not committed is gone.
    """

    server: PrivateServer
    schema: ClassVar[str]
    tables: ClassVar[Mapping[str, str]]
    keyless: ClassVar[frozenset[str]]
    passing: ClassVar[tuple[type[Exception], ...]]

    def prepare(self) -> None:
        """
        Make the tables.
        """
        ...

    def source(self) -> dict[str, Any]:
        """
        Return driver and address for the configuration of a source.
        """
        ...

    def connect(self) -> Any:
        """
        Connect; raises one of `passing` while the server is down.
        """
        ...

    def change(self, cursor: Any, chance: random.Random) -> None:
        """
        Change a table itself: truncate, add or drop a column.
        """
        ...

    def statement(self, chance: random.Random) -> str:
        """
        Return a statement that changes rows.
        """
        ...

    def read(self, table: str) -> Rows:
        """
        Read a table.
        """
        ...


class MariaDbWork:
    """
    MariaDB.
    """

    schema = "work"
    tables: ClassVar[Mapping[str, str]] = {
        "plain": "id INT PRIMARY KEY, v VARCHAR(40), n DECIMAL(20,6)",
        "composed": "a VARCHAR(10) COLLATE utf8mb4_general_ci, b INT, v VARCHAR(40), PRIMARY KEY (a, b)",
        "bag": "a INT, b VARCHAR(40), KEY (a)",
    }
    keyless = frozenset({"bag"})
    passing = (pymysql.err.OperationalError, pymysql.err.IntegrityError, pymysql.err.InterfaceError)

    server_class: ClassVar[type[BinlogServer]] = MariaDbServer

    def __init__(self) -> None:
        self.server = self.server_class.start_new(
            {"innodb-lock-wait-timeout": "2", "innodb-flush-log-at-trx-commit": "1", "sync-binlog": "1"}
        )

    def prepare(self) -> None:
        made = "; ".join(f"CREATE TABLE {name} ({columns})" for name, columns in self.tables.items())
        self.server.sql(f"CREATE DATABASE {self.schema}; USE {self.schema}; {made}")

    def source(self) -> dict[str, Any]:
        return {"driver": "mysql", "uri": self.server.uri(self.schema)}

    def connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, database=self.schema
        )

    def change(self, cursor: Any, chance: random.Random) -> None:
        if chance.random() < 0.5:
            cursor.execute(f"TRUNCATE TABLE {chance.choice(list(self.tables))}")
            return
        with contextlib.suppress(pymysql.err.OperationalError, pymysql.err.ProgrammingError):
            change = chance.choice(
                (
                    "plain ADD COLUMN extra INT DEFAULT 7",
                    "plain DROP COLUMN extra",
                    "plain MODIFY v VARCHAR(60)",
                    "bag ADD COLUMN extra INT DEFAULT 7",
                    "bag DROP COLUMN extra",
                )
            )
            cursor.execute(f"ALTER TABLE {change}")

    def statement(self, chance: random.Random) -> str:
        n, m, word = chance.randrange(300), chance.randrange(300), f"v{chance.randrange(10**6)}"
        letter = chance.choice("aBcDe")
        return chance.choice(
            (
                f"REPLACE INTO plain (id, v, n) VALUES ({n}, '{word}', {n}/7)",
                f"INSERT INTO plain (id, v, n) VALUES ({n}, '{word}', 1) ON DUPLICATE KEY UPDATE v = '{word}', n = n + 1",
                f"UPDATE plain SET v = '{word}' WHERE id BETWEEN {n} AND {n + 20}",
                f"UPDATE IGNORE plain SET id = {m} WHERE id = {n}",
                f"DELETE FROM plain WHERE id = {n}",
                f"REPLACE INTO composed VALUES ('{letter}{n}', {m % 5}, '{word}')",
                f"UPDATE IGNORE composed SET a = UPPER(a), b = {m % 5} WHERE a = '{letter}{n}'",
                f"DELETE FROM composed WHERE a < '{letter}' LIMIT 3",
                f"INSERT INTO bag (a, b) VALUES ({n % 7}, '{letter}'), ({n % 7}, '{letter}'), ({m % 7}, NULL)",
                f"DELETE FROM bag WHERE a = {n % 7} LIMIT {m % 5}",
                f"UPDATE bag SET a = {m % 7} WHERE a = {n % 7} LIMIT {m % 4}",
                f"UPDATE bag SET b = '{letter}' WHERE a = {n % 7} AND b IS NULL",
            )
        )

    def read(self, table: str) -> Rows:
        with self.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return Counter(map(comparable, cursor.fetchall()))


class MysqlWork(MariaDbWork):
    """
    MySQL, half of whose transactions are compressed.
    """

    server_class = MysqlServer

    def __init__(self) -> None:
        super().__init__()
        self._connections = itertools.count()

    def connect(self) -> Any:
        connection = super().connect()
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION binlog_transaction_compression = %s", (next(self._connections) % 2,))
        return connection


class PostgresWork:
    """
    PostgreSQL; one table has values so large that updates leave them out of the log.
    """

    schema = "public"
    tables: ClassVar[Mapping[str, str]] = {
        "plain": "id INT PRIMARY KEY, v TEXT, n NUMERIC(20,6)",
        "composed": 'a TEXT COLLATE "und-x-icu", b INT, v TEXT, PRIMARY KEY (a, b)',
        "large": "id INT PRIMARY KEY, big TEXT, v TEXT",
        "bag": "a INT, b TEXT",
    }
    keyless = frozenset({"bag"})
    passing = (psycopg.OperationalError, psycopg.IntegrityError, psycopg.InterfaceError)

    def __init__(self) -> None:
        self.server = PostgresServer.start_new({"lock_timeout": "2s", "deadlock_timeout": "100ms"})

    def prepare(self) -> None:
        self.server.sql("; ".join(f"CREATE TABLE {name} ({columns})" for name, columns in self.tables.items()))
        self.server.sql(
            "ALTER TABLE large ALTER COLUMN big SET STORAGE EXTERNAL; ALTER TABLE bag REPLICA IDENTITY FULL"
        )

    def source(self) -> dict[str, Any]:
        return {"driver": "postgres", "uri": self.server.uri()}

    def connect(self) -> Any:
        return psycopg.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, dbname="shop", autocommit=True
        )

    def change(self, cursor: Any, chance: random.Random) -> None:
        if chance.random() < 0.5:
            cursor.execute(f"TRUNCATE TABLE {chance.choice(list(self.tables))}")
            return
        with contextlib.suppress(psycopg.ProgrammingError):
            change = chance.choice(
                (
                    "plain ADD COLUMN extra INT DEFAULT 7",
                    "plain DROP COLUMN extra",
                    "plain ALTER COLUMN v TYPE VARCHAR(60) USING v || 'x'",
                    "bag ADD COLUMN extra INT DEFAULT 7",
                    "bag DROP COLUMN extra",
                )
            )
            cursor.execute(f"ALTER TABLE {change}")

    def statement(self, chance: random.Random) -> str:
        n, m, word = chance.randrange(300), chance.randrange(300), f"v{chance.randrange(10**6)}"
        letter = chance.choice("aBcDe")
        some = "ctid = ANY(ARRAY(SELECT ctid FROM bag WHERE a = {0} LIMIT {1}))"
        moved = "NOT EXISTS (SELECT 1 FROM {0} x WHERE x.id = {1})"
        return chance.choice(
            (
                f"INSERT INTO plain (id, v, n) VALUES ({n}, '{word}', {n}/7.0) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v",
                f"UPDATE plain SET v = '{word}', n = n + 1 WHERE id BETWEEN {n} AND {n + 20}",
                f"UPDATE plain SET id = {m} WHERE id = {n} AND {moved.format('plain', m)}",
                f"DELETE FROM plain WHERE id = {n}",
                f"INSERT INTO composed VALUES ('{letter}{n}', {m % 5}, '{word}') ON CONFLICT (a, b) DO UPDATE SET v = EXCLUDED.v",
                f"UPDATE composed SET a = a || '{letter}' WHERE a = '{letter}{n}'",
                f"DELETE FROM composed WHERE a < '{letter}' AND b = {m % 5}",
                f"INSERT INTO large VALUES ({n % 40}, repeat('{word}', 1500), 'a') ON CONFLICT (id) DO UPDATE SET v = '{word}'",
                f"UPDATE large SET v = '{word}' WHERE id = {n % 40}",
                f"UPDATE large SET id = {m % 40} WHERE id = {n % 40} AND {moved.format('large', m % 40)}",
                f"INSERT INTO bag (a, b) VALUES ({n % 7}, '{letter}'), ({n % 7}, '{letter}'), ({m % 7}, NULL)",
                f"DELETE FROM bag WHERE {some.format(n % 7, m % 5)}",
                f"UPDATE bag SET a = {m % 7} WHERE {some.format(n % 7, m % 4)}",
                f"UPDATE bag SET b = '{letter}' WHERE a = {n % 7} AND b IS NULL",
            )
        )

    def read(self, table: str) -> Rows:
        with self.connect() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return Counter(map(comparable, cursor.execute(f"SELECT * FROM {table}").fetchall()))


def comparable(row: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """
    Return a row in a form that the client's and Fusion's share.
    """
    return tuple(sorted((name, None if value is None else str(value)) for name, value in row.items()))


class Writer(threading.Thread):
    """
    Writes at random until told to stop; connects again when the server was killed.
    """

    def __init__(self, work: Work, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._chance = random.Random(seed)
        self._stop_asked = stop
        self.done = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """
        Write.
        """
        while not self._stop_asked.is_set():
            try:
                connection = self._work.connect()
            except self._work.passing:
                self._stop_asked.wait(0.05)  # the server is down
                continue
            try:
                with connection.cursor() as cursor:
                    while not self._stop_asked.is_set():
                        self._transaction(cursor)
            except self._work.passing:
                continue
            except BaseException as exc:
                self.error = exc
                raise
            finally:
                with contextlib.suppress(*self._work.passing, pymysql.err.Error):
                    connection.close()

    def _transaction(self, cursor: Any) -> None:
        chance, work = self._chance, self._work
        if chance.random() < 0.02:
            work.change(cursor, chance)
            return
        cursor.execute("BEGIN")
        for _ in range(chance.randint(1, 5)):
            if chance.random() < 0.1:
                cursor.execute("SAVEPOINT s")
                cursor.execute(work.statement(chance))
                cursor.execute("ROLLBACK TO SAVEPOINT s")
            else:
                cursor.execute(work.statement(chance))
        cursor.execute("ROLLBACK" if chance.random() < 0.15 else "COMMIT")
        self.done += 1
