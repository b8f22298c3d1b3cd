"""
What applying a push means: session, snapshot, rows, sweep and checkpoint, in one transaction of the applier.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from fustor_core.models.envelope import Envelope, PushAnswer, WireEvent
from fustor_fusion.applier import Work
from fustor_fusion.snapshots import Snapshot, SyncState
from fustor_fusion.sweep import sweep_snapshot
from fustor_fusion.views.base import Stream, View

if TYPE_CHECKING:
    from fustor_fusion.datastore import Datastore


class Push(Work):
    """
    One envelope on its way into a datastore.

    Args:
        datastore: Where it goes.
        envelope: What came, checked by `fustor_fusion.ingest`.
        size: Bytes of its body.
        slice_rows: Tells how many rows of a snapshot push are applied before other work gets its turn.
    """

    result: PushAnswer

    def __init__(self, datastore: Datastore, envelope: Envelope, size: int, slice_rows: Callable[[], int]) -> None:
        self._datastore = datastore
        self._envelope = envelope
        self._slice_rows = slice_rows
        self.size = size
        self.rows = sum(len(e.rows) for e in envelope.events)
        self.result = PushAnswer()
        self._task_id: str | None = None
        self._saved: SyncState | None = None
        self._touched: set[View] = set()
        self._changes: list[dict[str, Any]] = []
        self._lost: list[str] = []
        self._swept = 0

    @property
    def is_snapshot(self) -> bool:
        """
        Whether it belongs to a snapshot.
        """
        return self._envelope.source_type == "snapshot"

    @property
    def old_client(self) -> bool:
        """
        Whether the sender knows only `session_id`, `events` and `source_type`.
        """
        return self._envelope.seq is None and self._envelope.checkpoint is None

    def undo(self) -> None:
        """
        Put the sync back to what it was before this push (or this step of it).
        """
        if self._task_id is not None:
            self._datastore.syncs.restore(self._task_id, self._saved)
        for view in self._touched:
            view.rolled_back()

    def committed(self) -> None:
        """
        Wake the views this push changed and tell the readers of the live tail.
        """
        metrics = self._datastore.metrics
        metrics.applied.inc(self.result.applied)
        metrics.stale.inc(self.result.stale)
        metrics.swept.inc(self._swept)
        if self._task_id is not None:
            self._datastore.flow.note(
                self._task_id, self._envelope.events, self.rows, self.size, is_live=not self.is_snapshot
            )
        self._datastore.live.publish(self._changes)
        for view in self._touched:
            view.committed()

    def _state(self) -> SyncState:
        self._task_id = None  # what was saved before the last step is none of this one
        session = self._datastore.sessions.need(self._envelope.session_id)
        self._saved = self._datastore.syncs.backup(session.task_id)
        self._task_id = session.task_id
        state = self._datastore.syncs.get(session.task_id)
        state.agent_id = session.agent_id
        return state

    def steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        """
        Apply it: a live push in one step, a snapshot push in slices.
        """
        return self._snapshot_steps(conn) if self.is_snapshot else self._live_steps(conn)

    def _live_steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        envelope = self._envelope
        state = self._state()
        checkpoint = envelope.checkpoint
        if self.old_client:
            checkpoint = max((e.index for e in envelope.events), default=-1)
        state.advance(envelope.epoch, checkpoint)
        if envelope.snapshot_sync_suggested:
            state.suggest(envelope.session_id, envelope.seq, envelope.snapshot_tables)
        listening = self._datastore.live.listening
        for event in envelope.events:
            if event.rows:
                self._apply(conn, Stream(state.task_id, envelope.epoch, None), event, listening=listening)
        if self.rows:
            state.last_event_at = time.time_ns()
        # Invariant 4: the checkpoint is written in the transaction of the rows.
        is_gap = self._take_lost(state) or envelope.snapshot_sync_suggested
        self._datastore.syncs.save(conn, state, state.active if is_gap else None)
        self._finish(state)
        yield self.rows

    def _snapshot_steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        snapshot = self._enter(conn)
        yield 0
        if snapshot is not None:
            for event in self._envelope.events:
                at = 0
                while at < len(event.rows) or (at == 0 and event.ordinal is not None):
                    part = event.rows[at : at + self._slice_rows()]
                    state = self._state()
                    current = state.snapshots.get(snapshot)
                    if current is None or current.state != "active":
                        break  # another snapshot took over between two slices
                    sliced = event if len(part) == len(event.rows) else _slice(event, at, part)
                    at += max(1, len(part))
                    stream = Stream(state.task_id, self._envelope.epoch, current.run)
                    self._apply(conn, stream, sliced, listening=False)
                    current.rows += len(part)
                    if self._take_lost(state):
                        self._datastore.syncs.save(conn, state, current)
                    yield len(part)
        self._leave(conn, snapshot)

    def _enter(self, conn: sqlite3.Connection) -> str | None:
        """
        Find or begin the snapshot; return its id when rows of it are to be applied.
        """
        envelope = self._envelope
        state = self._state()
        state.advance(envelope.epoch, None)
        if envelope.snapshot_sync_suggested:
            state.suggest(envelope.session_id, envelope.seq, envelope.snapshot_tables)
        snapshot_id = envelope.snapshot_id or self._implicit_id(state)
        snapshot = state.snapshots.get(snapshot_id)
        replaced = None
        if snapshot is None:
            replaced = state.active
            snapshot = state.begin(snapshot_id, epoch=envelope.epoch, session_id=envelope.session_id, seq=envelope.seq)
            if self.old_client:
                snapshot.marked = True  # it has no marks: what was asked for at that checkpoint begins there
        if snapshot.state == "active":
            for event in envelope.events:
                if not event.rows and event.ordinal is None and event.index >= 0:
                    snapshot.mark(envelope.epoch, event.index, event.event_schema, event.table)
        self._datastore.syncs.save(conn, state, replaced, snapshot)
        return snapshot_id if snapshot.state == "active" else None

    def _implicit_id(self, state: SyncState) -> str:
        prefix = f"session:{self._envelope.session_id}:"
        own = [k for k in state.snapshots if k.startswith(prefix)]
        if own and (state.snapshots[own[-1]].state != "ended" or not self.rows):
            return own[-1]
        return f"{prefix}{len(own) + 1}"

    def _leave(self, conn: sqlite3.Connection, snapshot_id: str | None) -> None:
        envelope = self._envelope
        state = self._state()
        state.advance(envelope.epoch, envelope.checkpoint)
        snapshot: Snapshot | None = state.snapshots.get(snapshot_id or envelope.snapshot_id or self._implicit_id(state))
        if snapshot is None or snapshot.state == "cancelled":
            self.result.snapshot_cancelled = True
        elif snapshot.state == "ended":
            # A copy of a push that was answered before the snapshot's end: everything in it was stored then.
            self.result.stale = self.rows
        elif envelope.is_snapshot_end:
            if snapshot.marked:
                self._swept = sweep_snapshot(conn, self._datastore.views, snapshot)
                self._touched.update(self._datastore.views)
                state.finish(snapshot)
            else:
                # Its beginning never came here (it was begun towards a store that is gone): it proves nothing.
                snapshot.end("cancelled")
                self.result.snapshot_cancelled = True
        if self.rows:
            state.last_event_at = time.time_ns()
        self._datastore.syncs.save(conn, state, snapshot)
        self._finish(state)

    def _apply(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, *, listening: bool) -> None:
        view = self._datastore.view_of(event)
        self._touched.add(view)
        applied = view.apply(conn, stream, event, listening=listening)
        self.result.applied += applied.applied
        self.result.stale += applied.stale
        self._lost.extend(applied.lost)
        self._changes.extend(applied.changes)

    def _take_lost(self, state: SyncState) -> bool:
        """
        Ask for what a view had to begin anew, in the transaction that began it anew.
        """
        lost, self._lost = self._lost, []
        if lost:
            state.suggest(self._envelope.session_id, None, lost)
        return bool(lost)

    def _finish(self, state: SyncState) -> None:
        self.result.snapshot_needed = state.snapshot_needed
        self.result.snapshot_request = state.snapshot_request if state.snapshot_needed else None
        self.result.index = state.checkpoint


def _slice(event: WireEvent, at: int, rows: list[Any]) -> WireEvent:
    ordinal = None if event.ordinal is None else event.ordinal + at
    return msgspec.structs.replace(event, rows=rows, ordinal=ordinal)
