"""
Tables as the catalog describes them now: columns with their types, what identifies a row, and why a table can't be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from fustor_core.selection import Selection
from fustor_source_postgres.connection import Rows
from fustor_source_postgres.values import ValueType, simple_type, type_of_row

Query = Callable[[str], Rows]

DEFAULT, FULL, INDEX, NOTHING = "d", "f", "i", "n"

_TABLES: Final = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, pg_relation_filenode(c.oid),
  (SELECT string_agg(i.inhrelid::text || ':' || coalesce(pg_relation_filenode(i.inhrelid), 0), ',' ORDER BY i.inhrelid)
     FROM pg_partition_tree(c.oid) t JOIN pg_inherits i ON i.inhrelid = t.relid WHERE c.relkind = 'p'),
  (SELECT string_agg(format('%I.%I', ln.nspname, l.relname), ' and ' ORDER BY 1) FROM pg_partition_tree(c.oid) t
     JOIN pg_class l ON l.oid = t.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
   WHERE c.relkind = 'p' AND t.isleaf AND l.relreplident <> 'f')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_temp'
ORDER BY 2, 3
"""
_ESTIMATES: Final = """
SELECT n.nspname, c.relname, sum(greatest(p.reltuples, pg_stat_get_live_tuples(p.oid), 0))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class p ON p.relkind = 'r' AND (p.oid = c.oid OR c.relkind = 'p' AND p.oid IN (SELECT relid FROM pg_partition_tree(c.oid)))
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_temp'
GROUP BY 1, 2
"""
_COLUMNS: Final = """
SELECT attrelid, attnum, attname, atttypid, atttypmod, attnotnull, attgenerated <> ''
FROM pg_attribute WHERE attrelid IN ({oids}) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum
"""
_KEYS: Final = """
SELECT i.indrelid, c.relname, i.indisprimary, i.indisreplident,
  (SELECT string_agg(k.attnum::text, ',' ORDER BY k.at)
     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at) WHERE k.at <= i.indnkeyatts)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid IN ({oids}) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_TYPES: Final = """
SELECT t.oid, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, t.typbasetype, coalesce(e.typdelim, ','),
  (SELECT string_agg(enumlabel, E'\\x01' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem WHERE t.oid IN ({oids})
"""


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column. `is_wanted` says whether it leaves the source.
    """

    number: int
    name: str
    oid: int
    type: ValueType
    not_null: bool
    is_generated: bool
    is_wanted: bool


@dataclass(frozen=True)
class Table:
    """
    One table.

    Attributes:
        key: What identifies a row; empty when nothing does. It can be read all the same when the log holds whole old rows.
        identity: The replica identity: what the log tells of a row's old state.
        why_not: Why it can't be read, and what mends that; None when it can.
        state: Changes when rows may have changed without being told one by one: columns, types, a rewritten file, partitions.
    """

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    identity: str
    why_not: tuple[str, str] | None
    state: str = field(compare=False, default="")

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
        The columns that leave the source. Generated ones do not: the log has no values of them.
        """
        return tuple(c for c in self.columns if (c.is_wanted or c.name in self.key) and not c.is_generated)

    @property
    def full_name(self) -> str:
        """
        Schema and name, for people.
        """
        return f"{self.schema}.{self.name}"


class Types:
    """
    Knows the types of values by their numbers; asks the catalog for those that are not the server's own.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._known: dict[int, ValueType] = {}

    def forget(self) -> None:
        """
        Forget what was asked: an enum may have got a label.
        """
        self._known.clear()

    def of(self, oid: int) -> ValueType:
        """
        Return a type; text for one that is gone.
        """
        self.learn([oid])
        return self._known[oid]

    def learn(self, oids: Iterable[int]) -> None:
        """
        Ask for several types at once.
        """
        unknown = set()
        for oid in oids:
            if oid not in self._known:
                simple = simple_type(oid)
                if simple is None:
                    unknown.add(oid)
                else:
                    self._known[oid] = simple
        if not unknown:
            return
        rows = {int(row[0] or 0): row for row in self._query(_TYPES.format(oids=",".join(map(str, sorted(unknown)))))}
        parts = [int(row[at] or 0) for row in rows.values() for at in (2, 3)]
        self.learn(oid for oid in parts if oid and oid not in unknown)
        for oid in unknown:
            row = rows.get(oid)
            if row is None:
                self._known[oid] = ValueType("text")
                continue
            element, base = int(row[2] or 0), int(row[3] or 0)
            if (element in unknown and element not in self._known) or (base in unknown and base not in self._known):
                continue
            self._known[oid] = self._made(oid, row, element, base)
        for oid in unknown - set(self._known):  # those that are made of others in this very list
            row = rows[oid]
            self._known[oid] = self._made(oid, row, int(row[2] or 0), int(row[3] or 0))

    def _made(self, oid: int, row: tuple[str | None, ...], element: int, base: int) -> ValueType:
        labels = (row[5] or "").split("\x01") if row[1] == "e" else ()
        return type_of_row(oid, row[1] or "b", self._known.get(element), self._known.get(base), row[4] or ",", labels)


def read_tables(query: Query, selection: Selection, types: Types, only: tuple[str, str] | None = None) -> list[Table]:
    """
    Describe every wanted table, by name; also those that can't be read. Of `only` one when its schema and name are given.
    """
    found = [
        row
        for row in query(_TABLES)
        if only in (None, (str(row[1]), str(row[2]))) and selection.table(str(row[1]), str(row[2]))
    ]
    if not found:
        return []
    oids = ",".join(str(row[0]) for row in found)
    columns: dict[int, list[tuple[str | None, ...]]] = {}
    for row in query(_COLUMNS.format(oids=oids)):
        columns.setdefault(int(row[0] or 0), []).append(row)
    types.learn({int(row[3] or 0) for rows in columns.values() for row in rows})
    indexes: dict[int, list[tuple[str | None, ...]]] = {}
    for row in query(_KEYS.format(oids=oids)):
        indexes.setdefault(int(row[0] or 0), []).append(row)
    return [
        _table(row, columns.get(int(row[0] or 0), []), indexes.get(int(row[0] or 0), []), selection, types)
        for row in found
    ]


def estimated_rows(query: Query, selection: Selection) -> dict[tuple[str, str], int]:
    """
    Return about how many rows each wanted table has, as the server's statistics have it: what was counted when it was analyzed last, or
    what was written since.
    """
    return {
        (str(schema), str(table)): int(float(rows or 0))
        for schema, table, rows in query(_ESTIMATES)
        if selection.table(str(schema), str(table))
    }


def may_leave_values_out(query: Query, schema: str, table: str) -> bool:
    """
    Tell whether an update of a table may be logged without values that did not change: those that are kept apart for their size.
    """
    oid = f"{quoted(named(schema, table))}::regclass"
    ((found,),) = query(
        f"SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND attstorage <> 'p')"
        " AND EXISTS (SELECT FROM pg_class WHERE relkind = 'r' AND relreplident <> 'f'"
        f" AND (oid = {oid} OR oid IN (SELECT relid FROM pg_partition_tree({oid}))))"
    )
    return found == "t"


def _table(
    row: tuple[str | None, ...],
    columns: list[tuple[str | None, ...]],
    indexes: list[tuple[str | None, ...]],
    selection: Selection,
    types: Types,
) -> Table:
    schema, name, identity = str(row[1]), str(row[2]), str(row[5])
    made = tuple(
        Column(
            int(number or 0),
            str(column),
            int(oid or 0),
            types.of(int(oid or 0)),
            not_null == "t",
            generated == "t",
            selection.column(schema, name, str(column)) and generated != "t",
        )
        for _, number, column, oid, _, not_null, generated in columns
    )
    key = _key(made, indexes, identity)
    state = repr((row, [(c, types.of(int(c[3] or 0))) for c in columns], key))
    return Table(
        int(row[0] or 0),
        schema,
        name,
        row[3] == "p",
        made,
        key,
        identity,
        _why_not(f'"{schema}"."{name}"', str(row[4]), identity, key, row[8]),
        hashlib.sha256(state.encode()).hexdigest()[:16],
    )


def _key(columns: tuple[Column, ...], indexes: list[tuple[str | None, ...]], identity: str) -> tuple[str, ...]:
    """
    Return what identifies a row: what the log tells of old rows must hold it.
    """
    by_number = {column.number: column for column in columns}
    fitting = []
    for _, name, primary, replica, numbers in indexes:
        parts = [by_number.get(int(number)) for number in (numbers or "").split(",") if number]
        names = tuple(part.name for part in parts if part is not None and part.not_null and not part.is_generated)
        if not names or len(names) != len(parts):
            continue
        if (identity == INDEX and replica == "t") or (identity == DEFAULT and primary == "t"):
            return names
        if identity == FULL:
            fitting.append((primary != "t", len(names), str(name), names))
    return min(fitting)[3] if fitting else ()


def _why_not(
    name: str, persistence: str, identity: str, key: tuple[str, ...], parts: str | None
) -> tuple[str, str] | None:
    if persistence == "u":
        return "it is UNLOGGED: its changes are not in the log", f"ALTER TABLE {name} SET LOGGED;"
    if identity == NOTHING:
        return (
            "its replica identity is NOTHING: the log does not tell which row changed",
            f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;",
        )
    if not key and identity != FULL:
        return (
            "nothing identifies its rows: it has no primary key, and the log does not hold whole old rows",
            f"ALTER TABLE {name} ADD PRIMARY KEY (...); or REPLICA IDENTITY USING INDEX a unique index without NULLs;"
            " or REPLICA IDENTITY FULL, for a consumer that counts copies (Fusion)",
        )
    if not key and parts:
        return (
            f"it has no primary key, and the log does not hold whole old rows of its partitions {parts}",
            f"ALTER TABLE {parts.split(' and ')[0]} REPLICA IDENTITY FULL; and so for each",
        )
    return None


def quoted(text: str) -> str:
    """
    Return a text literal (with standard_conforming_strings).
    """
    return "'" + text.replace("'", "''") + "'"


def named(*names: str) -> str:
    """
    Return a quoted identifier: schema and table, or a column.
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def columns_of(table: Table, required: Iterable[str] | None) -> list[Column]:
    """
    Return the columns that are sent when only some are required: those and the key.
    """
    wanted = None if required is None else set(required)
    return [c for c in table.sent if wanted is None or c.name in wanted or c.name in table.key]


def json_types(columns: Iterable[Column]) -> dict[str, Any]:
    """
    Return the `columns` of events.
    """
    return {column.name: column.type.json_type for column in columns}
