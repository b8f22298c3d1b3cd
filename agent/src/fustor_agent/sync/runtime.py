"""
The shell of a sync: drives threads, the pusher and timers around the engine, which decides everything.

One task per sync (`_main`) opens a session, joins the bus, feeds the engine and sends what it hands out; it starts over when
something it can't go on from happens. Neighbours: `engine` (decisions), `reader` (the snapshot's thread), `fustor_agent.bus`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from fustor_agent.bus import EventBus, StreamOpened, Subscription
from fustor_agent.sync.engine import Counters, Fault, SyncEngine
from fustor_agent.sync.mapping import Mapper
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.ports import DeadLetterStore, SyncMemory, SyncStore
from fustor_agent.sync.reader import SnapshotReader
from fustor_agent.sync.session import Backoff
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.status import describe
from fustor_core.drivers import PusherDriver
from fustor_core.errors import ConnectionLost, FustorError, SessionSuperseded, StateConflictError
from fustor_core.models.config import PusherConfig, SyncConfig
from fustor_core.models.event import EventBase

log = logging.getLogger(__name__)

_DEFAULT_BATCH = PusherConfig.model_fields["batch_size"].default


class SyncRuntime:
    """
    Keeps one sync going between `start` and `stop`.

    The caller acquires the bus from a `BusPool` before and releases it after `stop`; the pusher is closed by the caller too.
    All methods are called on the event loop.

    Attributes:
        conf_outdated: Set by the caller when the configuration changed since the start; shown as RUNNING_CONF_OUTDATE.
    """

    def __init__(
        self,
        sync_id: str,
        config: SyncConfig,
        *,
        bus: EventBus,
        source_id: str,
        pusher: PusherDriver,
        pusher_config: PusherConfig,
        store: SyncStore,
        dead_letters: DeadLetterStore,
        agent_id: str,
        clock: Callable[[], float] = time.monotonic,
        settings: SyncSettings | None = None,
    ) -> None:
        self.sync_id = sync_id
        self.config = config
        self.source_id = source_id
        self.bus = bus
        self.pusher = pusher
        self.dead_letters = dead_letters
        self.settings = settings or SyncSettings()
        self.counters = Counters()
        self.engine: SyncEngine | None = None
        self.subscription: Subscription | None = None
        self.session_id: str | None = None
        self.fault: Fault | None = None
        self.conf_outdated = False
        self.stopping = False
        self.since = time.time()
        self.tables: dict[str, str] = {}
        self.lag_s: float | None = None
        self.snapshot_started_at: float | None = None
        self.last_snapshot: dict[str, Any] | None = None
        self.snapshot_waits = False
        self.rates: deque[tuple[float, int, int]] = deque(maxlen=64)
        self._pusher_config = pusher_config
        self._store = store
        self._agent_id = agent_id
        self._clock = clock
        self._rng = random.Random()
        self._mapper = Mapper(config.fields_mapping)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._reader: SnapshotReader | None = None
        self._reader_engine: SyncEngine | None = None
        self._lock_held: asyncio.Lock | None = None
        self._broken: BaseException | None = None
        given = "batch_size" in pusher_config.model_fields_set and pusher_config.batch_size != _DEFAULT_BATCH
        self._batch_rows = pusher_config.batch_size if given else self.settings.batch_rows

    @property
    def running(self) -> bool:
        """
        Whether it was started and has not ended.
        """
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """
        Begin; returns at once. Failures show in `status` and are retried.
        """
        if self.running:
            return
        self.stopping = False
        self.since = time.time()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._main(), name=f"sync-{self.sync_id}")

    async def stop(self, timeout_s: float = 8.0) -> None:
        """
        End in good order: pushes under way may finish within `timeout_s`, then the session is closed.

        What is not acknowledged by then is not dropped: it comes again after the next start.
        """
        task = self._task
        if task is None:
            return
        self.stopping = True
        if self.engine is not None:
            self.engine.stopping = True
        self._wake.set()
        ended, _ = await asyncio.wait([task], timeout=timeout_s)
        if not ended:
            task.cancel()
            await asyncio.wait([task], timeout=2.0)
        self._task = None

    def status(self) -> dict[str, Any]:
        """
        Return the `syncs` item of `GET /api/instances` (docs/reference/api.md).
        """
        return describe(self)

    async def request_snapshot(self, tables: list[str] | None = None, where: str | None = None) -> None:
        """
        Start a snapshot because a person asked.

        Raises:
            StateConflictError: One is under way, or the sync is not connected.
        """
        self._connected().request_snapshot(tables, where)
        self._wake.set()

    def pause_snapshot(self) -> None:
        """
        Pause the snapshot under way; over a restart too.

        Raises:
            StateConflictError: None is under way.
        """
        self._connected().pause_snapshot()
        self._wake.set()

    def resume_snapshot(self) -> None:
        """
        Go on with a paused snapshot.

        Raises:
            StateConflictError: None is paused.
        """
        self._connected().resume_snapshot()
        self._wake.set()

    def cancel_snapshot(self) -> None:
        """
        Give up the snapshot under way; nothing is removed at the consumer.

        Raises:
            StateConflictError: None is under way.
        """
        self._connected().cancel_snapshot()
        self._wake.set()

    def _connected(self) -> SyncEngine:
        if self.engine is None or not self.running:
            raise StateConflictError(
                f"sync {self.sync_id!r} is not running", hint="start it, or see the reason in its status"
            )
        return self.engine

    # -- the task ----------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        backoff = Backoff(self.settings.backoff_first_s, self._pusher_config.retry_delay_sec, self._rng)
        engine: SyncEngine | None = None
        while not self.stopping:
            wait = 0.0
            self._broken = None
            self._wake.clear()
            engine = self._new_engine(engine)
            try:
                await self._once(engine)
                backoff.reset()
            except Exception as exc:
                log.warning("sync %s: %s", self.sync_id, exc, exc_info=not isinstance(exc, FustorError))
                engine.failed(exc)
                self.fault = engine.fault
                wait = max(engine.hold_s, backoff.next_wait())
            finally:
                self.engine = None
            deadline = self._clock() + wait
            while not self.stopping and (left := deadline - self._clock()) > 0:
                self._wake.clear()
                await self._wait(left)

    def _new_engine(self, before: SyncEngine | None) -> SyncEngine:
        engine = SyncEngine(
            ordering=self.pusher.ordering,
            memory=self._store.load(self.sync_id),
            save=self._save,
            park=self._park,
            clock=self._clock,
            rng=self._rng,
            new_id=lambda: uuid.uuid4().hex,
            settings=self.settings,
            batch_rows=self._batch_rows,
            max_retries=self._pusher_config.max_retries,
            retry_delay_s=self._pusher_config.retry_delay_sec,
            counters=self.counters,
        )
        if before is not None:
            engine.guard = before.guard
            engine.backoff = before.backoff
        return engine

    async def _once(self, engine: SyncEngine) -> None:
        session = await self.pusher.create_session(self.sync_id, agent_id=self._agent_id)
        heartbeat: asyncio.Task[None] | None = None
        try:
            self._take_session(session)
            index = await self.pusher.get_latest_committed_index(session_id=self.session_id, task_id=self.sync_id)
            position = engine.first_session(session, index)
            self.engine = engine
            self.fault = None
            engine.stopping = self.stopping
            self.subscription = self.bus.subscribe(position, self._wake_from_any_thread)
            heartbeat = asyncio.create_task(self._beat(engine, float(session.get("heartbeat_interval") or 10.0)))
            while not self.stopping:
                if self._broken is not None:
                    raise self._broken
                if not await self._turn(engine):
                    return
            await self._finish_sends()
        finally:
            if heartbeat is not None:
                heartbeat.cancel()
            await self._let_go(engine)

    def _take_session(self, session: dict[str, Any]) -> None:
        self.session_id = str(session["session_id"])

    async def _turn(self, engine: SyncEngine) -> bool:
        """
        Do what can be done now, then wait for something to happen; False = start over.
        """
        self._wake.clear()
        engine.tick()
        if engine.needs_session and not engine.hold_s:
            session = await self.pusher.create_session(self.sync_id, agent_id=self._agent_id)
            self._take_session(session)
            if not engine.session_reopened(session):
                log.warning("sync %s: the consumer is not what it was; starting over", self.sync_id)
                return False
        more = await self._drain(engine)
        if self.subscription is not None:
            self.subscription.acknowledge(engine.forgettable)
        while (push := engine.next_push()) is not None:
            task = asyncio.create_task(self._push(engine, push))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)
        await self._watch_reader(engine)
        now = self._clock()
        if not self.rates or now - self.rates[-1][0] >= 0.5:
            self.rates.append((now, self.counters.pushed_rows, self.counters.pushed_events))
        if more:
            await asyncio.sleep(0)
        elif engine.stream_open:
            await self._wait(engine.wait_s())
        else:
            await self._wait(1.0)
        return True

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _wake_from_any_thread(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake.set)

    async def _drain(self, engine: SyncEngine) -> bool:
        """
        Feed the engine from the bus; whether there may be more at once.
        """
        subscription = self.subscription
        if subscription is None:
            return False
        if subscription.split_to is not None:
            position = engine.tracker.passed
            await subscription.close()
            self.subscription = self.bus.subscribe(position, self._wake_from_any_thread)
            return True
        if not engine.wants_live:
            return False
        settings = self.settings
        items = subscription.take(
            min(2000, settings.queue_events - engine.queue_events), settings.queue_bytes - engine.queue_bytes
        )
        for item in items:
            if isinstance(item, StreamOpened):
                engine.stream_opened(lost=item.lost, incarnation=item.incarnation)
            else:
                if item.rows and item.table not in self.tables:
                    self.tables[item.table] = "live"
                engine.feed(item)
        return bool(items)

    async def _push(self, engine: SyncEngine, push: Push) -> None:
        try:
            try:
                async with asyncio.timeout(self.settings.push_timeout_s):
                    answer = await self.pusher.push(
                        self._mapper.apply(push.events),
                        agent_id=self._agent_id,
                        task_id=self.sync_id,
                        session_id=self.session_id,
                        **engine.control(push),
                    )
            except TimeoutError as exc:
                engine.push_failed(push, ConnectionLost(f"no answer within {self.settings.push_timeout_s} s: {exc}"))
            except Exception as exc:  # noqa: BLE001 - the engine decides what each error means
                engine.push_failed(push, exc)
                log.info("sync %s: push failed: %s", self.sync_id, exc)
            else:
                self._note_lag(push)
                engine.push_done(push, answer or {})
        except Exception as exc:
            log.exception("sync %s: can't go on", self.sync_id)
            self._broken = exc
        finally:
            self._wake.set()

    def _note_lag(self, push: Push) -> None:
        if push.lane == "message" and push.events and push.events[-1].ts is not None:
            self.lag_s = max(0.0, time.time() - push.events[-1].ts)

    async def _beat(self, engine: SyncEngine, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            if engine.needs_session:
                continue
            asked = engine.seq
            session_id = self.session_id
            try:
                answer = await self.pusher.heartbeat(session_id=session_id, task_id=self.sync_id)
            except SessionSuperseded as exc:
                if session_id == self.session_id and not engine.needs_session:
                    engine.failed(exc)
            except Exception as exc:  # noqa: BLE001 - pushes find out, and retry; here it is only told
                log.info("sync %s: heartbeat failed: %s", self.sync_id, exc)
                if engine.fault is None:
                    engine.fault = Fault(getattr(exc, "code", "driver.failed"), f"heartbeat failed: {exc}")
            else:
                if engine.fault is not None and engine.fault.reason.startswith("heartbeat failed"):
                    engine.fault = None
                engine.heartbeat_answered(answer or {}, asked)
            self._wake.set()

    # -- snapshots ---------------------------------------------------------------------------------------------------

    async def _watch_reader(self, engine: SyncEngine) -> None:
        self._note_snapshot(engine)
        order = engine.read_order()
        reader = self._reader
        if reader is not None:
            if engine is self._reader_engine and engine.is_current(reader.order.generation):
                reader.allow(order is not None)
            else:
                reader.stop()
            return
        if order is None or self.subscription is None:
            return
        lock = self.subscription.reader.snapshot_lock
        self.snapshot_waits = lock.locked()
        if lock.locked():
            return
        await lock.acquire()
        self._lock_held = lock
        self._reader = SnapshotReader(
            order, self.subscription.driver, self, self.settings.chunk_rows, name=f"{self.sync_id}"
        )
        self._reader_engine = engine
        self._reader.start()

    def _note_snapshot(self, engine: SyncEngine) -> None:
        run = engine.run
        if run is not None and self.snapshot_started_at is None:
            self.snapshot_started_at = time.time()
            self.tables = dict.fromkeys(self.tables, "waiting") if not run.progress.rows else self.tables
        elif run is None and self.snapshot_started_at is not None:
            self.snapshot_started_at = None
            self.tables = dict.fromkeys(self.tables, "live")

    def chunk_read(self, reader: SnapshotReader, event: EventBase, high: int | None) -> None:
        """
        Take a chunk from the reader's thread.
        """
        reader.taken()
        engine = self.engine
        if engine is not None and reader is self._reader and engine is self._reader_engine:
            if event.rows:
                self.tables[event.table] = "copying"
            engine.chunk_read(reader.order.generation, event, high)
            reader.allow(engine.read_order() is not None)
        self._wake.set()

    def reader_ended(self, reader: SnapshotReader, error: BaseException | None) -> None:
        """
        Take the reader's end.
        """
        if reader is not self._reader:
            return
        self._reader = None
        if self._lock_held is not None:
            self._lock_held.release()
            self._lock_held = None
        engine = self.engine
        if engine is not None and engine is self._reader_engine:
            if error is not None:
                log.warning("sync %s: reading the snapshot failed: %s", self.sync_id, error)
                engine.snapshot_read_failed(reader.order.generation, error)
            elif reader.completed:
                engine.snapshot_read(reader.order.generation)
        self._wake.set()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _finish_sends(self) -> None:
        if self._sends:
            await asyncio.wait(set(self._sends))

    async def _let_go(self, engine: SyncEngine) -> None:
        if self._reader is not None:
            self._reader.stop()
            await self._reader.join()
            await asyncio.sleep(0)
        for task in list(self._sends):
            task.cancel()
        if self._sends:
            await asyncio.wait(set(self._sends))
        self.fault = engine.fault
        if engine.stream_open:
            engine.flush()
        if self.subscription is not None:
            subscription, self.subscription = self.subscription, None
            await subscription.close()
        session_id, self.session_id = self.session_id, None
        if session_id is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self.pusher.close_session(session_id=session_id, task_id=self.sync_id)
            except Exception as exc:  # noqa: BLE001 - the session ends by its own time-out then
                log.info("sync %s: closing the session failed: %s", self.sync_id, exc)

    def _save(self, memory: SyncMemory) -> None:
        self._store.save(self.sync_id, memory)

    def _park(self, events: list[EventBase], epoch: int, reason: str, code: str) -> None:
        self.dead_letters.park(self.sync_id, events, epoch=epoch, reason=reason, code=code)
