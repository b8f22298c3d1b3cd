"""
Reading inotify: which names may have changed. A hint says "look there"; what is there, `live.py` finds out.

One thread does nothing but read the kernel's queue into a bounded buffer in which a name stands once; so the queue
(`fs.inotify.max_queued_events`) does not overflow while the consumer is slow. When the buffer itself is full, its names are let go
and their directories are compared as a whole instead; when the kernel's queue overflowed, the whole tree is.

Watches sit on inodes. A directory that is moved keeps its watch, which then answers to the old path until the scan of the new
place adds the watch again: the kernel gives back the same descriptor and the map is right. In between, its events are looked
up under the old path, where nothing is found, and the scan that is still to come sees what they told.

Concurrency: `Watcher` is safe from every thread. `HintBuffer` has one taker.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import struct
import threading
import time
from pathlib import Path
from typing import Final

from fustor_core.models.file_row import escape_name, unescape_name

IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ISDIR: Final = 0x40000000
_SELF_GONE = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT
_NAMES_CHANGED = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
# ONLYDIR | EXCL_UNLINK; the descriptor's link in /proc must be followed, so not DONT_FOLLOW
_MASK = 0x05000000 | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | _NAMES_CHANGED | IN_DELETE_SELF | IN_MOVE_SELF

LOOK: Final = 1
"""
Hint: look at the name.
"""
CREATED: Final = 2
"""
Hint: the name was made; if that is all and it is a file, it may still be open for writing.
"""
DEEP: Final = 4
"""
Hint: a directory appeared here, whatever was known of it: look at all that is in it and watch it anew.
"""

_READ_BYTES = 1 << 18
_HEADER = struct.Struct("iIII")


class Node:
    """
    A directory in the map of watches. Its path follows from its parents; "" is the root's.
    """

    __slots__ = ("children", "dead", "dev", "name", "parent", "wd")

    def __init__(self, parent: Node | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.wd = -1
        self.dev = 0
        self.dead = False
        self.children: dict[str, Node] | None = None

    def path(self) -> str:
        """
        Return the path relative to the root, escaped.
        """
        parent = self.parent
        if parent is None:
            return ""
        parts = [self.name]
        while parent.parent is not None:
            parts.append(parent.name)
            parent = parent.parent
        parts.reverse()
        return "/".join(parts)


Key = tuple[Node, str]


class HintBuffer:
    """
    Names to look at, each once, in the order they were first told.

    Args:
        limit: Most names kept; past it their directories are compared as a whole.
    """

    def __init__(self, limit: int) -> None:
        self.cond = threading.Condition(threading.Lock())
        self._limit = limit
        self._names: dict[Key | int, int] = {}
        self.touched_dirs: dict[Node, float] = {}
        self.modified: dict[Key, float] = {}
        self.dirty: dict[Node, None] = {}
        self.overflowed = False
        self.root_doubtful = False
        self.let_go = 0
        self.woken = False
        self.newest = 0.0
        """
        When the newest name was told by the kernel, monotonic seconds.
        """

    def __len__(self) -> int:
        return len(self._names)

    def add(self, hints: dict[Key | int, int]) -> None:
        """
        Add names with their flags; an int is a mark that comes out after all names added before it.
        """
        with self.cond:
            self._add(hints)
            self.cond.notify()

    def _add(self, hints: dict[Key | int, int]) -> None:
        names = self._names
        for key, flags in hints.items():
            names[key] = names.get(key, 0) | flags
        if len(names) > self._limit:
            marks: dict[Key | int, int] = {key: flags for key, flags in names.items() if isinstance(key, int)}
            for key in names:
                if not isinstance(key, int):
                    self.dirty[key[0]] = None
            self.let_go += len(names) - len(marks)
            self._names = marks

    def wake(self) -> None:
        """
        Make the taker look around.
        """
        with self.cond:
            self.woken = True
            self.cond.notify()

    def has_work(self) -> bool:
        """
        Tell whether there is something to take.
        """
        return bool(self._names or self.dirty or self.overflowed or self.root_doubtful)

    def wait(self, timeout: float) -> None:
        """
        Wait until there is something to take, or `wake` is called, or the time is over.
        """
        with self.cond:
            if not self.woken and not self.has_work():
                self.cond.wait(timeout)
            self.woken = False

    def take(self, most: int) -> list[tuple[Key | int, int]]:
        """
        Take the oldest names.
        """
        with self.cond:
            names = self._names
            if len(names) <= most:
                self._names = {}
                return list(names.items())
            keys = [key for key, _ in zip(names, range(most), strict=False)]
            return [(key, names.pop(key)) for key in keys]

    def take_dirty(self) -> list[Node]:
        """
        Take the directories that must be compared because their names were let go.
        """
        with self.cond:
            nodes, self.dirty = list(self.dirty), {}
            return nodes


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Watcher:
    """
    The watches of one tree and the thread that reads their events.

    Args:
        root: The root as the operating system knows it.
        hints: Where names go.
        max_watches: Most watches to take; None = as many as the system gives.
        cookies: The folder for cookie files, outside the tree as far as events go; made when missing.
    """

    def __init__(self, root: str, hints: HintBuffer, *, max_watches: int | None, cookies: Path) -> None:
        self._root = os.fsencode(root)
        self._hints = hints
        self._max = max_watches
        self._lock = threading.Lock()
        self._by_wd: dict[int, Node] = {}
        self.root = Node(None, "")
        self.polled: dict[Node, None] = {}
        self.overflows = 0
        self.events = 0
        self._full = False
        self._cookies = cookies
        self._asked: dict[int, object] = {}
        self._cookie_wd = -1
        self._fd = -1
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self.unusable = ""
        """
        Why there is no inotify at all and everything is polled; empty when there is.
        """
        self._start()

    def _start(self) -> None:
        try:
            self._fd = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            self.unusable = f"no inotify instance: {error.strerror}"
            return
        try:
            self._cookies.mkdir(parents=True, exist_ok=True)
            for left in self._cookies.iterdir():
                left.unlink(missing_ok=True)
            self._cookie_wd = _check(_libc.inotify_add_watch(self._fd, os.fsencode(self._cookies), IN_CREATE))
        except OSError as error:
            os.close(self._fd)
            self._fd = -1
            self.unusable = f"no watch on {str(self._cookies)!r}: {error.strerror}"
            return
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._read, name="fs-inotify", daemon=True)
        self._thread.start()

    @property
    def watched(self) -> int:
        """
        How many directories are watched.
        """
        return len(self._by_wd)

    # The map

    def node_of(self, path: str) -> Node:
        """
        Return a directory's node, made when missing.
        """
        with self._lock:
            return self._node_of(path)

    def _node_of(self, path: str) -> Node:
        node = self.root
        if path:
            for name in path.split("/"):
                children = node.children
                if children is None:
                    children = node.children = {}
                child = children.get(name)
                if child is None:
                    child = children[name] = Node(node, name)
                node = child
        return node

    def find(self, path: str) -> Node | None:
        """
        Return a directory's node, None when it has none.
        """
        node: Node | None = self.root
        if path:
            for name in path.split("/"):
                children = node.children if node is not None else None
                if children is None:
                    return None
                node = children.get(name)
        return node

    def ensure(self, path: str, fd: int, *, again: bool = True) -> Node:
        """
        Place the watch on a directory. When there is no room for one, the directory is listed in `polled`.

        Args:
            path: Relative, escaped.
            fd: The directory, open: the watch is placed on just this one, wherever its name points meanwhile.
            again: Also when the map has a watch for this path: the directory there may be another one by now.

        Raises:
            OSError: It is not there, is no directory or must not be read.
        """
        with self._lock:
            node = self._node_of(path)
            if node.wd >= 0 and not again:
                return node
            if self._fd < 0:
                self.polled[node] = None
                return node
            if node.wd < 0 and (self._full or (self._max is not None and len(self._by_wd) >= self._max)):
                self.polled[node] = None
                return node
            wd = _libc.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, _MASK)
            if wd < 0 and ctypes.get_errno() == errno.ENOENT:  # no /proc here
                where = self._root + b"/" + os.fsencode(unescape_name(path)) if path else self._root
                wd = _libc.inotify_add_watch(self._fd, where, _MASK)
            if wd < 0:
                code = ctypes.get_errno()
                if code in (errno.ENOSPC, errno.ENOMEM):
                    self._full = True
                    self.polled[node] = None
                    return node
                raise OSError(code, os.strerror(code), path)
            if wd != node.wd:
                self._release(node)
                other = self._by_wd.get(wd)
                if other is not None:
                    other.wd = -1
                self._by_wd[wd] = node
                node.wd = wd
            self.polled.pop(node, None)
            return node

    def _release(self, node: Node) -> None:
        wd = node.wd
        if wd >= 0:
            node.wd = -1
            if self._by_wd.get(wd) is node:
                del self._by_wd[wd]
                _libc.inotify_rm_watch(self._fd, wd)

    def forget(self, path: str) -> None:
        """
        Take the watches off a directory that is no longer there, and off all below.
        """
        node = self.find(path)
        if node is None:
            return
        with self._lock:
            waiting = [node]
            while waiting:
                here = waiting.pop()
                if here.children:
                    waiting.extend(here.children.values())
                here.children = None
                self._release(here)
                self.polled.pop(here, None)
                if here is not self.root:
                    here.dead = True
            if node.parent is not None and node.parent.children is not None:
                node.parent.children.pop(node.name, None)
            self._full = False

    def try_room(self) -> None:
        """
        Let the next `ensure` ask the system again whether there is room.
        """
        with self._lock:
            self._full = False

    # Cookies

    def ask_mark(self, index: int) -> None:
        """
        Have the buffer give out the mark `index` after the names of everything that happened before this call.

        Never blocks on the taker.
        """
        if self._fd < 0 or self._cookie_wd < 0:
            self._hints.add({index: 0})
            return
        path = self._cookies / str(index)
        self._asked[index] = None
        try:
            path.touch()
            path.unlink()
        except OSError:
            # No cookie can be made (a full disk): wait until the kernel's queue was empty once instead.
            self._await_empty()
            if self._asked.pop(index, self) is None:
                self._hints.add({index: 0})

    def _await_empty(self) -> None:
        until = time.monotonic() + 1
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while poller.poll(0) and time.monotonic() < until:
            time.sleep(0.001)

    # The reading thread

    def _read(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        fd = self._fd
        while True:
            ready = poller.poll()
            if any(which == self._wake_read for which, _ in ready):
                return
            with contextlib.suppress(BlockingIOError, InterruptedError):
                self._digest(os.read(fd, _READ_BYTES))

    def _digest(self, data: bytes) -> None:
        hints: dict[Key | int, int] = {}
        modified: list[Key] = []
        touched: dict[Node, None] = {}
        overflow = root_doubtful = False
        unpack = _HEADER.unpack_from
        by_wd = self._by_wd
        at, end = 0, len(data)
        count = 0
        while at < end:
            wd, mask, _cookie, length = unpack(data, at)
            at += 16 + length
            count += 1
            node = by_wd.get(wd)
            if node is None:
                if wd == self._cookie_wd:
                    cookie = data[at - length : at].rstrip(b"\0")
                    if cookie.isdigit() and self._asked.pop(int(cookie), self) is None:
                        hints[int(cookie)] = 0
                    continue
                if mask & IN_Q_OVERFLOW:
                    overflow = True
                    for index in list(self._asked):  # their cookies may be among what was lost
                        if self._asked.pop(index, self) is None:
                            hints[index] = 0
                    continue
                # Whoever adds a watch holds the lock until the map knows it.
                with self._lock:
                    node = by_wd.get(wd)
                if node is None:
                    continue
            if length:
                name = data[at - length : at].rstrip(b"\0").decode("utf-8", "surrogateescape")
                if "\\" in name or not name.isascii():
                    name = escape_name(name)
                key = (node, name)
                if mask & IN_MODIFY:
                    modified.append(key)
                    continue
                flags = LOOK
                if mask & IN_CREATE:
                    flags = DEEP if mask & IN_ISDIR else CREATED
                elif mask & IN_MOVED_TO and mask & IN_ISDIR:
                    flags = DEEP
                hints[key] = hints.get(key, 0) | flags
                if mask & _NAMES_CHANGED:
                    touched[node] = None
            elif mask & IN_IGNORED:
                with self._lock:
                    if by_wd.get(wd) is node:
                        del by_wd[wd]
                        node.wd = -1
                if node is self.root:
                    root_doubtful = True
            elif node is self.root:
                if mask & _SELF_GONE:
                    root_doubtful = True
                else:
                    hints[(node, "")] = LOOK
            elif mask & _SELF_GONE and node.parent is not None:
                key = (node.parent, node.name)
                hints[key] = hints.get(key, 0) | LOOK
        self._hand_over(hints, modified, touched, overflow, root_doubtful)
        self.events += count

    def _hand_over(
        self,
        hints: dict[Key | int, int],
        modified: list[Key],
        touched: dict[Node, None],
        overflow: bool,
        root_doubtful: bool,
    ) -> None:
        buffer = self._hints
        now = time.monotonic()
        with buffer.cond:
            for key in modified:
                buffer.modified.setdefault(key, now)
            for node in touched:
                buffer.touched_dirs.setdefault(node, now)
            if overflow:
                self.overflows += 1
                buffer.overflowed = True
            if root_doubtful:
                buffer.root_doubtful = True
            if any(not isinstance(key, int) for key in hints):
                buffer.newest = now
            buffer._add(hints)
            if buffer.has_work():
                buffer.cond.notify()

    def close(self, join_s: float = 1.0) -> None:
        """
        Stop reading and give all watches back. May be called twice.
        """
        if self._thread is not None:
            os.write(self._wake_write, b"x")
            self._thread.join(join_s)
            self._thread = None
        with self._lock:
            for name in ("_fd", "_wake_read", "_wake_write"):
                fd = getattr(self, name)
                if fd >= 0:
                    os.close(fd)
                    setattr(self, name, -1)
            self._by_wd.clear()
