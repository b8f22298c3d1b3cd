"""
The shell: threads, sessions, retries and timers around the engine, with the fakes of `fustor_core.testing`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fustor_agent.bus import BusPool
from fustor_agent.sync.ports import Refusal, SyncMemory
from fustor_agent.sync.reader import close_iterator
from fustor_agent.sync.runtime import SyncRuntime
from fustor_agent.sync.settings import BusSettings, SyncSettings
from fustor_core.errors import (
    AuthenticationFailed,
    BatchRejected,
    ConnectionLost,
    ConsumerBusy,
    PermissionMissing,
    SessionConflict,
    SessionSuperseded,
)
from fustor_core.models.config import PusherConfig, SourceConfig, SyncConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.testing.fake_database import KEYLESS, Change, FakeDatabase
from fustor_core.testing.fakes import FakeIndexTarget, FakeSource, FakeUpsertTarget

FAST = SyncSettings(
    backoff_first_s=0.01, error_retry_s=0.1, checkpoint_interval_s=0.02, supersede_limit=3, batch_rows=7, chunk_rows=5
)
INSERT, UPDATE, DELETE = EventType.INSERT, EventType.UPDATE, EventType.DELETE


class MemoryStore:
    """A `SyncStore` that copies, as a disk does."""

    def __init__(self) -> None:
        self.memories: dict[str, SyncMemory] = {}

    def load(self, sync_id: str) -> SyncMemory:
        return copy.deepcopy(self.memories.get(sync_id, SyncMemory()))

    def save(self, sync_id: str, memory: SyncMemory) -> None:
        self.memories[sync_id] = copy.deepcopy(memory)


class Letters:
    """A `DeadLetterStore` in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def park(self, sync_id: str, events: Sequence[EventBase], *, epoch: int, why: Refusal) -> None:
        self.rows += [dict(row) for event in events for row in event.rows]  # type: ignore[call-overload]

    def count(self, sync_id: str) -> int:
        return len(self.rows)


class Bench:
    """A source, a target and the runtime between them; `restart` is a new agent on the same disk."""

    def __init__(self, target: Any, settings: SyncSettings = FAST) -> None:
        self.database = FakeDatabase(["t"])
        self.target = target
        self.settings = settings
        self.store = MemoryStore()
        self.letters = Letters()
        self.pool = BusPool(BusSettings(backoff_first_s=0.01, error_retry_s=0.05))
        self.sources: list[FakeSource] = []
        self.runtimes: list[tuple[SyncRuntime, Any]] = []

    def make_source(self) -> FakeSource:
        source = FakeSource("src", self.config(), self.database)
        self.sources.append(source)
        return source

    def config(self) -> SourceConfig:
        return SourceConfig(driver="fake", uri="fake:", retry_delay_sec=0.05)

    async def start(self, sync_id: str = "one", target: Any = None) -> SyncRuntime:
        bus = self.pool.acquire("src", self.config(), self.make_source)
        config = PusherConfig(driver="fake", endpoint="fake:", retry_delay_sec=0.05, max_retries=0)
        runtime = SyncRuntime(
            sync_id,
            SyncConfig(source="src", pusher="dst"),
            bus=bus,
            source_id="src",
            pusher=target or self.target,
            pusher_config=config,
            store=self.store,
            dead_letters=self.letters,
            agent_id="agent",
            settings=self.settings,
        )
        self.runtimes.append((runtime, bus))
        await runtime.start()
        return runtime

    async def stop(self) -> None:
        while self.runtimes:
            runtime, bus = self.runtimes.pop()
            await runtime.stop()
            await self.pool.release(bus)

    def insert(self, *ids: int) -> None:
        for at in ids:
            self.database.commit(Change(INSERT, "t", at, {"a": at}))

    def same(self, target: Any = None) -> bool:
        return bool((target or self.target).contents() == self.database.rows(committed=True))


async def until(what: Callable[[], object], runtime: SyncRuntime | None = None) -> None:
    """Wait for a condition; on failure say what the sync said."""
    for _ in range(2000):
        if what():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never came true; status: {runtime.status() if runtime else None}")


@pytest.fixture(params=[FakeIndexTarget, FakeUpsertTarget])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(request.param())
    yield bench
    await bench.stop()


@pytest.fixture
async def index_bench() -> AsyncIterator[Bench]:
    bench = Bench(FakeIndexTarget())
    yield bench
    await bench.stop()


async def test_snapshot_and_live_reach_the_target(bench: Bench) -> None:
    """What was there and what changes meanwhile both arrive, and the checkpoint follows an idle source."""
    bench.target.wants_snapshot = True
    bench.insert(*range(40))
    runtime = await bench.start()
    bench.database.commit(Change(UPDATE, "t", 3, {"a": 33}), Change(DELETE, "t", 4))
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    bench.insert(100, 101)
    await until(bench.same, runtime)
    await until(lambda: runtime.status()["checkpoint"] == bench.database.newest, runtime)
    status = runtime.status()
    assert status["states"] == ["MESSAGE_SYNC"]
    assert "asks for nothing" in status["reason"]
    assert status["pushed_rows"] >= 40


async def test_copies_of_rows_without_a_key_are_counted_over_restarts(index_bench: Bench) -> None:
    """Snapshot, live rows and a restart: the target has each row as often as the source, and so after one more snapshot."""
    bench = index_bench
    copies = [Change(INSERT, KEYLESS, n % 5) for n in range(60)]
    bench.database.commit(*copies)
    runtime = await bench.start()
    bench.database.commit(*[Change(DELETE, KEYLESS, 3)] * 4, Change(INSERT, KEYLESS, 7))
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    assert +bench.target.numbered.bag() == bench.database.bag() == {0: 12, 1: 12, 2: 12, 3: 8, 4: 12, 7: 1}
    await until(lambda: runtime.status()["checkpoint"] == bench.database.newest, runtime)
    assert "problems" not in runtime.status()["source_status"]
    await bench.stop()
    bench.database.commit(Change(DELETE, KEYLESS, 7), Change(INSERT, KEYLESS, 1))
    bench.target.wants_snapshot = True
    again = await bench.start()
    await until(lambda: not bench.target.wants_snapshot, again)
    assert +bench.target.numbered.bag() == bench.database.bag()


async def test_a_consumer_that_knows_keys_alone_is_spared_tables_without_one_and_it_is_said() -> None:
    """Nothing of such a table is sent to it, the checkpoint goes past it, and the status names it with the remedy."""
    bench = Bench(FakeUpsertTarget())
    bench.target.wants_snapshot = True
    bench.database.commit(Change(INSERT, KEYLESS, 1), Change(INSERT, KEYLESS, 1))
    bench.insert(1, 2)
    runtime = await bench.start()
    bench.database.commit(Change(INSERT, KEYLESS, 2))
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    await until(lambda: runtime.status()["checkpoint"] == bench.database.newest, runtime)
    assert not any(event.table == KEYLESS for events, _ in bench.target.pushes for event in events)
    (problem,) = runtime.status()["source_status"]["problems"]
    assert problem["where"] == f"fake.{KEYLESS}" and "left out" in problem["what"] and "PRIMARY KEY" in problem["hint"]
    await bench.stop()


async def test_a_restart_goes_on_where_it_stopped(bench: Bench) -> None:
    """Changes made while the agent is away arrive after a restart, without a snapshot."""
    bench.target.wants_snapshot = False
    first = await bench.start()
    await until(lambda: "asks for nothing" in first.status()["reason"], first)
    bench.insert(1, 2, 3)
    await until(bench.same, first)
    await until(lambda: first.status()["checkpoint"] == bench.database.newest, first)
    await bench.stop()
    assert bench.target.closed_sessions == ["session-1"]
    bench.target.wants_snapshot = False
    bench.database.commit(Change(DELETE, "t", 1))
    bench.insert(9)
    second = await bench.start()
    await until(bench.same, second)


async def test_a_purged_log_leads_to_a_suggested_snapshot_and_a_sweep(index_bench: Bench) -> None:
    """Rows deleted while the agent was away and the log was purged disappear at the target."""
    bench = index_bench
    bench.insert(*range(10))
    runtime = await bench.start()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    await until(lambda: bench.target.index == bench.database.newest, runtime)
    await bench.stop()
    bench.database.commit(Change(DELETE, "t", 5))
    bench.insert(77)
    bench.database.purge()
    runtime = await bench.start()
    await until(bench.same, runtime)
    assert any(control["snapshot_sync_suggested"] for _, control in bench.target.pushes)


@pytest.mark.parametrize("kind", ["truncate", "rewrite"])
async def test_rows_that_changed_untold_cost_a_snapshot_of_their_table(index_bench: Bench, kind: Any) -> None:
    """Only that table is read again, nothing else is swept, and the stream is not opened anew."""
    bench = index_bench
    bench.database.tables = ("t", "u", "w")
    for table in "tuw":
        for at in range(20):
            bench.database.commit(Change(INSERT, table, at, {"a": at}))
    runtime = await bench.start()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    (source,) = bench.sources
    source.rows_read.clear()
    bench.database.commit_untold(kind, "u")
    bench.database.commit(Change(UPDATE, "t", 1, {"a": "after"}))
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    assert source.rows_read == ({} if kind == "truncate" else {"u": 20})
    assert (len(bench.sources), source.streams_opened) == (1, 1)
    assert {"table": "u", "state": "live"} in runtime.status()["tables"]
    told = [control for _, control in bench.target.pushes if control["snapshot_sync_suggested"]]
    assert told and all(control["snapshot_tables"] == ["fake.u"] for control in told)


async def test_a_consumer_that_does_not_narrow_gets_everything(bench: Bench) -> None:
    """It hears which table it is, asks for a snapshot as ever, and converges; rows that went untold stay where nobody sweeps."""
    bench.database.tables = ("t", "u")
    for table in "tu":
        for at in range(9):
            bench.database.commit(Change(INSERT, table, at, {"a": at}))
    bench.target.snapshot_request = None
    bench.target.suggested = lambda tables, seq: setattr(bench.target, "wants_snapshot", True)
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.database.commit_untold("rewrite", "t")
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)


async def test_a_person_who_narrows_makes_no_consumer_sweep(bench: Bench) -> None:
    """The end of a snapshot that the consumer did not ask for so narrowed is not told: it might remove the rest."""
    bench.target.wants_snapshot = False
    bench.insert(1, 2)
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.target.pushes.clear()
    await runtime.request_snapshot(["t"])
    await until(lambda: runtime.engine is not None and runtime.engine.run is None, runtime)
    assert not any(control["is_snapshot_end"] for _, control in bench.target.pushes)


async def test_what_goes_untold_during_a_persons_snapshot_of_that_table_is_read_after_it(index_bench: Bench) -> None:
    """The consumer then asks for just what the person asked for, and that was not it: it is read again, and swept."""
    bench = index_bench
    bench.insert(*range(20))
    runtime = await bench.start()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    await runtime.request_snapshot(["fake.t"])
    runtime.pause_snapshot()
    bench.database.commit_untold("truncate", "t")
    await until(lambda: any(control["snapshot_sync_suggested"] for _, control in bench.target.pushes), runtime)
    runtime.resume_snapshot()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)


async def test_status_never_contradicts_itself_about_snapshots(index_bench: Bench) -> None:
    """Whenever it is asked: no table is copied without a snapshot, and one that follows another at once has its own beginning."""
    bench = index_bench
    bench.insert(*range(20))
    runtime = await bench.start()
    began: dict[str, set[float | None]] = {}
    copied_without: list[dict[str, Any]] = []

    async def watch() -> None:
        while True:
            status = runtime.status()
            if status["snapshot"] is not None:
                began.setdefault(status["snapshot"]["id"], set()).add(status["snapshot"]["started_at"])
            elif any(table["state"] == "copying" for table in status["tables"]):
                copied_without.append(status)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    await runtime.request_snapshot(["fake.t"])
    runtime.pause_snapshot()
    bench.database.commit_untold("rewrite", "t")
    await until(lambda: any(control["snapshot_sync_suggested"] for _, control in bench.target.pushes), runtime)
    runtime.resume_snapshot()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    await until(lambda: runtime.status()["snapshot"] is None, runtime)
    watching.cancel()
    assert copied_without == []
    times = [times - {None} for times in began.values()]
    assert len(times) >= 3 and all(len(one) == 1 for one in times), began
    assert len(set.union(*times)) == len(times), "each its own"


async def test_a_narrowed_snapshot_of_a_consumer_ends(bench: Bench) -> None:
    """What a consumer itself narrowed to tables begins with their names and ends with the end mark."""
    bench.insert(1, 2)
    bench.target.wants_snapshot = True
    bench.target.snapshot_request = {"tables": ["fake.t", "fake.gone"]}
    runtime = await bench.start()
    await until(lambda: any(control["is_snapshot_end"] for _, control in bench.target.pushes), runtime)
    begin = next(events for events, control in bench.target.pushes if control["source_type"] == "snapshot")
    assert [(event.event_schema, event.table) for event in begin] == [("fake", "t"), ("fake", "gone")]


async def test_a_failover_to_smaller_positions_does_not_look_stale(index_bench: Bench) -> None:
    """A new server with smaller positions starts a new epoch and wins."""
    bench = index_bench
    bench.insert(*range(20))
    runtime = await bench.start()
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    bench.database.fail_over(lose=1)
    bench.database.commit(Change(UPDATE, "t", 3, {"a": "new server"}))
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)
    assert runtime.status()["epoch"] == 1


async def test_a_consumer_that_stays_away_does_not_fill_the_log(
    index_bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    async def refuse(*_: Any, **__: Any) -> dict[str, Any]:
        tries.append(1)
        raise ConnectionLost(f"can't connect from port {50_000 + len(tries)}")

    monkeypatch.setattr(index_bench.target, "create_session", refuse)
    runtime = await index_bench.start()
    await until(lambda: len(tries) > 5, runtime)
    assert [one.getMessage() for one in caplog.records if "can't connect" in one.getMessage()] == [
        "sync one: can't connect from port 50001"
    ]


@pytest.mark.parametrize(
    "error", [ConnectionLost("gone"), ConsumerBusy("full", wait_s=0.01), RuntimeError("a bug"), SessionSuperseded("x")]
)
async def test_what_can_pass_is_sent_again(bench: Bench, error: Exception) -> None:
    """A failure that waiting can cure costs nothing, and shows in the status until it is cured."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.target.fail = [error, error]
    bench.insert(1, 2, 3)
    await until(bench.same, runtime)
    assert runtime.status()["retries"] == 2


async def test_a_lost_answer_is_harmless(bench: Bench) -> None:
    """A push that was applied and whose answer was lost is sent again before anything newer."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.target.lose_answer = 2
    bench.insert(1)
    bench.database.commit(Change(UPDATE, "t", 1, {"a": 2}))
    await until(lambda: bench.same() and not bench.target.lose_answer, runtime)


async def test_a_bad_row_is_parked_and_the_others_go_on(bench: Bench) -> None:
    """A consumer that does not say which row it means gets smaller pushes until the row is found."""

    class Picky(type(bench.target)):  # type: ignore[misc]
        def apply(self, events: list[EventBase], control: dict[str, Any]) -> dict[str, Any]:
            if any(row["id"] == 5 for event in events for row in event.rows):
                raise BatchRejected("there is something about this batch")
            answer: dict[str, Any] = super().apply(events, control)
            return answer

    bench.target = Picky()
    bench.target.wants_snapshot = True
    bench.insert(*range(12))
    runtime = await bench.start()
    await until(lambda: len(bench.target.contents()) == 11 and not bench.target.wants_snapshot, runtime)
    bench.insert(20, 21)
    await until(lambda: len(bench.target.contents()) == 13, runtime)
    assert [row["id"] for row in bench.letters.rows] == [5]
    assert runtime.status()["dead_letters"] == 1


async def test_a_wrong_key_shows_as_error_with_a_hint_and_is_retried_slowly(bench: Bench) -> None:
    """ERROR, reason and remedy; and once the key is mended it goes on by itself."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.target.fail = [AuthenticationFailed("key refused")]
    bench.insert(1)
    await until(lambda: "ERROR" in runtime.status()["states"], runtime)
    assert "API key" in runtime.status()["hint"]
    await until(bench.same, runtime)
    await until(lambda: "ERROR" not in runtime.status()["states"], runtime)


async def test_two_agents_with_one_sync_are_named(bench: Bench) -> None:
    """Superseded again and again, or refused with a conflict, the sync says that there is a second agent."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.target.fail = [SessionSuperseded("x")] * 3
    bench.insert(1)
    await until(lambda: "second agent" in runtime.status()["reason"], runtime)
    await until(bench.same, runtime)


async def test_a_conflict_at_the_start_is_an_error_that_is_retried(bench: Bench) -> None:
    """Another agent holds the session: ERROR, and it starts once the other is gone."""
    errors: list[Exception] = [SessionConflict("held by agent 'other'")]
    create = bench.target.create_session

    async def create_session(task_id: str, **kwargs: Any) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        answer: dict[str, Any] = await create(task_id, **kwargs)
        return answer

    bench.target.create_session = create_session
    runtime = await bench.start()
    await until(lambda: "ERROR" in runtime.status()["states"], runtime)
    assert "stop the other agent" in runtime.status()["hint"]
    await until(lambda: "MESSAGE_SYNC" in runtime.status()["states"], runtime)
    bench.insert(1)
    await until(bench.same, runtime)


async def test_a_table_that_can_not_be_read_is_errored_and_the_others_go_on(
    index_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason, the remedy and the next try stand at that table; it is read as soon as it can be, and the snapshot ends."""
    bench, refused = index_bench, True
    read = FakeSource.get_snapshot_iterator

    def read_all_but_one(self: FakeSource, **kwargs: Any) -> Any:
        yield from read(self, **kwargs)
        if refused:
            fault = {"schema": "fake", "table": "secret", "reason": "no SELECT on secret", "hint": "GRANT SELECT"}
            raise PermissionMissing("no SELECT on secret", hint="GRANT SELECT", context={"tables": [fault]})

    monkeypatch.setattr(FakeSource, "get_snapshot_iterator", read_all_but_one)
    bench.target.wants_snapshot = True
    bench.insert(*range(10))
    runtime = await bench.start()

    def tables() -> dict[str, Any]:
        return {table["table"]: table for table in runtime.status()["tables"]}

    told: set[tuple[str, str]] = set()

    def is_told() -> bool:
        fault = None if runtime.engine is None else runtime.engine.failures.fault
        told.update(
            [] if fault is None else [(fault.reason, fault.hint)]
        )  # until a push goes well, and again at the next try
        return "secret" in tables() and bool(told)

    await until(is_told, runtime)
    assert told == {("reading the snapshot: no SELECT on secret", "GRANT SELECT")}
    secret = tables()["secret"]
    assert (secret["state"], secret["reason"], secret["hint"]) == ("errored", "no SELECT on secret", "GRANT SELECT")
    assert 0 <= secret["next_try_s"] <= bench.settings.error_retry_s and tables()["t"]["state"] == "copying"
    bench.insert(100)
    await until(bench.same, runtime)
    await until(lambda: runtime.engine is not None and runtime.engine.failures.fault is None, runtime)
    status = runtime.status()
    assert {"ERROR", "MESSAGE_SYNC"} <= set(status["states"]) and "'secret'" in status["reason"], (
        "also between two tries"
    )
    assert status["hint"] == "GRANT SELECT" and "GRANT SELECT" not in status["reason"], "said once"
    refused = False
    await until(lambda: not bench.target.wants_snapshot and runtime.status()["snapshot"] is None, runtime)
    assert "secret" not in tables() and tables()["t"]["state"] == "live"


async def test_a_broken_stream_is_opened_again(bench: Bench) -> None:
    """A driver that raises does not end the sync silently."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    bench.sources[0].break_stream.set()
    bench.insert(1, 2)
    await until(bench.same, runtime)


async def test_pause_survives_a_restart_and_resume_goes_on(bench: Bench) -> None:
    """A paused snapshot stays paused over a restart and then goes on with the same id."""
    bench.target.wants_snapshot = True
    bench.insert(*range(200))
    runtime = await bench.start()
    await until(lambda: runtime.engine is not None and runtime.engine.run is not None, runtime)
    runtime.pause_snapshot()
    memory = bench.store.load("one").snapshot
    assert memory is not None
    assert memory.paused
    await bench.stop()
    runtime = await bench.start()
    await until(lambda: "paused" in runtime.status()["reason"], runtime)
    bench.insert(1000)
    await until(lambda: ("t", 1000) in bench.target.contents(), runtime)
    runtime.resume_snapshot()
    assert runtime.engine is not None
    assert runtime.engine.run is not None
    assert runtime.engine.run.progress.snapshot_id == memory.snapshot_id
    await until(lambda: bench.same() and not bench.target.wants_snapshot, runtime)


def test_an_iterator_lets_go_whether_it_is_a_generator_or_not() -> None:
    closed: list[str] = []

    class Chunks:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise StopIteration

        def close(self) -> None:
            closed.append("chunks")

    def chunks() -> Any:
        try:
            yield
        finally:
            closed.append("generator")

    begun = chunks()
    next(begun)
    for iterator in (Chunks(), begun, iter(())):
        close_iterator(iterator)
    assert closed == ["chunks", "generator"]


async def test_two_syncs_share_one_reader(index_bench: Bench) -> None:
    """One source, one reader; both targets get everything."""
    other = FakeIndexTarget()
    index_bench.insert(*range(30))
    one = await index_bench.start("one")
    two = await index_bench.start("two", other)
    await until(lambda: index_bench.same() and index_bench.same(other), one)
    index_bench.insert(500)
    await until(lambda: index_bench.same() and index_bench.same(other), two)
    assert len(index_bench.sources) == 1
    assert [len(bus["readers"]) for bus in index_bench.pool.status()] == [1]


async def test_stop_ends_in_time_with_a_consumer_that_hangs(bench: Bench) -> None:
    """A push that never ends does not hold up the stop; what it carried comes again."""
    bench.target.wants_snapshot = False
    runtime = await bench.start()
    await until(lambda: "asks for nothing" in runtime.status()["reason"], runtime)
    hang = asyncio.Event()
    push = bench.target.push

    async def hanging(events: Any, **control: Any) -> Any:
        await hang.wait()

    bench.target.push = hanging
    bench.insert(1)
    await until(lambda: runtime.engine is not None and runtime.engine.traffic.in_transit, runtime)
    await runtime.stop(timeout_s=0.1)
    assert runtime.status()["states"] == ["STOPPED"]
    bench.target.push = push
    runtime = await bench.start()
    await until(bench.same, runtime)


async def test_a_snapshot_that_has_to_wait_lets_go_of_the_source_and_goes_on_where_it_was() -> None:
    """While the consumer is away no snapshot holds the source open; afterwards nothing is read twice but what was not sent."""
    bench = Bench(FakeIndexTarget(), replace(FAST, reader_patience_s=0.02, held_chunks=2))
    bench.insert(*range(100))
    bench.target.wants_snapshot = True
    try:
        runtime = await bench.start()
        await until(lambda: bench.target.rows, runtime)
        bench.target.fail = [ConnectionLost("away")] * 30
        source = bench.sources[0]
        await until(lambda: runtime.engine is not None and runtime.engine.run is not None, runtime)
        await until(lambda: not source.snapshots_open and runtime.engine is not None and runtime.engine.run, runtime)
        bench.insert(500)
        bench.target.fail.clear()
        await until(bench.same, runtime)
        await until(lambda: not bench.target.wants_snapshot, runtime)
        assert source.rows_read["t"] <= 101 + 5 * FAST.chunk_rows, "it went on from its last chunk"
    finally:
        await bench.stop()
