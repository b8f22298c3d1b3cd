"""
The publication: which tables the server sends.

A publication that an administrator has made (`publication` of the parameters, or one named `fustor`) is used as it is. Else the
driver makes one of its own and keeps it in line with the wanted tables. Only tables that can be read are put in: publishing
the updates of a table without a replica identity would make the server refuse those updates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fustor_core.errors import ConfigError, PermissionMissing
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import INSUFFICIENT_PRIVILEGE
from fustor_source_postgres.history import TableName
from fustor_source_postgres.schema import FULL, Column, Table, named, quoted

COMMON_NAME: Final = "fustor"
_WITH_COLUMN_LISTS: Final = 150_000


@dataclass(frozen=True, slots=True)
class Publication:
    """
    A publication that is there.

    Attributes:
        is_own: The driver made it, and may change it.
        tables: Schema and name of what it holds, and the columns (None where the server is too old to choose columns).
    """

    name: str
    is_own: bool
    tables: Mapping[TableName, frozenset[str] | None]

    def missing(self, tables: Sequence[Table]) -> list[Table]:
        """
        Return the readable tables that it does not hold.
        """
        return [one for one in tables if one.why_not is None and one.place not in self.tables]


def find(control: Control, name: str, *, is_own: bool) -> Publication | None:
    """
    Look a publication up.
    """
    if not control.query(f"SELECT 1 FROM pg_publication WHERE pubname = {quoted(name)}"):
        return None
    # Names as an array of JSON: they may hold anything.
    columns = "to_json(attnames)" if control.version >= _WITH_COLUMN_LISTS else "NULL"
    rows = control.query(
        f"SELECT schemaname, tablename, {columns} FROM pg_publication_tables WHERE pubname = {quoted(name)}"
    )
    tables = {
        (str(schema), str(table)): None if names is None else frozenset(json.loads(names))
        for schema, table, names in rows
    }
    return Publication(name, is_own, tables)


def choose(control: Control, given: str | None, own: str) -> Publication | None:
    """
    Return the publication to use, where it is there: the given one, else the common one, else the driver's own.

    Raises:
        ConfigError: The given one is not there.
    """
    if given is not None:
        found = find(control, given, is_own=False)
        if found is None:
            raise ConfigError(
                f"{control.server.address} has no publication {given!r}",
                hint=f"let an administrator run: CREATE PUBLICATION {named(given)} FOR TABLE ...; or leave `publication` out",
            )
        return found
    return find(control, COMMON_NAME, is_own=False) or find(control, own, is_own=True)


def ensure(
    control: Control,
    given: str | None,
    own: str,
    tables: Sequence[Table],
    *,
    before: Callable[[Collection[TableName]], None],
) -> Publication:
    """
    Return the publication to use; the driver's own is made, and brought in line with the tables.

    Args:
        before: Told of the tables that it holds, or is to hold, before it does.

    Raises:
        ConfigError: The given one is not there.
        PermissionMissing: It has to be made and may not be; with the SQL.
    """
    found = choose(control, given, own)
    readable = [table.place for table in tables if table.why_not is None]
    if found is not None and not found.is_own:
        before([place for place in readable if place in found.tables])
        return found
    before(readable)
    listed = _listed(tables, with_columns=control.version >= _WITH_COLUMN_LISTS)
    if found is not None and _fits(found, tables):
        return found
    if found is None:
        what = f" FOR TABLE {listed}" if listed else ""
        _change(control, own, tables, f"CREATE PUBLICATION {named(own)}{what} WITH (publish_via_partition_root = true)")
    elif listed:
        _change(control, own, tables, f"ALTER PUBLICATION {named(own)} SET TABLE {listed}")
    elif found.tables:
        held = ", ".join(named(*one) for one in sorted(found.tables))
        _change(control, own, tables, f"ALTER PUBLICATION {named(own)} DROP TABLE {held}")
    made = find(control, own, is_own=True)
    if made is None:
        raise ConfigError(f"the publication {own!r} went away while it was looked at", hint="start the sync again")
    return made


def _fits(found: Publication, tables: Sequence[Table]) -> bool:
    """
    Tell whether a publication holds just these tables and columns.
    """
    wanted = {table.place: table for table in tables if table.why_not is None}
    if set(wanted) != set(found.tables):
        return False
    return all(
        columns is None or columns == {column.name for column in _published_columns(wanted[place])}
        for place, columns in found.tables.items()
    )


def _published_columns(table: Table) -> Sequence[Column]:
    everything = [column for column in table.columns if not column.is_generated]
    return everything if table.identity == FULL else table.sent


def _change(control: Control, name: str, tables: Sequence[Table], sql: str) -> None:
    try:
        control.query(sql, f"making the publication {name!r}")
    except PermissionMissing as exc:
        raise PermissionMissing(
            f"{control.server.user!r} may not make the publication {name!r}: {exc.message}",
            hint=f"let the owner of the tables run: {create_sql(tables)}",
            context={**exc.context, "sqlstate": INSUFFICIENT_PRIVILEGE},
        ) from None


def create_sql(tables: Sequence[Table], name: str = COMMON_NAME) -> str:
    """
    Return the SQL with which an administrator makes a publication for these tables.
    """
    listed = _listed(tables, with_columns=False)
    what = f" FOR TABLE {listed}" if listed else ""
    return f"CREATE PUBLICATION {named(name)}{what} WITH (publish_via_partition_root = true);"


def add_sql(name: str, tables: Sequence[Table]) -> str:
    """
    Return the SQL with which an administrator adds tables to a publication.
    """
    return f"ALTER PUBLICATION {named(name)} ADD TABLE {_listed(tables, with_columns=False)};"


def _listed(tables: Sequence[Table], *, with_columns: bool) -> str:
    return ", ".join(_one(table, with_columns=with_columns) for table in tables if table.why_not is None)


def _one(table: Table, *, with_columns: bool) -> str:
    only = "" if table.is_partitioned else "ONLY "
    name = named(table.schema, table.name)
    columns = _published_columns(table)
    if with_columns and len(columns) < sum(not column.is_generated for column in table.columns):
        return f"{only}{name} ({', '.join(named(column.name) for column in columns)})"
    return f"{only}{name}"


def drop(control: Control, name: str) -> None:
    """
    Drop a publication, if it is there.
    """
    control.query(f"DROP PUBLICATION IF EXISTS {named(name)}", f"dropping the publication {name!r}")
