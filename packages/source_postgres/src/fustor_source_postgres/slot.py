"""
The replication slot: what makes the server keep its log for us.

A slot is read by one connection at a time. A second reader in this process (a sync that lags behind the others) reads a copy,
`NAME_2`, which goes when it closes; what a killed process left behind goes when the slot is opened next.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from fustor_core.errors import ConfigError, ConnectionLost, FustorError
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import OBJECT_IN_USE, ServerSaid, logical_hint
from fustor_source_postgres.position import lsn_of
from fustor_source_postgres.schema import quoted

_PLUGIN: Final = "pgoutput"
_LONGEST_MAKING_S: Final = 120.0
_LONGEST_LEAVING_S: Final = 5.0

_in_use: set[tuple[str, str]] = set()
_in_use_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Slot:
    """
    A slot that is there.

    Attributes:
        confirmed: LSN from which changes can be read.
        is_lost: The server has removed log that the slot needs.
        active_pid: Of the server's process that reads it now.
    """

    name: str
    confirmed: int
    is_lost: bool
    active_pid: int | None


def find(control: Control, name: str) -> Slot | None:
    """
    Look a slot up.

    Raises:
        ConfigError: It is there and is of another kind, or another database's.
    """
    rows = control.query(
        "SELECT plugin, database, confirmed_flush_lsn, wal_status, active_pid, current_database()"
        f" FROM pg_replication_slots WHERE slot_name = {quoted(name)}",
        "looking at the replication slot",
    )
    if not rows:
        return None
    ((plugin, database, confirmed, wal_status, pid, current),) = rows
    if plugin != _PLUGIN or database != current:
        raise ConfigError(
            f"the replication slot {name!r} is one of {plugin or 'physical replication'} in database {database!r}",
            hint="give this source another name: `driver_params: {slot: ...}`",
        )
    is_lost = confirmed is None or wal_status == "lost"
    return Slot(name, 0 if confirmed is None else lsn_of(confirmed), is_lost, None if pid is None else int(pid))


def create(control: Control, name: str) -> Slot:
    """
    Make a slot: it holds what is committed from now on. Waits for transactions that are under way.

    Raises:
        ConfigError: The server does not write what is needed, or has no slot left.
        ConnectionLost: Transactions stay open for too long; says which.
    """
    if control.one("SHOW wal_level") != "logical":
        raise ConfigError(
            f"wal_level of {control.server.address} is not logical: changes can't be read", hint=logical_hint()
        )
    link = control.server.connect()  # of its own: it may take long
    try:
        link.query(
            f"SELECT pg_create_logical_replication_slot({quoted(name)}, {quoted(_PLUGIN)})",
            f"making the replication slot {name!r}",
            timeout_s=_LONGEST_MAKING_S,
        )
    except ConnectionLost as exc:
        if isinstance(exc, ServerSaid):
            raise
        raise ConnectionLost(
            f"the replication slot {name!r} could not be made: {exc.message}{open_transactions(control)}",
            hint="the server makes a slot once the transactions that are open have ended: end them",
        ) from None
    finally:
        link.close()
    made = find(control, name)
    if made is None:
        raise ConnectionLost(f"the replication slot {name!r} went away", hint="the agent tries again")
    return made


def open_transactions(control: Control) -> str:
    """
    Say which transactions are open, as the end of a message.
    """
    rows = control.query(
        "SELECT pid, usename, now() - xact_start FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        " AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 3"
    )
    prepared = control.query("SELECT gid, owner, now() - prepared FROM pg_prepared_xacts ORDER BY prepared LIMIT 3")
    told = ", ".join(
        [f"pid {pid} of {user!r} for {age}" for pid, user, age in rows]
        + [f"prepared {gid!r} of {user!r} for {age}" for gid, user, age in prepared]
    )
    return f"; open transactions: {told}" if told else ""


def drop(control: Control, name: str) -> None:
    """
    Drop a slot, if it is there. Waits a little for a reader that is about to leave.

    Raises:
        ConnectionLost: Somebody reads it.
    """
    deadline = time.monotonic() + _LONGEST_LEAVING_S
    while True:
        try:
            control.query(
                f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {quoted(name)}",
                f"dropping the replication slot {name!r}",
            )
        except ServerSaid as exc:
            if not is_taken(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def copies(control: Control, name: str) -> list[str]:
    """
    Return the names of the copies of a slot that nobody reads.
    """
    rows = control.query(
        f"SELECT slot_name FROM pg_replication_slots WHERE active_pid IS NULL AND slot_name ~ {quoted(f'^{name}_[0-9]+$')}"
    )
    return [str(row[0]) for row in rows]


class Lease:
    """
    The right to read a slot within this process, or a copy of it when another driver here reads it already.

    Attributes:
        name: Of the slot to read.
        is_copy: Whether it is a copy, to be dropped at the end.
    """

    def __init__(self, control: Control, name: str) -> None:
        server = str(control.server.address)
        self._control = control
        self._held: tuple[str, str] | None = None
        with _in_use_lock:
            number = 1
            while (server, _numbered(name, number)) in _in_use:
                number += 1
            self.name = _numbered(name, number)
            self.is_copy = number > 1
            _in_use.add((server, self.name))
            self._held = (server, self.name)
        try:
            if not self.is_copy:
                others = {one for where, one in _in_use if where == server}
                for left in copies(control, name):
                    if left not in others:
                        drop(control, left)
            elif find(control, self.name) is None:
                control.query(
                    f"SELECT pg_copy_logical_replication_slot({quoted(name)}, {quoted(self.name)})",
                    f"copying the replication slot {name!r}",
                )
        except FustorError:
            self.release()
            raise

    def release(self) -> None:
        """
        Let go of the name. May be called twice.
        """
        held, self._held = self._held, None
        if held is not None:
            with _in_use_lock:
                _in_use.discard(held)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def is_taken(error: FustorError) -> bool:
    """
    Tell whether an error says that another connection reads the slot.
    """
    return isinstance(error, ServerSaid) and error.sqlstate == OBJECT_IN_USE
