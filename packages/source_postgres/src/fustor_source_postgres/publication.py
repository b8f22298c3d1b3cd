"""
The publication: which tables the server sends.

A publication that an administrator has made (`publication` of the parameters, or one named `fustor`) is used as it is. Else the
driver makes one of its own and keeps it in line with the wanted tables. Only tables that can be read are put in: publishing
the updates of a table without a replica identity would make the server refuse those updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fustor_core.errors import ConfigError, PermissionMissing
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import INSUFFICIENT_PRIVILEGE
from fustor_source_postgres.schema import FULL, Table, named, quoted

COMMON_NAME: Final = "fustor"
_WITH_COLUMN_LISTS: Final = 150_000


@dataclass(frozen=True, slots=True)
class Publication:
    """
    A publication that is there.

    Attributes:
        is_own: The driver made it, and may change it.
        tables: Schema and name of what it holds.
    """

    name: str
    is_own: bool
    tables: frozenset[tuple[str, str]]

    def missing(self, tables: Sequence[Table]) -> list[Table]:
        """
        Return the readable tables that it does not hold.
        """
        return [one for one in tables if one.why_not is None and (one.schema, one.name) not in self.tables]


def find(control: Control, name: str, *, is_own: bool) -> Publication | None:
    """
    Look a publication up.
    """
    if not control.query(f"SELECT 1 FROM pg_publication WHERE pubname = {quoted(name)}"):
        return None
    rows = control.query(f"SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = {quoted(name)}")
    return Publication(name, is_own, frozenset((str(schema), str(table)) for schema, table in rows))


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


def ensure(control: Control, given: str | None, own: str, tables: Sequence[Table]) -> Publication:
    """
    Return the publication to use; the driver's own is made, and brought in line with the tables.

    Raises:
        ConfigError: The given one is not there.
        PermissionMissing: It has to be made and may not be; with the SQL.
    """
    found = choose(control, given, own)
    if found is not None and not found.is_own:
        return found
    listed = _listed(tables, with_columns=control.version >= _WITH_COLUMN_LISTS)
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
    has_unwanted = any(not (c.is_wanted or c.is_generated or c.name in table.key) for c in table.columns)
    if with_columns and has_unwanted and table.identity != FULL:
        return f"{only}{name} ({', '.join(named(column.name) for column in table.sent)})"
    return f"{only}{name}"


def drop(control: Control, name: str) -> None:
    """
    Drop a publication, if it is there.
    """
    control.query(f"DROP PUBLICATION IF EXISTS {named(name)}", f"dropping the publication {name!r}")
