"""
The event bus: one reader per source, however many syncs.

`BusPool` hands out one `EventBus` per source signature (driver, uri, credential, driver_params). A bus has one `Reader`: a thread that
walks the driver's message iterator into a bounded ring; each subscriber has a cursor in it. A subscriber of a durable source
that lags while others wait is split off to a reader of its own (a new driver instance at its position). For a transient
source the driver is never blocked: a lagging subscriber gets a `Backlog` that keeps the newest state of each key, and past
its bound the driver is told what to read again (`mark_dirty`).

Rule 5 (bounded memory) and rule 7 (one source, one reader) live here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fustor_agent.sync.batcher import event_bytes
from fustor_agent.sync.keys import TableId, key_shape, row_dicts, row_keys, table_of
from fustor_agent.sync.session import Backoff
from fustor_agent.sync.settings import BusSettings
from fustor_core.drivers import SourceDriver
from fustor_core.errors import AuthenticationFailed, ConfigError, FustorError, PermissionMissing
from fustor_core.models.config import PasswdCredential, SourceConfig
from fustor_core.models.event import EventBase, EventType, UntoldMark, progress_mark


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """
    Where in the ring the stream was opened (again).

    Attributes:
        lost: The driver could not start where it was asked to.
        incarnation: What the driver answered.
    """

    lost: bool
    incarnation: str


Item = EventBase | StreamOpened


class Backlog:
    """
    What a lagging subscriber of a transient source has not taken yet: the newest state of each key, in order.

    Args:
        driver: Told what to read again when there are too many keys.
        settings: Bounds.
    """

    def __init__(self, driver: SourceDriver, settings: BusSettings) -> None:
        self._driver = driver
        self._settings = settings
        self._rows: dict[tuple[Any, ...], tuple[EventBase, dict[str, Any]] | Item] = {}
        self._dirty: dict[TableId, set[str]] = {}
        self._keys = 0
        self.coalesced = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, item: Item) -> None:
        """
        Take an item; what it makes obsolete is forgotten.
        """
        if isinstance(item, StreamOpened):
            self._rows["opened", len(self._rows)] = item
            return
        if not item.rows:
            at: tuple[Any, ...] = ("mark",)
            if isinstance(item, UntoldMark):  # of each table the newest: it must not be lost among the others
                at = ("untold", item.may_wait, *table_of(item))
            self._rows.pop(at, None)
            self._rows[at] = item
            return
        table = table_of(item)
        for key, row in zip(row_keys(item), row_dicts(item), strict=True):
            place = (*table, key)
            old = self._rows.pop(place, None)
            event = item
            if old is not None:
                self.coalesced += 1
                if isinstance(old, tuple) and item.event_type is EventType.UPDATE:
                    before, columns = old
                    if before.event_type is not EventType.DELETE:
                        row = {**columns, **row}
                        event = _as(item, before.event_type)
            elif self._keys >= self._settings.backlog_keys:
                self._let_go(item, row)
                continue
            else:
                self._keys += 1
            self._rows[place] = (event, row)

    def _let_go(self, event: EventBase, row: dict[str, Any]) -> None:
        # Never silently: counted here, and the driver compares that part with the truth.
        self.dropped += 1
        scopes = self._dirty.setdefault(table_of(event), set())
        path = row.get("path")
        scopes.add(path.rpartition("/")[0] if isinstance(path, str) else "")
        if len(scopes) > self._settings.dirty_scopes:
            scopes.clear()
            scopes.add("")

    def take(self, count: int) -> list[Item]:
        """
        Take the oldest items; the driver hears what to read again once all is taken.
        """
        taken: list[Item] = []
        while self._rows and len(taken) < count:
            value = self._rows.pop(next(iter(self._rows)))
            if isinstance(value, tuple):
                self._keys -= 1
                event, row = value
                columns = event.columns if event.columns and set(event.columns) == set(row) else None
                taken.append(
                    EventBase(
                        event.event_type,
                        event.event_schema,
                        event.table,
                        [row],
                        index=event.index,
                        key=key_shape(event),
                        ts=event.ts,
                        columns=columns,
                    )
                )
            else:
                taken.append(value)
        return taken

    def tell_driver(self) -> None:
        """
        Have the driver read again what was let go.
        """
        dirty, self._dirty = self._dirty, {}
        for (schema, table), scopes in dirty.items():
            for scope in scopes:
                self._driver.mark_dirty(schema, table, scope)


def _as(event: EventBase, kind: EventType) -> EventBase:
    return EventBase(
        kind, event.event_schema, event.table, event.rows, event.fields, event.index, key=event.key, ts=event.ts
    )


class Subscription:
    """
    One sync's place in the stream. Made by `EventBus.subscribe`; `take` and `close` are called from the event loop.

    Attributes:
        reader: Where its events come from.
    """

    def __init__(self, bus: EventBus, reader: Reader, cursor: int, wake: Callable[[], None]) -> None:
        self.bus = bus
        self.reader = reader
        self.cursor = cursor
        self.wake = wake
        self.backlog: Backlog | None = None
        self.position = -1
        self.acknowledged = -1
        self.asleep = True
        self.split_to: int | None = None
        self._first: list[Item] = []

    @property
    def driver(self) -> SourceDriver:
        """
        The driver instance to read snapshots with.
        """
        return self.reader.driver

    def put_first(self, items: Sequence[Item]) -> None:
        """
        Let `take` return these before anything else.
        """
        self._first.extend(items)

    def take(self, count: int, size: int | None = None) -> list[Item]:
        """
        Take up to `count` items, or fewer that weigh about `size` bytes; an empty list means that `wake` will be called when
        there are some.
        """
        if self._first:
            first, self._first = self._first, []
            return first
        return self.reader.take(self, count, size)

    def waiting(self) -> tuple[int, int]:
        """
        Return how many items wait, and their bytes.
        """
        return self.reader.waiting(self)

    def fill(self) -> float:
        """
        Return how full the ring is with what waits for this subscriber, 0 to 1: at 1 the source is slowed, or changes are put together.
        """
        return self.reader.fill(self)

    def acknowledge(self, position: int) -> None:
        """
        Everything up to an index is safe at this sync's consumer, and it was saved; -1 = nothing is.
        """
        if position != self.acknowledged:
            self.acknowledged = position
            self.bus.acknowledge()

    async def close(self) -> None:
        """
        Leave the bus.
        """
        await self.bus.leave(self)


class Reader:
    """
    A thread that walks one message iterator into a ring.

    The ring holds items with consecutive numbers from `base` on; an item leaves it when every subscriber has taken it.
    """

    def __init__(self, bus: EventBus, driver: SourceDriver, position: int, *, is_split: bool) -> None:
        self.bus = bus
        self.driver = driver
        self.is_split = is_split
        self.subscribers: list[Subscription] = []
        self.snapshot_lock = asyncio.Lock()
        self.error: BaseException | None = None
        self.opened: StreamOpened | None = None
        self._asked = position
        self.last = position
        self.passed = position
        self.base = 0
        self.bytes = 0
        self.blocked = False
        self.events = 0
        self.transient = driver.is_transient
        self._items: deque[tuple[Item, int]] = deque()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self.stop_event = threading.Event()
        settings = bus.settings
        self._max_events = max(settings.ring_events, bus.config.max_queue_size)
        self._max_bytes = settings.ring_bytes
        self._backoff = Backoff(settings.backoff_first_s, bus.config.retry_delay_sec, random.Random())
        self._thread = threading.Thread(target=self._run, name=f"bus-{bus.source_id}", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._thread.start()

    async def stop(self) -> None:
        """
        Stop the thread and close the driver.
        """
        self.stop_event.set()
        with self._lock:
            self._room.notify_all()
        await asyncio.to_thread(self._thread.join, 5.0)
        await self.driver.close()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.stop_event.is_set():
            try:
                self._follow()
                if not self.stop_event.is_set():
                    raise FustorError(
                        f"the message iterator of source {self.bus.source_id!r} ended by itself",
                        hint="it must go on until its stop_event is set; this is a fault of the driver",
                    )
            except Exception as exc:  # noqa: BLE001 - a driver may raise anything; it must show and be retried
                self.error = exc
                self._wake_all()
                wait = self._backoff.next_wait(getattr(exc, "wait_s", None))
                if isinstance(exc, AuthenticationFailed | PermissionMissing | ConfigError):
                    wait = max(wait, self.bus.settings.error_retry_s)
                self.stop_event.wait(wait)

    def _follow(self) -> None:
        asked = self._asked = self.passed
        iterator, lost = self.driver.get_message_iterator(asked, stop_event=self.stop_event)
        opened = StreamOpened(lost=lost, incarnation=self.driver.incarnation())
        if lost or (self.opened is not None and opened.incarnation != self.opened.incarnation):
            self.last = self.passed = -1
        self.opened = opened
        self.error = None
        self._put(opened, 64)
        for event in iterator:
            if self.stop_event.is_set():
                return
            self._note(event)
            self._put(event, event_bytes(event))
            self._backoff.reset()

    def _note(self, event: EventBase) -> None:
        # Where to open the stream again without missing the rest of a transaction: see `AckTracker`.
        index = event.index
        if not event.rows:
            self.last = max(self.last, index)
            self.passed = max(self.passed, index)
        else:
            if index > self.last > self.passed:
                self.passed = self.last
            self.last = index
            self.events += 1

    def _put(self, item: Item, size: int) -> None:
        with self._lock:
            while self._is_full() and not self.stop_event.is_set():
                if self.transient:
                    self._detach_slowest()
                elif not self._ask_to_split():
                    self.blocked = True
                    self._room.wait(0.5)
            self.blocked = False
            self._items.append((item, size))
            self.bytes += size
            sleepers = []
            for subscriber in self.subscribers:
                if subscriber.backlog is not None:
                    subscriber.backlog.add(item)
                    subscriber.cursor = self.base + len(self._items)
                if subscriber.asleep:
                    subscriber.asleep = False  # one wake-up for a burst
                    sleepers.append(subscriber)
            self._trim()
        for subscriber in sleepers:
            subscriber.wake()

    def _is_full(self) -> bool:
        return bool(self.subscribers) and (len(self._items) >= self._max_events or self.bytes >= self._max_bytes)

    def _detach_slowest(self) -> None:
        slowest = min(self.subscribers, key=lambda one: one.cursor)
        backlog = slowest.backlog = slowest.backlog or Backlog(self.driver, self.bus.settings)
        for at in range(max(slowest.cursor - self.base, 0), len(self._items)):
            backlog.add(self._items[at][0])
        slowest.cursor = self.base + len(self._items)
        self._trim()

    def _ask_to_split(self) -> bool:
        """
        Free the ring of its slowest subscriber when others wait for it; it goes on with a reader of its own.
        """
        if len(self.subscribers) < 2:
            return False
        end = self.base + len(self._items)
        slowest = min(self.subscribers, key=lambda one: one.cursor)
        if all(end - one.cursor > len(self._items) // 2 for one in self.subscribers):
            return False  # all are slow: the source is slowed down
        if slowest.position < 0 or not self.driver.is_position_available(slowest.position):
            return False
        slowest.split_to = slowest.position
        self.subscribers.remove(slowest)
        self._trim()
        slowest.wake()
        return True

    def _trim(self) -> None:
        keep = min((one.cursor for one in self.subscribers), default=self.base + len(self._items))
        while self._items and self.base < keep:
            self.bytes -= self._items.popleft()[1]
            self.base += 1

    def _wake_all(self) -> None:
        with self._lock:
            subscribers = list(self.subscribers)
        for subscriber in subscribers:
            subscriber.wake()

    # -- the event loop ----------------------------------------------------------------------------------------------

    def join(self, subscriber: Subscription, position: int) -> bool:
        """
        Let a subscriber in where it has to start; False when the ring does not reach back that far.
        """
        with self._lock:
            end = self.base + len(self._items)
            if self.opened is None:
                if self.subscribers and position != self._asked:
                    return False
                subscriber.cursor = self.base
            elif position < 0 or self._covers(position):
                subscriber.cursor = end if position < 0 else self.base
                if subscriber.cursor == self.base and self._begins_with_opening():
                    self.subscribers.append(subscriber)
                    return True  # the ring itself says it
                opened: list[Item] = [StreamOpened(lost=False, incarnation=self.opened.incarnation)]
                if subscriber.cursor == end and self.passed >= 0:
                    opened.append(progress_mark(self.passed))
                subscriber.put_first(opened)
            elif self.transient:
                # There is no log to read the missing part from.
                subscriber.cursor = end
                subscriber.put_first([StreamOpened(lost=True, incarnation=self.opened.incarnation)])
            else:
                return False
            self.subscribers.append(subscriber)
            return True

    def _begins_with_opening(self) -> bool:
        return bool(self._items) and self._items[0][0] is self.opened

    def _covers(self, position: int) -> bool:
        if not self._items:
            return position >= self.last
        first = self._items[0][0]
        if isinstance(first, StreamOpened):
            return first is self.opened and not first.lost and 0 <= self._asked <= position
        return first.index <= position

    def take(self, subscriber: Subscription, count: int, size: int | None = None) -> list[Item]:
        """
        Take the next items of a subscriber: at least one, where there is one.
        """
        with self._lock:
            backlog = subscriber.backlog
            if backlog is not None:
                taken = backlog.take(count)
                if not len(backlog):
                    subscriber.backlog = None
            else:
                backlog = None
                start = subscriber.cursor - self.base
                end = min(start + count, len(self._items))
                taken = []
                weight = 0
                for item, item_size in itertools.islice(self._items, start, end):
                    taken.append(item)
                    weight += item_size
                    if size is not None and weight >= size:
                        break
                subscriber.cursor += len(taken)
            if not taken:
                subscriber.asleep = True
            for item in reversed(taken):
                if isinstance(item, EventBase) and not item.rows:
                    subscriber.position = item.index
                    break
            self._trim()
            self._room.notify_all()
        if backlog is not None and subscriber.backlog is None:
            backlog.tell_driver()
        return taken

    def waiting(self, subscriber: Subscription) -> tuple[int, int]:
        """
        Return the items and bytes that wait for a subscriber.
        """
        with self._lock:
            if subscriber.backlog is not None:
                return len(subscriber.backlog), 0
            count = self.base + len(self._items) - subscriber.cursor
            return count, self.bytes * count // max(len(self._items), 1)

    def fill(self, subscriber: Subscription) -> float:
        """
        Return how full the ring is with what waits for a subscriber, 0 to 1; a backlog has left it.
        """
        events, size = self.waiting(subscriber)
        return (
            1.0 if subscriber.backlog is not None else min(1.0, max(events / self._max_events, size / self._max_bytes))
        )

    def remove(self, subscriber: Subscription) -> None:
        """
        Let a subscriber go.
        """
        with self._lock:
            if subscriber in self.subscribers:
                self.subscribers.remove(subscriber)
            self._trim()
            self._room.notify_all()

    def status(self) -> dict[str, Any]:
        """
        Return what a person should know.
        """
        with self._lock:
            return {
                "split": self.is_split,
                "subscribers": len(self.subscribers),
                "queue_events": len(self._items),
                "queue_bytes": self.bytes,
                "events": self.events,
                "position": self.passed,
                "blocked": self.blocked,
                "coalesced": sum(one.backlog.coalesced for one in self.subscribers if one.backlog),
                "dropped": sum(one.backlog.dropped for one in self.subscribers if one.backlog),
                "error": None if self.error is None else str(self.error),
            }


class EventBus:
    """
    The readers of one source signature. Made by `BusPool.acquire`.
    """

    def __init__(
        self,
        source_id: str,
        config: SourceConfig,
        driver_factory: Callable[[], SourceDriver],
        settings: BusSettings,
    ) -> None:
        self.source_id = source_id
        self.config = config
        self.settings = settings
        self.users = 0
        self.readers: list[Reader] = []
        self._factory = driver_factory

    def subscribe(self, position: int, wake: Callable[[], None]) -> Subscription:
        """
        Join the stream at a position (-1 = now). `wake` is called from any thread when there is something to take.

        Raises:
            Exception: What the driver's constructor raises.
        """
        for reader in self.readers:
            subscription = Subscription(self, reader, 0, wake)
            if reader.join(subscription, position):
                subscription.position = subscription.acknowledged = position
                return subscription
        reader = Reader(self, self._factory(), position, is_split=bool(self.readers))
        subscription = Subscription(self, reader, 0, wake)
        subscription.position = subscription.acknowledged = position
        reader.join(subscription, position)
        self.readers.append(reader)
        reader.start()
        return subscription

    def acknowledge(self) -> None:
        """
        Tell the drivers what no sync of this bus needs any more: nothing, while one of them has not said yet where it goes on (its
        consumer is away).
        """
        acknowledged = [one.acknowledged for reader in self.readers for one in reader.subscribers]
        if len(acknowledged) < self.users:
            return
        position = min(acknowledged, default=-1)
        if position >= 0:
            for reader in self.readers:
                reader.driver.acknowledge(position)

    def new_driver(self) -> SourceDriver:
        """
        Make an instance of the driver that nobody else uses, to ask it something; the caller closes it.

        Raises:
            Exception: What the driver's constructor raises.
        """
        return self._factory()

    async def leave(self, subscription: Subscription) -> None:
        """
        End a subscription; a reader that nobody listens to is stopped.
        """
        reader = subscription.reader
        reader.remove(subscription)
        if not reader.subscribers and reader in self.readers:
            self.readers.remove(reader)
            await reader.stop()

    async def close(self) -> None:
        """
        Stop every reader.
        """
        readers, self.readers = self.readers, []
        for reader in readers:
            await reader.stop()

    def status(self) -> dict[str, Any]:
        """
        Return the `buses` item of `GET /api/instances`.
        """
        error = next((reader.error for reader in self.readers if reader.error is not None), None)
        return {
            "id": self.source_id,
            "driver": self.config.driver,
            "uri": self.config.uri,
            "users": self.users,
            "readers": [reader.status() for reader in self.readers],
            "error": None if error is None else str(error),
        }


class BusPool:
    """
    Hands out one bus per source signature.
    """

    def __init__(self, settings: BusSettings | None = None) -> None:
        self._settings = settings or BusSettings()
        self._buses: dict[tuple[str, ...], EventBus] = {}

    def acquire(self, source_id: str, config: SourceConfig, driver_factory: Callable[[], SourceDriver]) -> EventBus:
        """
        Return the bus of this source; the same one for every source with the same driver, uri, credential and parameters.

        `driver_factory` makes a driver instance when a reader needs one. Each `acquire` is paired with one `release`.
        """
        signature = _signature(config)
        bus = self._buses.get(signature)
        if bus is None:
            bus = self._buses[signature] = EventBus(source_id, config, driver_factory, self._settings)
        bus.users += 1
        return bus

    async def release(self, bus: EventBus) -> None:
        """
        Give a bus back; the last one stops its readers and closes their drivers.
        """
        bus.users -= 1
        if bus.users <= 0:
            for signature, one in list(self._buses.items()):
                if one is bus:
                    del self._buses[signature]
            await bus.close()

    def status(self) -> list[dict[str, Any]]:
        """
        Return the `buses` part of `GET /api/instances`.
        """
        return [bus.status() for bus in self._buses.values()]


def _signature(config: SourceConfig) -> tuple[str, ...]:
    # Parameters say what is read (tables, columns that must not leave): a reader with others is no reader of this source.
    source = (config.driver, config.uri, json.dumps(config.driver_params, sort_keys=True, default=repr))
    credential = config.credential
    if credential is None:
        return source
    if isinstance(credential, PasswdCredential):
        secret = credential.passwd.get_secret_value() if credential.passwd else ""
        return (*source, "passwd", credential.user, secret)
    return (*source, "key", credential.user or "", credential.key.get_secret_value())
