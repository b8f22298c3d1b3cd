"""
A whole sync with transforms: whatever changes, and however little an update tells, the target ends as the transformed source.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from fustor_agent.bus import BusPool
from fustor_agent.sync.ports import Refusal, SyncMemory
from fustor_agent.sync.runtime import SyncRuntime
from fustor_agent.sync.settings import BusSettings, SyncSettings
from fustor_core.errors import BatchRejected, ConnectionLost
from fustor_core.models.config import PusherConfig, SourceConfig, SyncConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.testing.fake_database import KEYLESS, Change, FakeDatabase
from fustor_core.testing.fakes import FakeIndexTarget, FakeSource, FakeSweepingTarget, FakeUpsertTarget

FAST = SyncSettings(backoff_first_s=0.01, error_retry_s=0.1, checkpoint_interval_s=0.02, batch_rows=7, chunk_rows=5)
INSERT, UPDATE, DELETE = EventType.INSERT, EventType.UPDATE, EventType.DELETE
FILTER = {"type": "filter", "where": "a < 5", "tables": ["t"]}


class Store:
    def __init__(self) -> None:
        self.memory = SyncMemory()

    def load(self, sync_id: str) -> SyncMemory:
        return self.memory

    def save(self, sync_id: str, memory: SyncMemory) -> None:
        self.memory = memory


class Letters:
    def __init__(self) -> None:
        self.parked: list[EventBase] = []
        self.why: list[Refusal] = []

    def park(self, sync_id: str, events: Any, *, epoch: int, why: Refusal) -> None:
        self.parked += events
        self.why += [why] * len(events)

    def count(self, sync_id: str) -> int:
        return len(self.parked)


class Bench:
    """
    A fake database, a fake target and the real runtime between them, with transforms.
    """

    def __init__(self) -> None:
        self.database = FakeDatabase(["t"])
        self.letters = Letters()
        self.store = Store()
        self.settings = FAST
        self.sources: list[FakeSource] = []
        self.finds_rows = True
        self.advice: str | None = None
        self.pool = BusPool(BusSettings(backoff_first_s=0.01, error_retry_s=0.05))
        self.runtime: SyncRuntime | None = None

    async def start(self, target: Any, *transforms: dict[str, Any], **more: Any) -> SyncRuntime:
        source = SourceConfig(driver="fake", uri="fake:", retry_delay_sec=0.05)
        config = SyncConfig.model_validate({"source": "src", "pusher": "dst", "transforms": transforms, **more})
        self.bus = self.pool.acquire("src", source, lambda: self._source(source))
        self.runtime = SyncRuntime(
            "one",
            config,
            bus=self.bus,
            source_id="src",
            pusher=target,
            pusher_config=PusherConfig(driver="fake", endpoint="fake:", retry_delay_sec=0.05, max_retries=0),
            store=self.store,
            dead_letters=self.letters,
            agent_id="agent",
            settings=self.settings,
        )
        await self.runtime.start()
        return self.runtime

    def _source(self, config: SourceConfig) -> FakeSource:
        made = FakeSource("src", config, self.database)
        made.finds_rows = self.finds_rows
        made.advice = self.advice
        self.sources.append(made)
        return made

    @property
    def source(self) -> FakeSource:
        """
        The source that is read now.
        """
        return self.sources[-1]

    def passing(self) -> dict[Any, Any]:
        """
        Return the rows that pass `FILTER`.
        """
        return {key: row for key, row in self.database.rows(committed=True).items() if row["a"] < 5}

    async def start_filled(self, target: Any, rows: int) -> SyncRuntime:
        """
        Start with `FILTER` on a table that has rows, and wait until the target has them.
        """
        self.database.commit(*(Change(INSERT, "t", n, {"a": n % 10, "b": 0}) for n in range(rows)))
        target.wants_snapshot = True
        runtime = await self.start(target, FILTER)
        await until(lambda: target.contents() == self.passing() and not target.wants_snapshot, runtime.status)
        return runtime

    async def close(self) -> None:
        if self.runtime is not None:
            await self.runtime.stop()
            await self.pool.release(self.bus)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


async def until(what: Callable[[], object], say: Callable[[], object]) -> None:
    for _ in range(4000):
        if what():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never came true: {say()}")


def change_at_random(database: FakeDatabase, rng: random.Random) -> None:
    there = [id_ for table, id_ in database.rows(committed=True) if table == "t"]
    changes: list[Change] = []
    for _ in range(rng.randint(1, 3)):
        roll = rng.random()
        id_ = rng.choice(there) if there and roll > 0.3 else rng.randrange(60)
        if id_ not in there:
            changes.append(Change(INSERT, "t", id_, {"a": rng.randrange(10), "b": rng.randrange(10)}))
            there.append(id_)
        elif roll > 0.85:
            changes.append(Change(DELETE, "t", id_))
            there.remove(id_)
        else:
            some = rng.choice([["a"], ["b"], ["a", "b"]])
            changes.append(Change(UPDATE, "t", id_, {name: rng.randrange(10) for name in some}))
    database.commit(*changes)


@pytest.mark.parametrize("make", [FakeIndexTarget, FakeUpsertTarget, FakeSweepingTarget])
@pytest.mark.parametrize("finds_rows", [True, False], ids=["rows", "tables"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_filtered_table_converges_whatever_updates_tell(
    bench: Bench, make: Any, finds_rows: bool, seed: int
) -> None:
    """
    Rows move in and out of a filter by whole and by partial updates, while snapshots run: at the end the target has just those
    rows of the source that pass, whole; whether the source can be read by keys, or by whole tables alone.
    """
    rng = random.Random(seed)
    target = make()
    bench.finds_rows = finds_rows
    bench.settings = replace(FAST, owed_pause_s=0.01)
    target.wants_snapshot = True
    for id_ in range(30):
        bench.database.commit(Change(INSERT, "t", id_, {"a": rng.randrange(10), "b": rng.randrange(10)}))
    runtime = await bench.start(target, FILTER)
    for _ in range(120):
        change_at_random(bench.database, rng)
        if rng.random() < 0.4:
            await asyncio.sleep(rng.random() * 0.01)

    await until(
        lambda: target.contents() == bench.passing(), lambda: (runtime.status(), target.contents(), bench.passing())
    )
    assert bench.letters.parked == []
    problems = runtime.status()["source_status"]["problems"]
    assert [one["where"] for one in problems] == ["fake.t"] and "filter by the key" in problems[0]["hint"]


@pytest.mark.parametrize(
    ("advice", "hint"),
    [
        ("Set `x`.", "Set `x`. Or leave the large columns out with `drop`, or filter by the key."),
        ("", "leave the large columns out with `drop`, or filter by the key"),
        (None, "leave the large columns out with `drop`, or filter by the key"),
    ],
)
async def test_status_advises_what_the_driver_says_of_updates_that_lack_fields(
    bench: Bench, advice: str | None, hint: str
) -> None:
    bench.advice = advice
    runtime = await bench.start_filled(FakeIndexTarget(), 5)
    bench.database.commit(Change(UPDATE, "t", 3, {"b": 1}))

    def hints() -> list[str]:
        return [one["hint"] for one in runtime.status()["source_status"].get("problems", [])]

    await until(lambda: hints() == [hint], lambda: hints())


@pytest.mark.parametrize("make", [FakeIndexTarget, FakeUpsertTarget, FakeSweepingTarget])
async def test_partial_updates_behind_a_filter_do_not_have_the_table_read_again(bench: Bench, make: Any) -> None:
    """
    However many updates can't decide the filter: just their rows are read, many at once, each once for all that came meanwhile.
    """
    target = make()
    runtime = await bench.start_filled(target, 50)
    bench.source.rows_read.clear()
    for n in range(300):
        name = "ab"[n % 2]
        bench.database.commit(Change(UPDATE, "t", n % 50, {name: n % 10}))
        if n % 20 == 0:
            await asyncio.sleep(0)
    await until(
        lambda: target.contents() == bench.passing(), lambda: (runtime.status(), target.contents(), bench.passing())
    )
    assert bench.source.rows_read == {}, "no snapshot"
    assert not any(control["snapshot_sync_suggested"] for _, control in target.pushes[5:])
    assert sum(bench.source.keys_read) <= 300 and len(bench.source.keys_read) <= 60
    assert runtime.counters.completed_rows == sum(bench.source.keys_read)


@pytest.mark.parametrize("make", [FakeIndexTarget, FakeSweepingTarget])
async def test_a_source_that_finds_no_rows_has_its_table_read_again_now_and_then(bench: Bench, make: Any) -> None:
    """
    The first of many updates has the table read again at once; what comes after it waits for a pause, and over a restart.
    """
    bench.finds_rows = False
    bench.settings = replace(FAST, owed_pause_s=1e6)
    target = make()
    runtime = await bench.start_filled(target, 30)
    bench.database.commit(Change(UPDATE, "t", 3, {"b": 1}))
    await until(lambda: target.contents() == bench.passing() and not target.wants_snapshot, runtime.status)
    bench.source.rows_read.clear()
    for n in range(200):
        bench.database.commit(Change(UPDATE, "t", n % 30, {"b": n}))
        if n % 10 == 0:
            await asyncio.sleep(0.001)
    await until(lambda: runtime.status()["checkpoint"] == bench.database.newest, runtime.status)
    assert bench.source.rows_read.get("t", 0) <= 30, "once, for what came while the pause had not begun"
    assert target.contents() != bench.passing() and bench.store.memory.put_off == [("fake", "t")]
    # Updates of which the consumer has not heard come once more after the restart, and would be put off anew.
    engine = runtime.engine
    assert engine is not None
    await until(lambda: not engine.position.has_news, runtime.status)
    await bench.close()
    runtime = await bench.start(target, FILTER)
    await until(lambda: target.contents() == bench.passing() and not bench.store.memory.put_off, runtime.status)


@pytest.mark.parametrize("make", [FakeIndexTarget, FakeUpsertTarget])
async def test_rows_that_are_owed_survive_the_end_of_the_agent(bench: Bench, make: Any) -> None:
    """
    While the source can't be read by keys, what came after is sent, but the checkpoint stays; the next start reads the rows.
    """

    class Away(FakeSource):
        def read_rows(self, *parts: Any, **more: Any) -> Any:
            raise ConnectionLost("away")

    target = make()
    runtime = await bench.start_filled(target, 20)
    bench.source.read_rows = Away.read_rows.__get__(bench.source)  # type: ignore[method-assign]
    owed = bench.database.commit(Change(UPDATE, "t", 3, {"b": 77}), Change(UPDATE, "t", 8, {"a": 1}))
    bench.database.commit(Change(INSERT, "t", 99, {"a": 1, "b": 1}))
    await until(lambda: ("t", 99) in target.contents(), runtime.status)
    assert target.contents() != bench.passing()
    await bench.close()
    assert bench.store.memory.checkpoint < owed.index and not bench.store.memory.gap
    bench.database.commit(Change(DELETE, "t", 8))
    runtime = await bench.start(target, FILTER)
    await until(lambda: target.contents() == bench.passing(), lambda: (runtime.status(), target.contents()))
    assert bench.source.rows_read == {}, "no snapshot"


@pytest.mark.parametrize("make", [FakeIndexTarget, FakeUpsertTarget])
async def test_a_row_that_changes_all_the_time_arrives_all_the_same(bench: Bench, make: Any) -> None:
    """
    What the stream tells while a row is read is put in: it need not keep still, and is not read for each change.
    """
    target = make()
    runtime = await bench.start_filled(target, 5)
    arrived = 0
    for n in range(1, 2000):
        bench.database.commit(Change(UPDATE, "t", 3, {"b": n}))
        await asyncio.sleep(0.0005)
        arrived = target.contents()["t", 3]["b"]
        if arrived > 20:
            break
    assert arrived > 20, "it did not wait for the changes to cease"
    await until(lambda: target.contents() == bench.passing(), lambda: (runtime.status(), target.contents()))
    assert sum(bench.source.keys_read) < n / 2


@pytest.mark.parametrize("seed", range(3))
async def test_rows_without_a_key_are_counted_behind_a_filter(bench: Bench, seed: int) -> None:
    """
    Copies of the rows that pass are counted exactly, through snapshots, restarts of the reading, and live changes.
    """
    rng = random.Random(seed)
    bench.database.commit(*(Change(INSERT, KEYLESS, rng.randrange(6)) for _ in range(40)))
    target = FakeIndexTarget()
    runtime = await bench.start(target, {"type": "filter", "where": "n % 2 == 0", "tables": [KEYLESS]})
    for _ in range(80):
        there = bench.database.bag(committed=True)
        kinds = [Change(INSERT, KEYLESS, rng.randrange(6))]
        if there:
            kinds.append(Change(DELETE, KEYLESS, rng.choice(sorted(there))))
        bench.database.commit(*rng.sample(kinds, rng.randint(1, len(kinds))))
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.01)

    def expected() -> Counter[int]:
        return Counter({n: copies for n, copies in bench.database.bag(committed=True).items() if n % 2 == 0})

    await until(
        lambda: not target.wants_snapshot and +target.numbered.bag() == expected(),
        lambda: (runtime.status(), target.numbered.bag(), expected()),
    )


class ByHash(FakeIndexTarget):
    """
    A target whose key is the field `uid`.
    """

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        super().apply_row(event, {"id": row["uid"], **{n: v for n, v in row.items() if n != "uid"}}, control)


async def test_a_hashed_and_renamed_key_names_the_same_row_on_every_path(bench: Bench) -> None:
    target = ByHash()
    for id_ in range(20):
        bench.database.commit(Change(INSERT, "t", id_, {"a": id_, "b": 0}))
    runtime = await bench.start(
        target,
        {"type": "mask", "fields": ["id"], "method": "hash", "salt": "a long salt"},
        {"type": "rename", "fields": {"id": "uid"}},
        {"type": "drop", "fields": ["b", "v"]},
    )
    for id_ in range(20):
        bench.database.commit(Change(UPDATE, "t", id_, {"a": id_ + 100}))
    bench.database.commit(*(Change(DELETE, "t", id_) for id_ in range(5)), Change(INSERT, "t", 50, {"a": 1, "b": 1}))

    def expected() -> dict[Any, Any]:
        rows = bench.database.rows(committed=True)
        names = {id_: hmac.digest(b"a long salt", str(id_).encode(), hashlib.sha256).hex() for _, id_ in rows}
        return {(table, names[id_]): {"a": row["a"]} for (table, id_), row in rows.items()}

    await until(lambda: target.contents() == expected(), lambda: (runtime.status(), target.contents()))


async def test_one_row_that_can_not_be_computed_is_parked_and_the_others_arrive(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The log warns of it, and says that the transforms were at fault: the consumer was asked nothing.
    """
    caplog.set_level(logging.INFO)
    target = FakeIndexTarget()
    for id_ in range(9):
        bench.database.commit(Change(INSERT, "t", id_, {"a": id_ - 4, "b": 12}))
    runtime = await bench.start(target, {"type": "derive", "to": "c", "value": "b / a", "tables": ["t"]})
    await until(lambda: len(target.contents()) == 8 and bench.letters.parked, runtime.status)
    assert target.contents()["t", 0]["c"] == -3.0
    [parked] = bench.letters.parked
    assert dict(parked.rows[0])["id"] == 4, "as the source gave it, to be replayed when the transforms are mended"
    [why] = bench.letters.why
    assert why.code == "transform.failed" and why.reason.endswith("`b / a`, at character 1: division by zero")
    assert why.hint and why.hint not in why.reason
    [warning] = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert warning.startswith("sync one: a row of fake.t is set aside as a dead letter: ")
    assert "`b / a`, at character 1: division by zero" in warning and "refused" not in caplog.text


async def test_many_rows_that_are_parked_do_not_fill_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for id_ in range(20):
        bench.database.commit(Change(INSERT, "t", id_, {"a": 0, "b": 12}))
    runtime = await bench.start(FakeIndexTarget(), {"type": "derive", "to": "c", "value": "b / a", "tables": ["t"]})
    await until(lambda: len(bench.letters.parked) == 20, runtime.status)
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


async def test_what_the_consumer_refuses_of_a_split_event_parks_the_right_row(bench: Bench) -> None:
    class Choosy(FakeIndexTarget):
        def apply(self, events: list[EventBase], control: dict[str, Any]) -> dict[str, Any]:
            for at, event in enumerate(events):
                if any(dict(zip(event.fields, row, strict=True)).get("b") == 7 for row in event.rows):
                    raise BatchRejected("seven", rejected={at: "seven"})
            return super().apply(events, control)

    target = Choosy()
    for id_ in range(12):
        bench.database.commit(Change(INSERT, "t", id_, {"a": id_ % 10, "b": id_}))
    runtime = await bench.start(
        target, {"type": "filter", "where": "a != 3"}, {"type": "derive", "to": "c", "value": "a"}
    )
    await until(lambda: len(target.contents()) == 9 or len(target.contents()) == 10, runtime.status)
    await until(lambda: bench.letters.parked, runtime.status)
    assert [dict(event.rows[0])["id"] for event in bench.letters.parked] == [7]
    assert set(target.contents()) == {("t", n) for n in range(12)} - {("t", 3), ("t", 7)}


async def test_transforms_that_can_not_work_on_a_table_stop_the_sync_with_the_reason(bench: Bench) -> None:
    target = FakeIndexTarget()
    bench.database.commit(Change(INSERT, "t", 1, {"a": 1}))
    runtime = await bench.start(target, {"type": "drop", "fields": ["id"]})
    await until(lambda: "ERROR" in runtime.status()["states"], runtime.status)
    status = runtime.status()
    assert "part of the key" in status["reason"] and "mask" in status["hint"]
    assert target.contents() == {}


@pytest.mark.parametrize("policy", ["consumer", "stop"])
async def test_other_transforms_have_the_consumer_ask_for_everything_anew(bench: Bench, policy: Any) -> None:
    """
    Rows sent before a change of the transforms don't stay as they were: a snapshot is suggested, and what is left out now is swept. No
    change is missing, so a sync that is to stop at gaps does not.
    """
    bench.settings = replace(FAST, on_position_lost=policy)
    target = FakeIndexTarget()
    for id_ in range(10):
        bench.database.commit(Change(INSERT, "t", id_, {"a": id_, "b": 1}))
    runtime = await bench.start(target)
    await until(lambda: not target.wants_snapshot and len(target.contents()) == 10, runtime.status)
    await bench.close()
    runtime = await bench.start(target, FILTER)
    await until(
        lambda: set(target.contents()) == {("t", n) for n in range(5)}, lambda: (runtime.status(), target.contents())
    )
    await bench.close()
    runtime = await bench.start(target, {"type": "drop", "fields": ["b"]})
    await until(
        lambda: len(target.contents()) == 10 and not any("b" in row for row in target.contents().values()),
        lambda: (runtime.status(), target.contents()),
    )
    await until(lambda: not target.wants_snapshot and target.snapshot is None, runtime.status)
    await bench.close()
    pushed = len(target.pushes)
    runtime = await bench.start(target, {"type": "drop", "fields": ["b"]})
    bench.database.commit(Change(INSERT, "t", 77, {"a": 1, "b": 1}))
    await until(lambda: len(target.contents()) == 11, runtime.status)
    lanes = [control["source_type"] for _, control in target.pushes[pushed:]]
    assert set(lanes) == {"message"}, "the same transforms again: nothing is asked anew"
