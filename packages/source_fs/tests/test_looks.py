"""
The stream and the snapshot driven look by look, on a real directory with real inotify events, in one thread.

Between any two looks names change what they are, so that states no burst of threads meets often are met here each time:
a file that was a directory when the snapshot read it, a directory cut off half-way by a crash, a hint long out of date.
No sweep is ever done: what is gone must have been deleted by the source itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase, EventType
from fustor_source_fs import FsDriver, live, stream, walk, watch
from fustor_source_fs.stream import MessageStream
from fustor_source_fs.watch import Watcher

_STEPS_TO_SETTLE = 8_000
PATHS = st.sampled_from(["a", "b", "a/a", "a/b", "a/a/a"])
NUMBERS = st.integers(0, 9)


class StillWatcher(Watcher):
    """
    A watcher whose events are read when the test says so.
    """

    def _read(self) -> None:
        return

    def pump(self) -> None:
        """
        Read what the kernel has.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                self._digest(os.read(self._fd, 1 << 18))


class CountingClock:
    """
    A `time` module in which each question takes a millisecond.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.001
        return self._now

    def time(self) -> float:
        return self._now


class Looks(RuleBasedStateMachine):
    """
    A tree, its driver, and a consumer by the rules of agent and Fusion, without the sweep.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches = contextlib.ExitStack()
        clock = CountingClock()
        for module in (stream, live, watch):
            self.patches.enter_context(mock.patch.object(module, "time", clock))
        self.patches.enter_context(mock.patch.object(stream, "Watcher", StillWatcher))
        self.patches.enter_context(mock.patch.object(stream, "_BATCH", 1))
        # Large directories are sliced from four entries on, not from 512.
        self.patches.enter_context(mock.patch.object(walk, "BUCKET_ENTRIES", 4))
        base = Path(self.patches.enter_context(tempfile.TemporaryDirectory()))
        self.patches.enter_context(mock.patch.dict(os.environ, {"FUSTOR_CONFIG_DIR": str(base / "config")}))
        self.root, self.state = base / "tree", base / "state"
        self.root.mkdir()
        self.rows: dict[str, tuple[int, tuple[Any, ...] | None]] = {}
        self.touched: dict[str, int] = {}
        self.checkpoint = -1
        self.snapshot: Iterator[EventBase] | None = None
        self.token: str | None = None
        self.held: deque[tuple[EventBase, int]] = deque()
        self.complete = False  # a snapshot has come to its end, and since then nothing was lost that only it sent
        self.open()

    def open(self) -> None:
        config = SourceConfig(
            driver="fs", uri=str(self.root), driver_params={"state_dir": str(self.state), "open_report_s": 0.2}
        )
        self.driver = FsDriver("tree", config)
        iterator, _ = self.driver.get_message_iterator(self.checkpoint)
        assert isinstance(iterator, MessageStream)
        self.stream = iterator

    def teardown(self) -> None:
        try:
            self.settle()
            for entry in self.root.iterdir():
                self.delete(entry)
            self.settle()
        finally:
            self.stream.close()
            self.driver._close()
            self.patches.close()

    # What people do to a tree

    def delete(self, where: Path) -> None:
        if where.is_dir() and not where.is_symlink():
            shutil.rmtree(where)
        elif os.path.lexists(where):
            where.unlink()

    def above(self, where: Path) -> bool:
        return where.parent.is_dir()

    @initialize(paths=st.lists(PATHS, max_size=6), many=NUMBERS)
    def begin(self, paths: list[str], many: int) -> None:
        for path in paths:
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (self.root / path).mkdir(parents=True)
        for number in range(many):
            (self.root / f"file-{number:02}").write_text("x")

    @rule(path=PATHS, many=NUMBERS)
    def become_directory(self, path: str, many: int) -> None:
        where = self.root / path
        if self.above(where):
            self.delete(where)
            where.mkdir()
            for number in range(many):
                (where / f"file-{number:02}").write_text("x")

    @rule(path=PATHS)
    def become_file(self, path: str) -> None:
        where = self.root / path
        if self.above(where):
            self.delete(where)
            where.write_text("x")

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        self.delete(self.root / path)

    @rule(path=PATHS, number=NUMBERS)
    def change_in(self, path: str, number: int) -> None:
        where = self.root / path / f"file-{number:02}"
        if where.exists():
            self.delete(where)
        elif self.above(where):
            where.write_text("x")

    @rule(path=PATHS, other=PATHS)
    def move(self, path: str, other: str) -> None:
        source, to = self.root / path, self.root / other
        if os.path.lexists(source) and self.above(to):
            with contextlib.suppress(OSError):  # into itself, onto a full directory: not a move
                source.rename(to)

    # What the machine does

    @rule()
    def hear(self) -> None:
        self.pump()

    def pump(self) -> None:
        assert isinstance(self.stream.watcher, StillWatcher)
        self.stream.watcher.pump()

    @rule(steps=st.integers(1, 8), delivered=st.booleans())
    def look(self, steps: int, delivered: bool) -> None:
        for _ in range(steps):
            self.stream._work()
        if delivered:
            self.deliver()

    @precondition(lambda self: self.snapshot is None)
    @rule(batch=st.integers(1, 6))
    def start_snapshot(self, batch: int) -> None:
        self.begin_snapshot(batch)

    def begin_snapshot(self, batch: int) -> None:
        self.batch = batch
        self.token = None
        self.snapshot = self.driver.get_snapshot_iterator(batch_size=batch)

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def read_chunk(self) -> None:
        self.read()

    def read(self) -> None:
        assert self.snapshot is not None
        chunk = next(self.snapshot, None)
        if chunk is not None:
            high = self.driver.high_watermark()
            assert high is not None
            self.held.append((chunk, high))
        elif not self.held:
            self.snapshot = None
            self.complete = True

    @precondition(lambda self: self.snapshot is not None)
    @rule(chunks=st.integers(1, 4))
    def deliver_chunks(self, chunks: int) -> None:
        """
        As it goes when nothing happens in between: each chunk is read, and delivered once the stream has come by.
        """
        for _ in range(chunks):
            if self.snapshot is None:
                return
            self.read()
            while self.held:
                self.pump()
                self.stream._work()
                self.deliver()

    @rule(goes_on=st.booleans())
    def crash(self, goes_on: bool) -> None:
        """
        Nothing is closed in good order; what was not delivered is lost, and the snapshot goes on after the last chunk
        that was, or never.
        """
        self.stream.close()
        index = self.driver._tree.index if self.driver._tree is not None else None
        if index is not None:
            index.reset()
            index._db.close()
            os.close(index._lock_fd)
            index._lock_fd = -1
        going = self.snapshot is not None
        if going:
            with contextlib.suppress(Exception):  # its index is closed under it: as in a crash, it ends where it is
                self.snapshot.close()  # type: ignore[union-attr]
        self.snapshot = None
        self.held.clear()
        self.open()
        if going and goes_on:
            self.snapshot = self.driver.get_snapshot_iterator(batch_size=self.batch, resume_token=self.token)
        elif going:
            self.complete = False

    # The consumer

    def put(self, path: str, index: int, row: tuple[Any, ...] | None) -> None:
        old = self.rows.get(path)
        if old is None or index >= old[0]:
            self.rows[path] = (index, row)

    def deliver(self) -> None:
        out = self.stream.live.out
        while out:
            event = out.popleft()
            assert event.index > self.checkpoint, "positions grow"
            self.checkpoint = event.index
            for row in event.rows:
                self.touched[row[0]] = event.index
                self.put(row[0], event.index, None if event.event_type is EventType.DELETE else tuple(row))
        while self.held and self.held[0][1] <= self.checkpoint:
            chunk, high = self.held.popleft()
            for row in chunk.rows:
                if self.touched.get(row[0], -1) <= chunk.index:
                    self.put(row[0], high, tuple(row))
            self.token = chunk.resume_token

    @rule()
    def rest(self) -> None:
        self.settle()

    def settle(self) -> None:
        """
        Let everything come to rest, a snapshot too: then the consumer has what is on disk, path by path.
        """
        if self.snapshot is None and not self.complete:
            self.begin_snapshot(3)
        quiet = 0
        for _ in range(_STEPS_TO_SETTLE):
            self.pump()
            busy = self.stream._work()
            self.deliver()
            if self.snapshot is not None:
                if not self.held:
                    self.read()
                continue
            waiting = self.stream.scanning or self.stream.live.deferred or self.stream.hints.touched_dirs
            quiet = 0 if busy or waiting or self.stream.hints.modified else quiet + 1
            if quiet > 100:
                break
        else:
            hints = self.stream.hints
            raise AssertionError(
                f"it does not come to rest: snapshot {self.snapshot}, held {self.held}, scanning {self.stream.scanning}, "
                f"hints {hints._names}, {hints.touched_dirs}, {hints.modified}, deferred {self.stream.live.deferred}"
            )
        believed = {path: row[3] for path, (_, row) in self.rows.items() if row is not None}
        true = {"": "dir"}
        for where in self.root.rglob("*"):
            true[str(where.relative_to(self.root))] = "dir" if where.is_dir() else "file"
        missing, extra = sorted(set(true) - set(believed)), sorted(set(believed) - set(true))
        wrong = sorted(path for path in true if path in believed and believed[path] != true[path])
        assert not (missing or extra or wrong), f"missing {missing}, extra {extra}, of another type {wrong}"


TestLooks = Looks.TestCase
TestLooks.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@contextlib.contextmanager
def cut_off() -> Iterator[Looks]:
    """
    Give a machine whose snapshot has sent the first slices of the directory `b`, of files 1 to 8; then let it come to rest.
    """
    machine = Looks()
    try:
        machine.begin(paths=[], many=0)
        machine.become_directory(path="b", many=9)
        machine.change_in(path="b", number=0)
        machine.crash(goes_on=False)  # the stream is opened on what is there, and has no hint of it
        machine.start_snapshot(batch=1)
        machine.deliver_chunks(chunks=3)
        assert {"b/file-01", "b/file-02"} <= set(machine.rows) and "b/file-03" not in machine.rows
        yield machine
    finally:
        machine.teardown()


def test_what_slices_brought_goes_when_the_next_snapshot_reads_the_directory_at_once() -> None:
    """
    Cut off in a large directory, which is a small one when the next snapshot reads it: what is gone is deleted.
    """
    with cut_off() as machine:
        for number in range(1, 7):
            machine.change_in(path="b", number=number)
        machine.crash(goes_on=False)  # and the hints of it are lost


def test_what_slices_brought_goes_when_the_snapshot_goes_on_in_an_empty_directory() -> None:
    """
    Cut off in a large directory, which is empty when the snapshot goes on there: what is gone is deleted.
    """
    with cut_off() as machine:
        for number in range(1, 9):
            machine.change_in(path="b", number=number)
        machine.crash(goes_on=True)
        machine.look(steps=8, delivered=True)  # the comparison has passed before the snapshot comes by


def test_what_appeared_among_the_names_a_snapshot_passes_over_is_told() -> None:
    """
    Cut off in a large directory, and gone on with behind names that were sent: a file and a directory made among them come too.
    """
    with cut_off() as machine:
        machine.change_in(path="b", number=0)
        machine.become_directory(path="b/a", many=2)
        machine.crash(goes_on=True)


def test_each_row_of_a_slice_is_recorded_though_the_slice_does_not_fill_its_chunk() -> None:
    """
    Gone on with in the middle of a slice, and cut off again: what was sent of that slice is deleted when it goes.
    """
    with cut_off() as machine:
        machine.batch = 3
        machine.crash(goes_on=True)
        machine.deliver_chunks(chunks=1)
        assert {"b/file-03", "b/file-05"} <= set(machine.rows)
        machine.change_in(path="b", number=3)
        machine.crash(goes_on=False)


def test_what_is_sent_again_of_a_directory_that_came_back_goes_with_it() -> None:
    """
    The stream is opened where it was before a directory, gone by now, had changed. While what was sent of it is sent again, the directory
    comes back and goes: nobody else knows of it, so what the replay has sent of it must be known to belong to something.
    """
    machine = Looks()
    try:
        machine.begin(paths=["a/b"], many=0)
        machine.settle()
        place = machine.root / "a" / "b"
        for change in (lambda: place.chmod(0o700), lambda: (place / "file-00").write_text("x")):
            change()
            machine.pump()
            for _ in range(200):
                machine.stream._work()
        assert machine.stream.live.out, "changes were found, and none of them delivered"
        shutil.rmtree(machine.root / "a")
        machine.crash(goes_on=False)
        (replay,) = machine.stream._replays
        with contextlib.suppress(StopIteration):
            while "a/b" not in {row[0] for event in machine.stream.live.out for row in event.rows}:
                next(replay)
            place.mkdir(parents=True)
            (place / "file-00").write_text("y")
            while True:
                next(replay)
        shutil.rmtree(place)
        machine.settle()
    finally:
        machine.teardown()
