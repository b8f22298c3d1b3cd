"""
The lane of rows that the consumer is owed whole: what to read by keys, what of it goes out, and which tables are read again instead.

Neighbours: `owed` (the rows), `gap_pace` (when tables are read again), `live` (where whole rows go out), `row_reader` (who reads).
"""

from __future__ import annotations

from collections.abc import Callable

from fustor_agent.sync.checkpoint import Unit
from fustor_agent.sync.gap_pace import GapPace
from fustor_agent.sync.keys import TableId, table_of
from fustor_agent.sync.live import LiveLane
from fustor_agent.sync.owed import OwedRows, RowsOrder, RowsRead, Untold
from fustor_agent.sync.position import Position
from fustor_agent.sync.settings import SyncSettings
from fustor_core.errors import ConnectionLost
from fustor_core.models.event import EventBase


class OwedLane:
    """
    Sees to it that what events leave untold reaches the consumer all the same.

    Args:
        rows: The rows that are owed.
        position: Where the sync is.
        live: The live lane.
        settings: Sizes and waits.
        clock: Monotonic seconds.
    """

    def __init__(
        self, rows: OwedRows, position: Position, live: LiveLane, settings: SyncSettings, clock: Callable[[], float]
    ) -> None:
        self.rows = rows
        self._position = position
        self._live = live
        self._pace = GapPace(settings.owed_pause_s, clock)
        self._unreadable: set[TableId] = set()

    @property
    def is_full(self) -> bool:
        """
        Whether the stream has to wait.
        """
        return self.rows.is_full

    # -- the stream --------------------------------------------------------------------------------------------------

    def take(self, event: EventBase, unit: Unit, untold: Untold | None) -> None:
        """
        Take a live event and what it leaves untold.
        """
        table = table_of(event)
        if not self.rows.told(event):
            self.table_owed(table)
        if untold is None:
            return
        if untold.rows is None or not event.key or table in self._unreadable:
            self.table_owed(table)
        else:
            self.rows.owe(event, unit, untold.rows)

    def table_lost(self, table: TableId | None) -> None:
        """
        A table (None = all) is read again, which is remembered already.
        """
        self.rows.forget(table)
        if table is None:
            self._unreadable.clear()
        else:
            self._unreadable.discard(table)  # it may have another key now

    def table_owed(self, table: TableId) -> None:
        """
        A table is to be read again as a whole, now or later.
        """
        self._position.put_off(table)
        self.rows.forget(table)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, order: RowsOrder, read: RowsRead | None) -> None:
        """
        Take what was read of an order; None = the source can't be read by this table's key.
        """
        if read is None:
            self._unreadable.add(order.table)
            self.table_owed(order.table)
        else:
            self.rows.read(order, read)

    def failed(self, order: RowsOrder, error: BaseException) -> None:
        """
        An order could not be read.
        """
        self.rows.read_failed(order)
        if not isinstance(error, ConnectionLost):
            self.table_owed(order.table)  # the snapshot of the table will say what is wrong

    # -- sending -----------------------------------------------------------------------------------------------------

    def next_rows(self) -> list[tuple[EventBase, list[Unit]]] | None:
        """
        Return events of whole rows that may go now, each with the units that wait for it; call again until it returns None. What can't
        be read is given up.
        """
        tracker = self._position.tracker
        is_stuck = self._live.is_far_ahead or self.rows.is_full
        point = max(tracker.passed, tracker.last)
        released = self.rows.release(tracker.passed, point, at_once=is_stuck) if self._live.has_room else None
        if released is not None and released.given_up is not None:
            self.table_owed(released.given_up)
        if is_stuck and self.rows.is_in_vain:
            # A stream that waits for rows which can't be read would wait for ever.
            for table in self.rows.tables:
                self.table_owed(table)
        return None if released is None else released.events

    def due_tables(self, *, is_busy: bool) -> list[TableId]:
        """
        Return the tables that are to be read again now; `is_busy`: a snapshot is under way or asked for.
        """
        if not self._pace.is_due(is_busy=is_busy) or not self._position.memory.put_off:
            return []
        self._pace.begun()
        return list(self._position.memory.put_off)
