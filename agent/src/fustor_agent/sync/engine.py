"""
The engine of a sync: every decision, and no I/O.

A synchronous, deterministic state machine. Inputs: the stream was opened, a live event, a chunk that was read, a push that
was answered or failed, a session. Outputs: the next push that may go out, what to read, what to remember (`save` is called
before anything that relies on it goes out). The model in `fustor_core.testing.model` drives exactly this code;
`fustor_agent.sync.runtime` drives it with threads and a pusher.

It only puts together: `position` (epoch, checkpoint, gap, the disk), `traffic` (what is under way), `live` and
`snapshot_lane` (pushes of either kind), `snapshot_control` (begin and end of snapshots), `owed_lane` (rows of which the stream told
too little), `failures` (waits and faults).
Invariants are those of docs/architecture.md; the line that holds one names it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from fustor_agent.sync.checkpoint import AckTracker
from fustor_agent.sync.counters import Counters
from fustor_agent.sync.failures import Failures, Fault, fault_of, said
from fustor_agent.sync.keys import name_of, table_of
from fustor_agent.sync.live import LiveLane
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.owed import OwedRows, RowsOrder, RowsRead, Untold
from fustor_agent.sync.owed_lane import OwedLane
from fustor_agent.sync.ports import RESHAPED, Origin, Refusal, SyncMemory
from fustor_agent.sync.position import Position
from fustor_agent.sync.rejects import TransformFailed, cut
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.snapshot import ReadOrder, SnapshotRun
from fustor_agent.sync.snapshot_control import SnapshotControl
from fustor_agent.sync.snapshot_lane import SnapshotLane
from fustor_agent.sync.traffic import Traffic
from fustor_core.errors import BatchRejected, FustorError, RequestTooLarge, RowRejected, SessionSuperseded
from fustor_core.models.event import EventBase, UntoldMark, untold_mark


class SyncEngine:
    """
    Decides for one sync, from one opening of its stream to the next.

    Args:
        ordering: The pusher's.
        memory: What is remembered of the sync; changed in place, and given to `save`.
        save: Makes the memory durable; on disk when it returns.
        park: Makes refused events durable: events, epoch, reason, code.
        clock: Monotonic seconds.
        rng: Where jitter comes from.
        new_id: Makes snapshot ids.
        settings: Sizes and waits.
        batch_rows: Most rows in a push.
        max_retries: After so many failures in a row the state is ERROR; 0 = never. Tries go on, slowly.
        retry_delay_s: Longest wait between two tries.
        counters: Kept over several engines of one sync.
    """

    position_class: ClassVar[type[Position]] = Position
    live_class: ClassVar[type[LiveLane]] = LiveLane
    control_class: ClassVar[type[SnapshotControl]] = SnapshotControl
    lane_class: ClassVar[type[SnapshotLane]] = SnapshotLane
    owed_class: ClassVar[type[OwedRows]] = OwedRows

    def __init__(
        self,
        *,
        ordering: Literal["index", "arrival"],
        memory: SyncMemory,
        save: Callable[[SyncMemory], None],
        park: Callable[[list[EventBase], int, Refusal], None],
        clock: Callable[[], float],
        rng: random.Random,
        new_id: Callable[[], str],
        settings: SyncSettings,
        batch_rows: int,
        max_retries: int = 0,
        retry_delay_s: float = 5.0,
        counters: Counters | None = None,
    ) -> None:
        self.settings = settings
        self.counters = counters or Counters()
        self.stopping = False
        self.failures = Failures(clock, rng, settings, max_retries, retry_delay_s)
        self.traffic = Traffic()
        self.position = self.position_class(memory, save, clock, settings)
        self.live = self.live_class(self.position, self.traffic, settings, ordering, batch_rows)
        self.snapshots = self.control_class(self.position, self.traffic, new_id, settings)
        self.snapshot_lane = self.lane_class(
            self.snapshots, self.live, self.failures, self.counters, clock, settings, ordering, batch_rows
        )
        rows = self.owed_class(settings, clock, self.counters)
        self.owed = OwedLane(rows, self.position, self.live, settings, clock)
        self._park = park
        self._clock = clock
        self._session_open = False
        self._sends_again = False

    # -- what others look at -----------------------------------------------------------------------------------------

    @property
    def memory(self) -> SyncMemory:
        """
        What is remembered.
        """
        return self.position.memory

    @property
    def tracker(self) -> AckTracker:
        """
        What was seen, passed and acknowledged of the stream.
        """
        return self.position.tracker

    @property
    def stream_open(self) -> bool:
        """
        Whether the stream was opened.
        """
        return self.position.is_open

    @property
    def run(self) -> SnapshotRun | None:
        """
        The snapshot under way.
        """
        return self.snapshots.run

    @property
    def queue_events(self) -> int:
        """
        Live events that wait for a push.
        """
        return self.live.waiting

    # -- sessions ----------------------------------------------------------------------------------------------------

    def first_session(self, answer: Mapping[str, Any], consumer_index: int) -> int:
        """
        Take the answer to the first session of this engine; return where the stream is to be opened (-1 = now).
        """
        position = self.position.first_session(answer, consumer_index)
        self.snapshots.first_session(answer)
        self._session_open = True
        self.heartbeat_answered(answer, self.seq)
        return position

    def take_origin(self, origin: Origin, tables: Sequence[str] | None) -> None:
        """
        Take note that rows are made otherwise from now on, and that the consumer lacks those of some tables (None = of any), or has
        them in the old shape. Before the stream is opened.
        """
        self._sends_again = tables is None or bool(tables)
        self.position.take_origin(origin, tables, self.seq)

    def session_reopened(self, answer: Mapping[str, Any]) -> bool:
        """
        Take the answer to a later session; False when the consumer is not what it was and all has to start over.
        """
        if not self.position.is_same_consumer(answer):
            return False
        self._session_open = True
        self.heartbeat_answered(answer, self.seq)
        return True

    @property
    def needs_session(self) -> bool:
        """
        Whether a session has to be opened before anything can be sent.
        """
        return not self._session_open

    @property
    def seq(self) -> int:
        """
        Number of the newest send.
        """
        return self.traffic.seq

    def heartbeat_answered(self, answer: Mapping[str, Any], sent_seq: int) -> None:
        """
        Take what the consumer says besides answers to pushes; `sent_seq` is `seq` when it was asked.
        """
        self.snapshots.answered(answer, sent_seq)

    # -- the live stream ---------------------------------------------------------------------------------------------

    def stream_opened(self, *, lost: bool, incarnation: str) -> None:
        """
        The stream was opened (again): at the place asked for, or, when `lost`, at the newest one.
        """
        first = not self.stream_open
        is_source_same = not lost and self.memory.incarnation == incarnation + RESHAPED
        lost = self.position.opened(lost=lost, incarnation=incarnation)
        if lost:
            self._lose_position()
        self.position.save()
        if lost:
            self.owed.table_lost(None)
        if (
            lost
            and not is_source_same
            and self._stops_at_gap("the source no longer has the position this sync stopped at")
        ):
            return
        self.snapshots.stream_opened(first=first, lost=lost or (first and self._sends_again))

    def _lose_position(self) -> None:
        self.position.lose(self.seq)
        self.snapshots.position_lost()

    def _stops_at_gap(self, reason: str) -> bool:
        if self.settings.on_position_lost != "stop":
            return False
        self.failures.fault = Fault(
            "driver.position_lost",
            f"{reason}; changes are missing",
            "start the sync again to go on from now and fill the gap with a snapshot",
            is_error=True,
            for_good=True,
        )
        return True

    def _take_untold(self, mark: UntoldMark) -> None:
        table = table_of(mark) if mark.table else None
        self.position.lose_table(table, mark.index, self.seq)
        self.owed.table_lost(table)
        if self._stops_at_gap(f"rows of {name_of(mark) or 'the source'} changed untold ({mark.reason})"):
            return
        if table is not None:
            self.snapshots.table_lost(table, mark.index)
        else:
            self.snapshots.position_lost()
            self.position.save()

    def _take_owed(self, mark: UntoldMark) -> None:
        table = table_of(mark)
        self.owed.table_owed(table)
        self.snapshots.table_owed(table, mark.index)
        self._take_mark(mark.index)

    @property
    def wants_live(self) -> bool:
        """
        Whether there is room for live events; what finds none waits in the bus.
        """
        return self.live.wants_more and not self.owed.is_full and not self.stopping

    def feed(self, event: EventBase, untold: Untold | None = None) -> None:
        """
        Take the next live event or progress mark, and what it leaves untold.
        """
        if self.position.start_unknown:
            self.position.start_unknown = False
            self._learn_start(event)
        if not event.rows:
            self.position.note_start(event.index)
            if isinstance(event, UntoldMark):
                if event.may_wait:
                    self._take_owed(event)
                else:
                    self._take_untold(event)
            else:
                self._take_mark(event.index)
            return
        self.position.note_start(event.index - 1)
        unit = self.live.add(event)
        self.snapshot_lane.touch(event)
        self.owed.take(event, unit, untold)

    def _take_mark(self, index: int) -> None:
        self.tracker.mark(index)

    def _learn_start(self, event: EventBase) -> None:
        # Invariant 3: the stream was opened at "now". A commit before that may not be visible to reads yet: a chunk whose
        # low watermark is below the stream's first point could miss it, and so does the stream.
        self.snapshots.touched.raise_floor(event.index - 1 if event.rows else event.index)

    # -- rows of which the stream told too little --------------------------------------------------------------------

    def rows_order(self) -> RowsOrder | None:
        """
        Return which rows to read by their keys now; None = none (now).
        """
        return None if self.stopping else self.owed.rows.order()

    def rows_read(self, order: RowsOrder, read: RowsRead | None) -> None:
        """
        Take what was read of an order; None = the source can't be read by this table's key.
        """
        self.owed.read(order, read)

    def rows_failed(self, order: RowsOrder, error: BaseException) -> None:
        """
        An order could not be read.
        """
        self.owed.failed(order, error)

    def _settle_owed(self) -> None:
        while (rows := self.owed.next_rows()) is not None:
            for event, units in rows:
                self.live.add(event).completes = units
                self.snapshot_lane.touch(event)
        for schema, table in self.owed.due_tables(is_busy=self.run is not None or self.memory.gap):
            index = max(self.tracker.passed, self.tracker.last)
            self._take_untold(untold_mark(index, schema, table, "the source did not tell enough of what changed"))

    # -- what may go out ---------------------------------------------------------------------------------------------

    def next_push(self) -> Push | None:
        """
        Return the next push that may go out now; call again until it returns None.
        """
        if (
            not self._session_open
            or not self.stream_open
            or self.stopping
            or self.failures.hold_s > 0
            or self.failures.is_for_good
            or (self.failures.in_a_row and self.traffic.in_transit)
        ):
            return None
        self._settle_owed()
        now = self._clock()
        push = self.live.next_push() or self.live.next_control(now) or self.snapshot_lane.next_push()
        if push is not None:
            self._send(push, now)
        return push

    def _send(self, push: Push, now: float) -> None:
        self.traffic.send(push)
        self.position.stamp(push)
        if push.kind in ("begin", "end") and self.run is not None and self.run.is_before_gap:
            push.suggested, push.suggested_tables = False, None
            self.position.gap_is_later(push.sent)
        if push.lane == "message":
            self.live.sent(push, now)
            self._on_live_sent(push)

    def _on_live_sent(self, push: Push) -> None:
        """
        Hook of tests: a live push goes out.
        """

    def control(self, push: Push) -> dict[str, Any]:
        """
        Return the control values of a push (the session's are added by the caller).
        """
        values: dict[str, Any] = {
            "source_type": push.lane,
            "epoch": push.epoch,
            "seq": push.sent,
            "is_snapshot_end": push.kind == "end",
            "snapshot_sync_suggested": push.suggested,
        }
        if push.snapshot_id is not None:
            values["snapshot_id"] = push.snapshot_id
        if push.suggested_tables is not None:
            values["snapshot_tables"] = push.suggested_tables
        if push.checkpoint >= 0:
            values["checkpoint"] = push.checkpoint
        return values

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def read_order(self) -> ReadOrder | None:
        """
        Return what to read now; None = nothing (now).
        """
        return None if self.stopping else self.snapshot_lane.read_order()

    def is_current(self, generation: int) -> bool:
        """
        Whether a reader of this generation is still wanted (it may have to wait for `read_order`).
        """
        return self.snapshot_lane.is_current(generation)

    def chunk_read(self, generation: int, event: EventBase, high: int | None) -> None:
        """
        Take a chunk and the high watermark that was taken after it.
        """
        self.snapshot_lane.chunk_read(generation, event, high)

    def snapshot_read(self, generation: int) -> None:
        """
        The reader has come to the end.
        """
        self.snapshot_lane.read_ended(generation)

    def snapshot_read_failed(self, generation: int, error: BaseException) -> None:
        """
        The reader failed.
        """
        self.snapshot_lane.read_failed(generation, error)

    # -- answers -----------------------------------------------------------------------------------------------------

    def push_done(self, push: Push, answer: Mapping[str, Any]) -> None:
        """
        A push was answered: what is in it is durable at the consumer.
        """
        self.traffic.came_back(push)
        self.traffic.done(push)
        self.failures.went_well()
        self.position.acknowledged(push)
        self.counters.pushed_rows += push.row_count
        self.counters.pushed_events += len(push.events)
        self.snapshot_lane.push_done(push)
        self.position.checkpoint_moved()
        if answer.get("snapshot_cancelled"):
            self.snapshots.cancelled_by_consumer(push)
        told = self.position.tells_gap(push)
        self.snapshots.answered(answer, push.sent, knows_gap=told)
        if told:
            is_answered = not answer.get("snapshot_needed") or self.snapshots.is_gap_settled
            self.position.gap_told(is_answered=is_answered, is_later=self.run is not None)

    def push_failed(self, push: Push, error: BaseException) -> None:
        """
        A push failed; unless it was refused for good its outcome is unknown, and it is sent again before anything newer.
        """
        self.traffic.came_back(push)
        if push.abandoned:
            self.traffic.done(push)
            return
        refused = isinstance(error, BatchRejected | RowRejected | RequestTooLarge)
        if not isinstance(error, FustorError):
            push.failures += 1
            tried = push.failures >= self.settings.unknown_error_tries
            refused = tried and isinstance(error, ValueError | TypeError)
        if refused and push.kind == "rows":
            self._refused(push, error)
            return
        self.counters.retries += 1
        self.traffic.send_again(push)
        self.failed(error)

    def failed(self, error: BaseException) -> None:
        """
        Something failed at the consumer's side: wait before the next try.
        """
        if isinstance(error, SessionSuperseded):
            self._session_open = False
        self.failures.failed(error)

    def _refused(self, push: Push, error: BaseException) -> None:
        # Invariant 6: parked durably and counted before it counts as settled; the others go on.
        if self.settings.on_reject == "stop":
            self.traffic.send_again(push)
            reason = said(error) if isinstance(error, TransformFailed) else f"the consumer refuses rows: {said(error)}"
            fault = fault_of(error, reason, is_error=True)
            fault.for_good = True
            self.failures.fault = fault
            return
        verdict = cut(push, error)
        for event, why in verdict.parked:
            self._park([event], push.epoch, why)
            self.counters.parked_rows += len(event.rows)
        if push.chunk is not None:
            push.chunk.pending += len(verdict.parts) - 1
        self.traffic.replace(push, verdict.parts)
        for unit in verdict.units:
            unit.tracker.settle(unit)
        self.failures.was_refused()
        if push.chunk is not None:
            self.snapshot_lane.collect()
        self.position.checkpoint_moved()

    # -- time --------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """
        Time has passed: save what was put off.
        """
        self.position.checkpoint_moved()

    def wait_s(self) -> float:
        """
        Return how long nothing will change by time alone, seconds (at most one).
        """
        waits = (self.failures.hold_s, self.snapshot_lane.read_wait_s, self.owed.rows.wait_s)
        times = [wait for wait in waits if wait > 0]
        if self.position.is_due_later:
            times.append(self.settings.checkpoint_interval_s)
        return max(0.0, min([1.0, *times]))
