"""
A fake source driver and two fake consumers, deterministic and steppable: what the model and the tests of drivers build on.

`FakeSource` is a driver over a `FakeDatabase`. `FakeUpsertTarget` knows only UPSERT and DELETE by key, in order of arrival;
`FakeSweepingTarget` removes besides what a snapshot does not show;
`FakeIndexTarget` settles by (epoch, index), keeps tombstones and sweeps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import ConnectionLost, SessionSuperseded
from fustor_core.models.config import PusherConfig, SourceConfig
from fustor_core.models.event import EventBase, EventType, progress_mark
from fustor_core.testing.fake_database import KEY, KEYLESS, FakeDatabase, FakeReader, is_asked
from fustor_core.testing.numbered_rows import NumberedRows


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
        self.snapshots_open = 0
        self.rows_read: dict[str, int] = {}
        self.keys_read: list[int] = []
        self.finds_rows = True
        self.advice: str | None = None
        self.streams_opened = 0
        self._marks = 0

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Read visible rows in key order; each chunk's low watermark is taken behind the visibility gate.
        """
        stop: threading.Event | None = kwargs.get("stop_event")
        token: str | None = kwargs.get("resume_token")
        tables = kwargs.get("tables")
        count = kwargs.get("batch_size") or self.chunk_rows
        reader = FakeReader(self.database, token, count, tables, with_keyless=kwargs.get("with_keyless", True))
        self.snapshots_open += 1
        try:
            while stop is None or not stop.is_set():
                chunk = reader.next(self.database.low_watermark())
                if chunk is None:
                    return
                if chunk.rows:
                    self.chunks_read += 1
                    self.rows_read[chunk.table] = self.rows_read.get(chunk.table, 0) + len(chunk.rows)
                yield chunk
        finally:
            self.snapshots_open -= 1

    def read_rows(
        self, event_schema: str, table: str, key: Sequence[str], keys: Sequence[Sequence[Any]], **kwargs: Any
    ) -> Iterator[EventBase] | None:
        """
        Read visible rows by key, unless `finds_rows` was taken away; `keys_read` says how many were asked for each time.
        """
        if not self.finds_rows or tuple(key) != KEY:
            return None
        self.keys_read.append(len(keys))
        low = self.database.low_watermark()
        return iter([progress_mark(low), *self.database.found(low, table, [one for (one,) in keys])])

    def whole_updates(self, event_schema: str, table: str) -> str | None:
        """
        Say `advice`.
        """
        return self.advice

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Follow the log.
        """
        database = self.database
        self.streams_opened += 1
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

    def status(self) -> dict[str, Any]:
        """
        Name the table without a key, once it has rows.
        """
        hint = f"ALTER TABLE fake.{KEYLESS} ADD PRIMARY KEY (...);"
        return {"keyless": [{"where": f"fake.{KEYLESS}", "hint": hint}]} if self.database.bag() else {}

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
        self.opened()
        return {"session_id": self.session_id, "heartbeat_interval": 0.2, **self.session_facts()}

    def opened(self) -> None:
        """
        A session was opened: pushes are numbered anew, perhaps.
        """

    def session_facts(self) -> dict[str, Any]:
        """
        What else a session's answer says.
        """
        return self.wish()

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
            if event.ordinal is not None:
                self.apply_numbered(event, control)
                continue
            for row in event.rows:
                self.apply_row(
                    event, row if isinstance(row, dict) else dict(zip(event.fields, row, strict=True)), control
                )
        if control.get("snapshot_sync_suggested"):
            self.suggested(control.get("snapshot_tables"), control.get("seq", 0))
        self.after(events, control)
        if control.get("is_snapshot_end"):
            self.ended()
        return self.wish()

    def wish(self) -> dict[str, Any]:
        """
        Say whether a snapshot is wanted, and of what.
        """
        answer: dict[str, Any] = {"snapshot_needed": self.wants_snapshot}
        if self.snapshot_request:
            answer["snapshot_request"] = self.snapshot_request
        return answer

    def suggested(self, tables: list[str] | None, seq: int) -> None:
        """
        A snapshot was suggested.
        """
        self.wants_snapshot = True

    def ended(self) -> None:
        """
        A snapshot was complete.
        """
        self.wants_snapshot = False

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        """
        Apply one row.
        """
        raise NotImplementedError

    def apply_numbered(self, event: EventBase, control: dict[str, Any]) -> None:
        """
        Apply rows of the table without a key.
        """
        raise AssertionError(f"a consumer that knows rows by key got {event}")

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


class FakeSweepingTarget(FakeUpsertTarget):
    """
    Like the consumer of the guide "Send to a service of your own": rows go by order of arrival; only to remove what went untold it
    remembers how new each is, and which snapshot showed it last. What one did not show and did not change since its beginning
    is removed at its end.
    """

    def __init__(self, id: str = "target", config: PusherConfig | None = None) -> None:  # noqa: A002
        super().__init__(id, config)
        self.versions: dict[tuple[str, int], tuple[int, int]] = {}
        self.shown: dict[tuple[str, int], str] = {}
        self.snapshot: tuple[str, int] | None = None

    def apply_row(self, event: EventBase, row: dict[str, Any], control: dict[str, Any]) -> None:
        """
        Apply one row, and remember what the sweep asks for.
        """
        super().apply_row(event, row, control)
        key = (event.table, row["id"])
        if event.event_type is EventType.DELETE:
            self.versions.pop(key, None)
            self.shown.pop(key, None)
            return
        self.versions[key] = (control["epoch"], event.index)
        if control["source_type"] == "snapshot":
            self.shown[key] = control["snapshot_id"]

    def after(self, events: list[EventBase], control: dict[str, Any]) -> None:
        """
        Begin a snapshot, or end it with the sweep.
        """
        if control["source_type"] != "snapshot":
            return
        snapshot_id = control["snapshot_id"]
        for event in events:
            if event.is_progress_mark:
                known = (
                    self.snapshot[1] if self.snapshot is not None and self.snapshot[0] == snapshot_id else event.index
                )
                self.snapshot = (snapshot_id, min(event.index, known))
        if control["is_snapshot_end"] and self.snapshot is not None and self.snapshot[0] == snapshot_id:
            start = (control["epoch"], self.snapshot[1])
            for key, version in list(self.versions.items()):
                if self.shown.get(key) != snapshot_id and version < start:
                    del self.rows[key], self.versions[key]
                    self.shown.pop(key, None)

    def apply(self, events: list[EventBase], control: dict[str, Any]) -> dict[str, Any]:
        """
        Apply one push; only those of the stream say that changes are missing.
        """
        suggested = control["snapshot_sync_suggested"] and control["source_type"] == "message"
        return super().apply(events, {**control, "snapshot_sync_suggested": suggested})


@dataclass(slots=True)
class _Stored:
    version: tuple[int, int]
    columns: dict[str, Any] | None  # None = tombstone
    confirmed: str | None = None


class FakeIndexTarget(_Target):
    """
    Like Fusion: the newer or equal version of a row wins, tombstones, sweep, checkpoint and epoch; it asks for the tables of which
    it heard that changes are missing.
    """

    ordering: ClassVar = "index"

    def __init__(self, id: str = "target", config: PusherConfig | None = None) -> None:  # noqa: A002
        super().__init__(id, config)
        self.rows: dict[tuple[str, int], _Stored] = {}
        self.epoch = -1
        self.index = -1
        self.snapshot: tuple[str, int] | None = None
        self.snapshot_tables: list[str] | None = None
        self.wants_snapshot = True
        self.numbered = NumberedRows()
        self.is_complete = False
        self._first_seq = -1
        self._later: list[list[str] | None] = []

    def opened(self) -> None:
        """
        What is suggested from now on came after the beginning of any snapshot.
        """
        self._first_seq = -1

    def session_facts(self) -> dict[str, Any]:
        """
        Say the epoch too.
        """
        return {**self.wish(), "epoch": self.epoch}

    def wish(self) -> dict[str, Any]:
        """
        While a snapshot is under way, one more is wanted only when something was suggested meanwhile.
        """
        if self.snapshot is not None and self.is_complete and not self._later:
            return {"snapshot_needed": False}
        return super().wish()

    def suggested(self, tables: list[str] | None, seq: int) -> None:
        """
        Take note of the tables; while a snapshot is under way, for later. What was sent before it tells nothing new.
        """
        if self.snapshot is not None:
            if seq > self._first_seq:
                self._later.append(tables)
        else:
            self._want(tables)

    def _want(self, tables: list[str] | None) -> None:
        if tables is None or (self.wants_snapshot and self.snapshot_request is None):
            self.snapshot_request = None
        else:
            known = (self.snapshot_request or {"tables": []})["tables"]
            self.snapshot_request = {"tables": sorted({*known, *tables})}
        self.wants_snapshot = True

    def ended(self) -> None:
        """
        A snapshot was complete; was something suggested meanwhile, that is wanted now.
        """
        if self.snapshot_tables is None:
            self.is_complete = True
        self.wants_snapshot = not self.is_complete
        self.snapshot_request = None
        later, self._later = self._later, []
        for tables in later:
            self._want(tables)

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
                if event.is_progress_mark:
                    self._mark(event, snapshot_id, control.get("seq", 0))
            if control["is_snapshot_end"] and self.snapshot is not None and self.snapshot[0] == snapshot_id:
                self.sweep(snapshot_id, (epoch, self.snapshot[1]))
                if is_asked(KEYLESS, self.snapshot_tables):
                    self.numbered.sweep(snapshot_id, (epoch, self.snapshot[1]))
                self.snapshot = None
        checkpoint = control.get("checkpoint")
        if checkpoint is not None and epoch == self.epoch:
            self.index = max(self.index, checkpoint)

    def _mark(self, event: EventBase, snapshot_id: str, seq: int) -> None:
        name = f"{event.event_schema}.{event.table}" if event.table else None
        if self.snapshot is None or self.snapshot[0] != snapshot_id:
            if self.snapshot is not None:
                for tables in self._later:  # told before this one began
                    self._want(tables)
                self._later = []
            self._first_seq = seq
            self.snapshot = (snapshot_id, event.index)
            self.snapshot_tables = None if name is None else [name]
            return
        self.snapshot = (snapshot_id, min(event.index, self.snapshot[1]))
        if self.snapshot_tables is not None and name is not None and name not in self.snapshot_tables:
            self.snapshot_tables.append(name)

    def apply_numbered(self, event: EventBase, control: dict[str, Any]) -> None:
        """
        Count copies.
        """
        self.numbered.apply(event, control["epoch"], control.get("snapshot_id"))

    def sweep(self, snapshot_id: str, start: tuple[int, int]) -> None:
        """
        Remove what the snapshot did not confirm and that did not change since it began.
        """
        for key, stored in list(self.rows.items()):
            if not is_asked(key[0], self.snapshot_tables):
                continue
            if stored.confirmed != snapshot_id and stored.version < start:
                del self.rows[key]

    def contents(self) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows that are there.
        """
        return {key: stored.columns for key, stored in self.rows.items() if stored.columns is not None}
