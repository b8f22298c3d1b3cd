"""
The bus: one reader per source, bounded, split or coalesced when a subscriber lags.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from fustor_agent.bus import BusPool, EventBus, StreamOpened, Subscription
from fustor_agent.sync.settings import BusSettings
from fustor_core.drivers import SourceDriver
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import DeleteEvent, EventBase, InsertEvent, UpdateEvent, progress_mark

CONFIG = SourceConfig(driver="fake", uri="fake:", retry_delay_sec=0.05, max_queue_size=1)
SMALL = BusSettings(ring_events=10, backlog_keys=3, backoff_first_s=0.01)


class Fed(SourceDriver):
    """A source that yields what the test puts into it."""

    transient = False

    def __init__(self) -> None:
        super().__init__("src", CONFIG)
        self.events: queue.Queue[EventBase] = queue.Queue()
        self.dirty: list[tuple[str, str, str]] = []
        self.opened_at: list[int] = []
        self.acknowledged: list[int] = []

    @property
    def is_transient(self) -> bool:
        return self.transient

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        return iter(())

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        self.opened_at.append(start_position)
        return self._walk(kwargs["stop_event"]), False

    def _walk(self, stop: threading.Event) -> Iterator[EventBase]:
        while not stop.is_set():
            try:
                event = self.events.get(timeout=0.05)
            except queue.Empty:
                continue
            yield event

    def is_position_available(self, position: int) -> bool:
        return True

    def acknowledge(self, position: int) -> None:
        self.acknowledged.append(position)

    def mark_dirty(self, event_schema: str, table: str, scope: str) -> None:
        self.dirty.append((event_schema, table, scope))


class FedTransient(Fed):
    """The same without a log behind it."""

    transient = True


def row(index: int, at: int | None = None, **columns: Any) -> EventBase:
    """One file that was written."""
    path = f"dir{index if at is None else at}/f"
    return InsertEvent("s", "files", [{"path": path, **columns}], index=index, key=["path"])


async def until(what: Callable[[], object]) -> None:
    for _ in range(1000):
        if what():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never came true")


def bus_of(*drivers: Fed) -> tuple[BusPool, EventBus]:
    left = list(drivers)
    pool = BusPool(SMALL)
    return pool, pool.acquire("src", CONFIG, lambda: left.pop(0))


async def all_of(subscription: Subscription, count: int) -> list[EventBase]:
    got: list[EventBase] = []

    def more() -> bool:
        got.extend(item for item in subscription.take(100) if not isinstance(item, StreamOpened))
        return len(got) >= count

    await until(more)
    return got


async def test_a_slow_subscriber_of_a_durable_source_slows_the_source() -> None:
    """The ring stays within its bound, and nothing is lost when the subscriber goes on."""
    source = Fed()
    pool, bus = bus_of(source)
    subscription = bus.subscribe(-1, lambda: None)
    for index in range(100):
        source.events.put(row(index))
    await until(lambda: bus.status()["readers"][0]["blocked"])
    assert bus.status()["readers"][0]["queue_events"] <= 10
    assert [event.index for event in await all_of(subscription, 100)] == list(range(100))
    await subscription.close()
    await pool.release(bus)


async def test_a_subscriber_that_lags_behind_others_is_split_off() -> None:
    """The fast one goes on, the slow one gets a reader of its own at its position."""
    source, second = Fed(), Fed()
    pool, bus = bus_of(source, second)
    fast = bus.subscribe(0, lambda: None)
    slow = bus.subscribe(0, lambda: None)
    source.events.put(progress_mark(5))
    await all_of(slow, 1)
    for index in range(6, 40):
        source.events.put(row(index))
        await all_of(fast, 2 if index == 6 else 1)
    await until(lambda: slow.split_to is not None)
    assert slow.split_to == 5
    await slow.close()
    again = bus.subscribe(5, lambda: None)
    assert again.reader is not fast.reader
    await until(lambda: second.opened_at)
    assert second.opened_at == [5]
    await again.close()
    await fast.close()
    await pool.release(bus)


async def test_overflow_of_a_transient_source_keeps_the_newest_state_of_each_key() -> None:
    """The driver is never blocked; what is delivered in the end is each key's last state, in order."""
    source = FedTransient()
    pool, bus = bus_of(source)
    subscription = bus.subscribe(-1, lambda: None)
    for index in range(60):
        source.events.put(row(index, at=index % 3, size=index))
    source.events.put(UpdateEvent("s", "files", [{"path": "dir0/f", "mode": 7}], index=60, key=["path"]))
    source.events.put(DeleteEvent("s", "files", [{"path": "dir1/f"}], index=61, key=["path"]))
    source.events.put(progress_mark(61))
    await until(lambda: source.events.empty() and bus.status()["readers"][0]["position"] == 61)
    got = await all_of(subscription, 4)
    state: dict[str, Any] = {}
    for event in got:
        for one in event.rows:
            assert isinstance(one, dict)
            if isinstance(event, DeleteEvent) or event.event_type == "delete":
                state.pop(one["path"], None)
            else:
                state[one["path"]] = {**state.get(one["path"], {}), **one}
    assert state == {
        "dir0/f": {"path": "dir0/f", "size": 57, "mode": 7},
        "dir2/f": {"path": "dir2/f", "size": 59},
    }
    assert [event.index for event in got] == sorted(event.index for event in got)
    assert len(got) < 30
    assert source.dirty == []
    await subscription.close()
    await pool.release(bus)


async def test_past_the_backlog_the_driver_is_told_what_to_read_again() -> None:
    """What is let go is counted, and its directory is marked dirty."""
    source = FedTransient()
    pool, bus = bus_of(source)
    subscription = bus.subscribe(-1, lambda: None)
    for index in range(60):
        source.events.put(row(index))
    await until(lambda: bus.status()["readers"][0]["dropped"])
    await until(source.events.empty)
    dropped = bus.status()["readers"][0]["dropped"]
    await until(lambda: not subscription.take(100) and source.dirty)
    assert dropped
    assert all(scope.startswith("dir") for _, _, scope in source.dirty)
    await subscription.close()
    await pool.release(bus)


async def test_a_driver_that_ends_its_stream_shows_as_an_error_and_is_opened_again() -> None:
    """No silent end: the reader says so and tries again."""

    class Ends(Fed):
        def _walk(self, stop: threading.Event) -> Iterator[EventBase]:
            if len(self.opened_at) == 1:
                yield progress_mark(7)
                return
            yield from super()._walk(stop)

    source = Ends()
    pool, bus = bus_of(source)
    subscription = bus.subscribe(3, lambda: None)
    await until(lambda: len(source.opened_at) == 2)
    assert source.opened_at == [3, 7]
    await subscription.close()
    await pool.release(bus)


async def test_sources_with_the_same_signature_share_a_bus() -> None:
    """
    Driver, uri, credential and parameters decide, not the id: a source that leaves columns out never gets the rows of one that does not.
    """
    pool = BusPool(SMALL)
    one = pool.acquire("a", CONFIG, Fed)
    two = pool.acquire("b", CONFIG.model_copy(), Fed)
    narrower = pool.acquire("d", CONFIG.model_copy(update={"driver_params": {"exclude_columns": ["s.t.secret"]}}), Fed)
    assert narrower is not one
    await pool.release(narrower)
    other = pool.acquire("c", CONFIG.model_copy(update={"uri": "fake:2"}), Fed)
    assert one is two
    assert other is not one
    await pool.release(one)
    assert len(pool.status()) == 2
    await pool.release(two)
    await pool.release(other)
    assert pool.status() == []


async def test_the_driver_hears_what_no_sync_needs_any_more() -> None:
    """
    The slowest counts, also over readers, and one that has nothing acknowledged holds all.
    """
    bus = EventBus("src", CONFIG, Fed, SMALL)
    first = bus.subscribe(-1, lambda: None)
    second = bus.subscribe(-1, lambda: None)
    driver = first.driver
    assert isinstance(driver, Fed)
    first.acknowledge(7)
    assert driver.acknowledged == []
    second.acknowledge(5)
    second.acknowledge(5)
    first.acknowledge(9)
    second.acknowledge(8)
    assert driver.acknowledged == [5, 5, 8]
    third = bus.subscribe(3, lambda: None)
    second.acknowledge(9)
    assert third.driver is not driver
    assert driver.acknowledged[-1] == 3, "one that joins with an older position holds what it needs"
    await third.close()
    second.acknowledge(10)
    assert driver.acknowledged[-1] == 9
    await bus.close()


async def test_the_driver_hears_nothing_before_every_sync_has_said_where_it_goes_on() -> None:
    """
    A sync whose consumer is away has no subscription yet: what it needs must not be forgotten meanwhile.
    """
    pool, bus = bus_of(Fed(), Fed())
    pool.acquire("src", CONFIG, Fed)
    first = bus.subscribe(3, lambda: None)
    driver = first.driver
    assert isinstance(driver, Fed)
    first.acknowledge(9)
    assert driver.acknowledged == []
    second = bus.subscribe(5, lambda: None)
    first.acknowledge(10)
    assert driver.acknowledged == [5]
    second.acknowledge(11)
    assert driver.acknowledged[-1] == 10
    await bus.close()


async def test_no_more_is_taken_than_asked_for(until: Any) -> None:
    bus = EventBus("src", CONFIG, Fed, BusSettings())
    subscription = bus.subscribe(-1, lambda: None)
    source = subscription.driver
    assert isinstance(source, Fed)
    for n in range(20):
        source.events.put(InsertEvent("s", "t", [{"id": n, "text": "x" * 1000}], index=n, key=["id"]))
    await until(lambda: subscription.waiting()[0] == 21)
    assert isinstance(subscription.take(1)[0], StreamOpened)
    assert len(subscription.take(100, 1)) == 1, "one always"
    assert 2 <= len(subscription.take(100, 3000)) <= 4
    assert len(subscription.take(5)) == 5
    await bus.close()
