"""
`state/agent.db`: the SQLite database of everything the agent must not forget, and the lock on its folder.

Calls are made from the event loop and are on disk when they return (WAL with synchronous=FULL: one small fdatasync).
Neighbours: `state` (memory of syncs), `deadletters`, `revisions` each own one table, `cleanups` two.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fustor_core.errors import ConfigError, StateConflictError, StorageFull

_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS syncs (
    sync_id TEXT PRIMARY KEY,
    memory  TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sync_id      TEXT NOT NULL,
    ts           REAL NOT NULL,
    epoch        INTEGER NOT NULL,
    code         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    hint         TEXT NOT NULL DEFAULT '',
    event_type   TEXT NOT NULL,
    event_schema TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    row_count    INTEGER NOT NULL,
    faithful     INTEGER NOT NULL,
    event        BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letters_by_sync ON dead_letters (sync_id, id);
CREATE TABLE IF NOT EXISTS revisions (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    ts     REAL NOT NULL,
    reason TEXT NOT NULL,
    text   TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS applied_sources (
    source_id TEXT PRIMARY KEY,
    entry     TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cleanups (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id  TEXT NOT NULL,
    ts         REAL NOT NULL,
    entry      TEXT NOT NULL,
    asks       INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    hint       TEXT NOT NULL
);
"""
# With its version in one transaction: cut off in between, it could not be run again.
_FROM_1_TO_2: Final = """
BEGIN IMMEDIATE;
ALTER TABLE dead_letters ADD COLUMN hint TEXT NOT NULL DEFAULT '';
PRAGMA user_version=2;
COMMIT;
"""


class AgentDatabase:
    """
    The open database of one agent.

    Args:
        root: The config root. Its `state` folder is made when it is not there, and locked against a second agent.

    Raises:
        ConfigError: The folder can't be written or the database can't be used.
        StateConflictError: Another agent runs on this config root.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "state"
        self.path = self.folder / "agent.db"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(self.folder / "agent.lock", root)
        except OSError as exc:
            raise ConfigError(
                f"the state folder {str(self.folder)!r} can't be used: {exc.strerror or exc}",
                hint="make it writable for this user, or set FUSTOR_CONFIG_DIR to another folder",
                context={"path": str(self.folder)},
            ) from exc
        try:
            self.agent_id = _agent_id(self.folder / "agent-id")
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self._closed = False

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.path.chmod(0o600)  # dead letters and revisions hold what only this user should see
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA cache_size=-512")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise ConfigError(
                    f"{str(self.path)!r} was written by a newer agent (version {version}, this one knows {_VERSION})",
                    hint="start the newer agent, or point FUSTOR_CONFIG_DIR at another folder",
                    context={"path": str(self.path)},
                )
            if version == 1:
                db.executescript(_FROM_1_TO_2)
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_VERSION}")
        except (sqlite3.Error, OSError) as exc:
            raise ConfigError(
                f"the agent's database {str(self.path)!r} can't be used: {exc}",
                hint="free disk space and check its permissions; if it is damaged, move it away: the agent then asks for "
                "snapshots again and nothing in the sources is touched",
                context={"path": str(self.path)},
            ) from exc
        return db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Give the connection inside a transaction that is on disk when the block ends, or undone when it raises.

        Raises:
            StorageFull: The disk is full; nothing was written.
            StateConflictError: The database failed otherwise; nothing was written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as exc:
            if "full" in str(exc):
                raise StorageFull(
                    f"the disk of {str(self.path)!r} is full",
                    hint="free disk space where the agent keeps its state; the sync waits and nothing is lost",
                    context={"path": str(self.path)},
                ) from exc
            raise StateConflictError(
                f"the agent's database {str(self.path)!r} failed: {exc}",
                hint="check the disk; restart the agent when it is in order",
                context={"path": str(self.path)},
            ) from exc

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """
        Read.
        """
        return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """
        Close the database and let go of the lock. May be called twice.
        """
        if not self._closed:
            self._closed = True
            self._db.close()
            os.close(self._lock)


def _lock(path: Path, root: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        if not isinstance(exc, BlockingIOError):
            raise
        raise StateConflictError(
            f"another agent (process {holder}) runs on the config root {str(root)!r}",
            hint="stop it (`fustor-agent stop`), or give this one its own FUSTOR_CONFIG_DIR",
            context={"config_root": str(root), "pid": holder},
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _agent_id(path: Path) -> str:
    with suppress(FileNotFoundError):
        known = path.read_text().strip()
        if known:
            return known
    made = str(uuid.uuid4())
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return made
