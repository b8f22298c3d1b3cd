"""
What Fusion knows of each sync: epoch, checkpoint, and its snapshots from being asked for to their end.

Held in memory and written in the transaction of the rows. Only the applier thread changes it; after a rollback it is put
back (`SyncBook.restore`) or read anew (`SyncBook.load`). The rules are those of `docs/architecture.md`, Snapshots.

States of a snapshot: active, ended (its push said so, the sweep is done), cancelled (another one took its place).
"""

from __future__ import annotations

import copy
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

SnapshotState = Literal["active", "ended", "cancelled"]
KEPT_SNAPSHOTS: Final = 20

_SYNC_COLUMNS: Final = (
    "task_id",
    "agent_id",
    "epoch",
    "checkpoint",
    "asked_checkpoint",
    "runs",
    "complete",
    "wanted",
    "request",
    "last_event_at",
    "unfed_s",
    "removed_at",
)
_SNAPSHOT_COLUMNS: Final = (
    "task_id",
    "run",
    "snapshot_id",
    "state",
    "epoch",
    "start_index",
    "tables",
    "marked",
    "gap",
    "gap_tables",
    "rows",
    "swept",
    "started_at",
    "ended_at",
)


def _upsert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT OR REPLACE INTO {table}({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_SAVE_SYNC: Final = _upsert("sync", _SYNC_COLUMNS)
_SAVE_SNAPSHOT: Final = _upsert("snapshot", _SNAPSHOT_COLUMNS)


@dataclass(slots=True)
class Snapshot:
    """
    One snapshot of a sync.

    Attributes:
        run: Its number within the sync, from 1; rows it brings are marked with it.
        snapshot_id: Its id on the wire.
        state: See the module.
        epoch, start_index: S of `docs/architecture.md`, as a version.
        tables: Only these tables (`schema.table`, or a table of any schema); None = all.
        marked: The sender said where it began; until then `start_index` is the checkpoint at which it was asked for.
        gap: Changes went missing after the snapshot had begun: another one is needed after it.
        gap_tables: They are missing in these tables only; None = anywhere.
        rows: Rows it brought so far.
        swept: Rows the sweep at its end removed.
        started_at, ended_at: Nanoseconds since the epoch.
        session_id, seq: The push it began with; not kept over a restart.
    """

    task_id: str
    run: int
    snapshot_id: str
    state: SnapshotState
    epoch: int
    start_index: int
    tables: list[str] | None = None
    marked: bool = False
    gap: bool = False
    gap_tables: list[str] | None = None
    rows: int = 0
    swept: int = 0
    started_at: int = 0
    ended_at: int | None = None
    session_id: str = ""
    seq: int = -1

    def mark(self, epoch: int, index: int, schema: str, table: str) -> None:
        """
        Take note of where the sender says that the snapshot began. A mark that names a table narrows the snapshot to named tables.
        """
        name = f"{schema}.{table}" if schema else table
        if not self.marked:
            self.marked = True
            self.epoch, self.start_index = epoch, index
            self.tables = [name] if table else None
            return
        self.epoch, self.start_index = min((self.epoch, self.start_index), (epoch, index))
        if table and self.tables is not None and name not in self.tables:
            self.tables.append(name)

    def lose(self, tables: list[str] | None) -> None:
        """
        Changes of some tables (None = of any) went missing after it had begun.
        """
        self.gap_tables = _united(self.gap_tables, tables) if self.gap else tables
        self.gap = True

    def end(self, state: SnapshotState) -> None:
        """
        Leave the active state.
        """
        self.state = state
        self.ended_at = time.time_ns()

    def to_dict(self) -> dict[str, Any]:
        """
        Return it in the shape of `GET /ingestor-api/v1/syncs/`.
        """
        return {
            "id": self.snapshot_id,
            "state": self.state,
            "rows": self.rows,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


@dataclass(slots=True)
class SyncState:
    """
    One sync.

    Attributes:
        epoch: The newest epoch seen; -1 = none.
        checkpoint: The index to go on from within `epoch`; -1 = none.
        asked_checkpoint: The checkpoint when the present (or last) snapshot was asked for.
        runs: How many snapshots were begun.
        complete: A snapshot of everything has ended.
        wanted: The stream had a gap that no snapshot has filled yet.
        request: Narrows what is asked for: `{"tables": [...]}`; None = everything.
        last_event_at: When rows last came, nanoseconds since the epoch.
        unfed_s: For how long it had no live session; see `fustor_fusion.retention`.
        removed_at: When what was stored of it was removed for that, nanoseconds since the epoch; None = it was not, or is fed again.
    """

    task_id: str
    agent_id: str | None = None
    epoch: int = -1
    checkpoint: int = -1
    asked_checkpoint: int = -1
    runs: int = 0
    complete: bool = False
    wanted: bool = False
    request: dict[str, Any] | None = None
    last_event_at: int | None = None
    unfed_s: float = 0.0
    removed_at: int | None = None
    snapshots: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def latest(self) -> Snapshot | None:
        """
        The snapshot that was begun last.
        """
        return next(reversed(self.snapshots.values()), None)

    @property
    def active(self) -> Snapshot | None:
        """
        The snapshot under way.
        """
        latest = self.latest
        return latest if latest is not None and latest.state == "active" else None

    @property
    def snapshot_needed(self) -> bool:
        """
        Whether to ask for a snapshot.
        """
        if not self.complete:
            return True
        active = self.active
        return self.wanted and (active is None or active.gap)

    @property
    def quiet(self) -> bool:
        """
        Whether no snapshot is under way or asked for: only then may tombstones go.
        """
        return self.complete and not self.wanted and self.active is None

    @property
    def snapshot_request(self) -> dict[str, Any] | None:
        """
        What narrows the snapshot that is asked for; None = nothing.
        """
        if not self.complete:
            return None
        active = self.active
        if active is None:
            return self.request
        return _request_of(active.gap_tables)

    def suggest(self, session_id: str, seq: int | None, tables: list[str] | None = None) -> None:
        """
        Take note that the stream had a gap, in some tables (None = anywhere).

        A push that was sent before the snapshot's first one, and only arrives after it, tells nothing new.
        """
        active = self.active
        if active is not None:
            if seq is not None and active.session_id == session_id and seq < active.seq:
                return
            active.lose(tables)
        else:
            self._want(tables)
        self.wanted = True
        self.asked_checkpoint = self.checkpoint

    def _want(self, tables: list[str] | None) -> None:
        known = None if self.request is None else self.request["tables"]
        self.request = _request_of(_united(known, tables) if self.wanted else tables)
        self.wanted = True

    def begin(self, snapshot_id: str, *, epoch: int, session_id: str, seq: int | None) -> Snapshot:
        """
        Begin a snapshot; the one under way is cancelled by it.
        """
        active = self.active
        if active is not None:
            active.end("cancelled")
            if active.gap:
                self._want(active.gap_tables)
        self.runs += 1
        snapshot = Snapshot(
            self.task_id,
            self.runs,
            snapshot_id,
            "active",
            epoch,
            self.asked_checkpoint if epoch == self.epoch else -1,
            started_at=time.time_ns(),
            session_id=session_id,
            seq=-1 if seq is None else seq,
        )
        self.snapshots[snapshot_id] = snapshot
        return snapshot

    def finish(self, snapshot: Snapshot) -> None:
        """
        End a snapshot in good order.
        """
        snapshot.end("ended")
        if snapshot.tables is None:
            self.complete = True
            self.wanted, self.request = False, None
        elif self.wanted and self.request is not None:
            left = [name for name in self.request["tables"] if name not in snapshot.tables]
            self.wanted, self.request = bool(left), _request_of(left) if left else None
        if snapshot.gap:
            self._want(snapshot.gap_tables)

    def advance(self, epoch: int, checkpoint: int | None) -> None:
        """
        Move the checkpoint: it grows within an epoch, a new epoch begins anew, an older one changes nothing.
        """
        if epoch > self.epoch:
            self.epoch = epoch
            self.checkpoint = -1
            self.asked_checkpoint = -1
        if epoch == self.epoch and checkpoint is not None and checkpoint > self.checkpoint:
            self.checkpoint = checkpoint

    def fed(self, agent_id: str | None) -> None:
        """
        A session of it was opened.
        """
        self.agent_id = agent_id
        self.asked_checkpoint = self.checkpoint
        self.unfed_s, self.removed_at = 0.0, None

    def begin_anew(self) -> None:
        """
        Be a sync of which nothing is stored. Its snapshots stay, as cancelled: a late push of one of them is not taken for a new one.
        """
        self.epoch = self.checkpoint = self.asked_checkpoint = -1
        self.complete = self.wanted = False
        self.request = self.last_event_at = None
        self.unfed_s = 0.0
        for snapshot in self.snapshots.values():
            snapshot.state = "cancelled"

    def to_dict(self) -> dict[str, Any]:
        """
        Return what is known without looking at rows and sessions, in the shape of `GET /ingestor-api/v1/syncs/`.
        """
        latest = self.latest
        return {
            "task_id": self.task_id,
            "agent_id": self.agent_id,
            "epoch": self.epoch,
            "index": self.checkpoint,
            "snapshot": None if latest is None else latest.to_dict(),
            "last_event_at": self.last_event_at,
            "removed_at": self.removed_at,
        }


def _united(known: list[str] | None, more: list[str] | None) -> list[str] | None:
    return None if known is None or more is None else sorted({*known, *more})


def _request_of(tables: list[str] | None) -> dict[str, Any] | None:
    return None if tables is None else {"tables": tables}


class SyncBook:
    """
    The syncs of one datastore.
    """

    def __init__(self) -> None:
        self._syncs: dict[str, SyncState] = {}

    def load(self, conn: sqlite3.Connection) -> None:
        """
        Read everything from the database, forgetting what is in memory.
        """
        syncs: dict[str, SyncState] = {}
        for row in conn.execute(f"SELECT {', '.join(_SYNC_COLUMNS)} FROM sync"):
            values = dict(zip(_SYNC_COLUMNS, row, strict=True))
            values["complete"], values["wanted"] = bool(values["complete"]), bool(values["wanted"])
            values["request"] = None if values["request"] is None else msgspec.json.decode(values["request"])
            syncs[values["task_id"]] = SyncState(**values)
        for row in conn.execute(f"SELECT {', '.join(_SNAPSHOT_COLUMNS)} FROM snapshot ORDER BY task_id, run"):
            values = dict(zip(_SNAPSHOT_COLUMNS, row, strict=True))
            values["marked"], values["gap"] = bool(values["marked"]), bool(values["gap"])
            for name in ("tables", "gap_tables"):
                values[name] = None if values[name] is None else msgspec.json.decode(values[name])
            syncs[values["task_id"]].snapshots[values["snapshot_id"]] = Snapshot(**values)
        self._syncs = syncs

    def get(self, task_id: str) -> SyncState:
        """
        Return the state of a sync; a fresh one, not yet kept, for an unknown sync.
        """
        return self._syncs.get(task_id) or SyncState(task_id)

    def all(self) -> list[SyncState]:
        """
        Return every sync, by id.
        """
        return [self._syncs[k] for k in sorted(self._syncs)]

    def backup(self, task_id: str) -> SyncState | None:
        """
        Return a copy to give to `restore` when a push is rolled back.
        """
        state = self._syncs.get(task_id)
        if state is None:
            return None
        # Only the latest snapshot is ever changed; the others need no copy.
        saved = copy.copy(state)
        saved.snapshots = dict(state.snapshots)
        latest = state.latest
        if latest is not None:
            saved.snapshots[latest.snapshot_id] = copy.copy(latest)
            tables = latest.tables
            saved.snapshots[latest.snapshot_id].tables = None if tables is None else list(tables)
        return saved

    def restore(self, task_id: str, saved: SyncState | None) -> None:
        """
        Put a sync back to what `backup` returned.
        """
        if saved is None:
            self._syncs.pop(task_id, None)
        else:
            self._syncs[task_id] = saved

    def save(self, conn: sqlite3.Connection, state: SyncState, *snapshots: Snapshot | None) -> None:
        """
        Write a sync, and the snapshots named, inside the transaction under way.
        """
        self._syncs[state.task_id] = state
        request = None if state.request is None else msgspec.json.encode(state.request).decode()
        conn.execute(
            _SAVE_SYNC,
            (
                state.task_id,
                state.agent_id,
                state.epoch,
                state.checkpoint,
                state.asked_checkpoint,
                state.runs,
                state.complete,
                state.wanted,
                request,
                state.last_event_at,
                state.unfed_s,
                state.removed_at,
            ),
        )
        for s in snapshots:
            if s is None:
                continue
            tables, gap_tables = (
                None if names is None else msgspec.json.encode(names).decode() for names in (s.tables, s.gap_tables)
            )
            conn.execute(
                _SAVE_SNAPSHOT,
                (
                    s.task_id,
                    s.run,
                    s.snapshot_id,
                    s.state,
                    s.epoch,
                    s.start_index,
                    tables,
                    s.marked,
                    s.gap,
                    gap_tables,
                    s.rows,
                    s.swept,
                    s.started_at,
                    s.ended_at,
                ),
            )
        if len(state.snapshots) > KEPT_SNAPSHOTS:
            oldest = next(iter(state.snapshots.values()))
            conn.execute("DELETE FROM snapshot WHERE task_id = ? AND run = ?", (oldest.task_id, oldest.run))
            del state.snapshots[oldest.snapshot_id]
