"""
The watch beside the stream: a thread that tells the server somebody is here while the stream is not walked, and looks whether
tables have changed in ways that logical replication does not tell (new tables, columns, types, rewritten files, partitions). It
also ends the stream when the server is being shut down, which would wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from fustor_core.errors import FustorError
from fustor_source_postgres.faults import is_stopping
from fustor_source_postgres.history import UNKNOWN, States, TableName
from fustor_source_postgres.schema import Table
from fustor_source_postgres.settling import bare
from fustor_source_postgres.stream import ReplicationStream

log = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_LOOK_EVERY_S: Final = 2.0
_AT_MOST: Final = 0.05
"""
Largest part of the time that looking may take.
"""


class Look(NamedTuple):
    """
    What the catalog says.

    Attributes:
        place: LSN: it was read behind it.
        tables: The wanted tables.
        states: What those that are read are now.
    """

    place: int
    tables: Sequence[Table]
    states: States


class CatalogWatch:
    """
    Looks now and then.

    Args:
        stream: Kept alive.
        known: What the tables were when the stream was opened: name to `Table.state`.
        look: Asks for the tables and what they are now.
        changed: Told what was known, and how the tables are now; returns what is known from now on.
    """

    def __init__(
        self,
        stream: ReplicationStream,
        known: States,
        look: Callable[[], Look],
        changed: Callable[[States, Look], States],
    ) -> None:
        self._stream = stream
        self._known = known
        self._look = look
        self._changed = changed
        self._doubts: dict[TableName, int] = {}
        self._doubting = threading.Lock()
        self._stop = threading.Event()
        self._next = time.monotonic() + _LOOK_EVERY_S
        self._thread = threading.Thread(target=self._run, name="postgres-watch", daemon=True)
        self._thread.start()

    def doubt(self, table: TableName, place: int) -> None:
        """
        A table had another shape at an LSN than was known: it counts as changed at the first look behind that, also when it
        looks as before again.
        """
        with self._doubting:
            self._doubts[table] = max(place, self._doubts.get(table, place))

    def otherwise_than(self, states: States) -> list[TableName]:
        """
        Return the tables that were different at the last look than they were found now, or that were not found.
        """
        return list(differences({table: bare(state) for table, state in self._known.items()}, states))

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S) and not self._stream.closed:
            self._stream.keep_alive()
            if time.monotonic() < self._next:
                continue
            begun = time.monotonic()
            try:
                self._compare()
            except FustorError as exc:
                self._stream.fail(exc)
                return
            taken = time.monotonic() - begun
            self._next = time.monotonic() + max(_LOOK_EVERY_S, taken / _AT_MOST)

    def _compare(self) -> None:
        try:
            now = self._look()
        except FustorError as exc:
            if is_stopping(exc):
                raise  # the server waits for a reader that has not confirmed all, and the consumer may be away for long
            log.info("looking at the tables failed: %s", exc)  # the stream finds out when the server is away
            return
        with self._doubting:
            settled = [table for table, place in self._doubts.items() if place <= now.place]
            for table in settled:
                del self._doubts[table]
        known = {**self._known, **dict.fromkeys(settled, UNKNOWN)}
        if differences(known, now.states) and not self._stop.is_set():
            self._known = self._changed(known, now)

    def close(self) -> None:
        """
        Stop looking. May be called twice.
        """
        self._stop.set()


def differences(before: States, after: States) -> dict[TableName, str]:
    """
    Say which tables are not what they were, and how; empty when all are.
    """
    return {
        name: "the table is new"
        if name not in before
        else "the table is gone"
        if name not in after
        else "the table changed"
        for name in sorted(set(before) | set(after))
        if before.get(name) != after.get(name)
    }
