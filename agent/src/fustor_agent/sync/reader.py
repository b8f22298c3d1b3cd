"""
The thread that reads a snapshot: walks the driver's iterator, takes a high watermark after each chunk, hands both over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Protocol

from fustor_agent.sync.snapshot import ReadOrder
from fustor_core.drivers import SourceDriver
from fustor_core.models.event import EventBase

log = logging.getLogger(__name__)

_AHEAD = 2
"""
Chunks handed over that the event loop has not looked at.
"""

_NICER = 10
"""
How much less of a busy machine the reader's thread gets than those of the live stream.
"""


class Receiver(Protocol):
    """
    Who takes chunks, on the event loop.
    """

    def chunk_read(self, reader: SnapshotReader, event: EventBase, high: int | None) -> None:
        """
        A chunk was read.
        """
        ...

    def rows_estimated(self, reader: SnapshotReader, rows: dict[str, int] | None) -> None:
        """
        The driver has said about how many rows each table has; None = it can't.
        """
        ...

    def reader_ended(self, reader: SnapshotReader, error: BaseException | None) -> None:
        """
        The iterator has ended, or failed, or was stopped; the thread touches the driver no more.
        """
        ...


class SnapshotReader:
    """
    Reads what one order says. It pauses while `allow(False)`, and ends after `stop`.

    Args:
        order: What to read.
        driver: Of the source.
        receiver: Takes the chunks.
        batch_size: Rows asked for in one chunk.
        name: Of the sync.
        patience_s: After a longer pause it ends by itself, and with it whatever the iterator holds open at the source: a transaction
            that waits for a consumer would keep others from changing the table. Another one goes on from the last chunk.
        with_keyless: See `get_snapshot_iterator`.
        estimates: Ask the driver first about how many rows there are.

    Attributes:
        completed: The iterator came to its end.
        gave_way: It ended because the pause was too long.
    """

    def __init__(
        self,
        order: ReadOrder,
        driver: SourceDriver,
        receiver: Receiver,
        batch_size: int,
        name: str,
        patience_s: float,
        *,
        with_keyless: bool,
        estimates: bool = False,
    ) -> None:
        self.order = order
        self.completed = False
        self.gave_way = False
        self._patience_s = None if driver.is_transient else patience_s  # files are not held
        self._driver = driver
        self._receiver = receiver
        self._batch_size = batch_size
        self._with_keyless = with_keyless
        self._estimates = estimates
        self._loop = asyncio.get_running_loop()
        self._go = threading.Event()
        self._slots = threading.Semaphore(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"snapshot-{name}", daemon=True)

    def start(self) -> None:
        """
        Start the thread.
        """
        self._go.set()
        self._thread.start()

    def allow(self, go: bool) -> None:
        """
        Let it read on, or hold it.
        """
        if go:
            self._go.set()
        else:
            self._go.clear()

    def taken(self) -> None:
        """
        The event loop has looked at a chunk.
        """
        self._slots.release()

    def stop(self) -> None:
        """
        End it; `reader_ended` follows.
        """
        self._stop.set()
        self._go.set()
        self._slots.release()

    async def join(self) -> None:
        """
        Wait for the thread's end, a few seconds at most.
        """
        await asyncio.to_thread(self._thread.join, 3.0)

    def _run(self) -> None:
        error: BaseException | None = None
        _be_nice()
        try:
            self._read()
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything; the engine decides
            error = exc
        self._tell(self._receiver.reader_ended, self, error)

    def _read(self) -> None:
        order = self.order
        if self._estimates:
            self._tell(self._receiver.rows_estimated, self, self._estimated())
        iterator = self._driver.get_snapshot_iterator(
            stop_event=self._stop,
            tables=order.tables,
            where=order.where,
            resume_token=order.resume_token,
            batch_size=self._batch_size,
            with_keyless=self._with_keyless,
        )
        while True:
            if not self._go.wait(self._patience_s):
                self.gave_way = True
                close_iterator(iterator)
                return
            self._slots.acquire()
            if self._stop.is_set():
                return
            event = next(iterator, None)
            if self._stop.is_set():
                return
            if event is None:
                self.completed = True
                return
            high = self._driver.high_watermark()
            self._tell(self._receiver.chunk_read, self, event, high)

    def _estimated(self) -> dict[str, int] | None:
        try:
            return self._driver.estimate_rows(self.order.tables)
        except Exception as exc:  # noqa: BLE001 - nothing depends on it, and what is wrong the reading itself will tell
            log.debug("the rows of a snapshot could not be estimated: %s", exc)
            return None

    def _tell(self, call: object, *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            self._stop.set()  # the event loop is gone: the agent is ending


def close_iterator(iterator: Iterator[EventBase]) -> None:
    """
    Have the iterator of a driver let go of what it holds open at the source.
    """
    close = getattr(iterator, "close", None)  # generators have one, other iterators need not
    if close is not None:
        close()


def _be_nice() -> None:
    if sys.platform == "linux":  # elsewhere priorities belong to processes, not to threads
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _NICER))
