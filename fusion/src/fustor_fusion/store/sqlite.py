"""
The connections to one datastore's SQLite file: one writer, a few pooled readers, and the thread that empties the log.

Only the applier thread uses the writer. Commits are on disk when they return (WAL, synchronous=FULL).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fustor_common.logging import get_logger
from fustor_fusion.store.schema import ensure_schema

log = get_logger(__name__)

WRITER_CACHE_KIB: Final = 16 * 1024
READER_CACHE_KIB: Final = 4 * 1024
POOLED_READERS: Final = 4
BUSY_TIMEOUT_S: Final = 30.0
# The writer itself empties the log only when the thread beside it could not keep up: that would delay its commit.
WRITER_CHECKPOINT_PAGES: Final = 16_000
CHECKPOINT_ROWS: Final = 20_000


def is_full(error: BaseException) -> bool:
    """
    Tell whether an error means that the disk (or a quota) is full.
    """
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or "disk is full" in str(error)
    return isinstance(error, OSError) and error.errno in {28, 122}  # ENOSPC, EDQUOT


def is_io_error(error: BaseException) -> bool:
    """
    Tell whether an error comes from the disk below the store rather than from what was to be stored.
    """
    code = getattr(error, "sqlite_errorcode", None)
    return (
        isinstance(error, sqlite3.OperationalError)
        and code is not None
        and (code & 0xFF)
        in {
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        }
    )


class SqliteStore:
    """
    One datastore's file.

    Args:
        datastore_id: Whose it is.
        path: The file; created and migrated when needed.

    Raises:
        ConfigError: The schema can't be brought up to date.
        sqlite3.Error: The file can't be opened.
    """

    def __init__(self, datastore_id: str, path: Path) -> None:
        self.datastore_id = datastore_id
        self.path = path
        self.folder = path.with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)
        ensure_schema(path)
        self.writer = self._connect(WRITER_CACHE_KIB)
        self.writer.execute("PRAGMA journal_mode = WAL")
        self.writer.execute("PRAGMA synchronous = FULL")
        self.writer.execute(f"PRAGMA wal_autocheckpoint = {WRITER_CHECKPOINT_PAGES}")
        self.writer.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._rows_since_checkpoint = 0
        self._wake = threading.Event()
        self._checkpointer = threading.Thread(
            target=self._run_checkpoints, name=f"fusion-checkpoint-{datastore_id}", daemon=True
        )
        self._checkpointer.start()

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        conn = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        conn.execute(f"PRAGMA cache_size = -{cache_kib}")
        return conn

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """
        Lend a read-only connection that sees all that is committed. Give it back soon: it keeps the log from being emptied.
        """
        with self._lock:
            conn = self._idle.pop() if self._idle else None
        if conn is None:
            conn = self._connect(READER_CACHE_KIB)
            conn.execute("PRAGMA query_only = ON")
        try:
            yield conn
        finally:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            with self._lock:
                keep = not self._closed and len(self._idle) < POOLED_READERS
                if keep:
                    self._idle.append(conn)
            if not keep:
                conn.close()

    def used_bytes(self) -> int:
        """
        Return how much of the file is in use.
        """
        with self.read() as conn:
            pages, free, size = (
                int(conn.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * size

    def note_commit(self, rows: int, *, idle: bool = False) -> None:
        """
        Say that rows were committed; every so many of them, or when idle, the log is emptied into the file beside the writer.
        """
        self._rows_since_checkpoint += rows
        if self._rows_since_checkpoint >= CHECKPOINT_ROWS or (idle and self._rows_since_checkpoint):
            self._rows_since_checkpoint = 0
            self._wake.set()

    def _run_checkpoints(self) -> None:
        conn = self._connect(256)
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                if self._closed:
                    return
                try:
                    conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except sqlite3.Error as exc:
                    # A full disk shows here too; what is committed stays in the log, and the next round tries again.
                    log.warning(
                        "the log of the store could not be emptied", datastore=self.datastore_id, error=str(exc)
                    )
        finally:
            conn.close()

    def close(self) -> None:
        """
        Close every connection. Call after the applier has stopped.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
        self._wake.set()
        self._checkpointer.join()
        for conn in idle:
            conn.close()
        self.writer.close()
