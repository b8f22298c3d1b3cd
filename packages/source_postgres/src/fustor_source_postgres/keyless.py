"""
Tables without a key: the place in the log at which a whole reading of one is exact.

A logical slot is made for a moment and exports its snapshot: that shows just what was committed before the slot's consistent point. Every
slot writes to the log, so no two readings are at the same place.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Final

from fustor_core.errors import ConnectionLost
from fustor_source_postgres.connection import Link
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import ServerSaid
from fustor_source_postgres.position import lsn_of
from fustor_source_postgres.schema import Table, named, quoted
from fustor_source_postgres.slot import open_transactions

_LONGEST_MAKING_S = 30.0
_one_at_a_time: Final = threading.Lock()  # servers have few slots to spare


def key_sql(table: Table) -> str:
    """
    Return the SQL that gives a table a key.
    """
    return (
        f"ALTER TABLE {named(table.schema, table.name)} ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY;"
    )


def begin_exact(control: Control, link: Link, table: Table, is_over: Callable[[], bool]) -> int:
    """
    Begin a transaction that shows exactly what was committed at one place of the log; return that place, an LSN.

    Args:
        link: Where the transaction begins.
        is_over: Asked now and then while waiting; ends the wait.

    Raises:
        ConfigError: The server has no slot left.
        ConnectionLost: Transactions stay open for too long; says which.
    """
    doing = f"reading {table.full_name}"
    with _one_at_a_time:
        maker = control.server.connect(replication=True, is_over=is_over)
        try:
            made = maker.query(
                f"CREATE_REPLICATION_SLOT {named(f'fustor_{secrets.token_hex(8)}')} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT",
                f"making a replication slot for a moment, to read {table.full_name}, which has no key, at one place of the log",
                timeout_s=_LONGEST_MAKING_S,
            )
            _, point, snapshot, _ = made[0]
            link.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", doing)
            link.query(f"SET TRANSACTION SNAPSHOT {quoted(str(snapshot))}", doing)
        except ConnectionLost as exc:
            if isinstance(exc, ServerSaid) or is_over():
                raise
            raise ConnectionLost(
                f"{exc.message}{open_transactions(control)}",
                hint="the server makes a slot once the transactions that are open have ended: end them; the snapshot tries again",
                context=exc.context,
            ) from None
        finally:
            maker.close()  # the slot goes with it
    return lsn_of(str(point))
