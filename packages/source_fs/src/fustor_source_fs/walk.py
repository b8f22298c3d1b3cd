"""
The snapshot: walks the tree depth first, names sorted, and gives out rows in chunks.

The watch of a directory is placed before it is read, so that what the read did not see is told live. What was read is
recorded in the index before the chunk leaves, if nothing was recorded of the directory yet; of a directory that the index
knows, differences are left to the live stream, which sends and records them: else a snapshot that is cancelled could
swallow a change.

Invariant: a row of a chunk is what was on disk after the chunk's index was taken, and every change after it
is sent live, with a larger index.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from zlib import crc32

import msgspec

from fustor_core.errors import ConnectionLost
from fustor_core.models.event import EventBase, InsertEvent
from fustor_core.models.file_row import FILE_COLUMNS, FILE_KEY, FILES_TABLE, escape_name, unescape_name
from fustor_source_fs.faults import is_gone
from fustor_source_fs.index import BUCKET_ENTRIES, SELF, bucket_count, pack
from fustor_source_fs.live import picked_fields
from fustor_source_fs.rows import TYPE_OF, Signature, build_row, is_dir, join, read_target, signature, split
from fustor_source_fs.tree import Reading, Tree
from fustor_source_fs.watch import Watcher

_encode = msgspec.msgpack.Encoder().encode
_SETTLED_AT_ONCE = 32  # directories, about a millisecond in which the live stream waits for the index
_GIVE_WAY_S = 0.008  # about as long as a change takes to Fusion and back
_WALK_S = 0.016  # at least so long between two such pauses: a third of the time at most is spent waiting


class Hinting(Protocol):
    """
    What the walk needs of the message stream.
    """

    watcher: Watcher

    @property
    def newest_hint(self) -> float:
        """
        When the kernel last told of a change, monotonic seconds.
        """

    @property
    def stopped(self) -> bool:
        """
        Whether it has ended.
        """

    def hint(self, parent: str, names: list[str], *, deep: bool = False) -> None:
        """
        Have names looked at.
        """


class _Span:
    """
    The rows of one directory, or of a slice of it, within a chunk.
    """

    __slots__ = ("blobs", "first", "inode", "last", "path", "sigs", "sliced", "whole")

    def __init__(self, path: str, inode: int, first: int) -> None:
        self.path = path
        self.inode = inode
        self.first = first
        self.last = first
        self.sigs: dict[str, Signature] = {}
        self.blobs: list[bytes] | None = None
        self.whole = False
        """
        Whether the directory is read to its end with this span.
        """
        self.sliced = False
        """
        Whether it is a slice: `sigs` is then not all of the directory, and of the last one `blobs` is.
        """


class Walk:
    """
    One snapshot's walk.

    Args:
        tree: The tree.
        stream: The message stream; None when none is open.
        stop: Ends the walk within a second.
        batch_size: Rows in a chunk.
        start: The directory to begin with.
        token: Go on after the chunk that carried it.
        required: The fields wanted; None = all.
        record: Whether to record in the index what was sent. Off only to measure what it costs.
    """

    def __init__(
        self,
        tree: Tree,
        stream: Hinting | None,
        stop: threading.Event,
        *,
        batch_size: int,
        start: str = "",
        token: str | None = None,
        required: Sequence[str] | None = None,
        record: bool = True,
    ) -> None:
        self._tree = tree
        self._stream = stream
        self._stop = stop
        self._batch = max(1, batch_size)
        self._start = start
        self._token = token
        self._record = record
        self._fields, self._pick = picked_fields(required)
        self._columns = {name: FILE_COLUMNS[name] for name in self._fields}
        self._rows: list[Any] = []
        self._spans: list[_Span] = []
        self._reading: set[str] = set()
        self._resumed: set[str] = set()
        self._left_to_live: set[str] = set()
        self._low = 0
        self._rested_at = 0.0

    def chunks(self) -> Iterator[EventBase]:
        """
        Yield the chunks.

        Raises:
            ConnectionLost: The root went away, or the index can't be written.
        """
        try:
            yield from self._walk()
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._tree.index.mend(error) from error

    def _walk(self) -> Iterator[EventBase]:
        tree = self._tree
        self._take_low()
        waiting, skip = self._resume() if self._token else ([self._start], None)
        self._resumed = set(waiting) - {self._start}
        if self._token is None:
            self._read_start()
        try:
            while waiting:
                if self._stop.is_set():
                    return
                path = waiting.pop()
                self._give_way()
                subdirs: list[str] = []
                yield from self._read(path, subdirs, skip)
                skip = None
                subdirs.reverse()
                waiting.extend(subdirs)
                if len(self._rows) >= self._batch:
                    yield from self._chunk([path, None])
            yield from self._chunk([self._start, "\U0010ffff"])
        finally:
            with tree.index.lock:
                for path in list(self._reading):
                    self._end(path)
            tree.note_low(id(self), None)
        if not tree.root_is_same():
            raise ConnectionLost(f"the directory {tree.root!r} went away during the snapshot")

    def _give_way(self) -> None:
        """
        Pause when there was a change just now: it would have to win the interpreter from this thread at every step.
        """
        stream = self._stream
        if stream is None or stream.newest_hint <= self._rested_at:
            return
        now = time.monotonic()
        if now >= self._rested_at + _WALK_S:
            self._stop.wait(_GIVE_WAY_S)
            self._rested_at = time.monotonic()

    def _take_low(self) -> None:
        with self._tree.index.lock:
            self._low = self._tree.clock.last
            self._tree.note_low(id(self), self._low)

    def _read_start(self) -> None:
        """
        Put in the row of the directory that the walk starts with.
        """
        tree, index = self._tree, self._tree.index
        path = self._start
        parent, name = path.rpartition("/")[::2] if path else (SELF, "")
        try:
            with index.lock:
                found = os.lstat(tree.where(path)) if path else os.stat(tree.root)
                sig = signature(found)
                self._rows.append(build_row(path, sig, None, tree.name))
                if self._record and index.get(parent, name) is None:
                    index.put(parent, name, sig)
                    index.commit()
        except OSError as error:
            raise ConnectionLost(f"the directory {tree.where(path)!r} can't be read: {error.strerror}") from error
        self._hint(parent, [name])

    def _hint(self, parent: str, names: list[str]) -> None:
        stream = self._stream
        if stream is not None and not stream.stopped and parent != SELF:
            stream.hint(parent, names)

    def _hint_away(self, path: str) -> None:
        """
        Leave a directory that is not what it was when its parent was read to the live stream, with all in it.
        """
        stream, index = self._stream, self._tree.index
        with index.lock:
            if path and not index.is_complete(path):
                index.create(path)  # nothing of it was sent: whoever compares it next sends it all
                index.commit()
        if path and stream is not None and not stream.stopped:
            parent, _, name = path.rpartition("/")
            stream.hint(parent, [name], deep=True)

    def _resume(self) -> tuple[list[str], str | None]:
        """
        Rebuild the stack of directories that were still to be read after the token's chunk.
        """
        try:
            path, name = json.loads(self._token or "")
        except ValueError:
            return [self._start], None
        if name == "\U0010ffff":
            return [], None
        below = path[len(self._start) :].strip("/") if path != self._start else ""
        parts = below.split("/") if below else []
        waiting: list[str] = []
        here = self._start
        for part in parts:
            after = unescape_name(part)
            waiting.extend(reversed([d for d in self._dirs_of(here) if unescape_name(d.rpartition("/")[2]) > after]))
            here = join(here, part)
        if name is None:
            waiting.extend(reversed(self._dirs_of(here)))
            return waiting, None
        waiting.append(here)
        return waiting, unescape_name(name)

    def _dirs_of(self, path: str) -> list[str]:
        tree = self._tree
        try:
            with os.scandir(tree.where(path)) as entries:
                names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except OSError as error:
            if not is_gone(error):
                tree.problems.add_error(tree.where(path), "read the directory", error)
            return []
        found = [join(path, escape_name(name)) for name in names]
        return [d for d in found if tree.wanted is None or tree.wanted(d, True)]

    def _read(self, path: str, subdirs: list[str], skip: str | None) -> Iterator[EventBase]:
        """
        Read one directory into the chunk; yield full chunks when it is a large one.
        """
        tree = self._tree
        where = tree.where(path)
        stream = self._stream
        if not self._rows:
            self._take_low()
        tree.begin_reading(path)
        self._reading.add(path)
        fd = -1
        try:
            fd = tree.open_dir(path)
            found = os.fstat(fd)
            if found.st_dev != tree.dev and not tree.params.cross_mounts:
                self._forget(path)
                return
            if stream is not None and not stream.stopped:
                stream.watcher.ensure(path, fd, again=False)
            names = os.listdir(fd)
            names.sort()
            if not names or (len(names) <= max(self._batch, BUCKET_ENTRIES) and skip is None):
                span = _Span(path, found.st_ino, len(self._rows))
                span.whole = True
                self._spans.append(span)
                self._stat(fd, path, names, span.sigs, subdirs)
                span.last = len(self._rows)
            else:
                yield from self._read_large(fd, path, names, found.st_ino, subdirs, skip)
            tree.problems.clear(where)
        except OSError as error:
            if is_gone(error):
                self._hint_away(path)
            else:
                tree.problems.add_error(where, "read the directory", error)
            if not any(span.path == path for span in self._spans[-1:]):
                self._forget(path)
        finally:
            if fd >= 0:
                os.close(fd)

    def _forget(self, path: str) -> None:
        with self._tree.index.lock:
            self._end(path)

    def _end(self, path: str) -> None:
        if path in self._reading:
            self._reading.discard(path)
            self._tree.end_reading(path)

    def _read_large(
        self, fd: int, path: str, names: list[str], inode: int, subdirs: list[str], skip: str | None
    ) -> Iterator[EventBase]:
        """
        Read a directory slice by slice; its entry in the index is packed meanwhile and written with the last one.
        """
        with self._tree.index.lock:
            self._tree.index.take_slices(path)  # of a snapshot that was cut off
            self._tree.index.commit()
        new: set[str] = set() if skip is None else self._leave_new(path, names, skip)
        count = bucket_count(len(names))
        packed = [bytearray() for _ in range(count)]
        counts = [0] * count
        at = 0
        while at < len(names) and not self._stop.is_set():
            if not self._rows:
                self._take_low()
            room = max(1, self._batch - len(self._rows))
            part = names[at : at + room]
            at += len(part)
            span = _Span(path, inode, len(self._rows))
            span.sliced = True
            self._spans.append(span)
            self._stat(fd, path, part, span.sigs, subdirs)
            for name, sig in span.sigs.items():
                bucket = crc32(name.encode()) % count if count > 1 else 0
                packed[bucket] += _encode(name) + _encode(sig)
                counts[bucket] += 1
            if new:
                span.sigs = {name: sig for name, sig in span.sigs.items() if name not in new}
            if skip is not None:
                if part[-1] <= skip:
                    del self._rows[span.first :]
                else:
                    keep = [row for row in self._rows[span.first :] if unescape_name(row[1]) > skip]
                    self._rows[span.first :] = keep
            span.last = len(self._rows)
            if at >= len(names):
                span.whole = True
                # A map of msgpack with a 32-bit count, as `pack` reads it.
                span.blobs = [b"\xdf" + n.to_bytes(4, "big") + bytes(b) for n, b in zip(counts, packed, strict=True)]
            elif len(self._rows) >= self._batch:
                yield from self._chunk([path, escape_name(part[-1])])
            elif span.first == span.last:
                self._spans.pop()  # nothing of it is sent

    def _leave_new(self, path: str, names: list[str], skip: str) -> set[str]:
        """
        Leave to the live stream what appeared, while nobody looked, among the names that are passed over; return those names.

        Of a directory that was not read to its end no comparison tells what is new in it.
        """
        tree = self._tree
        with tree.index.lock:
            known = tree.index.children(path)
            passed = (escape_name(name) for name in names[: bisect_right(names, skip)])
            new = {name for name in passed if name not in known}
            tree.reading[path].touched |= new
        self._left_to_live.update(join(path, name) for name in new)
        return new

    def _stat(self, fd: int, path: str, names: list[str], sigs: dict[str, Signature], subdirs: list[str]) -> None:
        """
        Look at the names of one directory: rows, signatures, directories to go on with. The hot loop of the snapshot.
        """
        tree = self._tree
        stat, types, add, escape = os.stat, TYPE_OF, self._rows.append, escape_name
        wanted, dev, cross = tree.wanted, tree.dev, tree.params.cross_mounts
        prefix = path + "/" if path else ""
        for raw in names:
            try:
                found = stat(raw, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                if not is_gone(error):
                    tree.problems.add_error(tree.where(path), "look at its entries", error)
                continue
            name = raw if raw.isascii() and "\\" not in raw else escape(raw)
            mode, inode, its_dev, _, uid, gid, size, _, _, _ = found
            mtime = found.st_mtime_ns
            ctime = found.st_ctime_ns
            kind = types[mode >> 12]
            full = prefix + name
            target = None
            if kind != "file":
                size = 0
                if kind == "dir":
                    if wanted is not None and not wanted(full, True):
                        continue
                    if cross or its_dev == dev:
                        subdirs.append(full)
                elif kind == "symlink":
                    target = read_target(raw, fd)
            if wanted is not None and kind != "dir" and not wanted(full, False):
                continue
            sigs[name] = (mode, size, mtime, ctime, uid, gid, inode)
            add((full, name, path, kind, size, mtime, ctime, mode, uid, gid, inode, target))

    # What leaves

    def _chunk(self, token: list[str | None]) -> Iterator[EventBase]:
        """
        Settle the chunk with the index and yield it.
        """
        self._settle()
        rows, self._rows = self._rows, []
        if not rows:
            return
        if self._pick is not None:
            rows = [self._pick(row) for row in rows]
        yield InsertEvent(
            self._tree.schema,
            FILES_TABLE,
            rows,
            self._fields,
            self._low,
            key=FILE_KEY,
            columns=self._columns,
            resume_token=json.dumps(token),
        )

    def _settle(self) -> None:
        """
        Record what was read, and mend what the live stream overtook while it was read.
        """
        spans, self._spans = self._spans, []
        holes = False
        for at in range(0, len(spans), _SETTLED_AT_ONCE):
            with self._tree.index.lock:
                holes |= self._settle_some(spans[at : at + _SETTLED_AT_ONCE])
        if holes:
            self._rows = [row for row in self._rows if row is not None]

    def _settle_some(self, spans: list[_Span]) -> bool:
        """
        Settle some of the chunk's spans, with the index locked; return whether rows were taken out.
        """
        tree, index = self._tree, self._tree.index
        store: list[tuple[str, list[bytes]]] = []
        holes = False
        for span in spans:
            reading = tree.reading.get(span.path)
            if span.whole:
                self._end(span.path)
            if reading is None or reading.gone or self._is_left_to_live(span.path) or not self._is_same(span):
                # It was moved or deleted while it was read: what is there now is told live.
                for at in range(span.first, span.last):
                    self._rows[at] = None
                holes = True
                if reading is not None:
                    reading.gone = True
                self._left_to_live.update(join(span.path, name) for name, sig in span.sigs.items() if is_dir(sig))
                self._hint_away(span.path)
                continue
            if tree.sent_live:
                self._note_overtaken(span, reading)
            if not self._record:
                continue
            if not span.whole:
                holes |= self._settle_slice(span, reading)
                continue
            if not span.sliced:
                # It may have been read in slices by a snapshot that was cut off: then it is known what that one sent of it.
                index.take_slices(span.path)
                index.commit()
            if not index.is_known(span.path) and not reading.touched:
                # Nothing was sent of it, so nobody but this walk says what was.
                store.append((span.path, self._pack(span)))
            elif index.is_complete(span.path):
                if index.packed(span.path) != self._pack(span):
                    holes |= self._mend(span, reading)
            else:
                holes |= self._mend_partial(span, reading)
        if store:
            index.store_packed(store)
        return holes

    def _is_left_to_live(self, path: str) -> bool:
        """
        Tell whether a directory's own row was left to the live stream; then so is all below it.

        Else the index could know children of a name that was never sent, and nobody would delete them when it goes.
        """
        if path in self._resumed:
            self._resumed.discard(path)
            sig = self._tree.index.get(*split(path))
            if sig is None or not is_dir(sig):
                self._left_to_live.add(path)
        return path in self._left_to_live

    def _settle_slice(self, span: _Span, reading: Reading) -> bool:
        """
        Settle a slice of a directory that is not read to its end; return whether rows were taken out.
        """
        index = self._tree.index
        if not index.is_complete(span.path):
            index.note_slice(span.path, span.sigs)
            return False
        different = [
            name for name, sig in span.sigs.items() if name in reading.touched or index.get(span.path, name) != sig
        ]
        return self._look_again(span, different)

    def _note_overtaken(self, span: _Span, reading: Reading) -> None:
        """
        Leave to the live stream the names of which it sent something after the chunk's low watermark.

        The agent drops their rows. If the index took over what was read here, a change whose hint is still waiting would
        find no difference, and the consumer would keep what was sent before it.
        """
        sent, low = self._tree.sent_live, self._low
        for at in range(span.first, span.last):
            row = self._rows[at]
            if sent.get(row[0], -1) > low:
                reading.touched.add(row[1])

    def _is_same(self, span: _Span) -> bool:
        try:
            found = os.lstat(self._tree.where(span.path)) if span.path else os.stat(self._tree.root)
        except OSError:
            return False
        return found.st_ino == span.inode

    def _pack(self, span: _Span) -> list[bytes]:
        if span.blobs is None:
            count = bucket_count(len(span.sigs))
            if count == 1:
                span.blobs = [pack(span.sigs)]
            else:
                buckets: list[dict[str, Signature]] = [{} for _ in range(count)]
                for name, sig in span.sigs.items():
                    buckets[crc32(name.encode()) % count][name] = sig
                span.blobs = [pack(bucket) for bucket in buckets]
        return span.blobs

    def _mend(self, span: _Span, reading: Reading) -> bool:
        """
        Of a directory that the index knows and that differs: have the live stream look, and put in what is true now.
        """
        known = self._tree.index.children(span.path)
        read = self._read_sigs(span)
        different = [name for name, sig in read.items() if known.get(name) != sig]
        different += [name for name in known if name not in read]
        different += [name for name in reading.touched if name not in different]
        return self._look_again(span, different)

    def _mend_partial(self, span: _Span, reading: Reading) -> bool:
        """
        Of a directory of which some was sent live while it was read: record the rest, leave those names to the live stream.
        """
        index = self._tree.index
        index.create(span.path)
        known = index.children(span.path)
        read = self._read_sigs(span)
        live = reading.touched | set(known)
        for name, sig in read.items():
            if name not in live:
                index.put(span.path, name, sig)
        index.commit()
        return self._look_again(span, [name for name in live if known.get(name) != read.get(name)])

    def _read_sigs(self, span: _Span) -> dict[str, Signature]:
        if not span.sliced:
            return span.sigs
        read: dict[str, Signature] = {}
        for blob in self._pack(span):
            read.update(msgspec.msgpack.decode(blob, type=dict[str, Signature]))
        return read

    def _look_again(self, span: _Span, names: list[str]) -> bool:
        """
        Look anew at names whose state was read and is not what the index says; return whether rows were taken out.

        What is still not what the index says is left to the live stream, which sends and records it: were the row sent here and
        the directory removed before its hint is taken, nobody would know that there is something to delete.
        """
        if not names:
            return False
        tree, index, rows = self._tree, self._tree.index, self._rows
        live = self._stream is not None and not self._stream.stopped
        places = {rows[at][1]: at for at in range(span.first, span.last)}
        holes = False
        told: list[str] = []
        for name in names:
            path, at = join(span.path, name), places.get(name)
            try:
                sig = signature(os.lstat(tree.where(path)))
            except OSError as error:
                if is_gone(error):
                    if at is not None:
                        rows[at] = None
                        holes = True
                    told.append(name)
                    self._left_to_live.add(path)
                continue
            known = index.get(span.path, name)
            if known != sig:
                told.append(name)
                if live or (tree.wanted is not None and not tree.wanted(path, sig[0] >> 12 == 4)):
                    if at is not None:
                        rows[at] = None
                        holes = True
                    if known is None or not is_dir(known):
                        self._left_to_live.add(path)
                    continue
            if at is not None:
                target = read_target(tree.where(path)) if sig[0] >> 12 == 10 else None
                rows[at] = build_row(path, sig, target, tree.name)
        if live:
            self._hint(span.path, told)
        elif told:
            self._put_in_journal(span.path, told)
        return holes

    def _put_in_journal(self, path: str, names: list[str]) -> None:
        """
        No stream is open to tell of differences: the one that is opened next finds them in the journal.
        """
        index = self._tree.index
        index.commit([(self._tree.clock.next(), [join(path, name) for name in names])])
