"""
When a snapshot begins, pauses, goes on, is given up and ends.

One at a time, and only because somebody asked. Neighbours: `snapshot` (the state of the one under way), `snapshot_lane` (its
chunks), `reconcile` (what the live stream touched meanwhile).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fustor_agent.sync.keys import TableId
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.ports import SnapshotProgress
from fustor_agent.sync.position import Position
from fustor_agent.sync.reconcile import TouchedLog
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.snapshot import SnapshotRun
from fustor_agent.sync.traffic import Traffic
from fustor_core.errors import StateConflictError


class SnapshotControl:
    """
    Begins and ends the snapshots of one sync.

    Args:
        position: Where the sync is.
        traffic: What is under way.
        new_id: Makes snapshot ids.
        settings: Sizes and waits; what is done about a gap.

    Attributes:
        position: Where the sync is.
        traffic: What is under way.
        run: The snapshot under way.
        touched: What the live stream touched since it began.
    """

    def __init__(self, position: Position, traffic: Traffic, new_id: Callable[[], str], settings: SyncSettings) -> None:
        self.run: SnapshotRun | None = None
        self.touched = TouchedLog(settings.touched_keys)
        self._at_once = settings.on_position_lost == "snapshot"
        self.position = position
        self.traffic = traffic
        self._new_id = new_id
        self._ended_seq = 0
        self._generation = 0
        self._asked_early: Mapping[str, Any] | None = None
        self._declined = False
        self._satisfied: tuple[tuple[str, ...] | None, str | None] | None = None

    # -- the consumer ------------------------------------------------------------------------------------------------

    def first_session(self, answer: Mapping[str, Any]) -> None:
        """
        Take what the consumer knows of a snapshot that was begun before.
        """
        given = answer.get("snapshot_id")
        begun = self.position.memory.snapshot
        if begun is not None and given is not None and given != begun.snapshot_id:
            begun.resume_token = None  # the consumer does not know ours: read it from the beginning

    def answered(self, answer: Mapping[str, Any], sent_seq: int, *, knows_gap: bool = False) -> None:
        """
        Hear whether the consumer wants a snapshot; `sent_seq` is the number of what it answered to, and `knows_gap` whether that
        told it of the newest gap: what it wants then is its answer to it.
        """
        if answer.get("snapshot_needed") and sent_seq >= self._ended_seq:
            self._asked(answer.get("snapshot_request") or {}, knows_gap=knows_gap)

    def _asked(self, request: Mapping[str, Any], *, knows_gap: bool) -> None:
        # Invariant 2: one at a time, and only because somebody asked.
        if not self.position.is_open:
            self._asked_early = request
            return
        tables, where = request.get("tables"), request.get("where")
        if self.run is not None or self._declined:
            return
        if self._satisfied is not None and self._satisfied == (None if tables is None else tuple(tables), where):
            return
        run = self._begin(tables, where, for_consumer=True)
        run.is_before_gap = run.is_before_gap and not knows_gap

    def stream_opened(self, *, first: bool, lost: bool) -> None:
        """
        The stream is open: go on with what was begun, begin what was asked for; or, when the position was lost, what the sync's
        policy says.
        """
        begun = self.position.memory.snapshot
        if first and self.run is None and begun is not None:
            run = self._go_on_with(begun)
            run.is_before_gap = self.position.memory.gap
        if self._asked_early is not None:
            request, self._asked_early = self._asked_early, None
            self._asked(request, knows_gap=False)
        if lost:
            self._begin_at_once()

    def _begin_at_once(self) -> None:
        if self._at_once and self.run is None:
            self._begin(self.position.memory.gap_tables, None, for_consumer=True)

    def position_lost(self) -> None:
        """
        Changes are missing: what was read before is worthless, and so is what was said about it.
        """
        self._declined = False
        self._satisfied = None
        self.touched.stream_floor = -1  # where the stream begins now it will say
        self.abandon()

    def table_lost(self, table: TableId, index: int) -> None:
        """
        Rows of one table changed up to `index` without being told: the snapshot under way goes on; it does not fill that gap.
        """
        self._declined = False
        self._satisfied = None
        self.touched.untold(table, index)
        if self.run is not None:
            self.run.is_before_gap = True
        self._begin_at_once()

    def table_owed(self, table: TableId, index: int) -> None:
        """
        Rows of one table may have changed up to `index` without being told, and it will be read again later: the snapshot under way goes on.
        """
        if self.run is not None:
            self.touched.owed(table, index)

    @property
    def is_gap_settled(self) -> bool:
        """
        Whether the snapshot under way fills the newest gap, or a person wants none.
        """
        return self._declined if self.run is None else not self.run.is_before_gap

    def abandon(self) -> None:
        """
        Give the snapshot up. The caller saves.
        """
        self.position.memory.snapshot = None
        self.run = None
        self.position.snapshot_ended()
        self._asked_early = None
        self._generation += 1
        self.touched.stop()
        self.traffic.abandon("snapshot")

    def cancelled_by_consumer(self, push: Push) -> None:
        """
        The consumer cancelled the snapshot that a push belongs to.
        """
        if self.run is not None and push.snapshot_id == self.run.snapshot_id:
            self.abandon()
            self.position.save()

    # -- a person ----------------------------------------------------------------------------------------------------

    def request(self, tables: list[str] | None, where: str | None) -> None:
        """
        Begin one because a person asks.

        Raises:
            StateConflictError: One is under way, or the stream is not open.
        """
        if self.run is not None:
            raise StateConflictError("a snapshot is under way", hint="cancel it first, or wait for its end")
        if not self.position.is_open:
            raise StateConflictError("the sync is not connected to its source", hint="see the reason in its status")
        self._declined = False
        self._satisfied = None
        self._begin(tables, where, for_consumer=False)

    def pause(self) -> None:
        """
        Pause; what is under way is finished, what was only read is read again later.

        Raises:
            StateConflictError: None is under way.
        """
        run = self._running()
        if run.collect():
            self.position.save_soon()
        run.drop_unsent(self.next_generation())
        run.progress.paused = True
        self.touched.stop()
        self.position.save()

    def resume(self) -> None:
        """
        Go on after a pause.

        Raises:
            StateConflictError: None is paused.
        """
        run = self._running()
        if not run.progress.paused:
            raise StateConflictError("the snapshot is not paused", hint="nothing to do")
        run.progress.paused = False
        self.touched.start(self.position.tracker.last)
        self.position.save()

    def cancel(self) -> None:
        """
        Give the snapshot up; the consumer's wish for one is not heard until a person asks or the agent starts anew.

        Raises:
            StateConflictError: None is under way.
        """
        self._running()
        self.abandon()
        self._declined = True
        self.position.save()

    def _running(self) -> SnapshotRun:
        if self.run is None:
            raise StateConflictError("no snapshot is under way", hint="start one first")
        return self.run

    # -- the run -----------------------------------------------------------------------------------------------------

    def _begin(self, tables: list[str] | None, where: str | None, *, for_consumer: bool) -> SnapshotRun:
        progress = SnapshotProgress(self._new_id(), -1, tables=tables, where=where, for_consumer=for_consumer)
        self.position.memory.snapshot = progress
        self.position.save()
        run = self._go_on_with(progress)
        run.is_before_gap = self.position.memory.gap and not self._covers_gap(progress)
        return run

    def _covers_gap(self, progress: SnapshotProgress) -> bool:
        wanted = self.position.memory.gap_tables
        if progress.where is not None or progress.tables is None:
            return progress.where is None
        return wanted is not None and set(wanted) <= set(progress.tables)

    def _go_on_with(self, progress: SnapshotProgress) -> SnapshotRun:
        run = self.run = SnapshotRun(progress, self.next_generation())
        if not progress.paused:
            self.touched.start(self.position.tracker.last)
        return run

    def next_generation(self) -> int:
        """
        Number a new reading: whatever an older reader still brings is thrown away.
        """
        self._generation += 1
        return self._generation

    def satisfied(self, run: SnapshotRun) -> None:
        """
        A snapshot is complete whose end the consumer does not hear of: asked for the same again, it is not read again, unless
        changes went missing meanwhile.
        """
        tables = run.progress.tables
        if not run.is_before_gap:
            self._satisfied = (None if tables is None else tuple(tables), run.progress.where)
        self.finish()

    def finish(self) -> None:
        """
        The snapshot is complete.
        """
        self.run = None
        self.position.memory.snapshot = None
        self.touched.stop()
        # So that an answer to anything sent before is told from one that knows of this end.
        self._ended_seq = self.traffic.next_seq()
        self.position.snapshot_ended()
        self.position.save()
        if self.position.memory.gap:
            self._begin_at_once()
