"""
Tables without a key: which can be read, and where in the log a whole reading of one is.

Such a reading has to show the table exactly as it was at one place of the log (`EventBase.ordinal`). MariaDB tells the place of a
consistent snapshot. MySQL does not: there the table is locked for as long as it takes to open the snapshot. A transaction that wrote to
it holds its metadata lock until its rows can be seen, so while we hold it, what is in the log of this table is what can be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from fustor_core.errors import ConnectionLost, FustorError, PermissionMissing
from fustor_core.outcome import REMEDY
from fustor_source_mysql.control import Control
from fustor_source_mysql.position import Boundary
from fustor_source_mysql.rights import account, tables_of
from fustor_source_mysql.schema import Table, named

_LONGEST_LOCK_WAIT_S: Final = 5
_LOCK_WAIT_TIMEOUT: Final = 1205
_CONSISTENT: Final = {"innodb", "rocksdb"}


def why_not(table: Table | None, name: str) -> tuple[str, str] | None:
    """
    Say why a table without a key can't be read exactly, and what mends that; None when it can.
    """
    if table is None or table.engine.lower() in _CONSISTENT:
        return None
    return (
        f"it has no key, and its engine {table.engine} has no consistent snapshots to read it in: its rows are left out",
        f"ALTER TABLE {name} ENGINE = InnoDB; or {key_sql(name)}",
    )


def key_sql(name: str) -> str:
    """
    Return the SQL that gives a table a key.
    """
    return f"ALTER TABLE {name} ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY;"


def open_locked(control: Control, table: Table, begin: Callable[[], None]) -> Boundary:
    """
    Open a consistent snapshot while nobody can write to the table; return the place in the log it shows the table at.

    Args:
        begin: Opens the snapshot, over another connection.

    Raises:
        PermissionMissing: The user may not lock tables; with the GRANT.
        ConnectionLost: A transaction has had the table open for too long.
    """
    server, name = control.server, f"{table.schema}.{table.name}"
    connection = server.connect()
    try:
        server.query(connection, f"SET SESSION lock_wait_timeout = {_LONGEST_LOCK_WAIT_S}")
        try:
            server.query(connection, f"LOCK TABLES {named(table.schema)}.{named(table.name)} READ", f"locking {name}")
        except PermissionMissing as exc:
            sql = (
                f"GRANT LOCK TABLES ON {tables_of(table.schema, control.grants_are_literal)} TO {account(server.user)};"
            )
            raise PermissionMissing(
                f"{server.user!r} may not lock {name}, which has no key and must be read at one place of the log: {exc.message}",
                hint=f"let an administrator run: {sql} or {key_sql(name)}",
                context={**exc.context, REMEDY: [sql]},
            ) from None
        except ConnectionLost as exc:
            if exc.context.get("code") != _LOCK_WAIT_TIMEOUT:
                raise
            raise ConnectionLost(
                f"{name} has no key and could not be locked for a moment within {_LONGEST_LOCK_WAIT_S} s: a transaction that wrote to it stays open",
                hint="the snapshot tries again; end the transaction: see information_schema.INNODB_TRX",
                context=exc.context,
            ) from None
        begin()
        _, place = control.newest()
        return place
    finally:
        _release(server, connection)


def _release(server: Any, connection: Any) -> None:
    with contextlib.suppress(FustorError):  # closing the connection lets go of the lock as well
        server.query(connection, "UNLOCK TABLES")
    connection._force_close()
