"""
Tables as the server describes them now: columns with their declared types, and what identifies a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from fustor_core.selection import Selection

Query = Callable[[str], Sequence[tuple[Any, ...]]]

_LABEL: Final = re.compile(r"'((?:[^']|'')*)'")
_INTEGERS: Final = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_TEXTS: Final = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BYTES: Final = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
IMPLICIT: Final = ("row_start", "row_end")
"""
The columns of a system-versioned table that names none of its own; nobody sees them but the log.
"""
_SHAPES: Final = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
}  # fmt: skip


def json_type(kind: str, labels: Sequence[str] = ()) -> dict[str, Any]:
    """
    Return the `columns` entry of a kind of column; see docs/reference/types-mysql.md.
    """
    entry: dict[str, Any]
    if kind in ("int", "bit", "year"):
        entry = {"type": "integer"}
    elif kind == "float":
        entry = {"type": "number"}
    elif kind in ("bytes", "shape"):
        entry = {"type": "string", "contentEncoding": "base64"}
    elif kind == "vector":
        entry = {"type": "array", "items": {"type": "number"}}
    elif kind == "set":
        entry = {"type": "array", "items": {"type": "string", "enum": list(labels)}}
    elif kind == "enum":
        entry = {"type": "string", "enum": ["", *labels]}
    elif kind == "json":
        entry = {"type": "string", "contentMediaType": "application/json"}
    else:
        formats = {
            "decimal": "decimal",
            "date": "date",
            "time": "mysql-time",
            "datetime": "local-date-time",
            "timestamp": "date-time",
            "uuid": "uuid",
            "inet6": "ipv6",
            "inet4": "ipv4",
        }
        entry = {"type": "string"}
        if kind in formats:
            entry["format"] = formats[kind]
    return entry


def kind_of(data_type: str, column_type: str) -> str:
    """
    Return the kind of a declared type: how its values are read and travel.
    """
    name = data_type.lower()
    if name in _INTEGERS:
        return "int"
    if name in ("float", "double"):
        return "float"
    if name in _TEXTS:
        return "text"
    if name in _BYTES:
        return "bytes"
    if name in _SHAPES:
        return "shape"
    if name in ("decimal", "date", "time", "datetime", "timestamp", "year", "bit", "enum", "set", "json", "vector"):
        return name
    if name in ("uuid", "inet6", "inet4"):
        return name
    return f"unsupported {column_type}"


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        kind: See `kind_of`.
        labels: Of an enum or a set, in their order.
        is_wanted: Whether it leaves the source.
    """

    name: str
    kind: str
    data_type: str
    column_type: str
    unsigned: bool
    charset: str | None
    octets: int | None
    fraction: int
    labels: tuple[str, ...]
    is_wanted: bool

    @property
    def json_type(self) -> dict[str, Any]:
        """
        Return its `columns` entry.
        """
        return json_type(self.kind, self.labels)


@dataclass(frozen=True)
class Table:
    """
    One table. `key` is empty when nothing identifies a row; `engine` is its storage engine; `row_end` is the column that tells until when
    a row was true, of a system-versioned table (see `versions`): it is no part of the key, and is perhaps none of `columns`.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    engine: str = "InnoDB"
    row_end: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """
        Schema and name.
        """
        return self.schema, self.name

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """
        Columns by name.
        """
        return {column.name: column for column in self.columns}

    @cached_property
    def sent(self) -> tuple[Column, ...]:
        """
        The columns that leave the source.
        """
        return tuple(column for column in self.columns if column.is_wanted or column.name in self.key)


class Catalog:
    """
    Describes tables, and remembers what it said until told to forget.

    Args:
        query: Runs a query at the server.
        wanted: Which tables and columns.
    """

    def __init__(self, query: Query, wanted: Selection) -> None:
        self._query = query
        self._wanted = wanted
        self._tables: dict[tuple[str, str], Table | None] = {}

    def forget(self) -> None:
        """
        Forget every table: a statement may have changed it.
        """
        self._tables.clear()

    def table(self, schema: str, name: str) -> Table | None:
        """
        Describe one table as it is now; None when there is none.
        """
        known = (schema, name)
        if known not in self._tables:
            found = read_tables(self._query, self._wanted, schema, name)
            self._tables[known] = found[0] if found else None
        return self._tables[known]

    def tables(self) -> list[Table]:
        """
        Describe every wanted table, by name.
        """
        found = read_tables(self._query, self._wanted)
        self._tables = {(table.schema, table.name): table for table in found}
        return found


def read_tables(query: Query, wanted: Selection, schema: str | None = None, name: str | None = None) -> list[Table]:
    """
    Read descriptions from information_schema, of one table or of all that are wanted.
    """
    if schema is not None:
        return _read_schema(query, wanted, schema, f" AND TABLE_NAME = {quoted(name or '')}")
    schemas = [str(row[0]) for row in query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")]
    return [table for one in schemas if wanted.schema(one) for table in _read_schema(query, wanted, one, "")]


def estimated_rows(query: Query, wanted: Selection) -> dict[tuple[str, str], int]:
    """
    Return about how many rows each wanted table has, as the server's statistics have it.
    """
    schemas = [str(row[0]) for row in query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]
    return {
        (str(schema), str(table)): int(rows)
        for one in schemas
        if wanted.schema(one)
        for schema, table, rows in query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {quoted(one)} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        )
        if rows is not None and wanted.table(schema, table)
    }


def _read_schema(query: Query, wanted: Selection, schema: str, narrowed: str) -> list[Table]:
    # Always of one schema: without that the server opens every table and view it has, its own too.
    where = f"TABLE_SCHEMA = {quoted(schema)}{narrowed}"
    base = query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES"
        f" WHERE {where} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
    )
    there = {(s, t): str(engine) for s, t, engine, _ in base if wanted.table(s, t)}
    if not there:
        return []
    row_ends = {(s, t): IMPLICIT[1] for s, t, _, kind in base if kind == "SYSTEM VERSIONED"}
    columns: dict[tuple[str, str], list[Column]] = {known: [] for known in there}
    for s, t, column, data_type, column_type, charset, octets, fraction, made_by in query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH,"
        " DATETIME_PRECISION, GENERATION_EXPRESSION FROM information_schema.COLUMNS"
        f" WHERE {where} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
    ):
        if (s, t) not in columns:
            continue
        if (s, t) in row_ends and made_by == "ROW END":
            row_ends[s, t] = column
        labels: tuple[str, ...] = ()
        if data_type in ("enum", "set"):
            labels = tuple(label.replace("''", "'") for label in _LABEL.findall(column_type))
        kind = kind_of(data_type, column_type)
        columns[s, t].append(
            Column(
                column,
                kind,
                data_type.lower(),
                column_type.lower(),
                "unsigned" in column_type.lower() or "zerofill" in column_type.lower(),
                charset,
                octets,
                int(fraction or 0),
                labels,
                wanted.column(s, t, column) and not kind.startswith("unsupported"),
            )
        )
    keys = _keys(query, where)
    return [
        Table(
            *place,
            tuple(columns[place]),
            tuple(name for name in keys.get(place, ()) if name != row_ends.get(place)),
            engine,
            row_ends.get(place),
        )
        for place, engine in sorted(there.items())
    ]


def _keys(query: Query, where: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """
    Find what identifies a row: the primary key, else the first unique index (by size, then by name) whose columns are never NULL.
    """
    indexes: dict[tuple[str, str], dict[str, list[tuple[str, bool]]]] = {}
    for schema, table, index, column, nullable, part in query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, NULLABLE, SUB_PART FROM information_schema.STATISTICS"
        f" WHERE NON_UNIQUE = 0 AND {where} ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    ):
        usable = nullable != "YES" and part is None and column is not None
        indexes.setdefault((schema, table), {}).setdefault(index, []).append((column, usable))
    keys = {}
    for known, found in indexes.items():
        fitting = [
            (index != "PRIMARY", len(parts), index, tuple(column for column, _ in parts))
            for index, parts in found.items()
            if all(usable for _, usable in parts)
        ]
        if fitting:
            keys[known] = min(fitting)[3]
    return keys


def quoted(text: str) -> str:
    """
    Return a text literal (in a session with NO_BACKSLASH_ESCAPES).
    """
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """
    Return a quoted identifier.
    """
    return "`" + name.replace("`", "``") + "`"
