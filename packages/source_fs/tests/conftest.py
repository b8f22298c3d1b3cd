"""
What the tests of the tree source share: a driver on a temporary tree, and a consumer that does what the agent and Fusion do.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.models.file_row import FILE_FIELDS, escape_name
from fustor_source_fs import FsDriver


def wait_until(true: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """
    Wait for a condition; fail naming it when it does not come true.
    """
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.005)


def disk(root: Path | str, *, cross: bool = False) -> dict[str, tuple[Any, ...]]:
    """
    Read a tree the plain way: path to the row's values after `parent`.
    """
    found: dict[str, tuple[Any, ...]] = {}
    base = os.fspath(root)

    def add(path: str, where: str) -> None:
        st = os.lstat(where)
        kinds = {8: "file", 4: "dir", 10: "symlink"}
        kind = kinds.get(st.st_mode >> 12, "other")
        target = escape_name(os.readlink(where)) if kind == "symlink" else None
        size = st.st_size if kind == "file" else 0
        found[path] = (
            kind, size, st.st_mtime_ns, st.st_ctime_ns, st.st_mode, st.st_uid, st.st_gid, st.st_ino, target,
        )  # fmt: skip

    def walk(path: str, where: str) -> None:
        for entry in os.scandir(where):
            child = f"{path}/{escape_name(entry.name)}" if path else escape_name(entry.name)
            add(child, entry.path)
            if entry.is_dir(follow_symlinks=False):
                walk(child, entry.path)

    add("", base)
    walk("", base)
    return found


class Consumer:
    """
    Reads a driver's message stream on a thread and keeps the rows, by the rules of the agent (a chunk waits for its high
    watermark; its rows that the stream touched after the low one are dropped) and of Fusion (newest index wins,
    tombstones, sweep).
    """

    def __init__(self, driver: FsDriver, position: int = -1, rows: dict[str, Any] | None = None) -> None:
        self.driver = driver
        self.stop = threading.Event()
        self.rows: dict[str, tuple[int, tuple[Any, ...] | None]] = dict(rows or {})
        self.touched: dict[str, int] = {}
        self.events: list[EventBase] = []
        self.checkpoint = position
        self.lock = threading.Lock()
        self.error: BaseException | None = None
        self.hold = threading.Event()
        self.hold.set()
        self._iterator, self.lost = driver.get_message_iterator(position, stop_event=self.stop)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        last = -1
        try:
            for event in self._iterator:
                self.hold.wait()
                assert event.index > last, "indexes grow"
                last = event.index
                with self.lock:
                    self.apply(event)
        except BaseException as error:
            self.error = error

    def apply(self, event: EventBase) -> None:
        self.events.append(event)
        for row in event.rows:
            path = row[0]
            self.touched[path] = event.index
            self._put(path, event.index, None if event.event_type is EventType.DELETE else tuple(row))
        self.checkpoint = event.index

    def _put(self, path: str, index: int, row: tuple[Any, ...] | None) -> None:
        old = self.rows.get(path)
        if old is None or index >= old[0]:
            self.rows[path] = (index, row)

    def snapshot(self, *, pause: Callable[[int], None] | None = None, **kwargs: Any) -> int:
        """
        Take a whole snapshot; return its number of rows.
        """
        start: int | None = None
        confirmed: set[str] = set()
        count = 0
        for number, chunk in enumerate(self.driver.get_snapshot_iterator(stop_event=self.stop, **kwargs)):
            start = chunk.index if start is None else min(start, chunk.index)
            if pause is not None:
                pause(number)
            high = self.driver.high_watermark()
            assert high is not None
            self.wait_passed(high)
            with self.lock:
                for row in chunk.rows:
                    count += 1
                    confirmed.add(row[0])
                    if self.touched.get(row[0], -1) <= chunk.index:
                        self._put(row[0], high, tuple(row))
        with self.lock:
            for path, (index, row) in list(self.rows.items()):
                if row is not None and path not in confirmed and start is not None and index < start:
                    del self.rows[path]
        return count

    def wait_passed(self, high: int) -> None:
        wait_until(lambda: self.checkpoint >= high or self.error is not None, f"the stream passes {high}")
        if self.error is not None:
            raise self.error

    def settle(self) -> None:
        """
        Wait until the stream has told of everything made before this call, and has no scan left.
        """
        stream = self.driver._stream
        assert stream is not None
        while True:
            high = self.driver.high_watermark()
            assert high is not None
            self.wait_passed(high)
            wait_until(lambda: not stream.scanning or self.error is not None, "scans end")
            before = len(self.events)
            high = self.driver.high_watermark()
            assert high is not None
            self.wait_passed(high)
            if not stream.scanning and not any(event.rows for event in self.events[before:]):
                return

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """
        Return what the consumer believes the tree to be, in the shape of `disk`.
        """
        with self.lock:
            return {path: row[3:] for path, (_, row) in self.rows.items() if row is not None}

    def sent(self, since: int = 0) -> dict[str, str]:
        """
        Return the last kind sent live of each path, from the event number `since` on.
        """
        with self.lock:
            return {row[0]: event.event_type.value for event in self.events[since:] for row in event.rows}

    def end(self) -> None:
        self.stop.set()
        self.hold.set()
        self._thread.join(5)
        assert not self._thread.is_alive(), "the stream ends with its stop event"


def assert_same(believed: dict[str, Any], root: Path | str) -> None:
    """
    Compare what a consumer believes with the disk, path by path.
    """
    true = disk(root)
    missing = sorted(set(true) - set(believed))
    extra = sorted(set(believed) - set(true))
    different = sorted(path for path in true if path in believed and believed[path] != true[path])
    assert not (missing or extra or different), (
        f"missing {missing[:5]}, extra {extra[:5]}, "
        f"different {[(path, dict(zip(FILE_FIELDS[3:], zip(believed[path], true[path], strict=True), strict=True))) for path in different[:3]]}"
    )


class Place:
    """
    A temporary tree and the drivers made for it.
    """

    def __init__(self, base: Path) -> None:
        self.root = base / "tree"
        self.root.mkdir()
        self.state = base / "state"
        self.drivers: list[FsDriver] = []
        self.consumers: list[Consumer] = []

    def driver(self, *, uri: str | None = None, **params: Any) -> FsDriver:
        params.setdefault("state_dir", str(self.state))
        made = FsDriver("tree", SourceConfig(driver="fs", uri=uri or str(self.root), driver_params=params))
        self.drivers.append(made)
        return made

    def consume(self, driver: FsDriver, position: int = -1, rows: dict[str, Any] | None = None) -> Consumer:
        made = Consumer(driver, position, rows)
        self.consumers.append(made)
        return made

    def shut(self, consumer: Consumer) -> None:
        consumer.end()
        self.close(consumer.driver)

    def close(self, driver: FsDriver) -> None:
        asyncio.run(driver.close())

    def check(self, consumer: Consumer) -> None:
        """
        Once the stream has told all: what the consumer believes equals the disk.
        """
        consumer.settle()
        try:
            assert_same(consumer.tree(), self.root)
        except AssertionError as error:
            believed, true = consumer.tree(), disk(self.root)
            wrong = min(path for path in believed.keys() | true.keys() if believed.get(path) != true.get(path))
            stream = consumer.driver._stream
            polled = None if stream is None else [node.path() for node in stream.watcher.polled]
            raise AssertionError(
                f"{error}\npolled for want of watches: {polled}\nof {wrong!r} and above was told: {self._told(wrong)}"
            ) from None

    def _told(self, path: str) -> list[str]:
        """
        Return what each consumer was told live of a path and what is above it.
        """
        above = {path[:at] for at, char in enumerate(path) if char == "/"} | {path}
        return [
            f"consumer {number}: {row[0]} {event.event_type.value} at {event.index}"
            for number, consumer in enumerate(self.consumers)
            for event in consumer.events
            for row in event.rows
            if row[0] in above
        ]

    def wait_until(self, true: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        wait_until(true, what, timeout)

    def agrees(self, consumer: Consumer) -> bool:
        try:
            assert_same(consumer.tree(), self.root)
        except (AssertionError, OSError):
            return False
        return True

    def make(self, *paths: str, content: str = "x") -> None:
        for path in paths:
            where = self.root / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(content)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path / "config"))
    made = Place(tmp_path)
    yield made
    for consumer in made.consumers:
        consumer.end()
    for driver in made.drivers:
        driver._close()
