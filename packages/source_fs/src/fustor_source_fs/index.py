"""
The local index: what was sent of every directory, so that a restart sends only differences.

One row per directory holds the signatures of its children as one packed blob; a directory with many entries is split in
buckets by a hash of the name, so that one change rewrites a small blob. Unchanged directories compare as equal bytes.

Invariants:
    - A directory is *unknown* (no row), *partial* (some children were sent live before a snapshot came by) or *complete*
      (the row says exactly what was sent of it).
    - What the index says of a path is what was last sent of it, never newer than what was sent.
    - What a snapshot sent of a directory too large for one chunk is kept as *slices* until it has read all of it.
    - Index and journal change in one transaction, committed before an event is handed out.
    - After a power cut the newest transactions may be missing while the consumer has their rows; a row that is missing here
      could then stay there for ever. So an index that was not closed before the machine restarted is begun anew: a new
      incarnation, a snapshot and its sweep.

Concurrency: every method wants `lock` held by the caller, unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_source_fs.journal import Journal
from fustor_source_fs.position import Clock
from fustor_source_fs.rows import Signature, join

BUCKET_ENTRIES = 512
"""
Entries a bucket is made for; it may grow to twice as many before the directory is split further.
"""
SELF = "/"
"""
The pseudo-directory whose only child, "", is the root.
"""
log = logging.getLogger(__name__)
_HOT_ENTRIES = 30_000
_HOT_DIRS = 4096
_VERSION = 1
_BEGUN_ANEW = "the local index %s can't be gone on with (%s): it is begun anew, and earlier positions are lost"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Signature]).decode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dirs(path TEXT PRIMARY KEY, buckets INTEGER, complete INTEGER, blob BLOB);
CREATE TABLE IF NOT EXISTS buckets(path TEXT, bucket INTEGER, blob BLOB, PRIMARY KEY(path, bucket));
CREATE TABLE IF NOT EXISTS slices(path TEXT, blob BLOB);
CREATE INDEX IF NOT EXISTS slices_by_path ON slices(path);
CREATE TABLE IF NOT EXISTS journal(idx INTEGER PRIMARY KEY, n INTEGER, paths BLOB);
"""


def bucket_count(entries: int) -> int:
    """
    Return into how many buckets a directory is split.
    """
    count = 1
    while entries > count * BUCKET_ENTRIES:
        count *= 2
    return count


def pack(sigs: dict[str, Signature]) -> bytes:
    """
    Pack one bucket.
    """
    return _encode(sigs)


class _Dir:
    __slots__ = ("buckets", "complete", "count", "dirty", "entries")

    def __init__(self, count: int, complete: bool) -> None:
        self.count = count
        self.complete = complete
        self.buckets: dict[int, dict[str, Signature]] = {}
        self.dirty: set[int] = set()
        self.entries = 0


def _is_damage(error: Exception) -> bool:
    # Its subclasses say other things: a full disk, a closed connection.
    return type(error) is sqlite3.DatabaseError or isinstance(error, msgspec.DecodeError)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


class Index:
    """
    The index of one root, in `index.db` of the state folder.

    Args:
        folder: The state folder; made when missing.
        root: The root, absolute.
        journal_entries: How many sent changes the journal keeps.

    Raises:
        ConfigError: Another driver uses the folder, or the agent may not write there.
        ConnectionLost: The index can't be opened now, for want of disk space above all.
    """

    def __init__(self, folder: Path, root: str, journal_entries: int) -> None:
        self.lock = threading.RLock()
        self.folder = folder
        self._root = root
        self._journal_entries = journal_entries
        self._hot: OrderedDict[str, _Dir | None] = OrderedDict()
        self._hot_entries = 0
        self._changed: set[str] = set()
        self._removed: list[str] = []
        self._sliced: list[str] = []
        self._has_slices = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            used_before = (folder / "lock").exists()
            self._lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the state folder {str(folder)!r} can't be written: {error.strerror}",
                hint="give the agent's user the right to write there, or set `driver_params.state_dir`",
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_fd)
            raise ConfigError(
                f"the state folder {str(folder)!r} is in use by another driver",
                hint="stop the other agent, or give this source its own `driver_params.state_dir`",
            ) from error
        try:
            self._open(used_before)
        except (sqlite3.DatabaseError, ConnectionLost, OSError) as error:
            os.close(self._lock_fd)
            if isinstance(error, ConnectionLost):
                raise
            raise self._unusable(error) from error

    def _open(self, used_before: bool) -> None:
        try:
            self._connect()
            fault = self._fault()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise  # a full disk or missing rights: no reason to throw the index away
            fault = f"it is damaged: {error}"
        if fault:
            self._replace(fault)
        meta = self._meta
        self.is_new = meta("uuid") is None
        if self.is_new and used_before and not fault:
            log.warning(_BEGUN_ANEW, self.folder / "index.db", "it is missing or empty")
        self.uuid = meta("uuid") or uuid.uuid4().hex
        self.root_inode = int(meta("root_inode") or 0)
        self._born = meta("born_inode") or "0"
        self.root_was_mount = meta("root_was_mount") == "1"
        self._has_slices = self._db.execute("SELECT 1 FROM slices LIMIT 1").fetchone() is not None
        last = int(meta("ceiling") or 0)
        self.clock = Clock(last, self._reserve, self.lock)
        if self.is_new:
            self._save_new(self.clock.next())
        self._save(closed=0, boot=_boot_id())
        self.journal = Journal(self._db, int(meta("floor") or 0), self._journal_entries)

    def _save_new(self, floor: int) -> None:
        self._save(version=_VERSION, uuid=self.uuid, root=os.fsencode(self._root).hex(), boot=_boot_id(), floor=floor)

    def _replace(self, fault: str) -> None:
        path = self.folder / "index.db"
        log.warning(_BEGUN_ANEW, path, fault)
        self._db.close()
        for name in ("index.db", "index.db-wal", "index.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        self._connect()

    def _connect(self) -> None:
        path = self.folder / "index.db"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA cache_size=-4000")
        self._db.execute("PRAGMA journal_size_limit=16000000")
        self._db.executescript(_SCHEMA)

    def _fault(self) -> str:
        """
        Say why what is on disk can't be gone on with; "" when it can.
        """
        if self._meta("uuid") is None:
            return ""
        if self._meta("version") != str(_VERSION):
            return "it is of another version of this driver"
        if self._meta("root") != os.fsencode(self._root).hex():
            return "it is of another root"
        if self._meta("closed") != "1" and self._meta("boot") != _boot_id():
            return "it was not closed before the machine restarted, so its newest part may be missing"
        return ""

    def mend(self, error: Exception) -> Exception:
        """
        Return the error to raise for what reading or writing the index raised. Takes the lock itself.

        A damaged index is begun anew first, so that whoever opens the stream next starts from a lost position.
        """
        with self.lock:
            if self._lock_fd < 0:
                return ConnectionLost(f"the local index in {str(self.folder)!r} was closed")
            self.reset()
            if not _is_damage(error):
                return self._unusable(error)
            try:
                self._replace(f"it is damaged: {error}")
                self.uuid = uuid.uuid4().hex
                self.is_new = True
                floor = self.clock.next()
                self._save_new(floor)
                self._save(closed=0, ceiling=self.clock.ceiling, born_inode=self._born)
                self.set_root(self.root_inode, self.root_was_mount)
                self.journal = Journal(self._db, floor, self._journal_entries)
            except (sqlite3.DatabaseError, OSError, ConnectionLost) as more:
                return self._unusable(more)
            return ConnectionLost(
                f"the local index in {str(self.folder)!r} was damaged ({error}) and is begun anew",
                hint="check the disk it is on; a snapshot brings what may have been missed",
            )

    def _unusable(self, error: Exception) -> ConnectionLost:
        return ConnectionLost(
            f"the local index in {str(self.folder)!r} can't be used: {error}",
            hint="free disk space there and see that it can be written; what changed meanwhile is found again",
            context={"state_dir": str(self.folder)},
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """
        Turn "can't be written", a full disk above all, into the error that says so; nothing of the attempt stays.
        """
        try:
            yield
        except BaseException as error:
            self.reset()
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise self._unusable(error) from error
            raise

    def _meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _save(self, **values: object) -> None:
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", [(k, str(v)) for k, v in values.items()])

    def _reserve(self, ceiling: int) -> None:
        self._save(ceiling=ceiling)

    def set_root(self, inode: int, is_mount: bool) -> None:
        """
        Note which directory the positions of this incarnation belong to.
        """
        self.root_inode = inode
        self.root_was_mount = is_mount
        self._save(root_inode=inode, root_was_mount=int(is_mount))
        if self._born == "0":
            self._born = str(inode)
            self._save(born_inode=inode)

    @property
    def incarnation(self) -> str:
        """
        Name what positions belong to: this index and the directory it was begun for.
        """
        return f"{self.uuid}:{self._born}"

    def start_anew(self) -> None:
        """
        Forget everything: a new incarnation.
        """
        self._db.executescript("DELETE FROM dirs; DELETE FROM buckets; DELETE FROM slices; DELETE FROM journal;")
        self._has_slices = False
        self._hot.clear()
        self._hot_entries = 0
        self._changed.clear()
        self.uuid = uuid.uuid4().hex
        floor = self.clock.next()
        self._born = "0"
        self._save(uuid=self.uuid, floor=floor, born_inode=0)
        self.journal.forget(floor)
        self.is_new = True

    @property
    def replay_from(self) -> int | None:
        """
        The position from which sent changes are still to be sent again; None when none are.

        Kept on disk: the consumer's checkpoint moves on while they are sent, and does not tell after a restart.
        """
        with self.lock:
            found = self._meta("replay_from")
            return None if found in (None, "") else int(found or 0)

    @replay_from.setter
    def replay_from(self, position: int | None) -> None:
        with self.lock:
            self._save(replay_from="" if position is None else position)

    def is_empty(self) -> bool:
        """
        Tell whether nothing was sent yet.
        """
        return not self._changed and self._db.execute("SELECT 1 FROM dirs LIMIT 1").fetchone() is None

    # One directory

    def _dir(self, path: str) -> _Dir | None:
        hot = self._hot
        if path in hot:
            hot.move_to_end(path)
            return hot[path]
        if self._hot_entries > _HOT_ENTRIES or len(hot) > _HOT_DIRS:
            self._cool()
        found = self._db.execute("SELECT buckets, complete, blob FROM dirs WHERE path=?", (path,)).fetchone()
        entry = None
        if found is not None:
            entry = _Dir(found[0], bool(found[1]))
            if entry.count == 1:
                entry.buckets[0] = _decode(found[2])
                entry.entries = len(entry.buckets[0])
                self._hot_entries += entry.entries
        hot[path] = entry
        return entry

    def _bucket(self, path: str, entry: _Dir, name: str) -> int:
        if entry.count == 1:
            return 0
        number = crc32(name.encode()) % entry.count
        if number not in entry.buckets:
            self._load_bucket(path, entry, number)
        return number

    def _load_bucket(self, path: str, entry: _Dir, number: int) -> None:
        found = self._db.execute("SELECT blob FROM buckets WHERE path=? AND bucket=?", (path, number)).fetchone()
        sigs = {} if found is None else _decode(found[0])
        entry.buckets[number] = sigs
        entry.entries += len(sigs)
        self._hot_entries += len(sigs)

    def is_known(self, path: str) -> bool:
        """
        Tell whether anything is recorded of a directory's children.
        """
        return self._dir(path) is not None

    def is_complete(self, path: str) -> bool:
        """
        Tell whether all of a directory's children were sent.
        """
        entry = self._dir(path)
        return entry is not None and entry.complete

    def get(self, path: str, name: str) -> Signature | None:
        """
        Return what was sent of one child; None when nothing was.
        """
        entry = self._dir(path)
        if entry is None:
            return None
        return entry.buckets[self._bucket(path, entry, name)].get(name)

    def children(self, path: str) -> dict[str, Signature]:
        """
        Return what was sent of all children: a copy.
        """
        entry = self._dir(path)
        if entry is None:
            return {}
        if entry.count == 1:
            return dict(entry.buckets[0])
        found: dict[str, Signature] = {}
        for number, blob in self._db.execute("SELECT bucket, blob FROM buckets WHERE path=?", (path,)):
            if number not in entry.buckets:
                found.update(_decode(blob))
        for sigs in entry.buckets.values():
            found.update(sigs)
        return found

    def packed(self, path: str) -> list[bytes] | None:
        """
        Return the blobs of a complete directory as they are on disk; None when it is not complete or has changes in memory.
        """
        if path in self._changed:
            return None
        found = self._db.execute("SELECT buckets, complete, blob FROM dirs WHERE path=?", (path,)).fetchone()
        if found is None or not found[1]:
            return None
        if found[0] == 1:
            return [found[2]]
        blobs = [_encode({})] * found[0]
        for number, blob in self._db.execute("SELECT bucket, blob FROM buckets WHERE path=?", (path,)):
            blobs[number] = blob
        return blobs

    def create(self, path: str) -> None:
        """
        Record a new directory as complete and without children: all it has is still to be sent live.
        """
        entry = self._dir(path)
        if entry is None:
            entry = self._hot[path] = _Dir(1, True)
            entry.buckets[0] = {}
            entry.dirty.add(0)
        entry.complete = True
        self._changed.add(path)
        self.take_slices(path)

    def put(self, path: str, name: str, sig: Signature) -> None:
        """
        Record that a child was sent. A directory that was unknown becomes partial.
        """
        entry = self._dir(path)
        if entry is None:
            entry = self._hot[path] = _Dir(1, False)
            entry.buckets[0] = {}
        number = self._bucket(path, entry, name)
        sigs = entry.buckets[number]
        if name not in sigs:
            entry.entries += 1
            self._hot_entries += 1
        sigs[name] = sig
        entry.dirty.add(number)
        self._changed.add(path)
        if len(sigs) > 2 * BUCKET_ENTRIES:
            self._split(path, entry)

    def _split(self, path: str, entry: _Dir) -> None:
        everything = self.children(path)
        count = bucket_count(2 * len(everything))
        entry.count = count
        entry.buckets = {number: {} for number in range(count)}
        for name, sig in everything.items():
            entry.buckets[crc32(name.encode()) % count][name] = sig
        self._hot_entries += len(everything) - entry.entries
        entry.entries = len(everything)
        entry.dirty = set(range(count))

    def drop(self, path: str, name: str) -> None:
        """
        Record that a child is no longer there.
        """
        entry = self._dir(path)
        if entry is None:
            return
        number = self._bucket(path, entry, name)
        if entry.buckets[number].pop(name, None) is not None:
            entry.entries -= 1
            self._hot_entries -= 1
            entry.dirty.add(number)
            self._changed.add(path)

    def has_below(self, path: str) -> bool:
        """
        Tell whether anything is recorded of a path's children or below.
        """
        below = path + "/"
        if any(other == path or other.startswith(below) for other in self._changed):
            return True
        if path in self._removed:
            return False
        tables = ("dirs", "slices") if self._has_slices else ("dirs",)
        return any(
            self._db.execute(
                f"SELECT 1 FROM {table} WHERE path=? OR (path>? AND path<?) LIMIT 1", (path, below, path + "0")
            ).fetchone()
            for table in tables
        )

    def remove_tree(self, path: str) -> Iterator[str]:
        """
        Forget a directory's children and all below; yield the paths of all that was recorded there.

        Directories are found by their path and not from parent to child, so that a removal that was cut short by a
        crash is completed by the next one.
        """
        dirs: dict[str, None] = {}
        for table in ("dirs", "slices") if self._has_slices else ("dirs",):
            if path:
                below = (path + "/", path + "0")  # "0" is what follows "/"
                found = self._db.execute(
                    f"SELECT path FROM {table} WHERE path=? OR (path>? AND path<?) ORDER BY path DESC", (path, *below)
                )
            else:
                found = self._db.execute(f"SELECT path FROM {table} ORDER BY path DESC")
            dirs.update(dict.fromkeys(row[0] for row in found))
        dirs.update(dict.fromkeys(p for p in self._changed if not path or p == path or p.startswith(path + "/")))
        dirs.pop(SELF, None)
        for here in dirs:
            self.take_slices(here)
            if self._dir(here) is None:
                continue
            for name in self.children(here):
                yield join(here, name)
            entry = self._hot.get(here)
            if entry is not None:
                self._hot_entries -= entry.entries
            self._hot[here] = None
            self._changed.discard(here)
            self._removed.append(here)

    # Slices of a directory that a snapshot is reading

    def note_slice(self, path: str, sigs: dict[str, Signature]) -> None:
        """
        Record a slice of an unfinished directory, in a transaction of its own, before its rows leave.

        So what was sent of it is known when the snapshot is cut off, and goes when the directory goes.
        """
        with self._writing():
            self._db.execute("INSERT INTO slices VALUES(?,?)", (path, _encode(sigs)))
        self._has_slices = True

    def take_slices(self, path: str) -> None:
        """
        Make children of what is recorded in slices; what is known of a child already stays.
        """
        if not self._has_slices or path in self._removed or path in self._sliced:
            return
        found = self._db.execute("SELECT blob FROM slices WHERE path=? ORDER BY rowid", (path,)).fetchall()
        for (blob,) in found:
            for name, sig in _decode(blob).items():
                if self.get(path, name) is None:
                    self.put(path, name, sig)
        if found:
            self._sliced.append(path)

    # Transactions

    def store_packed(self, dirs: list[tuple[str, list[bytes]]]) -> None:
        """
        Record directories as a snapshot read them, complete, from packed buckets, in one transaction.

        None of them may have changes in memory that are not committed.
        """
        db = self._db
        with self._writing():
            db.execute("BEGIN IMMEDIATE")
            heads = []
            if self._has_slices:
                db.executemany("DELETE FROM slices WHERE path=?", [(path,) for path, _ in dirs])
            for path, blobs in dirs:
                entry = self._hot.pop(path, None)
                if entry is not None:
                    self._hot_entries -= entry.entries
                    if entry.count > 1:
                        db.execute("DELETE FROM buckets WHERE path=?", (path,))
                many = len(blobs) > 1
                heads.append((path, len(blobs), 1, None if many else blobs[0]))
                if many:
                    db.executemany(
                        "INSERT OR REPLACE INTO buckets VALUES(?,?,?)",
                        [(path, number, blob) for number, blob in enumerate(blobs)],
                    )
            db.executemany("INSERT OR REPLACE INTO dirs VALUES(?,?,?,?)", heads)
            db.execute("COMMIT")

    def commit(self, sent: list[tuple[int, list[str]]] = []) -> None:  # noqa: B006 - never changed
        """
        Write what changed, and what is about to be sent, in one transaction.

        Args:
            sent: Position and paths of each event.

        Raises:
            ConnectionLost: It can't be written; what was not committed is let go.
        """
        if not (self._changed or self._removed or self._sliced or sent):
            return
        db = self._db
        with self._writing():
            db.execute("BEGIN IMMEDIATE")
            for path in self._removed:
                db.execute("DELETE FROM dirs WHERE path=?", (path,))
                db.execute("DELETE FROM buckets WHERE path=?", (path,))
            for path in self._sliced:
                db.execute("DELETE FROM slices WHERE path=?", (path,))
            for path in self._changed:
                self._write(path)
            with self.journal.appending(sent):
                db.execute("COMMIT")
        for path in self._changed:
            entry = self._hot.get(path)
            if entry is not None:
                entry.dirty.clear()
        self._removed.clear()
        self._sliced.clear()
        self._changed.clear()
        if self._hot_entries > _HOT_ENTRIES or len(self._hot) > _HOT_DIRS:
            self._cool()

    def reset(self) -> None:
        """
        Let go of what was not committed: the index is again what it is on disk.
        """
        self._hot.clear()
        self._hot_entries = 0
        self._changed.clear()
        self._removed.clear()
        self._sliced.clear()

    def _write(self, path: str) -> None:
        entry = self._hot[path]
        if entry is None:
            return
        if entry.count == 1:
            row = (path, 1, entry.complete, _encode(entry.buckets[0]))
            self._db.execute("INSERT OR REPLACE INTO dirs VALUES(?,?,?,?)", row)
            return
        self._db.execute("INSERT OR REPLACE INTO dirs VALUES(?,?,?,NULL)", (path, entry.count, entry.complete))
        self._db.executemany(
            "INSERT OR REPLACE INTO buckets VALUES(?,?,?)",
            [(path, number, _encode(entry.buckets[number])) for number in entry.dirty],
        )

    def _cool(self) -> None:
        """
        Let go of half of what is kept in memory, the longest unused first; what is not committed stays.
        """
        hot, busy = self._hot, self._changed.union(self._removed)
        for path in list(hot):
            if self._hot_entries <= _HOT_ENTRIES // 2 and len(hot) <= _HOT_DIRS // 2:
                return
            if path in busy:
                continue
            entry = hot.pop(path)
            if entry is not None:
                self._hot_entries -= entry.entries

    def close(self) -> None:
        """
        Close in good order: the next run goes on from the position handed out last. May be called twice.
        """
        with self.lock:
            if self._lock_fd < 0:
                return
            self.reset()  # what was not committed was not sent
            try:
                self._save(closed=1, ceiling=self.clock.last)
            except (ConnectionLost, sqlite3.DatabaseError) as error:
                log.warning("the local index was not closed in good order, the next run mends that: %s", error)
            finally:
                self._db.close()
                os.close(self._lock_fd)
                self._lock_fd = -1
