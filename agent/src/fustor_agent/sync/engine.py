"""
The engine of a sync: every decision, and no I/O.

A synchronous, deterministic state machine. Inputs: the stream was opened, a live event, a chunk that was read, a push that
was answered or failed, a session. Outputs: the next push that may go out, what to read, what to remember (`save` is called
before anything that relies on it goes out). The model in `fustor_core.testing.model` drives exactly this code;
`fustor_agent.sync.runtime` drives it with threads and a pusher.

Neighbours: `checkpoint` (what is safe), `reconcile` (chunk windows), `ordering` (who waits for whom), `snapshot` (chunks in
order), `rejects` (bad rows). Invariants are those of docs/architecture.md; the line that holds one names it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fustor_agent.sync.batcher import event_bytes, rows_that_fit
from fustor_agent.sync.checkpoint import AckTracker, Unit
from fustor_agent.sync.keys import is_partial, with_rows
from fustor_agent.sync.ordering import KeySet, Push
from fustor_agent.sync.ports import SnapshotProgress, SyncMemory
from fustor_agent.sync.reconcile import KeyShapeMismatch, TouchedLog
from fustor_agent.sync.rejects import cut
from fustor_agent.sync.session import Backoff, SupersedeGuard
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.snapshot import Chunk, ReadOrder, SnapshotRun
from fustor_core.errors import (
    AuthenticationFailed,
    BatchRejected,
    ConfigError,
    ConnectionLost,
    ConsumerBusy,
    FustorError,
    OverloadedError,
    PermissionMissing,
    RequestTooLarge,
    RowRejected,
    SessionConflict,
    SessionSuperseded,
    StateConflictError,
    Unauthorized,
)
from fustor_core.models.event import EventBase, EventType, progress_mark

_NEEDS_A_PERSON = (AuthenticationFailed, PermissionMissing, Unauthorized, SessionConflict, ConfigError)


class Queued(NamedTuple):
    """
    A live event that waits for a push.
    """

    event: EventBase
    unit: Unit
    size: int
    epoch: int


@dataclass(slots=True)
class Fault:
    """
    What is wrong now.

    Attributes:
        is_error: The sync shows ERROR: waiting alone is not expected to cure it.
        for_good: Nothing is tried any more until a person starts the sync again.
    """

    code: str
    reason: str
    hint: str = ""
    is_error: bool = False
    for_good: bool = False


@dataclass(slots=True)
class Counters:
    """
    What the sync did since the agent started.
    """

    pushed_rows: int = 0
    pushed_events: int = 0
    snapshot_rows: int = 0
    dropped_rows: int = 0
    merged_rows: int = 0
    parked_rows: int = 0
    retries: int = 0
    rereads: int = 0


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

    def __init__(
        self,
        *,
        ordering: Literal["index", "arrival"],
        memory: SyncMemory,
        save: Callable[[SyncMemory], None],
        park: Callable[[list[EventBase], int, str, str], None],
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
        self.memory = memory
        self.counters = counters or Counters()
        self.fault: Fault | None = None
        self.run: SnapshotRun | None = None
        self.touched = TouchedLog(settings.touched_keys)
        self.tracker = AckTracker()
        self.guard = SupersedeGuard(settings.supersede_limit, settings.supersede_window_s, clock)
        self.backoff = Backoff(settings.backoff_first_s, retry_delay_s, rng)
        self.stopping = False
        self.stream_open = False
        self.queue_bytes = 0
        self._arrival = ordering == "arrival"
        self._save_memory = save
        self._park = park
        self._clock = clock
        self._new_id = new_id
        self._batch_rows = batch_rows
        self._max_retries = max_retries
        self._queue: deque[Queued] = deque()
        self._retry: dict[str, deque[Push]] = {"message": deque(), "snapshot": deque()}
        self._under_way: dict[str, list[Push]] = {"message": [], "snapshot": []}
        self._transit = {"message": 0, "snapshot": 0}
        self._seq = 0
        self._gap_seq = 0
        self._before_gap: list[tuple[AckTracker, int]] = []
        self._ended_seq = 0
        self._generation = 0
        self._hold_until = 0.0
        self._read_after = 0.0
        self._session_open = False
        self._consumer_epochs: set[int] = set()
        self._consumer_epoch: int | None = None
        self._start_position = -1
        self._live_pushed = False
        self._start_unknown = False
        self._acked_checkpoint = -1
        self._saved_checkpoint = -1
        self._control_at = -1e9
        self._saved_at = -1e9
        self._dirty = False
        self._asked_early: Mapping[str, Any] | None = None
        self._declined = False
        self._satisfied: tuple[tuple[str, ...] | None, str | None] | None = None

    # -- sessions ----------------------------------------------------------------------------------------------------

    def first_session(self, answer: Mapping[str, Any], consumer_index: int) -> int:
        """
        Take the answer to the first session of this engine; return where the stream is to be opened (-1 = now).
        """
        epoch = answer.get("epoch")
        self._consumer_epoch = None if epoch is None else int(epoch)
        self._consumer_epochs = set() if epoch is None else {int(epoch)}
        if consumer_index >= 0:
            position = consumer_index
        elif self._consumer_epoch is None:
            position = max(self.memory.checkpoint, self.memory.start_index)
        elif self._consumer_epoch == self.memory.epoch:
            position = self.memory.start_index
        else:
            position = -1  # the consumer keeps positions and has nothing: it wants all
        self._start_position = position
        given = answer.get("snapshot_id")
        begun = self.memory.snapshot
        if begun is not None and given is not None and given != begun.snapshot_id:
            begun.resume_token = None  # the consumer does not know ours: read it from the beginning
        self._session_open = True
        self.heartbeat_answered(answer, self._seq)
        return position

    def session_reopened(self, answer: Mapping[str, Any]) -> bool:
        """
        Take the answer to a later session; False when the consumer is not what it was and all has to start over.
        """
        epoch = answer.get("epoch")
        if epoch is not None and self._consumer_epoch is not None and int(epoch) not in self._consumer_epochs:
            return False
        self._session_open = True
        self.heartbeat_answered(answer, self._seq)
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
        return self._seq

    def heartbeat_answered(self, answer: Mapping[str, Any], sent_seq: int) -> None:
        """
        Take what the consumer says besides answers to pushes; `sent_seq` is `seq` when it was asked.
        """
        if answer.get("snapshot_needed") and sent_seq >= self._ended_seq:
            self._snapshot_asked(answer.get("snapshot_request") or {})

    # -- the live stream ---------------------------------------------------------------------------------------------

    def stream_opened(self, *, lost: bool, incarnation: str) -> None:
        """
        The stream was opened (again): at the place asked for, or, when `lost`, at the newest one.
        """
        memory = self.memory
        first = not self.stream_open
        consumer = self._consumer_epoch if first else None
        same = memory.epoch >= 0 and memory.incarnation == incarnation and consumer in (None, memory.epoch)
        positioned = not lost and (self._start_position >= 0 if first else same)
        previous = self.tracker
        if not same:
            # A consumer with rows of another epoch has a gap to fill, also when it never got as far as a checkpoint.
            had_position = not first or self._start_position >= 0 or (consumer is not None and consumer >= 0)
            memory.epoch = self._next_epoch()
            memory.incarnation = incarnation
            memory.checkpoint = memory.start_index = -1
            self.tracker = AckTracker(self._start_position if first and not lost else -1)
            lost = lost or had_position
            self._acked_checkpoint = -1
        elif first:
            self.tracker = AckTracker(-1 if lost else self._start_position)
        elif lost:
            # Indexes go on in the same epoch; what was queued before the gap still has to be acknowledged first.
            self.tracker.last = max(self.tracker.last, self.tracker.passed)
        if first and not lost and self._start_position >= 0 and memory.start_index < 0:
            memory.start_index = self._start_position
        self.stream_open = True
        self._start_unknown = self._start_unknown or not positioned
        if lost:
            self._before_gap.append((previous, previous.seen_seq))
            self._lose_position()
        self._save()
        if lost and self.settings.on_position_lost == "stop":
            self.fault = Fault(
                "driver.position_lost",
                "the source no longer has the position this sync stopped at; changes are missing",
                "start the sync again to go on from now and fill the gap with a snapshot",
                is_error=True,
                for_good=True,
            )
            return
        if first and self.run is None and memory.snapshot is not None:
            self._go_on_with(memory.snapshot)
        if self._asked_early is not None:
            request, self._asked_early = self._asked_early, None
            self._snapshot_asked(request)
        if lost and self.settings.on_position_lost == "snapshot" and self.run is None:
            self._begin_snapshot(None, None)

    def _next_epoch(self) -> int:
        # Versions compare as (epoch, index): positions of another incarnation may be smaller.
        return max(self.memory.epoch, self._consumer_epoch if self._consumer_epoch is not None else -1) + 1

    def _lose_position(self) -> None:
        # Invariant 2 and 10: remembered before anything newer is sent; never a silent gap.
        self.memory.gap = True
        self._gap_seq = self._seq
        self._declined = False
        self._satisfied = None
        self._abandon_snapshot()

    @property
    def wants_live(self) -> bool:
        """
        Whether there is room for live events; what finds none waits in the bus.
        """
        return (
            len(self._queue) < self.settings.queue_events
            and self.queue_bytes < self.settings.queue_bytes
            and self.tracker.unsettled < 4 * self.settings.queue_events
            and not self.stopping
        )

    @property
    def queue_events(self) -> int:
        """
        Live events that wait for a push.
        """
        return len(self._queue)

    def feed(self, event: EventBase) -> None:
        """
        Take the next live event or progress mark.
        """
        if self._start_unknown:
            self._learn_start(event)
        if not event.rows:
            self._note_start(event.index)
            self._take_mark(event.index)
            return
        self._note_start(event.index - 1)
        unit = self.tracker.event(event.index)
        self.touched.record(event)
        if self.touched.is_full:
            self._prune()
        size = event_bytes(event)
        self.queue_bytes += size
        self._queue.append(Queued(event, unit, size, self.memory.epoch))

    def _take_mark(self, index: int) -> None:
        self.tracker.mark(index)

    def _learn_start(self, event: EventBase) -> None:
        # Invariant 3: the stream was opened at "now". A commit before that may not be visible to reads yet: a chunk whose
        # low watermark is below the stream's first point could miss it, and so does the stream.
        self._start_unknown = False
        self.touched.raise_floor(event.index - 1 if event.rows else event.index)

    def _note_start(self, index: int) -> None:
        # Invariant 3: saved before the first row is sent.
        if self.memory.start_index < 0 <= index:
            self.memory.start_index = index
            self._save()

    def _prune(self) -> None:
        run = self.run
        fallback = run.last_low if run and run.last_low is not None else self.touched.floor
        oldest = min((chunk.low for chunk in run.chunks), default=fallback) if run else fallback
        self.touched.prune(oldest, self.tracker.last)

    # -- what may go out ---------------------------------------------------------------------------------------------

    def next_push(self) -> Push | None:
        """
        Return the next push that may go out now; call again until it returns None.
        """
        now = self._clock()
        if (
            not self._session_open
            or not self.stream_open
            or self.stopping
            or now < self._hold_until
            or (self.fault is not None and self.fault.for_good)
            or (self.backoff.failures and any(self._transit.values()))
        ):
            return None
        push = self._next_live() or self._next_control(now) or self._next_snapshot()
        if push is not None:
            self._send(push, now)
        return push

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
        if push.checkpoint >= 0:
            values["checkpoint"] = push.checkpoint
        return values

    def _send(self, push: Push, now: float) -> None:
        self._seq += 1
        push.sent = self._seq
        push.suggested = self.memory.gap
        push.checkpoint = self.tracker.checkpoint if push.epoch == self.memory.epoch else -1
        self._transit[push.lane] += 1
        if not any(push is one for one in self._under_way[push.lane]):
            self._under_way[push.lane].append(push)
        if push.lane == "message":
            self._control_at = now
            self._live_pushed = self._live_pushed or push.kind == "rows"
            self._on_live_sent(push)

    def _on_live_sent(self, push: Push) -> None:
        """
        Hook of tests: a live push goes out.
        """

    def _next_live(self) -> Push | None:
        retry = self._retry["message"]
        if retry:
            if self._transit["message"] and (self._arrival or retry[0].serial):
                return None
            return retry.popleft()
        under_way = self._under_way["message"]
        if not self._queue or len(under_way) >= (1 if self._arrival else self.settings.live_in_flight):
            return None
        if any(push.serial for push in under_way):
            return None
        return self._build_live()

    def _build_live(self) -> Push | None:
        queue, settings = self._queue, self.settings
        live, chunks = self._under_way["message"], self._under_way["snapshot"]
        events: list[EventBase] = []
        units: list[Unit] = []
        held: list[Queued] = []
        blocked = KeySet()
        rows = size = 0
        epoch = -1
        while queue and len(held) < 1000:
            item = queue[0]
            event = item.event
            count = len(event.rows)
            if events and (
                item.epoch != epoch or rows + count > self._batch_rows or size + item.size > settings.batch_bytes
            ):
                break
            if live and self._follows_live(event, live):
                break
            queue.popleft()
            if (held and blocked.touches(event)) or (chunks and self._waits_for_chunk(event, chunks)):
                held.append(item)
                blocked.add(event)
                continue
            self.queue_bytes -= item.size
            fit = rows_that_fit(event.rows, self._batch_rows, settings.batch_bytes)
            if fit < count:
                rest = with_rows(event, event.rows[fit:])
                item.unit.pending += 1
                queue.appendleft(Queued(rest, item.unit, event_bytes(rest), item.epoch))
                self.queue_bytes += queue[0].size
                event, count = with_rows(event, event.rows[:fit]), fit
            events.append(event)
            units.append(item.unit)
            epoch = item.epoch
            rows += count
            size += item.size
            if fit < len(item.event.rows):
                break
        queue.extendleft(reversed(held))
        return Push("message", "rows", events, epoch, units=units) if events else None

    def _follows_live(self, event: EventBase, live: list[Push]) -> bool:
        # By index alone a consumer can't order two changes of one key in one transaction, nor complete a row that is
        # not there yet: those wait for what came before them.
        partial = is_partial(event)
        return any((partial or event.index <= push.last_index) and push.keys.touches(event) for push in live)

    def _waits_for_chunk(self, event: EventBase, chunks: list[Push]) -> bool:
        # Invariant 3: a live row with a key in a chunk that is under way waits for it; others don't.
        if self._arrival:
            return any(push.keys.touches(event) for push in chunks)
        partial = is_partial(event)
        return any(
            (push.merged and push.merged_keys.touches(event)) or (partial and push.keys.touches(event))
            for push in chunks
        )

    def _next_control(self, now: float) -> Push | None:
        if self._transit["message"] or self._retry["message"] or self._queue:
            return None
        suggest = self.memory.gap and not any(
            push.suggested and push.sent > self._gap_seq for push in self._under_way["snapshot"]
        )
        # Invariant 10: an idle source still advances its checkpoint.
        newer = self.tracker.checkpoint > self._acked_checkpoint
        due = newer and now - self._control_at >= self.settings.checkpoint_interval_s
        return Push("message", "control", [], self.memory.epoch) if suggest or due else None

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def _next_snapshot(self) -> Push | None:
        busy = self._arrival or bool(self._under_way["message"]) or bool(self._queue)
        limit = 1 if busy else self.settings.snapshot_in_flight
        retry = self._retry["snapshot"]
        if self._transit["snapshot"] >= limit or (
            self._transit["snapshot"] and any(push.serial for push in self._under_way["snapshot"])
        ):
            return None
        if retry:
            return retry.popleft()
        run = self.run
        if run is None or run.progress.paused or len(self._under_way["snapshot"]) >= limit:
            return None
        if run.start_index is None and run.exhausted:
            run.start_index = -1  # nothing was read: nothing may be removed on its word
        start = run.start_index
        if start is not None and (run.announced is None or start < run.announced):
            if run.announcing:
                return None
            run.announcing = True
            run.progress.start_index = start
            self._save()
            return Push("snapshot", "begin", [progress_mark(start)], self.memory.epoch, snapshot_id=self._run_id(run))
        for chunk in list(run.chunks):
            while chunk.taken < chunk.rows:
                if not self._may_release(chunk):
                    return None
                push = self._build_chunk(run, chunk)
                if push is not None:
                    return push
                if self.run is not run or chunk not in run.chunks:
                    return None
        self._collect(run)
        if run.exhausted and not run.chunks and not self._under_way["snapshot"]:
            return self._end(run)
        return None

    def _run_id(self, run: SnapshotRun) -> str:
        return run.progress.snapshot_id

    def _may_release(self, chunk: Chunk) -> bool:
        # Invariant 3: held until the stream has passed its high watermark.
        return self._is_before_gap_settled() and (chunk.high is None or self.tracker.passed >= chunk.high)

    def _is_before_gap_settled(self) -> bool:
        # What changed in the gap is in the chunk only: older live rows must not arrive after it.
        while self._before_gap and self._before_gap[0][0].settled_seq >= self._before_gap[0][1]:
            self._before_gap.pop(0)
        return not self._before_gap

    def _build_chunk(self, run: SnapshotRun, chunk: Chunk) -> Push | None:
        event, low = chunk.event, chunk.low
        if low < self.touched.floor:
            self._read_again(run)
            return None
        rows = event.rows if not chunk.taken else event.rows[chunk.taken :]
        fit = rows_that_fit(rows, self._batch_rows, self.settings.batch_bytes)
        part = rows if fit == len(rows) else rows[:fit]
        try:
            left = self.touched.reconcile(event, part, low)
        except KeyShapeMismatch as exc:
            self._abandon_snapshot()
            self._save()
            self.fault = Fault("driver.failed", f"snapshot given up: {exc}", "report this to the driver's author")
            return None
        chunk.taken += fit
        run.barrier = self.tracker.seen_seq
        self.counters.dropped_rows += left.dropped
        self.counters.merged_rows += len(left.merged)
        point = self.tracker.passed if chunk.high is not None else low
        events: list[EventBase] = []
        merged: list[EventBase] = []
        if left.untouched:
            events.append(with_rows(event, left.untouched, index=point))
        if left.merged:
            # As new as the newest partial update in it; later changes of these keys wait for it.
            merged.append(with_rows(event, left.merged, index=max(point, self.tracker.last)))
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
            self.memory.epoch,
            chunk=chunk,
            merged=merged,
            snapshot_id=self._run_id(run),
        )

    def _end(self, run: SnapshotRun) -> Push | None:
        # Rows that the stream carries instead of the chunks must be there before the consumer removes what is missing.
        if run.end_sent or self.tracker.settled_seq < run.barrier:
            return None
        if run.is_narrowed:
            tables = run.progress.tables
            self._satisfied = (None if tables is None else tuple(tables), run.progress.where)
            self._finish()
            return None
        run.end_sent = True
        return Push("snapshot", "end", [], self.memory.epoch, snapshot_id=self._run_id(run))

    def _finish(self) -> None:
        self.run = None
        self.memory.snapshot = None
        self.touched.stop()
        self._seq += 1  # so that an answer to anything sent before is told from one that knows of this end
        self._ended_seq = self._seq
        self._save()

    def _collect(self, run: SnapshotRun) -> None:
        if run.collect():
            self._dirty = True
            self._save_if_due()

    def read_order(self) -> ReadOrder | None:
        """
        Return what to read now; None = nothing (now).
        """
        run, settings = self.run, self.settings
        if (
            run is None
            or run.progress.paused
            or run.exhausted
            or self.stopping
            or not self._may_read()
            or len(run.chunks) >= settings.held_chunks
            or run.held_bytes >= settings.held_bytes
            or self._clock() < self._read_after
        ):
            return None
        return run.order()

    def _may_read(self) -> bool:
        # Invariant 1: the first live event is pushed before any row of a snapshot is read.
        return self.stream_open and (self._live_pushed or not self._queue)

    def is_current(self, generation: int) -> bool:
        """
        Whether a reader of this generation is still wanted (it may have to wait for `read_order`).
        """
        return self.run is not None and not self.run.progress.paused and self.run.generation == generation

    def chunk_read(self, generation: int, event: EventBase, high: int | None) -> None:
        """
        Take a chunk and the high watermark that was taken after it.
        """
        run = self.run
        if run is None or run.generation != generation:
            return
        if event.index < self.touched.floor:
            self._read_again(run)
            return
        run.rereads = 0
        run.add(Chunk(event, high))

    def snapshot_read(self, generation: int) -> None:
        """
        The reader has come to the end.
        """
        if self.run is not None and self.run.generation == generation:
            self.run.exhausted = True

    def snapshot_read_failed(self, generation: int, error: BaseException) -> None:
        """
        The reader failed: read again, after a wait, from the last chunk that was read.
        """
        run = self.run
        if run is None or run.generation != generation:
            return
        run.rereads += 1
        wait = getattr(error, "wait_s", None) or min(5.0, 0.2 * 2 ** min(run.rereads, 10))
        if isinstance(error, _NEEDS_A_PERSON):
            wait = self.settings.error_retry_s
        self._read_after = self._clock() + wait
        self._generation += 1
        run.generation = self._generation
        self.fault = _fault_of(error, f"reading the snapshot: {error}", is_error=isinstance(error, _NEEDS_A_PERSON))

    def _read_again(self, run: SnapshotRun) -> None:
        # The chunk is older than what is remembered of the stream: some change may be missing from both.
        run.rereads += 1
        self.counters.rereads += 1
        if run.rereads > self.settings.chunk_rereads:
            self.fault = Fault(
                "snapshot.watermark_too_old",
                f"the source's low watermarks stay behind the stream: {run.rereads} chunks read in vain",
                "look for a transaction at the source that stays open; the snapshot starts over slowly",
                is_error=True,
            )
        self._read_after = self._clock() + min(1.0, 0.01 * 2 ** min(run.rereads, 10))
        self._generation += 1
        run.drop_unsent(self._generation)

    def _snapshot_asked(self, request: Mapping[str, Any]) -> None:
        # Invariant 2: one at a time, and only because somebody asked.
        if not self.stream_open:
            self._asked_early = request
            return
        tables, where = request.get("tables"), request.get("where")
        if self.run is not None or self._declined:
            return
        if self._satisfied is not None and self._satisfied == (None if tables is None else tuple(tables), where):
            return
        self._begin_snapshot(tables, where)

    def _begin_snapshot(self, tables: list[str] | None, where: str | None) -> None:
        progress = SnapshotProgress(self._new_id(), -1, tables=tables, where=where)
        self.memory.snapshot = progress
        self._save()
        self._go_on_with(progress)

    def _go_on_with(self, progress: SnapshotProgress) -> None:
        self._generation += 1
        self.run = SnapshotRun(progress, self._generation)
        if not progress.paused:
            self.touched.start(self.tracker.last)

    def _abandon_snapshot(self) -> None:
        self.memory.snapshot = None
        self.run = None
        self._asked_early = None
        self._generation += 1
        self.touched.stop()
        retrying = self._retry["snapshot"]
        for push in self._under_way["snapshot"]:
            push.abandoned = True
        self._under_way["snapshot"] = [
            push for push in self._under_way["snapshot"] if not any(push is one for one in retrying)
        ]
        retrying.clear()

    def request_snapshot(self, tables: list[str] | None = None, where: str | None = None) -> None:
        """
        A person asks for a snapshot.

        Raises:
            StateConflictError: One is under way, or the stream is not open.
        """
        if self.run is not None:
            raise StateConflictError("a snapshot is under way", hint="cancel it first, or wait for its end")
        if not self.stream_open:
            raise StateConflictError("the sync is not connected to its source", hint="see the reason in its status")
        self._declined = False
        self._satisfied = None
        self._begin_snapshot(tables, where)

    def pause_snapshot(self) -> None:
        """
        Pause; what is under way is finished, what was only read is read again later.

        Raises:
            StateConflictError: None is under way.
        """
        run = self._running()
        self._collect(run)
        self._generation += 1
        run.drop_unsent(self._generation)
        run.progress.paused = True
        self.touched.stop()
        self._save()

    def resume_snapshot(self) -> None:
        """
        Go on after a pause.

        Raises:
            StateConflictError: None is paused.
        """
        run = self._running()
        if not run.progress.paused:
            raise StateConflictError("the snapshot is not paused", hint="nothing to do")
        run.progress.paused = False
        self.touched.start(self.tracker.last)
        self._save()

    def cancel_snapshot(self) -> None:
        """
        Give the snapshot up; the consumer's wish for one is not heard until a person asks or the agent starts anew.

        Raises:
            StateConflictError: None is under way.
        """
        self._running()
        self._abandon_snapshot()
        self._declined = True
        self._save()

    def _running(self) -> SnapshotRun:
        if self.run is None:
            raise StateConflictError("no snapshot is under way", hint="start one first")
        return self.run

    # -- answers -----------------------------------------------------------------------------------------------------

    def push_done(self, push: Push, answer: Mapping[str, Any]) -> None:
        """
        A push was answered: what is in it is durable at the consumer.
        """
        self._leave_transit(push)
        self._leave(push)
        self.backoff.reset()
        if self.fault is not None and not self.fault.for_good:
            self.fault = None
        self._consumer_epochs.add(push.epoch)
        if self.memory.gap and push.suggested and push.sent > self._gap_seq:
            self.memory.gap = False
            self._save()
        for unit in push.units:
            unit.tracker.settle(unit)
        if push.epoch == self.memory.epoch:
            self._acked_checkpoint = max(self._acked_checkpoint, push.checkpoint)
        rows = push.row_count
        self.counters.pushed_rows += rows
        self.counters.pushed_events += len(push.events)
        self._snapshot_part_done(push)
        self._checkpoint_moved()
        if answer.get("snapshot_cancelled") and self.run is not None and push.snapshot_id == self._run_id(self.run):
            self._abandon_snapshot()
            self._save()
        if answer.get("snapshot_needed") and push.sent >= self._ended_seq:
            self._snapshot_asked(answer.get("snapshot_request") or {})

    def _snapshot_part_done(self, push: Push) -> None:
        run = self.run
        if push.chunk is not None:
            push.chunk.pending -= 1
            self.counters.snapshot_rows += push.row_count
        if run is None or push.snapshot_id != self._run_id(run) or push.abandoned:
            return
        if push.kind == "begin":
            run.announcing = False
            run.announced = push.events[0].index
        elif push.kind == "end":
            self._finish()
            return
        self._collect(run)

    def _checkpoint_moved(self) -> None:
        checkpoint = self.tracker.checkpoint
        if checkpoint > self.memory.checkpoint:
            self.memory.checkpoint = checkpoint
            self._dirty = True
        self._save_if_due()

    def push_failed(self, push: Push, error: BaseException) -> None:
        """
        A push failed; unless it was refused for good its outcome is unknown, and it is sent again before anything newer.
        """
        self._leave_transit(push)
        if push.abandoned:
            self._leave(push)
            return
        if isinstance(error, BatchRejected | RowRejected | RequestTooLarge) and push.kind == "rows":
            self._refused(push, error)
            return
        if not isinstance(error, FustorError):
            push.failures += 1
            if (
                isinstance(error, ValueError | TypeError)
                and push.failures >= self.settings.unknown_error_tries
                and push.kind == "rows"
            ):
                self._refused(push, error)
                return
        self.counters.retries += 1
        self._retry[push.lane].appendleft(push)
        self.failed(error)

    def failed(self, error: BaseException) -> None:
        """
        Something failed at the consumer's side: wait before the next try.
        """
        now = self._clock()
        if isinstance(error, SessionSuperseded):
            self._session_open = False
            if self.guard.superseded():
                self._hold_until = now + self.settings.error_retry_s
                self.fault = Fault(
                    error.code,
                    f"the session of this sync was taken over {self.settings.supersede_limit} times in "
                    f"{self.settings.supersede_window_s:.0f} s: a second agent runs the same sync",
                    "stop the other agent, or give one of the two syncs another id",
                    is_error=True,
                )
            else:
                self._hold_until = max(self._hold_until, now + self.backoff.next_wait() * 0.1)
            return
        if isinstance(error, _NEEDS_A_PERSON):
            self._hold_until = now + self.settings.error_retry_s
            self.backoff.failures += 1
            self.fault = _fault_of(error, str(error), is_error=True)
            return
        asked = error.wait_s if isinstance(error, ConnectionLost | ConsumerBusy | OverloadedError) else None
        wait = self.backoff.next_wait(asked)
        given_up = 0 < self._max_retries < self.backoff.failures
        if given_up:
            wait = max(wait, self.settings.error_retry_s)
        self._hold_until = max(self._hold_until, now + wait)
        text = str(error) if isinstance(error, FustorError) else f"{type(error).__name__}: {error}"
        if given_up:
            text = f"{self.backoff.failures} tries in a row failed, the last: {text}"
        self.fault = _fault_of(error, text, is_error=given_up)

    def _refused(self, push: Push, error: BaseException) -> None:
        # Invariant 6: parked durably and counted before it counts as settled; the others go on.
        if self.settings.on_reject == "stop":
            self._retry[push.lane].appendleft(push)
            self.fault = _fault_of(error, f"the consumer refuses rows: {error}", is_error=True)
            self.fault.for_good = True
            return
        verdict = cut(push, error.rejected if isinstance(error, BatchRejected) else {}, str(error))
        code = error.code if isinstance(error, FustorError) else "driver.failed"
        for event, reason in verdict.parked:
            self._park([event], push.epoch, reason, code)
            self.counters.parked_rows += len(event.rows)
        self._leave(push)
        if push.chunk is not None:
            push.chunk.pending += len(verdict.parts) - 1
        self._under_way[push.lane].extend(verdict.parts)
        self._retry[push.lane].extendleft(reversed(verdict.parts))
        for unit in verdict.units:
            unit.tracker.settle(unit)
        self.backoff.reset()
        if self.run is not None and push.chunk is not None:
            self._collect(self.run)
        self._checkpoint_moved()

    def _leave_transit(self, push: Push) -> None:
        self._transit[push.lane] -= 1

    def _leave(self, push: Push) -> None:
        self._under_way[push.lane] = [one for one in self._under_way[push.lane] if one is not push]

    # -- memory and time ---------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self._dirty = False
        self._saved_at = self._clock()
        self._save_memory(self.memory)
        self._saved_checkpoint = self.memory.checkpoint

    @property
    def forgettable(self) -> int:
        """
        The index up to which nobody asks the source again: saved here, and known to the consumer. -1 = none.
        """
        return min(self._saved_checkpoint, self._acked_checkpoint)

    def _save_if_due(self) -> None:
        if self._dirty and self._clock() - self._saved_at >= self.settings.checkpoint_interval_s:
            self._save()

    def tick(self) -> None:
        """
        Time has passed: save what was put off.
        """
        self._checkpoint_moved()

    def flush(self) -> None:
        """
        Save now what was put off.
        """
        self._checkpoint_moved()
        if self._dirty:
            self._save()

    def wait_s(self) -> float:
        """
        Return how long nothing will change by time alone, seconds (at most one).
        """
        now = self._clock()
        times = [at - now for at in (self._hold_until, self._read_after) if at > now]
        if self._dirty or self.tracker.checkpoint > self._acked_checkpoint:
            times.append(self.settings.checkpoint_interval_s)
        return max(0.0, min([1.0, *times]))

    @property
    def in_transit(self) -> int:
        """
        Pushes sent and not yet answered.
        """
        return sum(self._transit.values())

    @property
    def hold_s(self) -> float:
        """
        How long nothing is sent because of a failure, seconds.
        """
        return max(0.0, self._hold_until - self._clock())

    def under_way(self, lane: Literal["message", "snapshot"]) -> list[Push]:
        """
        Return the pushes of a lane that are not answered.
        """
        return list(self._under_way[lane])


def _fault_of(error: BaseException, reason: str, *, is_error: bool) -> Fault:
    if isinstance(error, FustorError):
        return Fault(error.code, reason, error.hint, is_error)
    return Fault("driver.failed", reason, "this is a fault of the driver: report it with the log", is_error)
