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
from fustor_agent.sync.batcher import events_bytes
from fustor_agent.sync.complaints import Complaints
from fustor_agent.sync.counters import Counters
from fustor_agent.sync.engine import SyncEngine
from fustor_agent.sync.failures import Fault, fault_of, said
from fustor_agent.sync.held_back import HeldBack
from fustor_agent.sync.keys import full_name, table_of
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.origin import tables_to_send_again
from fustor_agent.sync.owed import RowsRead, Untold
from fustor_agent.sync.ports import RESHAPED, DeadLetterStore, Origin, Refusal, SyncMemory, SyncStore
from fustor_agent.sync.rates import Sample
from fustor_agent.sync.reader import SnapshotReader
from fustor_agent.sync.rejects import TransformFailed
from fustor_agent.sync.row_reader import RowReader
from fustor_agent.sync.session import Backoff
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.status import describe, health
from fustor_agent.sync.table_states import TableStates
from fustor_agent.transforms.transformer import Outgoing, Transformer
from fustor_core.drivers import PusherDriver
from fustor_core.errors import BatchRejected, ConnectionLost, FustorError, SessionSuperseded, StateConflictError
from fustor_core.models.config import PusherConfig, SyncConfig
from fustor_core.models.event import EventBase, UntoldMark
from fustor_core.sync_health import Health

log = logging.getLogger(__name__)

_DEFAULT_BATCH = PusherConfig.model_fields["batch_size"].default


class SyncRuntime:
    """
    Keeps one sync going between `start` and `stop`.

    The caller acquires the bus from a `BusPool` before and releases it after `stop`; the pusher is closed by the caller too.
    All methods are called on the event loop.

    Attributes:
        held_back: Tables with rows that are read from the source once more, because the stream told too little of them.
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
        origin: Origin | None = None,
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
        self.tables = TableStates()
        self.held_back = HeldBack()
        self.lag_s: float | None = None
        self.snapshot_waits = False
        self.rates: deque[Sample] = deque(maxlen=64)
        self._pusher_config = pusher_config
        self._store = store
        self._origin = origin
        self._agent_id = agent_id
        self._clock = clock
        self._complaints = Complaints(clock)
        self._rng = random.Random()
        self.transformer = Transformer(config, sweeps=pusher.ordering == "index")
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._row_reader: RowReader | None = None
        self._reading_rows: asyncio.Task[None] | None = None
        self._reader: SnapshotReader | None = None
        self._patience_s = self.settings.reader_patience_s
        self._gave_way_at: str | None = None
        self._reader_engine: SyncEngine | None = None
        self._lock_held: asyncio.Lock | None = None
        self._broken: BaseException | None = None
        self._next_try = 0.0
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

    def sample(self) -> Sample:
        """
        Return what was counted by now.
        """
        counters = self.counters
        return Sample(
            self._clock(), counters.read_rows, counters.pushed_rows, counters.pushed_events, counters.snapshot_rows
        )

    def status(self) -> dict[str, Any]:
        """
        Return the `syncs` item of `GET /api/instances` (docs/reference/api.md).
        """
        return describe(self)

    def health(self) -> Health:
        """
        Return the health alone.
        """
        return health(self)

    @property
    def next_try_s(self) -> float:
        """
        How long nothing is tried because of a failure, while there is no engine.
        """
        return max(0.0, self._next_try - self._clock())

    def outgoing(self, event: EventBase) -> list[EventBase]:
        """
        Return what the transforms make of a parked event now, to be sent again.

        Raises:
            StateConflictError: It lacks columns that the transforms need.
            FustorError: It still can't be transformed.
        """
        if self.transformer.is_nothing:
            return [event]
        if untold := self.transformer.untold(event):
            raise StateConflictError(
                f"the event can't be sent again as it is: it brings {untold.why}",
                hint="take a snapshot of its table, then delete it",
            )
        return self.transformer.apply([event]).events

    async def request_snapshot(self, tables: list[str] | None = None, where: str | None = None) -> None:
        """
        Start a snapshot because a person asked.

        Raises:
            StateConflictError: One is under way, or the sync is not connected.
        """
        self._connected().snapshots.request(tables, where)
        self._wake.set()

    def pause_snapshot(self) -> None:
        """
        Pause the snapshot under way; over a restart too.

        Raises:
            StateConflictError: None is under way.
        """
        self._connected().snapshots.pause()
        self._wake.set()

    def resume_snapshot(self) -> None:
        """
        Go on with a paused snapshot.

        Raises:
            StateConflictError: None is paused.
        """
        self._connected().snapshots.resume()
        self._wake.set()

    def cancel_snapshot(self) -> None:
        """
        Give up the snapshot under way; nothing is removed at the consumer.

        Raises:
            StateConflictError: None is under way.
        """
        engine = self._connected()
        engine.snapshots.cancel()
        self.tables.note(engine.run)
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
            except Exception as exc:  # noqa: BLE001 - a driver may raise anything; it is told, and tried again
                self._complain(logging.WARNING, str(exc), exc_info=not isinstance(exc, FustorError))
                engine.failed(exc)
                self.fault = engine.failures.fault
                wait = max(engine.failures.hold_s, backoff.next_wait())
            finally:
                self.engine = None
            deadline = self._next_try = self._clock() + wait
            while not self.stopping and (left := deadline - self._clock()) > 0:
                self._wake.clear()
                await self._wait(left)

    def _complain(self, level: int, what: str, *, alike: str | None = None, exc_info: bool = False) -> None:
        # What is tried again every second for a night would leave no room in the log for anything else.
        if log.isEnabledFor(level) and (text := self._complaints.due(what, alike=alike)) is not None:
            log.log(level, "sync %s: %s", self.sync_id, text, exc_info=exc_info)

    def _new_engine(self, before: SyncEngine | None) -> SyncEngine:
        engine = SyncEngine(
            ordering=self.pusher.ordering,
            memory=self._remembered(),
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
            engine.failures.continue_from(before.failures)
        return engine

    def _remembered(self) -> SyncMemory:
        memory = self._store.load(self.sync_id)
        if memory.shape != self.transformer.shape:
            # A new epoch, as after a change of the source: what the consumer has is older than anything sent from now on, a snapshot is
            # suggested, and its end removes what these transforms don't let pass. Saved with the opening of the stream.
            memory.incarnation += RESHAPED
            memory.shape, memory.snapshot = self.transformer.shape, None
        return memory

    async def _once(self, engine: SyncEngine) -> None:
        session = await self.pusher.create_session(self.sync_id, agent_id=self._agent_id)
        heartbeat: asyncio.Task[None] | None = None
        try:
            self._take_session(session)
            index = await self.pusher.get_latest_committed_index(session_id=self.session_id, task_id=self.sync_id)
            position = engine.first_session(session, index)
            await self._take_origin(engine, session)
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

    async def _take_origin(self, engine: SyncEngine, session: dict[str, Any]) -> None:
        before, now = engine.memory.origin, self._origin
        if now is None or before == now:
            return
        tables: list[str] | None = []
        if before is not None:
            tables = await tables_to_send_again(
                before, now, self.bus.new_driver, is_known_consumer=session.get("epoch") is not None
            )
            log.info(
                "sync %s: its configuration has changed; to be sent once more: %s",
                self.sync_id,
                "all tables" if tables is None else ", ".join(tables) or "no table",
            )
        engine.take_origin(now, tables)

    def _take_session(self, session: dict[str, Any]) -> None:
        self.session_id = str(session["session_id"])

    async def _turn(self, engine: SyncEngine) -> bool:
        """
        Do what can be done now, then wait for something to happen; False = start over.
        """
        self._wake.clear()
        # Before anything is taken: what is on its way now would count as pushed within the time that is looked at, and not as read.
        if not self.rates or self._clock() - self.rates[-1].at >= 0.5:
            self.rates.append(self.sample())
        engine.tick()
        if engine.needs_session and not engine.failures.hold_s:
            session = await self.pusher.create_session(self.sync_id, agent_id=self._agent_id)
            self._take_session(session)
            if not engine.session_reopened(session):
                log.warning("sync %s: the consumer is not what it was; starting over", self.sync_id)
                return False
        more = await self._drain(engine)
        if self.subscription is not None:
            self.subscription.acknowledge(engine.position.forgettable)
        while (push := engine.next_push()) is not None:
            task = asyncio.create_task(self._push(engine, push))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)
        self._watch_row_reader(engine)
        await self._watch_reader(engine)
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
            min(2000, settings.queue_events - engine.queue_events), settings.queue_bytes - engine.live.queue_bytes
        )
        for item in items:
            if isinstance(item, StreamOpened):
                engine.stream_opened(lost=item.lost, incarnation=item.incarnation)
            else:
                self.counters.read_rows += len(item.rows)
                if item.rows:
                    self.tables.changed(item.table)
                engine.feed(item, self._untold(item, subscription))
                if isinstance(item, UntoldMark):
                    self.tables.untold(item.table)
        return bool(items)

    def _untold(self, event: EventBase, subscription: Subscription) -> Untold | None:
        # Invariant 10: what the transforms can't tell the consumer of is owed to it, never silent.
        untold = None if self.transformer.is_nothing else self.transformer.untold(event)
        if untold is not None:
            self.held_back.note(table_of(event), untold.why, subscription.driver)
        return untold

    async def _push(self, engine: SyncEngine, push: Push) -> None:
        outgoing = Outgoing(push.events)
        try:
            try:
                if not self.transformer.is_nothing:
                    outgoing = self.transformer.apply(push.events, lane=push.lane)
                async with asyncio.timeout(self.settings.push_timeout_s):
                    answer = await self.pusher.push(
                        outgoing.events,
                        agent_id=self._agent_id,
                        task_id=self.sync_id,
                        session_id=self.session_id,
                        **engine.control(push),
                    )
            except TimeoutError:
                engine.push_failed(push, ConnectionLost(f"no answer within {self.settings.push_timeout_s:g} s"))
            except TransformFailed as exc:
                engine.push_failed(push, exc)  # which warns of each row that it sets aside
                self._complain(logging.DEBUG, f"nothing was pushed: {exc}")
            except BatchRejected as exc:
                engine.push_failed(push, outgoing.blamed(exc) if outgoing.origins else exc)
                self._complain(logging.INFO, f"push refused: {exc}")
            except Exception as exc:  # noqa: BLE001 - the engine decides what each error means
                engine.push_failed(push, exc)
                self._complain(logging.INFO, f"push failed: {exc}")
            else:
                self._note_lag(push)
                self.counters.sent_rows += sum(len(event.rows) for event in outgoing.events)
                self.counters.sent_bytes += events_bytes(outgoing.events)
                engine.push_done(push, answer or {})
            # At once: a status that says that the snapshot has ended must not say that its tables are still copied.
            if engine is self.engine:
                self.tables.note(engine.run)
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
                self._complain(logging.INFO, f"heartbeat failed: {exc}")
                if engine.failures.fault is None:
                    engine.failures.fault = fault_of(exc, f"heartbeat failed: {said(exc)}", is_error=False)
            else:
                if engine.failures.fault is not None and engine.failures.fault.reason.startswith("heartbeat failed"):
                    engine.failures.fault = None
                engine.heartbeat_answered(answer or {}, asked)
            self._wake.set()

    # -- rows that are owed ------------------------------------------------------------------------------------------

    def _watch_row_reader(self, engine: SyncEngine) -> None:
        if self._reading_rows is not None or self.subscription is None or (order := engine.rows_order()) is None:
            return
        reader = self._row_reader = RowReader(order, self.subscription.driver)
        self._reading_rows = asyncio.create_task(self._read_rows(engine, reader))

    async def _read_rows(self, engine: SyncEngine, reader: RowReader) -> None:
        read: RowsRead | None = None
        error: BaseException | None = None
        try:
            read = await reader.read()
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything; the engine decides
            self._complain(logging.INFO, f"reading rows of {full_name(*reader.order.table)} failed: {exc}")
            error = exc
        if reader is self._row_reader:
            self._reading_rows = None
        if engine is not self.engine:
            return
        try:
            if error is not None:
                engine.rows_failed(reader.order, error)
            else:
                self.counters.read_rows += sum(len(event.rows) for event in read.events) if read is not None else 0
                engine.rows_read(reader.order, read)
        except Exception as exc:
            log.exception("sync %s: can't go on", self.sync_id)
            self._broken = exc
        self._wake.set()

    # -- snapshots ---------------------------------------------------------------------------------------------------

    async def _watch_reader(self, engine: SyncEngine) -> None:
        self.tables.note(engine.run)
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
            order,
            self.subscription.driver,
            self,
            self.settings.chunk_rows,
            name=self.sync_id,
            patience_s=self._patience_s,
            with_keyless=self.pusher.ordering == "index",
            estimates=order.where is None and self.tables.expected.snapshot_id != order.snapshot_id,
        )
        self._reader_engine = engine
        self._reader.start()

    def rows_estimated(self, reader: SnapshotReader, rows: dict[str, int] | None) -> None:
        """
        Take from the reader's thread about how many rows there are.
        """
        self.tables.expected.told(reader.order.snapshot_id, rows)

    def chunk_read(self, reader: SnapshotReader, event: EventBase, high: int | None) -> None:
        """
        Take a chunk from the reader's thread.
        """
        reader.taken()
        engine = self.engine
        if engine is not None and reader is self._reader and engine is self._reader_engine:
            if event.rows:
                self.tables.chunk_read(event.table, len(event.rows))
            self.counters.read_rows += len(event.rows)
            try:
                left = event if self.transformer.is_nothing else self.transformer.chunk(event)
            except FustorError as exc:
                engine.snapshot_read_failed(reader.order.generation, exc)
            else:
                if left is not None:
                    engine.chunk_read(reader.order.generation, left, high)
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
                again = engine.run is not None and engine.run.rereads > 0
                level = logging.DEBUG if again and isinstance(error, ConnectionLost) else logging.WARNING
                self._complain(level, f"reading the snapshot failed, and is tried again: {error}")
                engine.snapshot_read_failed(reader.order.generation, error)
                named = error.context.get("tables", ()) if isinstance(error, FustorError) else ()
                self.tables.read_ended(named)
            elif reader.completed:
                self.tables.read_ended()
                engine.snapshot_read(reader.order.generation)
        if reader.gave_way:
            self._note_given_way(reader)
        self._wake.set()

    def _note_given_way(self, reader: SnapshotReader) -> None:
        settings, began = self.settings, reader.order.resume_token or ""
        stays = began == self._gave_way_at
        self._gave_way_at = began
        again = min(2 * self._patience_s, settings.reader_patience_most_s)
        self._patience_s = again if stays else settings.reader_patience_s
        log.info("sync %s: the snapshot has to wait for the consumer; the source is not held meanwhile", self.sync_id)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _finish_sends(self) -> None:
        if self._sends:
            await asyncio.wait(set(self._sends))

    async def _let_go(self, engine: SyncEngine) -> None:
        if self._reader is not None:
            self._reader.stop()
            await self._reader.join()
            await asyncio.sleep(0)
        if self._reading_rows is not None and self._row_reader is not None:
            self._row_reader.stop()
            await asyncio.wait([self._reading_rows], timeout=3.0)
            self._reading_rows = None
        for task in list(self._sends):
            task.cancel()
        if self._sends:
            await asyncio.wait(set(self._sends))
        self.fault = engine.failures.fault
        if engine.stream_open:
            engine.position.flush()
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

    def _park(self, events: list[EventBase], epoch: int, why: Refusal) -> None:
        self.dead_letters.park(self.sync_id, events, epoch=epoch, why=why)
        for event in events:
            table = full_name(event.event_schema, event.table)
            # A table whose every row is refused is told of once: reasons may quote the row, and so differ.
            self._complain(
                logging.WARNING,
                f"a row of {table} is set aside as a dead letter: {why.reason}"
                + (f" ({why.hint})" if why.hint else ""),
                alike=f"dead letters {why.code} {table}",
            )
