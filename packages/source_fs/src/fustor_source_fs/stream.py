"""
The message stream: takes hints, scans in between, and gives out events.

Everything here runs in the thread that walks the iterator. Live changes come first: a scan (after a restart, an overflow, of a
polled directory) is a generator that is driven in slices of a few milliseconds, and between two slices the hints are taken.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import msgspec

from fustor_core.errors import ConnectionLost
from fustor_core.models.event import EventBase
from fustor_source_fs.arm import arm
from fustor_source_fs.faults import SYSCTL_HINT
from fustor_source_fs.index import SELF
from fustor_source_fs.live import Live
from fustor_source_fs.rows import signature
from fustor_source_fs.tree import Tree
from fustor_source_fs.watch import DEEP, LOOK, HintBuffer, Watcher

_BATCH = 512
_SLICE_S = 0.005
_URGENT_SLICE_S = 0.02
_TICK_S = 0.05
_TOUCHED_WAIT_S = 0.1
_IDLE_MARK_S = 0.02
_MARK_EVERY_S = 5.0
_ROOT_EVERY_S = 1.0
_HOLD_MARKS_S = 2.0

Task = Generator[None, None, object]


class MessageStream(Iterator[EventBase]):
    """
    The iterator that `FsDriver.get_message_iterator` returns. Watching starts when it is made and ends with `close`.

    Args:
        tree: The tree.
        position: Send again what was sent after this position; -1 = nothing.
        stop: Ends the iterator within a second.
        required: The fields wanted; None = all.
    """

    def __init__(
        self, tree: Tree, position: int, stop: threading.Event | None, required: Sequence[str] | None = None
    ) -> None:
        self._tree = tree
        self._stop = stop or threading.Event()
        self.hints = HintBuffer(tree.params.max_pending)
        self.watcher = Watcher(
            tree.root,
            self.hints,
            max_watches=tree.params.max_watches,
            cookies=tree.index.folder / "cookies",
        )
        self.live = Live(tree, self.watcher, required)
        self._background: deque[Task] = deque()
        self._urgent: Task | None = None
        self._replays: list[Task] = []
        self._full_scan: Task | None = None
        self._poll: Task | None = None
        self._stopped = False
        self._taking = False
        self._root_gone = False
        self._held: list[int] = []
        self._held_since = 0.0
        self._let_go: deque[str] = deque()
        self.rescans = 0
        now = time.monotonic()
        self._next_tick = self._next_mark = self._next_root = now
        self._next_poll = now + tree.params.poll_interval_s
        self._next_rescan = now + tree.params.rescan_interval_s
        self._mark_due = 0.0
        self._begin(position)

    def _begin(self, position: int) -> None:
        tree = self._tree
        fresh = tree.index.is_empty()
        arming = arm(tree, self.watcher, "")
        until = time.monotonic() + tree.params.arm_wait_s
        done = False
        while not self._stop.is_set():
            if next(arming, self) is self:
                done = True
                break
            if time.monotonic() > until:
                break
        if not done:
            self._background.append(arming)
        if position >= 0:
            self._start_replay(position, "")
        if not fresh:
            self._start_full_scan()
        self._mark_due = time.monotonic()

    @property
    def scanning(self) -> bool:
        """
        Whether parts of the tree wait to be compared, or what was found waits to be given out. Any thread.
        """
        live, hints = self.live, self.hints
        # In the order in which work goes from hand to hand: what has left one is in the next.
        found = hints.overflowed or hints.dirty or self._taking or self._background
        work = live.urgent or self._urgent or live.urgent
        return bool(found or work or live.out)

    @property
    def newest_hint(self) -> float:
        """
        When the kernel last told of a change, monotonic seconds; 0 = never.
        """
        return self.hints.newest

    @property
    def stopped(self) -> bool:
        """
        Whether the stream has ended.
        """
        return self._stopped

    def __iter__(self) -> MessageStream:
        return self

    def __next__(self) -> EventBase:
        out = self.live.out
        while True:
            if self._stop.is_set() or self._stopped:
                self.close()
                raise StopIteration
            if out:
                event = out.popleft()
                if event.rows:
                    self._mark_due = time.monotonic() + _IDLE_MARK_S
                return event
            try:
                if not self._work() and not out:
                    self._rest()
            except (sqlite3.Error, msgspec.DecodeError) as error:
                self._fail()
                raise self._tree.index.mend(error) from error
            except OSError as error:
                self._fail()
                raise ConnectionLost(
                    f"watching {self._tree.root!r} failed: {error}",
                    hint="the agent opens the stream again; what changed meanwhile is found then",
                ) from error
            except BaseException:
                self._fail()
                raise

    def _fail(self) -> None:
        """
        Close after an error: what was noted and not sent yet must not be recorded as sent.
        """
        with self._tree.index.lock:
            self._tree.index.reset()
        self.close()

    def _rest(self) -> None:
        now = time.monotonic()
        if (self._mark_due and now >= self._mark_due) or now >= self._next_mark:
            self.live.mark()
            self._mark_due = 0.0
            self._next_mark = now + _MARK_EVERY_S
            return
        until = self._next_mark
        if self._mark_due:
            until = min(until, self._mark_due)
        if self.live.deferred or self.hints.touched_dirs or self.hints.modified:
            until = min(until, self._next_tick)
        self.hints.wait(min(max(until - now, 0.0005), 0.25))

    # Work

    def _work(self) -> bool:
        """
        Do a bit of all there is to do; return whether there was anything.
        """
        busy = self._take_hints()
        if self.live.root_doubtful or self.hints.root_doubtful:
            self._check_root()
        self._taking = True
        if self.hints.overflowed:
            self.hints.overflowed = False
            self._start_full_scan()
        if self.hints.dirty:
            for node in self.hints.take_dirty():
                if not node.dead:
                    self.rescans += 1
                    self._background.append(self.live.compare(node.path(), deep=False))
        self._taking = False
        while self._let_go:
            self._start_replay(self._tree.index.journal.floor, self._let_go.popleft())
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_S
            self._tick(now)
        if self._root_gone:
            return busy
        busy |= self._drive_urgent()
        if self._held:
            self._release_marks()
        if not self.live.out:
            busy |= self._drive_background()
        return busy

    def _take_hints(self) -> bool:
        batch = self.hints.take(_BATCH)
        if not batch:
            return False
        live, modified = self.live, self.hints.modified
        marks: list[int] = []
        with self._tree.index.lock:
            for key, flags in batch:
                if isinstance(key, int):
                    marks.append(key)
                    continue
                node, name = key
                if node.dead or self._root_gone:
                    continue
                if live.deferred:
                    live.deferred.pop(key, None)
                if modified:
                    modified.pop(key, None)
                if name:
                    live.look(node.path(), name, flags, node)
                else:
                    live.look(SELF, "", flags)
            if marks:
                self._settle_waiting(None)
            live.flush()
        if marks:
            self._held.extend(marks)
            self._held_since = time.monotonic()
            self._release_marks()
        return True

    def _release_marks(self) -> None:
        """
        Give out the marks whose turn has come: what appeared with content before them is read first, within reason.
        """
        reading = self._urgent is not None or bool(self.live.urgent)
        if reading and time.monotonic() < self._held_since + _HOLD_MARKS_S:
            return
        for mark in self._held:
            self.live.mark(mark)
        self._held.clear()

    def _settle_waiting(self, now: float | None) -> None:
        """
        Look at what was left to wait a moment: new files still open, directories whose entries changed. The lock is held.
        """
        live, hints = self.live, self.hints
        for key, due in list(live.deferred.items()):
            if now is None or now >= due:
                del live.deferred[key]
                if not key[0].dead:
                    live.look(key[0].path(), key[1], LOOK)
        for node, since in list(hints.touched_dirs.items()):
            if now is None or now >= since + _TOUCHED_WAIT_S:
                hints.touched_dirs.pop(node, None)
                if node.dead:
                    continue
                if node.parent is None:
                    live.look(SELF, "", LOOK)
                else:
                    live.look(node.parent.path(), node.name, LOOK)

    def _tick(self, now: float) -> None:
        live, hints, params = self.live, self.hints, self._tree.params
        if self._root_gone:
            live.deferred.clear()
        else:
            with self._tree.index.lock:
                self._settle_waiting(now)
                if hints.modified:
                    self._report_open(now)
                live.flush()
        if now >= self._next_root:
            self._next_root = now + _ROOT_EVERY_S
            self._check_root()
        if now >= self._next_poll:
            self._next_poll = now + params.poll_interval_s
            if self.watcher.polled and self._poll not in self._background and not self._root_gone:
                self._poll = self._compare_polled()
                self._background.append(self._poll)
        if params.rescan_interval_s and now >= self._next_rescan:
            self._next_rescan = now + params.rescan_interval_s
            self._start_full_scan()

    def _report_open(self, now: float) -> None:
        hints = self.hints
        many = len(hints.modified) > self._tree.params.max_pending
        for key, since in list(hints.modified.items()):
            if many or now >= since + self._tree.params.open_report_s:
                hints.modified.pop(key, None)
                if not key[0].dead:
                    self.live.look(key[0].path(), key[1], LOOK)

    def _drive_urgent(self) -> bool:
        live = self.live
        if self._urgent is None and not live.urgent:
            return False
        until = time.monotonic() + _URGENT_SLICE_S
        while time.monotonic() < until:
            if self._urgent is None:
                if not live.urgent:
                    break
                path = next(iter(live.urgent))
                self._urgent = live.compare(path, deep=True)
                del live.urgent[path]
            if next(self._urgent, self) is self:
                self._urgent = None
        return True

    def _drive_background(self) -> bool:
        if not self._background:
            return False
        until = time.monotonic() + _SLICE_S
        while self._background and time.monotonic() < until:
            if next(self._background[0], self) is self:
                done = self._background.popleft()
                if done is self._full_scan:
                    self._full_scan = None
                elif done in self._replays:
                    self._replays.remove(done)
                    if not self._replays:
                        self._tree.index.replay_from = None
        return True

    def _start_replay(self, position: int, scope: str) -> None:
        """
        Send again what was sent after a position; remembered on disk until it is done.
        """
        index = self._tree.index
        pending = index.replay_from
        if pending is not None and pending < position:
            position = pending
            scope = "" if not self._replays else scope
        index.replay_from = position
        replay = self.live.replay(position, self._tree.clock.last, scope)
        self._replays.append(replay)
        self._background.append(replay)

    def _start_full_scan(self) -> None:
        """
        Compare the whole tree. One that is under way is begun anew: what it has passed may have changed.
        """
        under_way, self._full_scan = self._full_scan, self._compare_all()
        self.rescans += 1
        self._background.append(self._full_scan)
        if under_way is not None and under_way in self._background:
            self._background.remove(under_way)

    def _compare_all(self) -> Generator[None, None, None]:
        with self._tree.index.lock:
            if self._tree.index.get(SELF, "") is not None:
                self.live.look(SELF, "", LOOK)
                self.live.flush()
        yield
        yield from self.live.compare("", deep=True)

    def _compare_polled(self) -> Generator[None, None, None]:
        self.watcher.try_room()
        for node in list(self.watcher.polled):
            if not node.dead:
                yield from self.live.compare(node.path(), deep=False)
                yield

    # The root

    def _check_root(self) -> None:
        tree, live = self._tree, self.live
        self.hints.root_doubtful = live.root_doubtful = False
        try:
            found = os.stat(tree.root)
        except FileNotFoundError:
            if self._root_gone:
                return
            if self._is_away():
                tree.problems.add(
                    tree.root, "its file system seems to be unmounted; nothing was deleted at the consumer", "mount it"
                )
                self._root_gone = True
                return
            self._root_gone = True
            tree.problems.add(tree.root, "the directory was deleted", "create it again, or remove the source")
            with tree.index.lock:
                live.delete_all()
            return
        except OSError as error:
            tree.problems.add_error(tree.root, "look at the root", error)
            return
        if found.st_dev != tree.dev or found.st_mode >> 12 != 4:
            tree.problems.add(
                tree.root,
                "another file system, or no directory, is there now; nothing was deleted",
                "mount what was there",
            )
            self._root_gone = True
            return
        if found.st_ino != tree.inode or self._root_gone or (self.watcher.root.wd < 0 and not self.watcher.polled):
            self._adopt_root(found)

    def _is_away(self) -> bool:
        """
        Tell whether a root that is not there may be unmounted rather than deleted.
        """
        tree = self._tree
        try:
            above = Path(tree.root).parent.stat()
        except OSError:
            return True
        return above.st_dev != tree.above_dev or tree.index.root_was_mount

    def _adopt_root(self, found: os.stat_result) -> None:
        """
        Go on with the directory that stands where the root was.
        """
        tree, live = self._tree, self.live
        tree.problems.clear(tree.root)
        tree.inode = found.st_ino
        self._root_gone = False
        with tree.index.lock:
            tree.index.set_root(found.st_ino, tree.index.root_was_mount)
            if tree.index.get(SELF, "") != signature(found):
                live.look(SELF, "", LOOK)
            if not tree.index.is_complete(""):
                tree.index.create("")
            live.flush()
        live.urgent[""] = None

    # For others

    def mark_dirty(self, scope: str) -> None:
        """
        Send again, as it is now, what was sent live of a directory and all below it. Safe from every thread.

        The index says that it was sent, so comparing would find nothing; the journal knows what it was.
        """
        self._let_go.append(scope.strip("/"))
        self.hints.wake()

    def hint(self, parent: str, names: list[str], *, deep: bool = False) -> None:
        """
        Have names of a directory looked at, with `deep` also all that is in them. Safe from every thread.
        """
        node = self.watcher.node_of(parent)
        self.hints.add({(node, name): DEEP if deep else LOOK for name in names})

    def problems(self) -> list[dict[str, str]]:
        """
        Return what a person should know of how the tree is watched.
        """
        if self.watcher.unusable:
            what = f"{self.watcher.unusable}: everything is polled each {self._tree.params.poll_interval_s:g} s"
            hint = "raise fs.inotify.max_user_instances: `sysctl fs.inotify.max_user_instances=1024`"
            return [{"where": self._tree.root, "what": what, "hint": hint}]
        polled = len(self.watcher.polled)
        if polled:
            what = (
                f"{polled} directories are not watched, for want of inotify watches; they are compared each "
                f"{self._tree.params.poll_interval_s:g} s"
            )
            return [{"where": self._tree.root, "what": what, "hint": SYSCTL_HINT}]
        return []

    def close(self) -> None:
        """
        End the stream and give the watches back. May be called twice, and from another thread.
        """
        if not self._stopped:
            self._stopped = True
            self.hints.wake()
            self.watcher.close()
            self._tree.clock.forget_watermarks()

    def __del__(self) -> None:
        if hasattr(self, "_mark_due"):
            self.close()
