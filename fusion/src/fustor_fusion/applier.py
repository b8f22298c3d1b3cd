"""
The one thread that writes to a datastore: takes what requests queue, applies it and commits groups of it.

Live pushes and commands go first. A snapshot push is applied in slices; a live push that waits is taken between two
slices and the transaction is committed at once. Each request is answered after the commit that holds all of it.
While a live push is read or answered no slice is begun, within reason: its request needs the interpreter too.
A push that can't be applied is rolled back alone; when the disk fails, everything in the transaction is answered with it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from fustor_common.logging import get_logger
from fustor_core.errors import FustorError, OverloadedError, StorageFull
from fustor_fusion.metrics import FusionMetrics
from fustor_fusion.store.sqlite import SqliteStore, is_full, is_io_error

log = get_logger(__name__)

SNAPSHOT_SHARE: Final = 0.75  # of the queue: the rest stays free for live pushes
IDLE_S: Final = 0.5
FAIR_S: Final = 0.02  # snapshots get a turn at least this often, however busy the live stream is
TURN_S: Final = 0.005  # how long their turn is
GIVE_WAY_S: Final = 0.005  # how long a slice waits for live pushes that are read or answered
LIVE_BODY_BYTES: Final = 64 * 1024  # a body up to this size may be a live push that somebody waits for
LIVE_RECENT_S: Final = 1.0
CHORES_S: Final = 0.1  # how often chores get a turn while there is work but no live push waits
CHORES_MOST_S: Final = 1.0  # and how often in any case
LIVE_SLICE_ROWS: Final = 100  # of a slice while there are live pushes: about a millisecond


class ApplyFailed(FustorError):
    """
    Something we did not foresee went wrong while a push was applied; nothing of it was stored.
    """

    code = "fusion.apply_failed"
    default_hint = "the log of Fusion has the whole error; the push may be sent again"


class Work(ABC):
    """
    Something to do inside a transaction of the applier.

    Attributes:
        size: What it counts against the bound of the queue, bytes.
        rows: How many rows it has.
    """

    size: int = 0
    rows: int = 0

    @abstractmethod
    def steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        """
        Do it; yield the number of rows after each step, between which other work may come (or not at all). Sets `result`.
        """

    result: Any = None

    def undo(self) -> None:
        """
        Put memory back to what it was before the last `steps` or the last step of it; the database was rolled back.
        """

    def committed(self) -> None:
        """
        Called after the commit that holds the last step of it.
        """


class Command(Work):
    """
    A function to run in a transaction.
    """

    def __init__(self, run: Callable[[sqlite3.Connection], Any]) -> None:
        self._run = run

    def steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        """
        Run the function.
        """
        self.result = self._run(conn)
        yield 0


class LivePush:
    """
    A request that may be a live push, from its head to its answer. Used with `with`.
    """

    __slots__ = ("_applier", "_counted")

    def __init__(self, applier: Applier, counted: bool) -> None:
        self._applier = applier
        self._counted = counted

    def __enter__(self) -> LivePush:
        if self._counted:
            self._applier.count_live(1)
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def leave(self) -> None:
        """
        Say that it is none, or has ended. May be called twice.
        """
        if self._counted:
            self._counted = False
            self._applier.count_live(-1)


class _Job:
    __slots__ = ("future", "iterator", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any] | Future[Any]) -> None:
        self.work = work
        self.future = future
        self.iterator: Iterator[int] | None = None


Outcome = tuple[_Job, BaseException | None]


class Applier:
    """
    The applier of one datastore.

    Args:
        store: Its store; only this thread uses the writer.
        metrics: Where commits are counted.
        queue_bytes: Most bytes of work that may wait. One piece of work always fits when nothing else waits.
        group_rows: Most rows of snapshots in one transaction.
        reset: Called after a transaction was rolled back: read memory anew.
        chores: Called now and then, also while there is work: must be short. Returns how many rows it changed (0: nothing is left to do).
        idle: Called after chores, and again and again when there is nothing to do, for as long as it says that it wrote something;
            must be short too.
    """

    def __init__(
        self,
        store: SqliteStore,
        metrics: FusionMetrics,
        *,
        queue_bytes: int,
        group_rows: int,
        reset: Callable[[sqlite3.Connection], None],
        chores: Callable[[sqlite3.Connection], int],
        idle: Callable[[sqlite3.Connection], bool],
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._queue_bytes = queue_bytes
        self._group_rows = group_rows
        self._reset = reset
        self._chores = chores
        self._idle = idle
        self._chores_at = time.monotonic()
        self._live: deque[_Job] = deque()
        self._slow: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._used = 0
        self._last_slice = self._turn_until = 0.0
        self._live_inside = 0
        self._live_seen = -LIVE_RECENT_S
        self.failure: str | None = None
        """
        Why the last transaction failed; None when it did not.
        """
        self._thread = threading.Thread(target=self._run, name=f"fusion-apply-{store.datastore_id}", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._thread.start()

    @property
    def queued_bytes(self) -> int:
        """
        How much room is taken.
        """
        return self._used

    def reserve(self, size: int) -> None:
        """
        Take room in the queue; give it back with `release`. Any thread.

        Raises:
            OverloadedError: There is none; nothing was taken.
        """
        with self._wake:
            if self._used and self._used + size > self._queue_bytes:
                raise OverloadedError(
                    f"{self._used} bytes wait to be stored in datastore {self._store.datastore_id!r}, {size} more do not fit",
                    hint="send the same again after the time in Retry-After",
                    context={"queued_bytes": self._used, "limit": self._queue_bytes},
                    wait_s=1.0,
                )
            self._used += size

    def check_share(self) -> None:
        """
        Refuse a snapshot push that would leave no room for live ones; its own room has been reserved.

        Raises:
            OverloadedError: Snapshot pushes have their share of the queue.
        """
        with self._wake:
            waiting = sum(job.work.size for job in tuple(self._slow))  # a copy: the thread takes from it meanwhile
            if self._slow and waiting > self._queue_bytes * SNAPSHOT_SHARE:
                raise OverloadedError(
                    f"{waiting} bytes of snapshots wait to be stored in datastore {self._store.datastore_id!r}",
                    hint="send the same again after the time in Retry-After",
                    context={"queued_bytes": waiting, "limit": int(self._queue_bytes * SNAPSHOT_SHARE)},
                    wait_s=1.0,
                )

    def release(self, size: int) -> None:
        """
        Give room back.
        """
        with self._wake:
            self._used -= size

    def live_push(self, length: int | None) -> LivePush:
        """
        Announce a push; `length` is that of its body, None when unknown. Event loop only.
        """
        return LivePush(self, length is not None and length <= LIVE_BODY_BYTES)

    def count_live(self, change: int) -> None:
        """
        Count the live pushes that are read or answered; see `live_push`.
        """
        with self._wake:
            self._live_inside += change
            if change > 0:
                self._live_seen = time.monotonic()
            elif not self._live_inside:
                self._wake.notify()

    def slice_rows(self, most: int) -> int:
        """
        Return how many rows of a snapshot to apply before other work gets its turn, `most` when nobody waits.
        """
        return min(most, LIVE_SLICE_ROWS) if time.monotonic() - self._live_seen < LIVE_RECENT_S else most

    def submit(self, work: Work, *, slow: bool = False) -> asyncio.Future[Any]:
        """
        Queue work and return the future of its `result`. Event loop only.

        Args:
            work: What to do; its room must have been reserved and is released when it is done.
            slow: Whether other work goes before it, also between its steps.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Job(work, future), slow=slow)
        return future

    def run_now(self, work: Work) -> Any:
        """
        Queue work from a thread other than the event loop's and wait for its result.
        """
        future: Future[Any] = Future()
        self._put(_Job(work, future), slow=False)
        return future.result()

    def _put(self, job: _Job, *, slow: bool) -> None:
        with self._wake:
            if self._closing:
                raise OverloadedError("Fusion is shutting down", hint="send the same again in a moment", wait_s=1.0)
            (self._slow if slow else self._live).append(job)
            self._wake.notify()

    def close(self) -> None:
        """
        Do what is queued, then stop the thread. May be called twice; blocks.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    # The thread.

    def _run(self) -> None:
        while True:
            with self._wake:
                # Others are notified by the same condition: only a whole pause without work is idleness.
                self._wake.wait_for(lambda: self._live or self._slow or self._closing, IDLE_S)
                has_work = bool(self._live or self._slow)
                if self._closing and not has_work:
                    return
            if has_work:
                self._transaction()
                if self._are_chores_due():
                    self._do_chores()
                    # A stream that never pauses must not keep its tombstones for ever.
                    self._housekeep(self._idle)
            else:
                self._idle_steps()

    def _idle_steps(self) -> None:
        again = True
        while again and not (self._live or self._slow or self._closing):
            rows = self._do_chores()
            more = None if rows is None else self._housekeep(self._idle)
            if more is None:
                return
            again = bool(rows or more)
        self._store.note_commit(0, idle=True)

    def _are_chores_due(self) -> bool:
        late = time.monotonic() - self._chores_at
        return not self._closing and (late > CHORES_MOST_S or (late > CHORES_S and not self._live))

    def _do_chores(self) -> int | None:
        rows = self._housekeep(self._chores)
        self._chores_at = time.monotonic()
        self._store.note_commit(rows or 0)
        return rows

    def _housekeep(self, work: Callable[[sqlite3.Connection], int]) -> int | None:
        """
        Do something that nobody waits for, in a transaction of its own; return what it returns, None when it failed.
        """
        conn = self._store.writer
        try:
            conn.execute("BEGIN IMMEDIATE")
            done = work(conn)
            conn.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - housekeeping must not end the thread
            self._abandon(conn, exc)
            return None
        self.failure = None
        return done

    def _transaction(self) -> None:
        conn = self._store.writer
        outcomes: list[Outcome] = []
        rows = 0
        job: _Job | None = None
        try:
            conn.execute("BEGIN IMMEDIATE")
            while True:
                job = None
                if self._slow and not self._live:
                    self._give_way()
                if self._live and not self._is_snapshots_turn():
                    while self._live:
                        job = self._live.popleft()
                        error = self._whole(conn, job)
                        outcomes.append((job, error))
                        rows += job.work.rows
                    break
                if not self._slow:
                    break
                job = self._slow[0]
                count, finished, error = self._step(conn, job)
                self._last_slice = time.monotonic()
                rows += count
                if finished:
                    self._slow.popleft()
                    outcomes.append((job, error))
                if rows >= self._group_rows:
                    break
            job = None
            began = time.perf_counter()
            conn.execute("COMMIT")
            self._metrics.commit_seconds.observe(time.perf_counter() - began)
        except Exception as exc:  # noqa: BLE001 - every one is answered to the requests
            self._fail(conn, exc, outcomes, job)
            return
        self.failure = None
        self._metrics.group_pushes.observe(len(outcomes))
        for done, error in outcomes:
            if error is None:
                done.work.committed()
        self._answer(outcomes)
        self._store.note_commit(rows)

    def _is_snapshots_turn(self) -> bool:
        now = time.monotonic()
        if self._slow and now - self._last_slice > FAIR_S:
            self._turn_until = now + TURN_S
        return bool(self._slow) and now < self._turn_until

    def _give_way(self) -> None:
        """
        Let live pushes that are read or answered get on; without it their requests wait for the interpreter at every step.
        """
        if self._live_inside and not self._is_snapshots_turn():
            with self._wake:
                self._wake.wait_for(lambda: self._live or not self._live_inside or self._closing, GIVE_WAY_S)

    def _whole(self, conn: sqlite3.Connection, job: _Job) -> BaseException | None:
        conn.execute("SAVEPOINT work")
        try:
            for _ in job.work.steps(conn):
                pass
        except Exception as exc:  # noqa: BLE001 - it is the answer to this one request
            return self._undo(conn, job, exc)
        conn.execute("RELEASE work")
        return None

    def _step(self, conn: sqlite3.Connection, job: _Job) -> tuple[int, bool, BaseException | None]:
        conn.execute("SAVEPOINT work")
        try:
            if job.iterator is None:
                job.iterator = job.work.steps(conn)
            count = next(job.iterator, None)
        except Exception as exc:  # noqa: BLE001 - it is the answer to this one request
            return 0, True, self._undo(conn, job, exc)
        conn.execute("RELEASE work")
        return count or 0, count is None, None

    def _undo(self, conn: sqlite3.Connection, job: _Job, exc: Exception) -> BaseException:
        if not conn.in_transaction or is_full(exc) or is_io_error(exc):
            raise exc  # SQLite has given up the whole transaction, or can't go on with it
        conn.execute("ROLLBACK TO work")
        conn.execute("RELEASE work")
        job.work.undo()
        if isinstance(exc, FustorError):
            return exc
        log.error("a push could not be applied", datastore=self._store.datastore_id, exc_info=exc)
        return ApplyFailed(
            f"applying failed: {type(exc).__name__}: {exc}", context={"datastore_id": self._store.datastore_id}
        )

    def _abandon(self, conn: sqlite3.Connection, exc: Exception) -> FustorError:
        if conn.in_transaction:
            with suppress(sqlite3.Error):  # it may have rolled back already; what failed first is reported
                conn.execute("ROLLBACK")
        if is_full(exc):
            error: FustorError = StorageFull(
                f"the store of datastore {self._store.datastore_id!r} can't grow: {exc}",
                context={"path": str(self._store.path)},
                wait_s=5.0,
            )
        else:
            error = OverloadedError(
                f"the store of datastore {self._store.datastore_id!r} could not be written: {exc}",
                hint="see the log of Fusion and the state of its disk; senders wait and nothing is lost",
                context={"path": str(self._store.path)},
                wait_s=5.0,
            )
        if self.failure is None:
            log.error("the store could not be written", datastore=self._store.datastore_id, exc_info=exc)
        self.failure = str(error)
        try:
            self._reset(conn)
        except sqlite3.Error as again:
            log.error("the store could not be read", datastore=self._store.datastore_id, error=str(again))
        return error

    def _fail(self, conn: sqlite3.Connection, exc: Exception, outcomes: list[Outcome], job: _Job | None) -> None:
        error = self._abandon(conn, exc)
        failed: list[Outcome] = [(done, own or error) for done, own in outcomes]
        if job is not None and all(job is not done for done, _ in outcomes):
            failed.append((job, error))
        # A snapshot push that was begun may have lost a slice with this transaction: it must come again as a whole.
        with self._wake:
            lost = [slow for slow in self._slow if slow.iterator is not None or slow is job]
            for slow in lost:
                self._slow.remove(slow)
        failed += [(slow, error) for slow in lost if slow is not job]
        self._answer(failed)

    def _answer(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        with self._wake:
            for job, _ in outcomes:
                self._used -= job.work.size
        loops: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
        for job, error in outcomes:
            if isinstance(job.future, asyncio.Future):
                loops.setdefault(job.future.get_loop(), []).append((job, error))
            elif error is None:
                job.future.set_result(job.work.result)
            else:
                job.future.set_exception(error)
        for loop, group in loops.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, group)


def _resolve(outcomes: list[Outcome]) -> None:
    for job, error in outcomes:
        if job.future.done():
            continue  # the client went away
        if error is None:
            job.future.set_result(job.work.result)
        else:
            job.future.set_exception(error)
