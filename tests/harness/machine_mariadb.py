"""
MariaDB and MySQL for the state machine; see `machine_databases`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pymysql

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.private_server import PASSWORD, USER
from harness.machine_databases import (
    TEXTS,
    Held,
    Kind,
    Table,
    as_base64,
    as_naive,
    as_zoned,
    canonical,
    insert_rows,
    where_in,
)


class MariaDbMachine:
    """
    MariaDB.
    """

    server: BinlogServer
    server_class: ClassVar[type[BinlogServer]] = MariaDbServer
    isolation: ClassVar[str] = "tx_isolation"
    errors = pymysql.err.Error
    ddl_in_transactions = False
    kinds: ClassVar[dict[str, Kind]] = {
        "dec": Kind("DECIMAL(20,6)", ("-99999999999999.999999", "0", "0.000001", "1.5", "NULL")),
        "ubig": Kind("BIGINT UNSIGNED", ("18446744073709551615", "0", "9007199254740993", "NULL")),
        "dt": Kind(
            "DATETIME(6)", ("'2024-05-01 01:02:03.000001'", "'9999-12-31 23:59:59'", "'1000-01-01 00:00:00.5'", "NULL")
        ),
        "ts": Kind("TIMESTAMP(3) NULL", ("'2024-05-01 09:02:03.45'", "'1970-01-02 00:00:00'", "NULL")),
        "d": Kind("DATE", ("'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL")),
        "t": Kind("TIME(3)", ("'-838:59:59'", "'-00:00:00.001'", "'12:34:56.789'", "NULL")),
        "js": Kind("JSON", ('\'{"a":  [1, null, "中\U0001f600"]}\'', "'[]'", "'null'", "NULL")),
        "by": Kind("VARBINARY(300)", ("0x00FF5C27", "''", "REPEAT(0xFE, 300)", "NULL")),
        "bo": Kind("BOOLEAN", ("TRUE", "FALSE", "NULL")),
        "bi": Kind("BIT(10)", ("b'1000000001'", "b'0'", "NULL")),
        "en": Kind("ENUM('x','y','中''s')", ("'x'", "'y'", "'中''s'", "NULL")),
        "se": Kind("SET('a','b','c')", ("'c,a'", "''", "'b'", "NULL")),
        "uu": Kind(
            "UUID",
            ("'123e4567-e89b-12d3-a456-426614174000'", "'018f4e2a-7b3c-7def-8123-456789abcdef'", "NULL"),
        ),
        "tx": Kind("VARCHAR(300)", TEXTS),
        "fl": Kind("DOUBLE", ("1.1", "-1.7976931348623157e308", "5e-324", "1", "NULL")),
        "v": Kind("VARCHAR(100)", TEXTS, wider=("text",)),
        "text": Kind("MEDIUMTEXT", TEXTS),
        "lob": Kind("LONGBLOB", ("''", "REPEAT(0x00FF, 30000)", "REPEAT('abc', 60000)", "'small'")),
        "ltext": Kind("LONGTEXT", ("''", "REPEAT('\U0001f600', 12000)", "REPEAT('x', 150000)", "NULL")),
        "added_int": Kind("INT", ("1", "-2147483648", "NULL"), "7", ("added_big", "added_char")),
        "added_big": Kind("BIGINT", ("9223372036854775807", "-1", "NULL"), wider=("added_char",)),
        "added_char": Kind("VARCHAR(80)", TEXTS, wider=("text",)),
        "added_text": Kind("VARCHAR(40)", TEXTS, "'new \U0001f600'", ("added_char", "text")),
        "added_dec": Kind("DECIMAL(10,2)", ("1.25", "-99999999.99", "NULL"), "1.50", ("dec", "added_char")),
    }
    wide: ClassVar[tuple[str, ...]] = (
        "dec",
        "ubig",
        "dt",
        "ts",
        "d",
        "t",
        "js",
        "by",
        "bo",
        "bi",
        "en",
        "se",
        "uu",
        "tx",
        "fl",
    )

    def start(self) -> None:
        """
        Make the server and start it.
        """
        self.server = self.server_class.start_new(
            {
                "innodb-lock-wait-timeout": "1",
                "lock-wait-timeout": "20",
                "innodb-flush-log-at-trx-commit": "1",
                "sync-binlog": "1",
            }
        )

    def source(self) -> dict[str, Any]:
        return {"driver": "mysql", "uri": self.server.uri()}

    def connect(self) -> Any:
        made = pymysql.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=USER,
            password=PASSWORD,
            charset="utf8mb4",
            conv={},
            autocommit=True,
        )
        with made.cursor() as cursor:
            cursor.execute(f"SET SESSION {self.isolation} = 'READ-COMMITTED', SESSION time_zone = '+00:00'")
        return made

    def execute(self, connection: Any, sql: str) -> str:
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
            except pymysql.err.OperationalError as exc:
                if exc.args[0] in {1205, 1213}:  # the optimizer may read rows of others: a wait too long, a deadlock
                    return "statement" if exc.args[0] == 1205 else "transaction"
                raise
        return ""

    def make_schema(self, schema: str) -> str:
        return f"CREATE DATABASE {schema}"

    def drop_schema(self, schema: str) -> str:
        return f"DROP DATABASE {schema}"

    def create(self, schema: str, table: Table) -> str:
        key = {"id": "BIGINT", "a": "VARCHAR(10) COLLATE utf8mb4_general_ci", "b": "INT"}
        columns = [f"{name} {key[name]} NOT NULL" for name in table.key]
        columns += [f"{name} {self.kinds[kind].declared}" for name, kind in table.columns.items()]
        return f"CREATE TABLE {schema}.{table.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(table.key)}))"

    def insert(self, schema: str, table: Table, rows: list[dict[str, str]], how: str) -> str:
        if how == "replace":
            return insert_rows(schema, table, rows, "REPLACE")
        if how == "upsert" and table.columns:
            changes = ", ".join(f"{name} = VALUES({name})" for name in table.columns)
            return f"{insert_rows(schema, table, rows)} ON DUPLICATE KEY UPDATE {changes}"
        return insert_rows(schema, table, rows, "INSERT IGNORE")

    def move(self, schema: str, table: Table, old: Sequence[str], new: Sequence[str]) -> str:
        changes = ", ".join(f"{name} = {value}" for name, value in zip(table.key, new, strict=True))
        return f"UPDATE IGNORE {schema}.{table.name} SET {changes} WHERE {where_in(table, [old])}"

    def retype(self, schema: str, table: Table, column: str, kind: str) -> str:
        return f"ALTER TABLE {schema}.{table.name} MODIFY {column} {self.kinds[kind].declared}"

    def rename_table(self, schema: str, old: str, new: str) -> str:
        return f"RENAME TABLE {schema}.{old} TO {schema}.{new}"

    def rewrite(self, place: str) -> str:
        return f"ALTER TABLE {place} FORCE"

    def position(self, v: int) -> str:
        return " FIRST" if v % 3 == 0 else ""

    def read_all(self) -> Held:
        held: Held = {}
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
            cursor.execute(
                "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema LIKE 'e%\\_' ORDER BY ordinal_position"
            )
            for schema, name, column, kind in cursor.fetchall():
                columns[f"{schema}.{name}"].append((column, kind))
            for table, found in columns.items():
                cursor.execute(f"SELECT {', '.join(column for column, _ in found)} FROM {table}")
                rows = Counter(
                    canonical(
                        {
                            column: None if value is None else _MARIADB.get(kind, str)(value)
                            for (column, kind), value in zip(found, row, strict=True)
                        }
                    )
                    for row in cursor.fetchall()
                )
                if rows:
                    held[table] = rows
        return held


class MysqlMachine(MariaDbMachine):
    """
    MySQL, half of whose connections write compressed transactions.
    """

    server_class = MysqlServer
    isolation = "transaction_isolation"
    wide = tuple(kind for kind in MariaDbMachine.wide if kind != "uu")

    def __init__(self) -> None:
        self._connections = itertools.count()

    def connect(self) -> Any:
        made = super().connect()
        with made.cursor() as cursor:
            cursor.execute(f"SET SESSION binlog_transaction_compression = {next(self._connections) % 2}")
        return made


_MARIADB: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "bigint": int,
    "tinyint": int,
    "double": float,
    "datetime": as_naive,
    "timestamp": as_zoned,
    "bit": lambda value: int.from_bytes(value, "big"),
    "varbinary": as_base64,
    "longblob": as_base64,
    "set": lambda value: value.split(",") if value else [],
}
