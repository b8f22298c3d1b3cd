"""
The search index: trigrams of names and of directory paths, in a database file of its own.

A background thread reads committed documents (`fs_names`) and directories above the last indexed id and adds them; the applier only wakes
it. What is not indexed yet (the tail) is searched by reading it, so a search is complete at every commit, however far the index
lags. An index entry is only a hint where to look: what search answers was looked up in `fs_entries`.

The file can be deleted at any time: it is built again. A damaged one is dropped.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from fustor_fusion.views.base import Database

_log = logging.getLogger(__name__)

_DOCS_AT_ONCE: Final = 4000
_PAUSE_S: Final = 0.1  # between two rounds, so that single changes are indexed together
_LOOK_S: Final = 60.0  # how often to look without being woken
_FORMAT: Final = 1
_WASTE: Final = 20_000  # documents that are gone before a rebuild is thought of

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS meta (one INTEGER PRIMARY KEY CHECK (one = 1), store TEXT, names_upto INTEGER, dirs_upto INTEGER, docs INTEGER)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS names USING fts5(t, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1')",
    "CREATE VIRTUAL TABLE IF NOT EXISTS dirs USING fts5(t, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1')",
)


@dataclass(frozen=True, slots=True)
class Hints:
    """
    A consistent look at the index.

    Attributes:
        names_upto: Documents with an id up to this are indexed.
        dirs_upto: Directories with an id up to this are indexed.
    """

    conn: sqlite3.Connection
    names_upto: int
    dirs_upto: int


class SearchIndex:
    """
    Keeps the index of one datastore. `hints` may be called from any thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path = database.folder / f"{database.datastore_id}.search.db"
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._caught_up = threading.Condition()
        self._upto = 0
        self._damaged = False
        self._store = ""
        self._lock = threading.Lock()
        self._readers: list[tuple[int, sqlite3.Connection]] = []
        self._edition = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Start the thread, unless it runs.
        """
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                name = f"fs-index-{self._database.datastore_id}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        self._wake.set()

    def wake(self) -> None:
        """
        Say that there may be something new. Costs nothing worth counting.
        """
        self._wake.set()

    def close(self) -> None:
        """
        Stop the thread and close the files. Hints that are lent out stay usable until they are given back.
        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._edition += 1
            readers, self._readers = self._readers, []
        for _, conn in readers:
            conn.close()

    def wait_indexed(self, doc: int, timeout_s: float) -> bool:
        """
        Wait until the document `doc` is indexed; False when it took too long.
        """
        with self._caught_up:
            return self._caught_up.wait_for(lambda: self._upto >= doc, timeout_s)

    @contextmanager
    def hints(self) -> Iterator[Hints | None]:
        """
        Lend a look at the index; None while there is none: everything is tail then.
        """
        if self._thread is None:
            self.start()
        lent = self._open_reader()
        if lent is None:
            yield None
            return
        edition, conn = lent
        try:
            conn.execute("BEGIN")
            meta = conn.execute("SELECT store, names_upto, dirs_upto FROM meta").fetchone()
            yield Hints(conn, meta[1], meta[2]) if meta is not None and meta[0] == self._store else None
        except sqlite3.DatabaseError:
            conn.close()
            raise
        else:
            conn.execute("ROLLBACK")
            with self._lock:
                keep = edition == self._edition and len(self._readers) < 8
                if keep:
                    self._readers.append(lent)
            if not keep:
                conn.close()

    def report_damage(self, error: sqlite3.DatabaseError) -> None:
        """
        Say that the index could not be read: it is dropped and built again.
        """
        _log.warning(
            "The search index %s can't be read (%s); it is built again, searches take longer until then",
            self.path,
            error,
        )
        self._damaged = True
        self._wake.set()

    def _open_reader(self) -> tuple[int, sqlite3.Connection] | None:
        with self._lock:
            if self._readers:
                return self._readers.pop()
            edition = self._edition
        if not self._store or self._damaged:
            return None
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            return edition, sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError:  # not made yet
            return None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._keep_indexed()
            except sqlite3.DatabaseError as e:
                if self._stop.is_set():
                    return
                if isinstance(e, sqlite3.OperationalError):  # busy, disk full: what is there is still good
                    _log.warning("Indexing for search into %s failed, tried again soon: %s", self.path, e)
                else:
                    self.report_damage(e)
                self._stop.wait(1.0)

    def _keep_indexed(self) -> None:
        with closing(self._connect()) as conn:
            while not self._stop.is_set():
                self._wake.clear()
                while not self._stop.is_set() and not self._damaged and self._index_some(conn):
                    pass
                if self._damaged:
                    return
                if not self._wake.wait(_LOOK_S):
                    self._drop_waste(conn)
                if not self.path.exists():
                    self._damaged = True
                    return
                self._stop.wait(_PAUSE_S)

    def _connect(self) -> sqlite3.Connection:
        if self._damaged:
            with self._lock:
                self._edition += 1
                readers, self._readers = self._readers, []
            for _, reader in readers:
                reader.close()
            for end in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + end).unlink(missing_ok=True)
            self._damaged = False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._database.read() as main:
            file = main.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
            store = main.execute("SELECT marker FROM fs_state").fetchone()[0]
        conn = sqlite3.connect(self.path.absolute().as_uri(), uri=True, isolation_level=None, check_same_thread=False)
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
            conn.execute("PRAGMA cache_size = -4000")
            conn.execute("PRAGMA busy_timeout = 5000")
            if conn.execute("PRAGMA user_version").fetchone()[0] not in (0, _FORMAT):
                raise sqlite3.DatabaseError("it is of another version")
            for statement in _TABLES:
                conn.execute(statement)
            conn.execute(f"PRAGMA user_version = {_FORMAT}")
            meta = conn.execute("SELECT store, names_upto, dirs_upto FROM meta").fetchone()
            conn.execute("ATTACH ? AS main_store", (f"file:{_quote(file)}?mode=ro",))
            last = conn.execute("SELECT next_doc, next_dir FROM main_store.fs_state").fetchone()
            if meta is None or meta[0] != store or meta[1] >= last[0] or meta[2] >= last[1]:
                self._begin_again(conn, store)
            self._upto = 0
            self._store = store
        except BaseException:
            conn.close()
            raise
        return conn

    def _begin_again(self, conn: sqlite3.Connection, store: str) -> None:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO names (names) VALUES ('delete-all')")
        conn.execute("INSERT INTO dirs (dirs) VALUES ('delete-all')")
        conn.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, 0, 0, 0)", (store,))
        conn.execute("COMMIT")

    def _index_some(self, conn: sqlite3.Connection) -> bool:
        """
        Index one slice; True when there may be more. Each statement runs in C with the interpreter free for others.
        """
        conn.execute("BEGIN")
        try:
            names, dirs = conn.execute("SELECT names_upto, dirs_upto FROM meta").fetchone()
            last = "SELECT max(id) FROM (SELECT id FROM main_store.{} WHERE id > ? ORDER BY id LIMIT ?)"
            names_last = conn.execute(last.format("fs_names"), (names, _DOCS_AT_ONCE)).fetchone()[0]
            dirs_last = conn.execute(last.format("fs_dirs"), (dirs, _DOCS_AT_ONCE)).fetchone()[0]
            docs = 0
            if names_last is not None:
                docs = conn.execute(
                    "INSERT INTO names (rowid, t) SELECT id, coalesce(folded, names) FROM main_store.fs_names WHERE id > ? AND id <= ?",
                    (names, names_last),
                ).rowcount
            if dirs_last is not None:
                conn.execute(
                    "INSERT INTO dirs (rowid, t) SELECT id, coalesce(folded, path) || '/' FROM main_store.fs_dirs WHERE id > ? AND id <= ?",
                    (dirs, dirs_last),
                )
            if names_last is not None or dirs_last is not None:
                upto = (names_last or names, dirs_last or dirs, docs)
                conn.execute("UPDATE meta SET names_upto = ?, dirs_upto = ?, docs = docs + ?", upto)
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        with self._caught_up:
            self._upto = names_last or names
            self._caught_up.notify_all()
        return names_last is not None or dirs_last is not None

    def _drop_waste(self, conn: sqlite3.Connection) -> None:
        """
        Build the index again when most of what it points at is gone.
        """
        indexed = conn.execute("SELECT docs FROM meta").fetchone()[0]
        there = conn.execute("SELECT count(*) FROM main_store.fs_names").fetchone()[0]
        if indexed > 2 * there + _WASTE:
            self._begin_again(conn, self._store)
            self._wake.set()


def _quote(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
