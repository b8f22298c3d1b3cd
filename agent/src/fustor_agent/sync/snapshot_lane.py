"""
The snapshot lane: what to read, and the pushes of what was read.

Neighbours: `snapshot` (chunks in order), `reconcile` (chunk windows), `snapshot_control` (begin and end), `reader` (the
thread that reads).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

from fustor_agent.sync.batcher import rows_that_fit
from fustor_agent.sync.counters import Counters
from fustor_agent.sync.failures import Failures, Fault, fault_of, needs_a_person, said
from fustor_agent.sync.keys import with_rows
from fustor_agent.sync.live import LiveLane
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.reconcile import KeyShapeMismatch, Reconciled
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.snapshot import Chunk, ReadOrder, SnapshotRun
from fustor_agent.sync.snapshot_control import SnapshotControl
from fustor_core.models.event import EventBase, EventType


class SnapshotLane:
    """
    Takes chunks and builds pushes of them.

    Args:
        control: Holds the snapshot under way.
        live: The live lane, which goes first.
        failures: Where faults are shown.
        counters: What is counted.
        clock: Monotonic seconds.
        settings: Sizes and waits.
        ordering: The pusher's.
        batch_rows: Most rows in a push.
    """

    def __init__(
        self,
        control: SnapshotControl,
        live: LiveLane,
        failures: Failures,
        counters: Counters,
        clock: Callable[[], float],
        settings: SyncSettings,
        ordering: Literal["index", "arrival"],
        batch_rows: int,
    ) -> None:
        self._control = control
        self._position = control.position
        self._traffic = control.traffic
        self._live = live
        self._failures = failures
        self._counters = counters
        self._clock = clock
        self._settings = settings
        self._arrival = ordering == "arrival"
        self._batch_rows = batch_rows
        self._read_after = 0.0

    # -- reading -----------------------------------------------------------------------------------------------------

    def touch(self, event: EventBase) -> None:
        """
        Remember what a live event touches, for the chunks that are read meanwhile.
        """
        touched = self._control.touched
        touched.record(event)
        if touched.is_full:
            run = self._control.run
            fallback = run.last_low if run and run.last_low is not None else touched.floor
            lows = [chunk.low for chunk in run.chunks if not chunk.is_exact] if run else []
            oldest = min(lows, default=fallback)
            touched.prune(oldest, self._position.tracker.last)

    def read_order(self) -> ReadOrder | None:
        """
        Return what to read now; None = nothing (now).
        """
        run, settings = self._control.run, self._settings
        if (
            run is None
            or run.progress.paused
            or run.exhausted
            or not self._may_read()
            or len(run.chunks) >= settings.held_chunks
            or run.held_bytes >= settings.held_bytes
            or self._clock() < self._read_after
        ):
            return None
        return run.order()

    def _may_read(self) -> bool:
        # Invariant 1: the first live event is pushed before any row of a snapshot is read.
        return self._position.is_open and (self._live.has_pushed or not self._live.waiting)

    def is_current(self, generation: int) -> bool:
        """
        Whether a reader of this generation is still wanted (it may have to wait for `read_order`).
        """
        run = self._control.run
        return run is not None and not run.progress.paused and run.generation == generation

    def chunk_read(self, generation: int, event: EventBase, high: int | None) -> None:
        """
        Take a chunk and the high watermark that was taken after it.
        """
        run = self._read_by(generation)
        if run is None:
            return
        if self._control.touched.is_too_old(event):
            self._read_again(run)
            return
        run.rereads = 0
        chunk = Chunk(event, high)
        if self._arrival and chunk.is_exact:
            chunk.taken = chunk.rows  # invariant 9: left out, see `LiveLane.add`
        run.add(chunk)

    def read_ended(self, generation: int) -> None:
        """
        The reader has come to the end.
        """
        run = self._read_by(generation)
        if run is not None:
            run.exhausted = True

    def read_failed(self, generation: int, error: BaseException) -> None:
        """
        The reader failed: read again, after a wait, from the last chunk that was read.
        """
        run = self._read_by(generation)
        if run is None:
            return
        run.rereads += 1
        wait = getattr(error, "wait_s", None) or min(5.0, 0.2 * 2 ** min(run.rereads, 10))
        is_error = needs_a_person(error)
        if is_error:
            wait = self._settings.error_retry_s
        self._read_after = self._clock() + wait
        run.generation = self._control.next_generation()
        self._failures.fault = fault_of(error, f"reading the snapshot: {said(error)}", is_error=is_error)

    def _read_by(self, generation: int) -> SnapshotRun | None:
        run = self._control.run
        return run if run is not None and run.generation == generation else None

    def _read_again(self, run: SnapshotRun) -> None:
        # The chunk is older than what is remembered of the stream: some change may be missing from both.
        run.rereads += 1
        self._counters.rereads += 1
        if run.rereads > self._settings.chunk_rereads:
            self._failures.fault = Fault(
                "snapshot.watermark_too_old",
                f"the source's low watermarks stay behind the stream: {run.rereads} chunks read in vain",
                "look for a transaction at the source that stays open; the snapshot starts over slowly",
                is_error=True,
            )
        self._read_after = self._clock() + min(1.0, 0.01 * 2 ** min(run.rereads, 10))
        run.drop_unsent(self._control.next_generation())

    @property
    def read_wait_s(self) -> float:
        """
        How long nothing is read because of a failure, seconds.
        """
        return max(0.0, self._read_after - self._clock())

    # -- sending -----------------------------------------------------------------------------------------------------

    def next_push(self) -> Push | None:
        """
        Return the next push of the snapshot that may go out now.
        """
        traffic = self._traffic
        busy = self._arrival or bool(traffic.under_way["message"]) or bool(self._live.waiting)
        limit = 1 if busy else self._settings.snapshot_in_flight
        retry = traffic.retry["snapshot"]
        if traffic.transit["snapshot"] >= limit or (
            traffic.transit["snapshot"] and any(push.serial for push in traffic.under_way["snapshot"])
        ):
            return None
        if retry:
            return retry.popleft()
        run = self._control.run
        if run is None or run.progress.paused or len(traffic.under_way["snapshot"]) >= limit:
            return None
        if run.start_index is None and run.exhausted:
            run.start_index = -1  # nothing was read: nothing may be removed on its word
        start = run.start_index
        if start is not None and (run.announced is None or start < run.announced):
            return None if run.announcing else self._begin(run, start)
        for chunk in list(run.chunks):
            if not chunk.passed:
                if not self._may_release(chunk):
                    return None
                chunk.passed = True
                chunk.barrier = run.barrier = self._position.tracker.seen_seq
            if self._overtakes(chunk):
                return None
            while chunk.taken < chunk.rows:
                push = self._build(run, chunk)
                if push is not None:
                    return push
                if self._control.run is not run or chunk not in run.chunks:
                    return None
        self.collect()
        if run.exhausted and not run.chunks and not traffic.under_way["snapshot"]:
            return self._end(run)
        return None

    def _begin(self, run: SnapshotRun, start: int) -> Push:
        run.announcing = True
        run.progress.start_index = start
        self._position.save()
        epoch = self._position.memory.epoch
        return Push("snapshot", "begin", run.begin_marks(start), epoch, snapshot_id=run.snapshot_id)

    def _may_release(self, chunk: Chunk) -> bool:
        # Invariant 3: held until the stream has passed its high watermark.
        position = self._position
        return position.is_before_gap_settled() and (chunk.high is None or position.tracker.passed >= chunk.high)

    def _overtakes(self, chunk: Chunk) -> bool:
        # A consumer that goes by arrival would take what the chunk already knows of the stream for news, came it after the chunk;
        # and at the end, had the stream removed and brought back a row, for something the snapshot did not show.
        return self._arrival and self._position.tracker.settled_seq < chunk.barrier

    def _build(self, run: SnapshotRun, chunk: Chunk) -> Push | None:
        event, low, tracker = chunk.event, chunk.low, self._position.tracker
        if self._control.touched.is_too_old(event):
            self._read_again(run)
            return None
        done = chunk.taken
        rows = event.rows if not done else event.rows[done:]
        fit = rows_that_fit(rows, self._batch_rows, self._settings.batch_bytes)
        part = rows if fit == len(rows) else rows[:fit]
        try:
            left = self._control.touched.reconcile(event, part, low)
        except KeyShapeMismatch as exc:
            self._control.abandon()
            self._position.save()
            self._failures.fault = Fault(
                "driver.failed", f"snapshot given up: {exc}", "report this to the driver's author"
            )
            return None
        chunk.taken += fit
        run.barrier = tracker.seen_seq
        self._counters.dropped_rows += left.dropped
        self._counters.merged_rows += len(left.merged)
        is_true_then_only = self._control.touched.may_hold_old(event)
        point = low if chunk.high is None or chunk.is_exact or is_true_then_only else tracker.passed
        events: list[EventBase] = []
        merged: list[EventBase] = []
        if left.untouched or not event.rows:
            events.append(with_rows(event, left.untouched, index=point, skipped=done))
        if left.merged and is_true_then_only:
            merged.extend(with_rows(event, rows, index=index) for index, rows in _by_index(left))
        elif left.merged:
            # As new as the newest partial update in it; later changes of these keys wait for it.
            merged.append(with_rows(event, left.merged, index=max(point, tracker.last)))
        events.extend(merged)
        if not events:
            return None
        for one in events:
            one.event_type = EventType.INSERT
        chunk.pending += 1
        return Push(
            "snapshot",
            "rows",
            events,
            self._position.memory.epoch,
            chunk=chunk,
            merged=merged,
            snapshot_id=run.snapshot_id,
        )

    def _end(self, run: SnapshotRun) -> Push | None:
        # Rows that the stream carries instead of the chunks must be there before the consumer removes what is missing.
        if run.end_sent or self._position.tracker.settled_seq < run.barrier:
            return None
        if not run.tells_end:
            self._control.satisfied(run)
            return None
        run.end_sent = True
        return Push("snapshot", "end", [], self._position.memory.epoch, snapshot_id=run.snapshot_id)

    # -- answers -----------------------------------------------------------------------------------------------------

    def push_done(self, push: Push) -> None:
        """
        A push was answered.
        """
        run = self._control.run
        if push.chunk is not None:
            push.chunk.pending -= 1
            self._counters.snapshot_rows += push.row_count
        if run is None or push.snapshot_id != run.snapshot_id or push.abandoned:
            return
        if push.kind == "begin":
            run.announcing = False
            run.announced = push.events[0].index
        elif push.kind == "end":
            self._control.finish()
            return
        self.collect()

    def collect(self) -> None:
        """
        Move the resume token over what is settled.
        """
        run = self._control.run
        if run is not None and run.collect():
            self._position.save_soon()


def _by_index(left: Reconciled) -> Iterable[tuple[int, list[dict[str, Any]]]]:
    """
    Return completed rows by the index of the newest update in them.
    """
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for index, row in zip(left.merged_at, left.merged, strict=True):
        found[index].append(row)
    return sorted(found.items())
