"""
From hints to events: look at a name, compare with the index, send what differs.

Whatever told of a name (inotify, a scan, the journal), it is looked at anew while the index is locked, and what is sent is
its present state. So no older state is ever sent after a newer one, and a hint too many costs a look and no event.

Invariants:
    - Events leave in the order of their index; each has its own.
    - An event is in the journal, and its rows in the index, before it leaves.
    - A name that can't be looked at for want of rights, or for an I/O error, was not deleted.
    - Before deletions leave, the root is checked to be still the directory it was.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from operator import itemgetter
from typing import Any

from fustor_core.errors import ConnectionLost
from fustor_core.models.event import DeleteEvent, EventBase, InsertEvent, UpdateEvent, progress_mark
from fustor_core.models.file_row import FILE_COLUMNS, FILE_FIELDS, FILE_KEY, FILES_TABLE, escape_name
from fustor_source_fs.faults import is_gone
from fustor_source_fs.index import SELF
from fustor_source_fs.rows import Signature, build_row, is_dir, join, read_target, signature, split
from fustor_source_fs.tree import Tree
from fustor_source_fs.watch import CREATED, DEEP, LOOK, Key, Node, Watcher

MOST_ROWS = 1000
CREATED_WAIT_S = 0.1
"""
How long a file that was made waits for its close before it is sent as it is.
"""
_DELETE_COLUMNS = {"path": FILE_COLUMNS["path"]}
Row = tuple[Any, ...]
Picker = Callable[[Row], Any]


def picked_fields(required: Sequence[str] | None) -> tuple[tuple[str, ...], Picker | None]:
    """
    Return the fields to send, key included, and what picks them from a whole row; no picker when all are sent.
    """
    if not required:
        return FILE_FIELDS, None
    names = tuple(name for name in FILE_FIELDS if name in FILE_KEY or name in required)
    if names == FILE_FIELDS:
        return FILE_FIELDS, None
    if len(names) == 1:
        return names, lambda row: (row[0],)
    return names, itemgetter(*(FILE_FIELDS.index(name) for name in names))


class Live:
    """
    Compares names with the index and collects the events.

    Used by the thread that walks the message stream alone; it shares the index with the snapshot.

    Args:
        tree: The tree.
        watcher: Its watches.
        required: The fields wanted; None = all.
    """

    def __init__(self, tree: Tree, watcher: Watcher, required: Sequence[str] | None = None) -> None:
        self._tree = tree
        self._index = tree.index
        self._uuid = tree.index.uuid
        self._watcher = watcher
        self._fields, self._pick = picked_fields(required)
        self._columns = {name: FILE_COLUMNS[name] for name in self._fields}
        self._rows: dict[str, tuple[str, Row]] = {}
        self._has_deletes = False
        self.out: deque[EventBase] = deque()
        self.urgent: dict[str, None] = {}
        self.deferred: dict[Key, float] = {}
        self.root_doubtful = False
        self.sent_rows = 0

    # One name

    def look(self, parent: str, name: str, flags: int, node: Node | None = None) -> None:
        """
        Look at a name and note what is to be sent. The index's lock must be held.

        Args:
            parent: Path of its directory; `SELF` for the root.
            name: Escaped; "" for the root.
            flags: LOOK, CREATED, DEEP.
            node: The directory's node, for a hint that may have to wait.
        """
        tree, index = self._tree, self._index
        path = join(parent, name) if parent != SELF else ""
        wanted = tree.wanted
        try:
            found = os.lstat(tree.where(path)) if path else os.stat(tree.root)
        except OSError as error:
            if not is_gone(error):
                tree.problems.add_error(tree.where(path), "look at it", error)
            elif not path:
                self.root_doubtful = True
            else:
                self._look_gone(parent, name, path)
            return
        sig = signature(found)
        directory = is_dir(sig)
        if wanted is not None and path and not wanted(path, directory):
            return
        old = index.get(parent, name)
        if flags == CREATED and node is not None and old is None and sig[0] >> 12 == 8:
            self.deferred[(node, name)] = time.monotonic() + CREATED_WAIT_S
            return
        if old is None and parent and parent != SELF and not self._parent_sent(parent):
            return  # it is seen through a link, or moved on just now
        if self._tree.reading:
            self._touch(parent, name)
        if not directory and self._had_children(path, old):
            self._remove_below(path)
        if old != sig:
            self._send(path, sig, "insert" if old is None else "update")
            index.put(parent, name, sig)
        if directory and path:
            other = old is not None and (not is_dir(old) or old[6] != sig[6])
            again = bool(tree.problems) and tree.where(path) in tree.problems  # it may be readable by now
            if again or flags & DEEP or other or (old is None and index.is_complete(parent)):
                if not index.is_complete(path):
                    # From here on the index says "nothing of it was sent", so a crash before it is read loses nothing.
                    index.create(path)
                self.urgent[path] = None

    def _parent_sent(self, parent: str) -> bool:
        """
        See to it that a directory's own row is sent before rows of its children; return whether it is a directory.

        So what is recorded hangs together, and goes when the directory that holds it goes.
        """
        above = split(parent)
        sig = self._index.get(*above)
        if sig is None or not is_dir(sig):
            self.look(*above, LOOK)
            sig = self._index.get(*above)
        return sig is not None and is_dir(sig)

    def _touch(self, parent: str, name: str) -> None:
        reading = self._tree.reading.get(parent)
        if reading is not None:
            reading.touched.add(name)

    def _look_gone(self, parent: str, name: str, path: str) -> None:
        tree, index = self._tree, self._index
        if tree.params.cross_mounts and self._is_unmounted(parent):
            tree.problems.add(tree.where(parent), "its file system was unmounted; what was below is kept", "mount it")
            return
        tree.problems.clear_below(tree.where(path))
        self._touch(parent, name)
        old = index.get(parent, name)
        if old is None:
            if index.has_below(path):
                self._remove_below(path)
                self._delete(path)
                return
            if index.is_complete(parent) or (tree.wanted is not None and not tree.wanted(path, False)):
                return
            # A snapshot may be carrying it right now: say that it is gone.
            tree.mark_gone(path)
            self._watcher.forget(path)
            self._delete(path)
            return
        if self._had_children(path, old):
            self._remove_below(path)
        index.drop(parent, name)
        self._delete(path)

    def _had_children(self, path: str, old: Signature | None) -> bool:
        """
        Tell whether children of a path may have been sent. Between two looks a name can have been a directory that a snapshot
        read, so what was sent last of the name itself does not tell.
        """
        return (old is not None and is_dir(old)) or self._index.has_below(path)

    def _is_unmounted(self, parent: str) -> bool:
        while parent:
            try:
                dev = os.stat(self._tree.where(parent)).st_dev
            except OSError:
                parent = split(parent)[0]
                continue
            node = self._watcher.find(parent)
            return node is not None and node.dev not in (0, dev)
        return False

    def _remove_below(self, path: str) -> None:
        self._tree.mark_gone(path)
        self._watcher.forget(path)
        for gone in self._index.remove_tree(path):
            self._delete(gone)
            if len(self._rows) >= MOST_ROWS * 4:
                self.flush()

    def delete_all(self) -> None:
        """
        Send that the root and all below is gone: it positively is. The index's lock must be held.
        """
        self._remove_below("")
        self._index.drop(SELF, "")
        self._delete("")
        self.flush(checked=True)

    def _delete(self, path: str) -> None:
        self._has_deletes = True
        self._rows[path] = ("delete", (path,))

    def _send(self, path: str, sig: Signature, kind: str) -> None:
        target = read_target(self._tree.where(path)) if sig[0] >> 12 == 10 else None
        row = build_row(path, sig, target, self._tree.name)
        if self._pick is not None:
            row = self._pick(row)
        self._rows[path] = (kind, row)

    def again(self, path: str) -> None:
        """
        Send a path's present state, whether it was sent before or not. The index's lock must be held.
        """
        tree, index = self._tree, self._index
        parent, name = split(path) if path else (SELF, "")
        old = index.get(parent, name)
        try:
            if path and os.path.realpath(tree.where(parent)) != tree.where(parent):
                raise FileNotFoundError(errno.ENOENT, "a symbolic link stands above it", path)
            found = os.lstat(tree.where(path)) if path else os.stat(tree.root)
            # Invariant: what is recorded hangs together. Of a row whose directory is not recorded nobody would learn that it goes.
            if parent and parent != SELF and not self._parent_sent(parent):
                raise FileNotFoundError(errno.ENOENT, "no directory is above it any more", path)
            old = index.get(parent, name)
        except OSError as error:
            if is_gone(error) and path:
                if self._had_children(path, old):
                    self._remove_below(path)
                index.drop(parent, name)
                self._delete(path)
            elif old is not None:
                self._send(path, old, "update")
            return
        if tree.wanted is not None and path and not tree.wanted(path, found.st_mode >> 12 == 4):
            return
        if found.st_mode >> 12 != 4 and self._had_children(path, old):
            self._remove_below(path)
        sig = signature(found)
        self._send(path, sig, "insert" if old is None else "update")
        index.put(parent, name, sig)
        if path and is_dir(sig) and (old is None or not is_dir(old) or old[6] != sig[6]):
            if not index.is_complete(path):
                index.create(path)
            self.urgent[path] = None

    # Sending

    def flush(self, *, checked: bool = False) -> None:
        """
        Commit what was noted and make events of it. The index's lock must be held.

        Raises:
            ConnectionLost: The index can't be written, or was begun anew; nothing of it was sent.
        """
        self._check_index()
        rows = self._rows
        if rows and self._has_deletes and not checked and not self._tree.root_is_same():
            # The root is away: what seems deleted may be unmounted. Nothing was committed.
            self._index.reset()
            self._rows = {}
            self._has_deletes = False
            self.root_doubtful = True
            return
        groups: dict[str, list[tuple[str, Row]]] = {"delete": [], "insert": [], "update": []}
        for path, (kind, row) in rows.items():
            groups[kind].append((path, row))
        sent: list[tuple[int, list[str]]] = []
        events: list[EventBase] = []
        self._rows = {}
        self._has_deletes = False
        for kind, found in groups.items():
            for at in range(0, len(found), MOST_ROWS):
                part = found[at : at + MOST_ROWS]
                index = self._tree.clock.next()
                sent.append((index, [path for path, _ in part]))
                events.append(self._event(kind, [row for _, row in part], index))
        self._index.commit(sent)
        if self._tree.walks:
            for index, paths in sent:
                self._tree.sent_live.update(dict.fromkeys(paths, index))
        self.sent_rows += len(rows)
        self.out.extend(events)

    def _check_index(self) -> None:
        """
        Send nothing more once the snapshot found the index damaged: positions of now belong to another incarnation.
        """
        if self._index.uuid != self._uuid:
            raise ConnectionLost(
                f"the local index of {self._tree.root!r} was begun anew",
                hint="the agent opens the stream again, and a snapshot brings what may have been missed",
            )

    def _event(self, kind: str, rows: list[Row], index: int) -> EventBase:
        schema, now = self._tree.schema, time.time()
        if kind == "delete":
            return DeleteEvent(
                schema, FILES_TABLE, rows, FILE_KEY, index, key=FILE_KEY, columns=_DELETE_COLUMNS, ts=now
            )
        make = InsertEvent if kind == "insert" else UpdateEvent
        return make(schema, FILES_TABLE, rows, self._fields, index, key=FILE_KEY, columns=self._columns, ts=now)

    def mark(self, watermark: int | None = None) -> None:
        """
        Say that the stream has passed a watermark, or everything up to now.
        """
        clock = self._tree.clock
        with self._index.lock:
            self._check_index()
            index = clock.next() if watermark is None else clock.reach(watermark)
        self.out.append(progress_mark(index, self._tree.schema, FILES_TABLE))

    # A directory

    def scan(self, path: str, *, deep: bool) -> Generator[None, None, list[str]]:
        """
        Compare a directory with the index, its watch placed first. Gives way now and then.

        A directory of which nothing was sent is only watched: the snapshot reads it.

        Args:
            path: The directory.
            deep: Return all its directories; else none (new ones are put in `urgent` by themselves).
        """
        tree, index = self._tree, self._index
        where = tree.where(path)
        try:
            fd = tree.open_dir(path)
        except OSError as error:
            if is_gone(error):
                with index.lock:
                    self.look(*(split(path) if path else (SELF, "")), LOOK)
                    self.flush()
            else:
                tree.problems.add_error(where, "read the directory", error)
            return []
        try:
            return (yield from self._scan_open(path, where, fd, deep))
        except OSError as error:
            if not is_gone(error):
                tree.problems.add_error(where, "read the directory", error)
            return []
        finally:
            os.close(fd)

    def _scan_open(self, path: str, where: str, fd: int, deep: bool) -> Generator[None, None, list[str]]:
        tree, index = self._tree, self._index
        dev = os.fstat(fd).st_dev
        if dev != tree.dev and not tree.params.cross_mounts:
            if index.is_complete(path) and index.children(path):
                tree.problems.add(where, "another file system is mounted here; what was below is kept", "unmount it")
            return []
        node = self._watcher.ensure(path, fd)
        if not tree.stands_at(fd, where):
            return []  # moved on just now: the hint of where to is waiting
        if node.dev not in (0, dev) and node.parent is not None and node.parent.dev == dev:
            tree.problems.add(where, "its file system changed; what was below is kept", "mount what was there")
            return []
        node.dev = dev
        with index.lock:
            known = index.children(path)
            complete = index.is_complete(path)
            recorded = index.is_known(path)
        dirs: list[str] = []
        different: list[str] = []
        steps = 0
        with os.scandir(fd) as entries:
            tree.problems.clear(where)
            for entry in entries:
                steps += 1
                if not steps & 255:
                    yield
                name = tree_name(entry.name)
                if not recorded:
                    if entry.is_dir(follow_symlinks=False):
                        self._note_dir(path, name, dirs)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError as error:
                    if not is_gone(error):
                        tree.problems.add_error(where, "look at its entries", error)
                        known.pop(name, None)
                    continue
                sig = signature(found)
                if deep and is_dir(sig):
                    self._note_dir(path, name, dirs)
                old = known.pop(name, None)
                if old != sig and (complete or old is not None):
                    different.append(name)
        different.extend(known)
        if recorded:
            # Its own row: a change in it before the watch was in place told nobody.
            with index.lock:
                above = split(path) if path else (SELF, "")
                sent = index.get(*above)
                if sent is not None and sent != signature(os.fstat(fd)):
                    self.look(*above, LOOK)
                    self.flush()
        waiting = set(self.urgent)
        for at in range(0, len(different), 256):
            with index.lock:
                for name in different[at : at + 256]:
                    self.look(path, name, LOOK)
                self.flush()
            yield
        for child in dirs:
            if child not in waiting:
                self.urgent.pop(child, None)  # the caller goes there anyway
        return dirs

    def _note_dir(self, path: str, name: str, dirs: list[str]) -> None:
        child = join(path, name)
        if self._tree.wanted is None or self._tree.wanted(child, True):
            dirs.append(child)

    def compare(self, start: str, *, deep: bool) -> Generator[None, None, None]:
        """
        Compare a directory, and with `deep` all below it, with the index.
        """
        waiting = [start]
        while waiting:
            path = waiting.pop()
            found = yield from self.scan(path, deep=deep)
            found.sort(reverse=True)
            waiting.extend(found)
            yield

    def replay(self, position: int, last: int, scope: str = "") -> Generator[None, None, None]:
        """
        Send again, as it is now, what was sent live after a position, of a directory and all below it.
        """
        below = scope + "/"
        seen: set[str] = set()
        with self._index.lock:
            parts = self._index.journal.between(position, last)
        while True:
            with self._index.lock:
                paths = next(parts, None)
                if paths is None:
                    return
                for path in paths:
                    if path not in seen and (not scope or path == scope or path.startswith(below)):
                        seen.add(path)
                        self.again(path)
                self.flush()
            if len(seen) > 100_000:
                seen.clear()  # sending a path twice is harmless, keeping millions is not
            yield


def tree_name(name: str) -> str:
    """
    Escape a name as the directory gave it.
    """
    return name if name.isascii() and "\\" not in name else escape_name(name)
