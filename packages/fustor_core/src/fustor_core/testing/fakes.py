"""
A fake database and two fake consumers, deterministic and steppable: what the model and the tests of drivers build on.

`FakeDatabase` has a log and tables. A commit is written to the log first and becomes visible to reads when
`make_visible` says so, as in MySQL and PostgreSQL. `FakeSource` is a driver on top of it. `FakeUpsertTarget` knows only
UPSERT and DELETE by key, in order of arrival; `FakeIndexTarget` settles by (epoch, index), keeps tombstones and sweeps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import ConnectionLost, SessionSuperseded
from fustor_core.models.config import PusherConfig, SourceConfig
from fustor_core.models.event import DeleteEvent, EventBase, EventType, InsertEvent, UpdateEvent, progress_mark

SCHEMA = "fake"
KEY = ("id",)


@dataclass(frozen=True, slots=True)
class Change:
    """
    One row change of a commit. `columns` of an update may be some of the columns.
    """

    kind: EventType
    table: str
    id: int
    columns: dict[str, Any] = field(default_factory=dict)

    def event(self, index: int) -> EventBase:
        """
        Return the change as a driver yields it.
        """
        row = {"id": self.id, **self.columns}
        if self.kind is EventType.DELETE:
            return DeleteEvent(SCHEMA, self.table, [{"id": self.id}], index=index, key=KEY)
        make = InsertEvent if self.kind is EventType.INSERT else UpdateEvent
        return make(SCHEMA, self.table, [row], index=index, key=KEY)


@dataclass(slots=True)
class Commit:
    """
    A transaction in the log.
    """

    index: int
    changes: list[Change]
    visible: bool


class FakeDatabase:
    """
    A source with a log and tables; safe to use from several threads.

    Args:
        tables: Names of its tables.
        naive: Take the log's end as low watermark, without a visibility gate. Wrong on purpose: tests show that it is.
    """

    def __init__(self, tables: Sequence[str] = ("t", "u"), *, naive: bool = False) -> None:
        self.tables = tuple(tables)
        self.naive = naive
        self.incarnation = "server-1"
        self.purged = 0
        self.stamp = 0
        self.log: list[Commit] = []
        self.base: dict[tuple[str, int], dict[str, Any]] = {}
        self.changed = threading.Condition()

    @property
    def newest(self) -> int:
        """
        Index of the log's end; 0 = empty.
        """
        return self.log[-1].index if self.log else self.purged

    def commit(self, *changes: Change, visible: bool = True) -> Commit:
        """
        Write a transaction to the log; readers see it now, or when `make_visible` is called.

        Every written row gets the column `v`, the number of the change, which grows for ever.
        """
        with self.changed:
            for change in changes:
                # A row is locked until its writer is visible.
                for other in self.log:
                    if not other.visible and any((c.table, c.id) == (change.table, change.id) for c in other.changes):
                        other.visible = True
            stamped = []
            for change in changes:
                self.stamp += 1
                columns = {} if change.kind is EventType.DELETE else {**change.columns, "v": self.stamp}
                stamped.append(Change(change.kind, change.table, change.id, columns))
            commit = Commit(self.newest + 1, stamped, visible)
            self.log.append(commit)
            self.changed.notify_all()
            return commit

    def invisible(self) -> list[Commit]:
        """
        Return commits that are in the log and that reads do not see yet.
        """
        return [commit for commit in self.log if not commit.visible]

    def make_visible(self, commit: Commit) -> None:
        """
        Let reads see a commit.
        """
        with self.changed:
            commit.visible = True
            self.changed.notify_all()

    def rows(self, *, committed: bool = False) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows by (table, id), as reads see them, or with everything that is committed.
        """
        rows = {key: dict(row) for key, row in self.base.items()}
        for commit in self.log:
            if commit.visible or committed:
                for change in commit.changes:
                    _apply(rows, change)
        return rows

    def low_watermark(self) -> int:
        """
        Return an index L such that every change that a read from now on does not see comes after L.
        """
        if self.naive:
            return self.newest
        hidden = self.invisible()
        return hidden[0].index - 1 if hidden else self.newest

    def read(self, after: str | None, count: int, tables: Sequence[str] | None = None) -> list[tuple[str, int]]:
        """
        Return the keys of the next visible rows after a resume token, of one table, in key order.
        """
        start = _parse(after)
        keys = sorted(key for key in self.rows() if (tables is None or key[0] in tables) and key > start)
        return [key for key in keys if key[0] == keys[0][0]][:count] if keys else []

    def chunk(self, low: int, after: str | None, count: int, tables: Sequence[str] | None = None) -> EventBase | None:
        """
        Read the next chunk with the low watermark `low`, which was taken before; None at the end.
        """
        with self.changed:
            keys = self.read(after, count, tables)
            if not keys:
                return None
            rows = self.rows()
            return InsertEvent(
                SCHEMA,
                keys[0][0],
                [{"id": key[1], **rows[key]} for key in keys],
                index=low,
                key=KEY,
                resume_token=f"{keys[-1][0]}:{keys[-1][1]}",
            )

    def events_after(self, position: int) -> list[EventBase]:
        """
        Return every live event after a position.
        """
        return [change.event(c.index) for c in self.log if c.index > position for change in c.changes]

    def available(self, position: int) -> bool:
        """
        Tell whether the log still holds everything after a position.
        """
        return self.purged <= position <= self.newest

    def purge(self) -> None:
        """
        Throw the visible part of the log away, as a server does that is short of disk.
        """
        with self.changed:
            while self.log and self.log[0].visible:
                commit = self.log.pop(0)
                for change in commit.changes:
                    _apply(self.base, change)
                self.purged = commit.index

    def fail_over(self, lose: int = 0) -> None:
        """
        Become another server that has not got the last `lose` commits and starts its log at small positions.
        """
        with self.changed:
            for commit in self.log:
                commit.visible = True
            if lose:
                del self.log[-lose:]
            self.base = self.rows()
            self.log = []
            self.purged = 0
            self.incarnation = f"server-{int(self.incarnation.split('-')[1]) + 1}"
            self.changed.notify_all()


def _apply(rows: dict[tuple[str, int], dict[str, Any]], change: Change) -> None:
    key = (change.table, change.id)
    if change.kind is EventType.DELETE:
        rows.pop(key, None)
    elif change.kind is EventType.INSERT:
        rows[key] = dict(change.columns)
    elif key in rows:
        rows[key].update(change.columns)


def _parse(token: str | None) -> tuple[str, int]:
    if token is None:
        return ("", -1)
    table, _, at = token.partition(":")
    return (table, int(at))


class FakeSource(SourceDriver):
    """
    A source driver over a `FakeDatabase`, for the runtime's own tests and as the smallest complete example.

    Args:
        database: The database; a new one when not given.
        break_stream: Set to make the stream raise `ConnectionLost` once.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - part of the contract
        config: SourceConfig,
        database: FakeDatabase | None = None,
    ) -> None:
        super().__init__(id, config)
        self.database = database or FakeDatabase()
        self.break_stream = threading.Event()
        self.closed = 0
        self.chunk_rows = 100
        self.chunks_read = 0
        self._marks = 0

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Read visible rows in key order; each chunk's low watermark is taken behind the visibility gate.
        """
        stop: threading.Event | None = kwargs.get("stop_event")
        token: str | None = kwargs.get("resume_token")
        tables = kwargs.get("tables")
        count = kwargs.get("batch_size") or self.chunk_rows
        while stop is None or not stop.is_set():
            low = self.database.low_watermark()
            chunk = self.database.chunk(low, token, count, tables)
            if chunk is None:
                return
            self.chunks_read += 1
            token = chunk.resume_token
            yield chunk

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Follow the log.
        """
        database = self.database
        with database.changed:
            lost = start_position >= 0 and not database.available(start_position)
            start = database.newest if start_position < 0 or lost else start_position
        return self._follow(start, kwargs.get("stop_event")), lost

    def _follow(self, position: int, stop: threading.Event | None) -> Iterator[EventBase]:
        database = self.database
        incarnation = database.incarnation
        yield progress_mark(position)
        while stop is None or not stop.is_set():
            with database.changed:
                events = database.events_after(position)
                newest = database.newest
                marks = self._marks
                if not events and not marks:
                    database.changed.wait(0.05)
            if self.break_stream.is_set() or database.incarnation != incarnation:
                self.break_stream.clear()
                raise ConnectionLost("the fake server closed the stream")
            if events:
                yield from events
                position = newest
            if events or marks:
                self._marks = 0
                yield progress_mark(position)

    def high_watermark(self) -> int | None:
        """
        Return the log's end, and have the stream send a mark.
        """
        with self.database.changed:
            self._marks += 1
            self.database.changed.notify_all()
            return self.database.newest

    def is_position_available(self, position: int) -> bool:
        """
        Ask the log.
        """
        return self.database.available(position)

    def incarnation(self) -> str:
        """
        Name the server.
        """
        return self.database.incarnation

    async def close(self) -> None:
        """
        Count the calls.
        """
        self.closed += 1


class _Target(PusherDriver):
    """
    What both fake consumers share: sessions, what was acknowledged, and switches to make them fail.

    Attributes:
        fail: Errors to raise, one per call, before anything is applied (None = let that one through).
        lose_answer: So many next pushes are applied and answered with `ConnectionLost`.
        wants_snapshot: What answers say, until a snapshot has ended.
        pushes: Every push applied: events and control.
    """

    def __init__(self, id: str = "target", config: PusherConfig | None = None) -> None:  # noqa: A002
        super().__init__(id, config or PusherConfig(driver="fake", endpoint="fake:"))
        self.fail: list[Exception | None] = []
        self.lose_answer = 0
        self.wants_snapshot = False
        self.snapshot_request: dict[str, Any] | None = None
        self.pushes: list[tuple[list[EventBase], dict[str, Any]]] = []
        self.sessions = 0
        self.session_id = ""
        self.closed_sessions: list[str] = []

    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        """
        Open a session; the one before is superseded.
        """
        self.sessions += 1
        self.session_id = f"session-{self.sessions}"
        return {"session_id": self.session_id, "heartbeat_interval": 0.2, **self.session_facts()}

    def session_facts(self) -> dict[str, Any]:
        """
        What else a session's answer says.
        """
        return {"snapshot_needed": self.wants_snapshot}

    async def close_session(self, **kwargs: Any) -> None:
        """
        Note it.
        """
        self.closed_sessions.append(kwargs["session_id"])

    async def push(self, events: Sequence[EventBase], **control: Any) -> dict[str, Any]:
        """
        Apply, and answer or fail as the switches say.
        """
        if self.fail:
            error = self.fail.pop(0)
            if error is not None:
                raise error
        if control.get("session_id") != self.session_id:
            raise SessionSuperseded(f"session {control.get('session_id')!r} was superseded")
        answer = self.apply(list(events), control)
        if self.lose_answer:
            self.lose_answer -= 1
            raise ConnectionLost("the answer was lost")
        return answer

    def apply(self, events: list[EventBase], control: dict[str, Any]) -> dict[str, Any]:
        """
        Apply one push and return the answer.
        """
        self.pushes.append((events, dict(control)))
        for event in events:
            for row in event.rows:
                self.apply_row(
                    event, row if isinstance(row, dict) else dict(zip(event.fields, row, strict=True)), control
                )
        if control.get("snapshot_sync_suggested"):
            self.wants_snapshot = True
        self.after(events, control)
        if control.get("is_snapshot_end"):
            self.wants_snapshot = False
        answer: dict[str, Any] = {"snapshot_needed": self.wants_snapshot}
        if self.snapshot_request:
            answer["snapshot_request"] = self.snapshot_request
        return answer

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        """
        Apply one row.
        """
        raise NotImplementedError

    def after(self, events: list[EventBase], control: dict[str, Any]) -> None:
        """
        Do what the control values ask for.
        """

    def contents(self) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows by (table, id), without the id.
        """
        raise NotImplementedError


class FakeUpsertTarget(_Target):
    """
    UPSERT and DELETE by key, in order of arrival; no versions, no position, no sweep.
    """

    ordering: ClassVar = "arrival"

    def __init__(self, id: str = "target", config: PusherConfig | None = None) -> None:  # noqa: A002
        super().__init__(id, config)
        self.rows: dict[tuple[str, int], dict[str, Any]] = {}

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        """
        Apply one row.
        """
        key = (event.table, row["id"])
        columns = {name: value for name, value in row.items() if name != "id"}
        if event.event_type is EventType.DELETE:
            self.rows.pop(key, None)
        elif event.event_type is EventType.INSERT:
            self.rows[key] = columns
        else:
            self.rows.setdefault(key, {}).update(columns)

    def contents(self) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows.
        """
        return self.rows


@dataclass(slots=True)
class _Stored:
    version: tuple[int, int]
    columns: dict[str, Any] | None  # None = tombstone
    confirmed: str | None = None


class FakeIndexTarget(_Target):
    """
    Like Fusion: the newer or equal version of a row wins, tombstones, sweep, checkpoint and epoch.
    """

    ordering: ClassVar = "index"

    def __init__(self, id: str = "target", config: PusherConfig | None = None) -> None:  # noqa: A002
        super().__init__(id, config)
        self.rows: dict[tuple[str, int], _Stored] = {}
        self.epoch = -1
        self.index = -1
        self.snapshot: tuple[str, int] | None = None
        self.wants_snapshot = True

    def session_facts(self) -> dict[str, Any]:
        """
        Say the epoch too.
        """
        return {"snapshot_needed": self.wants_snapshot, "epoch": self.epoch}

    async def get_latest_committed_index(self, **kwargs: Any) -> int:
        """
        Return the checkpoint.
        """
        return self.index

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        """
        Apply one row; a stale one changes nothing, and confirms.
        """
        key = (event.table, row["id"])
        version = (control["epoch"], event.index)
        stored = self.rows.get(key)
        snapshot_id = control.get("snapshot_id")
        if stored is not None and version < stored.version:
            if snapshot_id is not None:
                stored.confirmed = snapshot_id
            return
        columns = {name: value for name, value in row.items() if name != "id"}
        if event.event_type is EventType.UPDATE and stored is not None and stored.columns is not None:
            columns = {**stored.columns, **columns}
        self.rows[key] = _Stored(version, None if event.event_type is EventType.DELETE else columns, snapshot_id)

    def after(self, events: list[EventBase], control: dict[str, Any]) -> None:
        """
        Begin or end a snapshot; take the checkpoint.
        """
        epoch = control["epoch"]
        if epoch > self.epoch:
            self.epoch, self.index = epoch, -1
        if control["source_type"] == "snapshot":
            snapshot_id = control["snapshot_id"]
            for event in events:
                if not event.rows:
                    lower = self.snapshot is not None and self.snapshot[0] == snapshot_id
                    start = min(event.index, self.snapshot[1]) if lower and self.snapshot else event.index
                    self.snapshot = (snapshot_id, start)
            if control["is_snapshot_end"] and self.snapshot is not None and self.snapshot[0] == snapshot_id:
                self.sweep(snapshot_id, (epoch, self.snapshot[1]))
                self.snapshot = None
        checkpoint = control.get("checkpoint")
        if checkpoint is not None and epoch == self.epoch:
            self.index = max(self.index, checkpoint)

    def sweep(self, snapshot_id: str, start: tuple[int, int]) -> None:
        """
        Remove what the snapshot did not confirm and that did not change since it began.
        """
        for key, stored in list(self.rows.items()):
            if stored.confirmed != snapshot_id and stored.version < start:
                del self.rows[key]

    def contents(self) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows that are there.
        """
        return {key: stored.columns for key, stored in self.rows.items() if stored.columns is not None}
