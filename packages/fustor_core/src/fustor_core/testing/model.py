"""
The model that the sync runtime is proven in: a fake source, a fake consumer, and Hypothesis in between.

Writes, commits, late visibility, deliveries, chunk reads, watermarks, lost answers, refusals, crashes of either side, lost
positions and failovers interleave at every step, in an order that Hypothesis picks. What must hold is checked at every
step (rules 1 to 5 and 10 of the architecture), and after each run everything is let settle: then target == source.

`SyncModel` knows an engine only by its methods (`Engine`), so it drives the real one: subclass it, say how an engine is
made (`make_engine`) and which target (`ordering`), and run `SyncModel.TestCase`.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fustor_core.errors import BatchRejected, ConnectionLost, SessionSuperseded
from fustor_core.models.event import EventBase, EventType, UntoldMark, progress_mark
from fustor_core.testing.fake_database import KEYLESS, Change, FakeDatabase, FakeReader, UntoldKind
from fustor_core.testing.fakes import FakeIndexTarget, FakeSweepingTarget, FakeUpsertTarget

POISON = -666
_IDS = st.integers(0, 4)
_TABLES = st.sampled_from(["t", "u"])
_UNTOLD = st.sampled_from(["truncate", "rewrite", "cascade"])
_KINDS = st.sampled_from(["insert", "update", "delete", "rekey"])
_FAR = 1 << 60


class Engine(Protocol):
    """
    What the model needs of an engine; `fustor_agent.sync.engine.SyncEngine` is one.
    """

    memory: Any
    run: Any
    snapshots: Any
    tracker: Any
    settings: Any
    queue_events: int
    wants_live: bool
    needs_session: bool
    seq: int

    def first_session(self, answer: Mapping[str, Any], consumer_index: int) -> int: ...
    def session_reopened(self, answer: Mapping[str, Any]) -> bool: ...
    def heartbeat_answered(self, answer: Mapping[str, Any], sent_seq: int) -> None: ...
    def stream_opened(self, *, lost: bool, incarnation: str) -> None: ...
    def feed(self, event: EventBase) -> None: ...
    def next_push(self) -> Any: ...
    def control(self, push: Any) -> dict[str, Any]: ...
    def push_done(self, push: Any, answer: Mapping[str, Any]) -> None: ...
    def push_failed(self, push: Any, error: BaseException) -> None: ...
    def read_order(self) -> Any: ...
    def is_current(self, generation: int) -> bool: ...
    def chunk_read(self, generation: int, event: EventBase, high: int | None) -> None: ...
    def snapshot_read(self, generation: int) -> None: ...
    def tick(self) -> None: ...


class SyncModel(RuleBasedStateMachine):
    """
    One sync between a fake source and a fake target.

    Attributes:
        ordering: Which fake target.
        sweeps: Whether one that goes by arrival removes what a snapshot does not show.
        naive: The source takes its low watermark without a visibility gate (a mutation of the source).
    """

    ordering: ClassVar[Literal["index", "arrival"]] = "index"
    sweeps: ClassVar[bool] = False
    naive: ClassVar[bool] = False

    def make_engine(self, memory: Any) -> Engine:
        """
        Build an engine on what was remembered; it calls `self.saved` and `self.parked` and reads `self.clock`.
        """
        raise NotImplementedError

    def new_memory(self) -> Any:
        """
        Return the memory of a sync that never ran.
        """
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.database = FakeDatabase(naive=self.naive)
        by_arrival = FakeSweepingTarget if self.sweeps else FakeUpsertTarget
        self.target: Any = FakeIndexTarget() if self.ordering == "index" else by_arrival()
        self.target.wants_snapshot = True
        self.durable = self.new_memory()
        self.now = 0.0
        self.ids = 0
        self.in_flight: list[Any] = []
        self.acked: set[tuple[str, int, str, int, str]] = set()
        self.reader: tuple[int, FakeReader] | None = None
        self.parked_keys: set[tuple[str, int]] = set()
        self.commits: dict[str, list[Any]] = {}
        self.lineage = self.database.incarnation
        self.owed_from = -1
        self.gap_pending = False
        self.had_gap = False
        self.untold_tables: set[str] = set()
        self.owed_tables: set[str] = set()
        self.asked = False
        self.cancelled = False
        self.live_versions: dict[tuple[str, int], int] = {}
        for at in range(6):
            self._commit([Change(EventType.INSERT, "t" if at % 2 else "u", at // 2, {"a": at, "b": at})], visible=True)
        self._start()

    # -- the world outside -------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """
        The engine's clock; moves only when a rule says so.
        """
        return self.now

    def new_id(self) -> str:
        """
        Make snapshot ids.
        """
        self.ids += 1
        return f"snapshot-{self.ids}"

    def saved(self, memory: Any) -> None:
        """
        Keep memory as a disk would: a copy.
        """
        self.durable = copy.deepcopy(memory)
        self._check_checkpoint(memory.epoch, memory.checkpoint, "remembered")

    def parked(self, events: list[EventBase], epoch: int, why: Any) -> None:
        """
        Take dead letters.
        """
        for event in events:
            for row in event.rows:
                assert isinstance(row, dict)
                assert row.get("a") == POISON, f"a good row was parked: {row}"
                self.parked_keys.add((event.table, row["id"]))
                self._acknowledge(event)

    def _start(self) -> None:
        self.engine = self.make_engine(copy.deepcopy(self.durable))
        self.in_flight = []
        self.reading: tuple[int, int, FakeReader] | None = None
        self.reader = None
        self.chunk: tuple[int, EventBase | None] | None = None
        self.live_fed = self.live_sent = False
        index = self.target.index if self.ordering == "index" else -1
        self.asked = self.asked or self.target.wants_snapshot
        self.target.opened()
        position = self.engine.first_session(self.target.session_facts(), index)
        self._open_stream(position, first=True)

    def _open_stream(self, position: int, *, first: bool = False) -> None:
        database = self.database
        lost = position >= 0 and not database.available(position)
        start = database.newest if position < 0 or lost else position
        new_server = self.lineage != database.incarnation
        before = self.engine.memory.epoch
        gap = lost or new_server or (first and self._epoch_counts_as_lost())
        if gap:
            self.gap_pending = self.had_gap = True
        fresh = self.owed_from < 0 or (self.ordering == "index" and self.target.epoch < 0)
        if gap or fresh:
            self.owed_from = start
            self.lineage = database.incarnation
        elif first:
            self._check_owed(start, "the stream was opened")
        self.engine.stream_opened(lost=lost, incarnation=database.incarnation)
        if self.engine.memory.epoch != before:
            self.live_versions = {}
        if new_server:
            assert self.engine.memory.epoch > before, "a new incarnation did not start a new epoch"
        if self.gap_pending:
            assert self.durable.gap, "a lost position was not remembered before going on"
        self.cursor = (start, _FAR)
        self.engine.feed(progress_mark(start))

    def _epoch_counts_as_lost(self) -> bool:
        return self.ordering == "index" and self.target.epoch not in (-1, self.engine.memory.epoch)

    def _waiting(self) -> list[tuple[tuple[int, int], EventBase]]:
        return [
            ((commit.index, at), event)
            for commit in self.database.log
            if commit.index >= self.cursor[0]
            for at, event in enumerate(commit.events())
            if (commit.index, at) > self.cursor
        ]

    def _commit(self, changes: list[Change], visible: bool) -> None:
        commit = self.database.commit(*changes, visible=visible)
        self.commits.setdefault(self.database.incarnation, []).append(commit)

    def _acknowledge(self, event: EventBase) -> None:
        for at, row in enumerate(event.rows):
            assert isinstance(row, dict)
            named = row["id"] if event.ordinal is None else event.ordinal + at
            self.acked.add((self.lineage, event.index, event.table, named, event.event_type.value))

    def _check_checkpoint(self, epoch: int, checkpoint: int, where: str) -> None:
        if checkpoint >= 0 and epoch == self.engine.memory.epoch and not self._stream_is_old():
            self._check_owed(checkpoint, f"checkpoint {checkpoint} was {where}")

    def _stream_is_old(self) -> bool:
        return self.lineage != self.database.incarnation

    def _check_owed(self, through: int, where: str) -> None:
        for commit in self.commits.get(self.lineage, []):
            if self.owed_from < commit.index <= through:
                for change, event in zip(commit.changes, commit.events(), strict=commit.untold is None):
                    if event.ordinal is not None and self.ordering == "arrival":
                        continue  # left out
                    named = change.id if event.ordinal is None else event.ordinal
                    key = (self.lineage, commit.index, change.table, named, change.kind.value)
                    assert key in self.acked, f"{where}, and {key} was not acknowledged"

    # -- rules -------------------------------------------------------------------------------------------------------

    @rule(
        changes=st.lists(st.tuples(_KINDS, _TABLES, _IDS, st.integers(0, 3)), min_size=1, max_size=3),
        visible=st.booleans(),
    )
    def write(self, changes: list[tuple[str, str, int, int]], visible: bool) -> None:
        """
        Commit a transaction; reads may see it later than the log.
        """
        rows = self.database.rows(committed=True)
        made: list[Change] = []
        for kind, table, at, shape in changes:
            exists = (table, at) in rows
            if kind == "rekey" and exists and (table, at + 5) not in rows:
                row = {name: value for name, value in rows.pop((table, at)).items() if name != "v"}
                made += [Change(EventType.DELETE, table, at), Change(EventType.INSERT, table, at + 5, row)]
                rows[table, at + 5] = row
            elif kind == "delete" and exists:
                made.append(Change(EventType.DELETE, table, at))
                del rows[table, at]
            elif exists:
                value = self.database.stamp + 1
                shapes: list[dict[str, Any]] = [{"a": value}, {"b": value}, {"a": value, "b": value}, {"a": None}]
                made.append(Change(EventType.UPDATE, table, at, shapes[shape]))
            elif kind != "delete":
                made.append(Change(EventType.INSERT, table, at, {"a": shape, "b": None}))
                rows[table, at] = {}
        if made:
            self._commit(made, visible)

    @rule(kind=_UNTOLD, table=_TABLES | st.just(KEYLESS), visible=st.booleans())
    def change_untold(self, kind: UntoldKind, table: str, visible: bool) -> None:
        """
        Change every row of a table in a way that the log does not tell.
        """
        if table == KEYLESS and self.ordering == "arrival":
            return
        if self.database.stamp % 3 == 0:
            self.commit_untold(kind, table, visible)

    def commit_untold(self, kind: UntoldKind, table: str, visible: bool) -> None:
        """
        Commit it now.
        """
        commit = self.database.commit_untold(kind, table, visible=visible)
        self.commits.setdefault(self.database.incarnation, []).append(commit)

    @rule(changes=st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=4), visible=st.booleans())
    def write_keyless(self, changes: list[tuple[bool, int]], visible: bool) -> None:
        """
        Commit a transaction in the table without a key: rows come, and rows that are there go.
        """
        bag = self.database.bag(committed=True)
        made: list[Change] = []
        for comes, n in changes:
            if comes or bag[n] > 0:
                bag[n] += 1 if comes else -1
                made.append(Change(EventType.INSERT if comes else EventType.DELETE, KEYLESS, n))
        if made:
            self._commit(made, visible)

    @rule(table=_TABLES, at=_IDS)
    def write_poison(self, table: str, at: int) -> None:
        """
        Write a row that the target refuses.
        """
        if self.database.stamp % 5 == 0:
            kind = EventType.UPDATE if (table, at) in self.database.rows(committed=True) else EventType.INSERT
            self._commit([Change(kind, table, at, {"a": POISON, "b": 0})], True)

    @rule(at=st.integers(0, 3))
    def make_visible(self, at: int) -> None:
        """
        Let reads see an old commit.
        """
        hidden = self.database.invisible()
        if hidden:
            self.database.make_visible(hidden[at % len(hidden)])

    @rule(count=st.integers(1, 5), mark=st.booleans(), together=st.booleans())
    def deliver(self, count: int, mark: bool, together: bool = True) -> None:
        """
        The stream brings events, and a mark when it has brought all. Rows without a key come one by one, or `together`.
        """
        for _ in range(count):
            waiting = self._waiting()
            if not waiting:
                if mark:
                    self.engine.feed(progress_mark(self.database.newest))
                return
            if not self.engine.wants_live:
                return
            self.cursor, event = waiting[0]
            for place, more in waiting[1:] if together else ():
                same = (more.index, more.event_type) == (event.index, event.event_type)
                if event.ordinal is None or more.ordinal is None or not same:
                    break
                self.cursor = place
                event.rows = [*event.rows, *more.rows]
            self.live_fed = self.live_fed or (bool(event.rows) and (event.ordinal is None or self.ordering == "index"))
            self.engine.feed(event)
            if isinstance(event, UntoldMark):
                self._after_untold(event)

    def _after_untold(self, mark: UntoldMark) -> None:
        if mark.may_wait:
            self.untold_tables.add(mark.table)
            assert (mark.event_schema, mark.table) in self.durable.put_off, (
                "a table to be read again was not remembered"
            )
            return
        self.gap_pending = True
        self.untold_tables.add(mark.table)
        name = f"{mark.event_schema}.{mark.table}"
        self.owed_tables.add(name)
        assert self.durable.gap, "a mark of untold changes was not remembered before going on"
        assert self.durable.gap_tables is None or name in self.durable.gap_tables, f"{name} was not remembered"

    @rule()
    def open_chunk(self) -> None:
        """
        The reader takes its low watermark.
        """
        order = self.engine.read_order()
        if order is None or self.chunk is not None or self.reading is not None:
            return
        assert not self.live_fed or self.live_sent, "a chunk is read before the first live event was pushed"
        assert self.asked, "a snapshot that nobody asked for"
        if self.reader is None or self.reader[0] != order.generation:
            reader = FakeReader(
                self.database, order.resume_token, 2, order.tables, with_keyless=self.ordering == "index"
            )
            self.reader = (order.generation, reader)
        self.reading = (order.generation, self.database.low_watermark(), self.reader[1])

    @rule()
    def read_chunk(self) -> None:
        """
        The reader reads.
        """
        if self.reading is None:
            return
        generation, low, reader = self.reading
        self.reading = None
        self.chunk = (generation, reader.next(low))

    @rule()
    def take_high(self) -> None:
        """
        The reader takes its high watermark and hands the chunk over.
        """
        if self.chunk is None:
            return
        (generation, event), self.chunk = self.chunk, None
        if event is None:
            self.engine.snapshot_read(generation)
        else:
            self.engine.chunk_read(generation, event, self.database.newest)

    @rule(count=st.integers(1, 4))
    def pump(self, count: int) -> None:
        """
        Pushes go out.
        """
        for _ in range(count):
            if self.engine.needs_session:
                self._reopen_session()
            push = self.engine.next_push()
            if push is None:
                return
            control = self.engine.control(push)
            self._check_checkpoint(push.epoch, control.get("checkpoint", -1), "sent")
            # Beginning and end of a snapshot that began before the gap must not be taken for an answer to it.
            if self.gap_pending and not (push.kind in ("begin", "end") and self.engine.run.is_before_gap):
                assert control["snapshot_sync_suggested"], "a push after a lost position does not suggest a snapshot"
                named = control.get("snapshot_tables")
                assert named is None or self.owed_tables <= set(named), f"{self.owed_tables} changed, told are {named}"
            if push.lane == "message" and push.events:
                self.live_sent = True
            self.in_flight.append((push, control))

    def _reopen_session(self) -> None:
        self.asked = self.asked or self.target.wants_snapshot
        self.target.opened()
        if not self.engine.session_reopened(self.target.session_facts()):
            self._start()

    @rule(at=st.integers(0, 7))
    def answer(self, at: int) -> None:
        """
        The target applies a push that is under way, and the answer arrives. It refuses rows that are poison.
        """
        if not self.in_flight:
            return
        push, control = self.in_flight.pop(at % len(self.in_flight))
        poison = {
            i: "poison"
            for i, event in enumerate(push.events)
            if any(isinstance(row, dict) and row.get("a") == POISON for row in event.rows)
        }
        if poison:
            self.engine.push_failed(push, BatchRejected("poison", rejected=poison if at % 2 else {}))
            return
        result = self._apply(push, control)
        for event in push.events:
            if push.lane == "message":
                self._acknowledge_in(push, event)
        self.engine.push_done(push, result)

    def _acknowledge_in(self, push: Any, event: EventBase) -> None:
        if push.epoch == self.engine.memory.epoch:
            self._acknowledge(event)

    def _apply(self, push: Any, control: dict[str, Any]) -> dict[str, Any]:
        if self.ordering == "arrival" and push.epoch == self.engine.memory.epoch:
            self._check_arrival(push)
        result: dict[str, Any] = self.target.apply(copy.deepcopy(push.events), control)
        if control["snapshot_sync_suggested"]:
            named = control.get("snapshot_tables")
            self.owed_tables = set() if named is None else self.owed_tables - set(named)
            self.gap_pending = bool(self.owed_tables)
        self.asked = self.asked or result["snapshot_needed"]
        return result

    def _check_arrival(self, push: Any) -> None:
        for event in push.events:
            for row in event.rows:
                key = (event.table, row["id"])
                if push.lane == "snapshot":
                    assert row["v"] >= self.live_versions.get(key, 0), f"a chunk's row overwrites a newer one: {row}"
                elif "v" in row:
                    self.live_versions[key] = max(row["v"], self.live_versions.get(key, 0))

    @rule(at=st.integers(0, 7), applied=st.booleans(), superseded=st.booleans())
    def lose_answer(self, at: int, applied: bool, superseded: bool) -> None:
        """
        A push fails; the target has applied it, or not.
        """
        if not self.in_flight:
            return
        push, control = self.in_flight.pop(at % len(self.in_flight))
        if applied and not superseded and not self._is_poison(push):
            self._apply(push, control)
        error = SessionSuperseded("taken over") if superseded else ConnectionLost("the answer was lost")
        self.engine.push_failed(push, error)
        self.now += 0.5

    def _is_poison(self, push: Any) -> bool:
        return any(isinstance(row, dict) and row.get("a") == POISON for event in push.events for row in event.rows)

    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.now += seconds
        self.engine.tick()

    @rule()
    def heartbeat(self) -> None:
        """
        A heartbeat is answered.
        """
        if not self.engine.needs_session:
            self.asked = self.asked or self.target.wants_snapshot
            self.engine.heartbeat_answered(self.target.session_facts(), self.engine.seq)

    @rule(applied=st.booleans())
    def crash_agent(self, applied: bool) -> None:
        """
        The agent dies and starts again with what is on its disk.
        """
        for push, control in self.in_flight:
            if applied and not self._is_poison(push):
                self._apply(push, control)
        self._start()

    @rule()
    def crash_target(self) -> None:
        """
        The target dies with what is under way, and forgets its sessions.
        """
        doomed, self.in_flight = self.in_flight, []
        for push, _ in doomed:
            self.engine.push_failed(push, SessionSuperseded("restarted"))

    @rule()
    def reconnect(self) -> None:
        """
        The stream breaks and is opened again where it had passed; what was delivered since comes again.
        """
        self._open_stream(self.engine.tracker.passed)

    @rule()
    def lose_position(self) -> None:
        """
        The source purges its log under a stream that lags.
        """
        if self.database.stamp % 3:
            return
        for commit in self.database.invisible():
            self.database.make_visible(commit)
        lagging = bool(self._waiting())
        self.database.purge()
        if lagging:
            self._open_stream(self.engine.tracker.passed)

    @rule(lose=st.integers(0, 2))
    def fail_over(self, lose: int) -> None:
        """
        Another server takes over, with smaller positions and without the newest commits.
        """
        if self.database.stamp % 4:
            return
        self.database.fail_over(min(lose, len(self.database.log)))
        self._open_stream(self.engine.tracker.passed)

    @precondition(lambda self: self.engine.run is not None)
    @rule(what=st.sampled_from(["pause", "resume", "cancel"]))
    def person(self, what: str) -> None:
        """
        A person pauses, resumes or cancels the snapshot.
        """
        if what == "pause" and not self.engine.run.progress.paused:
            self.engine.snapshots.pause()
        elif what == "resume" and self.engine.run.progress.paused:
            self.engine.snapshots.resume()
        elif what == "cancel":
            self.engine.snapshots.cancel()
            self.cancelled = True

    @precondition(lambda self: self.engine.run is None)
    @rule(narrow=st.booleans())
    def person_asks(self, narrow: bool) -> None:
        """
        A person asks for a snapshot, of one table or of all.
        """
        self.asked = True
        self.engine.snapshots.request(["t", KEYLESS] if narrow else None, None)

    @rule(seed=st.integers(0, 2**32))
    def burst(self, seed: int) -> None:
        """
        Many ordinary steps at once, in an order that the seed decides: runs get deep at little cost.
        """
        rng = random.Random(seed)
        for _ in range(25):
            self._ordinary_step(rng)

    def _ordinary_step(self, rng: random.Random) -> None:
        roll = rng.random()
        if roll < 0.18:
            kinds = ["insert", "update", "update", "delete", "rekey"]
            count = rng.choice([1, 1, 2])
            changes = [(rng.choice(kinds), rng.choice("tu"), rng.randrange(5), rng.randrange(4)) for _ in range(count)]
            if rng.random() < 0.3:
                rows = [(rng.random() < 0.6, rng.randrange(3)) for _ in range(rng.choice([1, 2, 4]))]
                self.write_keyless(rows, rng.random() < 0.6)
            else:
                self.write(changes, rng.random() < 0.6)
        elif roll < 0.24:
            self.make_visible(rng.randrange(4))
        elif roll < 0.40:
            self.deliver(rng.randrange(1, 4), rng.random() < 0.7, rng.random() < 0.5)
        elif roll < 0.48:
            self.open_chunk()
        elif roll < 0.56:
            self.read_chunk()
        elif roll < 0.64:
            self.take_high()
        elif roll < 0.80:
            self.pump(rng.randrange(1, 4))
        elif roll < 0.95:
            self.answer(rng.randrange(8))
        elif roll < 0.98:
            self.lose_answer(rng.randrange(8), rng.random() < 0.5, rng.random() < 0.1)
        else:
            self.wait(0.5)

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def bounded(self) -> None:
        """
        Rule 5: nothing grows past its bound.
        """
        limits = self.engine.settings
        assert self.engine.queue_events <= limits.queue_events + 1, "the live queue is not bounded"
        lanes = [push.lane for push, _ in self.in_flight]
        assert lanes.count("message") <= (1 if self.ordering == "arrival" else limits.live_in_flight)
        assert lanes.count("snapshot") <= (1 if self.ordering == "arrival" else limits.snapshot_in_flight)
        if self.engine.run is not None:
            assert len(self.engine.run.chunks) <= limits.held_chunks + 1, "chunks pile up"

    def teardown(self) -> None:
        """
        Let everything settle: then the target equals the source.
        """
        if sys.exc_info()[0] is None:
            self.settle()
            self.check_converged()

    def settle(self) -> None:
        """
        No more faults: deliver, read and answer until nothing is left to do.
        """
        for turn in range(400):
            if self.engine.run is not None and self.engine.run.progress.paused:
                self.engine.snapshots.resume()
            for commit in self.database.invisible():
                self.database.make_visible(commit)
            self.deliver(50, True)
            self.take_high()
            self.open_chunk()
            self.read_chunk()
            self.take_high()
            self.pump(20)
            while self.in_flight:
                self.answer(turn)
            self.now += 2.0
            self.engine.tick()
            if self.engine.needs_session:
                self._reopen_session()
            self.heartbeat()
            if self.cancelled and self.engine.run is None and self.target.wants_snapshot and turn > 5:
                self.engine.snapshots.request(None, None)
                self.cancelled = False
            if self._is_quiet():
                return
        raise AssertionError(f"does not settle: run={self.engine.run}, queue={self.engine.queue_events}")

    def _is_quiet(self) -> bool:
        return (
            self.engine.run is None
            and not self.target.wants_snapshot
            and not self.in_flight
            and not self.engine.queue_events
            and not self._waiting()
            and not self.gap_pending
            and not self.engine.memory.gap
            and not self.engine.memory.put_off
            and self.engine.memory.checkpoint == self.database.newest
            and (self.ordering == "arrival" or self.target.index == self.database.newest)
        )

    def check_converged(self) -> None:
        """
        Rule 3. What was parked is excused, and rows that an upsert-only target could not be told of in a gap.
        """
        wanted = self.database.rows(committed=True)
        found = self.target.contents()
        for key in set(wanted) | set(found):
            # Nobody can tell a consumer without a sweep of rows that went untold.
            never_told = self.ordering == "arrival" and not self.sweeps and key not in wanted
            is_untold = self.had_gap or key[0] in self.untold_tables
            if key in self.parked_keys or (never_told and is_untold):
                continue
            assert found.get(key) == wanted.get(key), f"{key}: target {found.get(key)}, source {wanted.get(key)}"
        if self.ordering == "index":
            bag = {n: copies for n, copies in self.target.numbered.bag().items() if copies}
            assert bag == self.database.bag(committed=True), f"{KEYLESS}: target {bag}, source {self.database.bag()}"
