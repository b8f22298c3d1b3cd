"""
Foreign keys whose actions the log does not tell.

InnoDB itself deletes rows of a child table, changes them and sets them to NULL (ON DELETE and ON UPDATE CASCADE, SET NULL), and only the
change of the parent's row is in the binary log: of MariaDB, of MySQL before 9.6, and of a later one with `innodb_native_foreign_keys = ON`
(https://dev.mysql.com/doc/refman/9.6/en/innodb-parameters.html). So whoever sees such a change of a parent knows that rows of its
children, and of theirs, may have changed untold; which ones, nobody says.

Keys are read as they are now, while the log may tell of before. A child whose key was dropped or changed since is met again in the log: by
that statement, which has the table read once more in any case.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from fustor_core.errors import ConfigError, FustorError
from fustor_core.selection import Selection
from fustor_source_mysql.changes import UPDATES, bitmaps
from fustor_source_mysql.control import Control
from fustor_source_mysql.faults import is_of_statement
from fustor_source_mysql.schema import Table, named, quoted, read_tables
from fustor_source_mysql.tablemap import TableMap
from fustor_source_mysql.tables import RowsOf

Place = tuple[str, str]

UNCHECKED: Final = 0x02
"""
Flag of an event with rows: foreign keys were not looked at (`foreign_key_checks = 0`), so nothing cascades.
"""
_NAME: Final = "`(?:[^`]|``)+`"
_NAMES: Final = rf"{_NAME}(?:, ?{_NAME})*"
_KEY: Final = re.compile(
    rf"^\s*CONSTRAINT {_NAME} FOREIGN KEY \((?P<columns>{_NAMES})\) REFERENCES (?P<parent>{_NAME}(?:\.{_NAME})?)"
    rf" \((?P<referenced>{_NAMES})\)(?: ON DELETE (?P<on_delete>CASCADE|SET NULL|[A-Z ]+?))?"
    r"(?: ON UPDATE (?P<on_update>CASCADE|SET NULL|[A-Z ]+?))?,?$",
    re.MULTILINE,
)
_ACTS: Final = ("CASCADE", "SET NULL")
_ANYTHING: Final = Selection((), (), ())


class ForeignKey(NamedTuple):
    """
    A foreign key that does something to its child's rows. Names of columns are in small letters.
    """

    child: Place
    columns: frozenset[str]
    referenced: frozenset[str]
    on_delete: str
    on_update: str


class Parent:
    """
    A table whose rows others refer to.

    Args:
        cascades: Knows the keys.
        place: Schema and name.
        by_delete: The wanted tables of which rows may change when rows of it are deleted.
        changes: Tells which of the columns that matter an event changes; None when no change of a column matters.
    """

    def __init__(
        self, cascades: Cascades, place: Place, by_delete: set[Place], changes: _ChangedColumns | None
    ) -> None:
        self.place = place
        self._cascades = cascades
        self._by_delete = by_delete
        self._changes = changes

    def children(self, b: bytes, p: int, end: int, kind: int) -> set[Place]:
        """
        Return the wanted tables of which rows may have changed by an event's rows.

        Args:
            b: The event, which updates or deletes rows; its body is `b[p:end]`.
            kind: Its type.
        """
        if kind not in UPDATES:
            return self._by_delete
        if self._changes is None:
            return set()
        changed = self._changes.of(b, p, end, kind)
        found = self._cascades.follow(self.place, changed) if changed else set()
        if self._changes.row_end in changed:  # a system-versioned row is deleted by an update
            found |= self._by_delete
        return found


class Cascades:
    """
    The foreign keys of a server.

    Args:
        control: Asks the server.
        wanted: Which tables are wanted. Chains are followed through tables of its schemas that are not.
    """

    def __init__(self, control: Control, wanted: Selection) -> None:
        self._control = control
        self._wanted = wanted
        self._are_logged: bool | None = None
        self._referring: dict[Place, set[Place]] | None = None
        self._keys: dict[Place, list[tuple[Place, ForeignKey]]] = {}

    def forget(self) -> None:
        """
        Forget every key: a statement may have changed it.
        """
        self._referring = None
        self._keys.clear()

    def parent(self, found: TableMap) -> Parent | None:
        """
        Return what is to be seen of a table's changes; None when they do nothing to a wanted one.

        Raises:
            FustorError: The server can't be asked.
        """
        place = found.schema, found.table
        keys = self._of(place)
        if not keys:
            return None
        changing = [key for key in keys if key.on_update in _ACTS]
        columns = frozenset(name for key in changing for name in key.referenced)
        by_delete = self.follow(place, None)
        if not (by_delete or self.follow(place, columns)):
            return None
        # Of a table that is not wanted, too.
        declared = read_tables(self._control.query, _ANYTHING, *place)
        there = declared[0] if declared else None
        if there is not None and there.row_end is not None:
            columns |= {there.row_end.lower()}
        changes = _ChangedColumns(self._control, found, there, columns) if columns else None
        return Parent(self, place, by_delete, changes)

    def follow(self, place: Place, changed: frozenset[str] | None) -> set[Place]:
        """
        Return the wanted tables of which rows may change.

        Args:
            place: The table whose rows change.
            changed: Which of its columns change; None = rows are deleted.

        Raises:
            FustorError: The server can't be asked.
        """
        steps = {(place, changed)}
        todo = list(steps)
        reached: set[Place] = set()
        while todo:
            at, columns = todo.pop()
            for key in self._of(at):
                rule = key.on_delete if columns is None else key.on_update if key.referenced & columns else ""
                if rule not in _ACTS:
                    continue
                reached.add(key.child)
                step = (key.child, None if columns is None and rule == "CASCADE" else key.columns)
                if step not in steps:
                    steps.add(step)
                    todo.append(step)
        return {table for table in reached if self._wanted.table(*table)}

    def _of(self, parent: Place) -> list[ForeignKey]:
        if self._are_logged is None:
            self._are_logged = (self._control.variable("innodb_native_foreign_keys") or "ON").upper() == "OFF"
        if self._are_logged:
            return []
        if self._referring is None:
            self._referring = self._read_referring()
        keys: list[ForeignKey] = []
        for child in sorted(self._referring.get(parent, ())):
            if child not in self._keys:
                self._keys[child] = self._read_keys(child)
            keys += [key for of, key in self._keys[child] if of == parent]
        return keys

    def _read_referring(self) -> dict[Place, set[Place]]:
        query = self._control.query
        referring: dict[Place, set[Place]] = {}
        for (schema,) in query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"):
            if not self._wanted.schema(schema):
                continue
            for table, parent_schema, parent in query(
                "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME"
                f" FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = {quoted(schema)}"
                " AND REFERENCED_TABLE_NAME IS NOT NULL"
            ):
                referring.setdefault((str(parent_schema), str(parent)), set()).add((str(schema), str(table)))
        return referring

    def _read_keys(self, child: Place) -> list[tuple[Place, ForeignKey]]:
        # Not from REFERENTIAL_CONSTRAINTS: of MariaDB it is empty for an account that may only read.
        schema, table = child
        try:
            ((_, text),) = self._control.query(f"SHOW CREATE TABLE {named(schema)}.{named(table)}")
        except FustorError as exc:
            if not is_of_statement(exc):
                raise
            return []  # it has gone meanwhile, which the log tells
        return read_keys(str(text), child)


def problem(child: Place, parent: Place) -> dict[str, str]:
    """
    Say what is the matter with a table whose rows a change of its parent may have changed: `where`, `what` and a `hint`.
    """
    return {
        "where": ".".join(child),
        "what": f"a foreign key changes its rows when those of {'.'.join(parent)} change, which the server does not log:"
        " the table is read again now and then",
        "hint": "this is right, and costs reading; if it is read too often, let the application delete and change the rows itself,"
        " or use MySQL 9.6 or newer, which logs them",
    }


def read_keys(text: str, child: Place) -> list[tuple[Place, ForeignKey]]:
    """
    Return the foreign keys that act on a table's rows, each behind its parent.

    Args:
        text: What SHOW CREATE TABLE says.
        child: The table.
    """
    keys = []
    for found in _KEY.finditer(text):
        on_delete, on_update = found["on_delete"] or "", found["on_update"] or ""
        if on_delete in _ACTS or on_update in _ACTS:
            parent = _names(found["parent"])
            keys.append(
                (
                    (parent[0], parent[1]) if len(parent) > 1 else (child[0], parent[0]),
                    ForeignKey(child, _columns(found["columns"]), _columns(found["referenced"]), on_delete, on_update),
                )
            )
    return keys


def _names(text: str) -> list[str]:
    return [name[1:-1].replace("``", "`") for name in re.findall(_NAME, text)]


def _columns(text: str) -> frozenset[str]:
    return frozenset(name.lower() for name in _names(text))


class _ChangedColumns:
    """
    Tells which of some columns the updates of an event change.
    """

    def __init__(self, control: Control, found: TableMap, there: Table | None, columns: Collection[str]) -> None:
        self._columns = frozenset(columns)
        self.row_end = (there.row_end or "").lower() if there is not None else ""
        self._rows: RowsOf | None
        try:
            names = [name for name in found.names or (there.by_name if there else ()) if name.lower() in self._columns]
            self._rows = RowsOf(found, there, control.charset_of, _ANYTHING, names)
        except ConfigError:
            self._rows = None  # the log does not name the columns, and the table has changed since

    def of(self, b: bytes, p: int, end: int, kind: int) -> frozenset[str]:
        if self._rows is None:
            return self._columns
        p, size = bitmaps(b, p, kind)
        before, after = self._rows.images(b[p : p + size]), self._rows.images(b[p + size : p + 2 * size])
        p += 2 * size
        looked_at = [(name.lower(), before.at.get(name), at) for name, at in after.at.items()]
        looked_at = [one for one in looked_at if one[0] in self._columns]
        changed: set[str] = set()
        while p < end:
            old, p = before.read(b, p)
            new, p = after.read(b, p)
            changed.update(name for name, was, now in looked_at if was is None or old[was] != new[now])
        return frozenset(changed)
