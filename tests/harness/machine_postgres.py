"""
PostgreSQL for the state machine; see `machine_databases`.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import psycopg

from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER
from harness.machine_databases import (
    LARGE,
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


class PostgresMachine:
    """
    PostgreSQL.
    """

    server: PostgresServer
    errors = psycopg.Error
    ddl_in_transactions = True
    kinds: ClassVar[dict[str, Kind]] = {
        "dec": Kind("NUMERIC(20,6)", ("-99999999999999.999999", "0", "0.000001", "'NaN'", "NULL")),
        "ubig": Kind("NUMERIC(20)", ("18446744073709551615", "0", "9007199254740993", "NULL")),
        "big": Kind("BIGINT", ("-9223372036854775808", "9007199254740993", "0", "NULL")),
        "dt": Kind(
            "TIMESTAMP", ("'2024-05-01 01:02:03.000001'", "'9999-12-31 23:59:59'", "'0001-01-01 00:00:00.5'", "NULL")
        ),
        "ts": Kind("TIMESTAMPTZ", ("'2024-05-01 09:02:03.45+08'", "'1970-01-01 00:00:00+00'", "NULL")),
        "d": Kind("DATE", ("'0001-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL")),
        "t": Kind("TIME", ("'24:00:00'", "'00:00'", "'12:34:56.789'", "NULL")),
        "iv": Kind("INTERVAL", ("'1 year 2 months 3 days 04:05:06.7'", "'-1 day'", "'0'", "NULL")),
        "js": Kind("JSONB", ('\'{"b": 1.50,   "a": [null, "中\U0001f600"]}\'', "'[]'", "'null'", "NULL")),
        "by": Kind("BYTEA", ("'\\x00ff5c27'", "''", "decode(repeat('fe', 300), 'hex')", "NULL")),
        "bo": Kind("BOOLEAN", ("TRUE", "FALSE", "NULL")),
        "bi": Kind("VARBIT", ("B'1000000001'", "B''", "NULL")),
        "en": Kind("public.mood", ("'sad'", "'it''s, \"odd\"'", "NULL")),
        "uu": Kind("UUID", ("'123e4567-e89b-12d3-a456-426614174000'", "NULL")),
        "ia": Kind("INTEGER[]", ("'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'", "NULL")),
        "ta": Kind("TEXT[]", ("ARRAY['a', NULL, 'NULL', 'q\"uo', 'com,ma', '', '\U0001f600']", "'{}'", "NULL")),
        "tx": Kind("TEXT", TEXTS),
        "fl": Kind("DOUBLE PRECISION", ("1.1", "-1.7976931348623157e308", "5e-324", "1", "NULL")),
        "v": Kind("VARCHAR(100)", TEXTS, wider=("tx",)),
        "lob": Kind("BYTEA", ("''", "decode(repeat('00ff', 30000), 'hex')", "decode(repeat('61', 150000), 'hex')")),
        "ltext": Kind("TEXT", ("''", "repeat('\U0001f600', 12000)", "repeat('x', 150000)", "NULL")),
        "added_int": Kind("INT", ("1", "-2147483648", "NULL"), "7", ("added_big", "added_char")),
        "added_big": Kind("BIGINT", ("9223372036854775807", "-1", "NULL"), wider=("added_char",)),
        "added_char": Kind("VARCHAR(80)", TEXTS, wider=("tx",)),
        "added_text": Kind("VARCHAR(40)", TEXTS, "'new \U0001f600'", ("added_char", "tx")),
        "added_dec": Kind("NUMERIC(10,2)", ("1.25", "-99999999.99", "NULL"), "1.50", ("dec", "added_char")),
    }
    wide = (
        "dec",
        "ubig",
        "big",
        "dt",
        "ts",
        "d",
        "t",
        "iv",
        "js",
        "by",
        "bo",
        "bi",
        "en",
        "uu",
        "ia",
        "ta",
        "tx",
        "fl",
    )

    def start(self) -> None:
        """
        Make the server and start it.
        """
        self.server = PostgresServer.start_new({"lock_timeout": "20s", "deadlock_timeout": "200ms"})
        self.server.sql("CREATE TYPE mood AS ENUM ('sad', 'it''s, \"odd\"')")

    def source(self) -> dict[str, Any]:
        return {"driver": "postgres", "uri": self.server.uri()}

    def connect(self) -> Any:
        options = "-c timezone=UTC -c intervalstyle=iso_8601"
        return psycopg.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=USER,
            password=PASSWORD,
            dbname="shop",
            autocommit=True,
            options=options,
        )

    def execute(self, connection: Any, sql: str) -> str:
        connection.execute(sql)
        return ""

    def make_schema(self, schema: str) -> str:
        return f"CREATE SCHEMA {schema}"

    def drop_schema(self, schema: str) -> str:
        return f"DROP SCHEMA {schema} CASCADE"

    def create(self, schema: str, table: Table) -> str:
        key = {"id": "BIGINT", "a": 'TEXT COLLATE "und-x-icu"', "b": "INT"}
        columns = [f"{name} {key[name]}" for name in table.key]
        columns += [f"{name} {self.kinds[kind].declared}" for name, kind in table.columns.items()]
        made = f"CREATE TABLE {schema}.{table.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(table.key)}))"
        # Not compressed, so that they are kept apart and updates leave them out of the log.
        apart = [f"ALTER COLUMN {name} SET STORAGE EXTERNAL" for name, kind in table.columns.items() if kind in LARGE]
        return f"{made}; ALTER TABLE {schema}.{table.name} {', '.join(apart)}" if apart else made

    def insert(self, schema: str, table: Table, rows: list[dict[str, str]], how: str) -> str:
        if how == "insert" or not table.columns:
            return f"{insert_rows(schema, table, rows)} ON CONFLICT DO NOTHING"
        # "replace" changes one column only: the large values stay, and the log does not repeat them.
        names = list(table.columns)[-1:] if how == "replace" else list(table.columns)
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
        return f"{insert_rows(schema, table, rows)} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"

    def move(self, schema: str, table: Table, old: Sequence[str], new: Sequence[str]) -> str:
        changes = ", ".join(f"{name} = {value}" for name, value in zip(table.key, new, strict=True))
        taken = f"EXISTS (SELECT FROM {schema}.{table.name} WHERE {where_in(table, [new])})"
        return f"UPDATE {schema}.{table.name} SET {changes} WHERE {where_in(table, [old])} AND NOT {taken}"

    def retype(self, schema: str, table: Table, column: str, kind: str) -> str:
        return f"ALTER TABLE {schema}.{table.name} ALTER COLUMN {column} TYPE {self.kinds[kind].declared}"

    def rename_table(self, schema: str, old: str, new: str) -> str:
        return f"ALTER TABLE {schema}.{old} RENAME TO {new}"

    def rewrite(self, place: str) -> str:
        return f"VACUUM FULL {place}"

    def position(self, v: int) -> str:
        return ""

    def read_all(self) -> Held:
        held: Held = {}
        with contextlib.closing(self.connect()) as connection:
            columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for schema, name, column, kind in connection.execute(
                "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a"
                " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname LIKE 'e%\\_' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
            ).fetchall():
                columns[f"{schema}.{name}"].append((column, kind))
            for table, found in columns.items():
                wanted = ", ".join(column if kind in _AS_IT_IS else f"{column}::text" for column, kind in found)
                rows = Counter(
                    canonical(
                        {
                            column: None if value is None else _POSTGRES.get(kind, str)(value)
                            for (column, kind), value in zip(found, row, strict=True)
                        }
                    )
                    for row in connection.execute(f"SELECT {wanted} FROM {table}").fetchall()
                )
                if rows:
                    held[table] = rows
        return held


_AS_IT_IS = {"integer[]", "text[]", "bytea"}
_POSTGRES: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "bigint": int,
    "double precision": float,
    "boolean": lambda value: value == "true",
    "timestamp without time zone": as_naive,
    "timestamp with time zone": lambda value: as_zoned(value.removesuffix("+00")),
    "bytea": as_base64,
    "integer[]": list,
    "text[]": list,
}
