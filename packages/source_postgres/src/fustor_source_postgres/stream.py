"""
The message stream: reads logical replication and gives out events.

Rows of one table that come one after the other, also of several transactions, become one event, as long as more has already
arrived; nothing waits for more. Positions: see `position`. Messages: see `decoder`. Protocol: "Streaming Replication Protocol" of
PostgreSQL's manual. What changes rows without telling them becomes an `UntoldMark` for each table concerned, behind the transaction
(TRUNCATE), or once the stream is past the place where the catalog was found changed (`TableChange`).
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_core.gathering import RowGatherer
from fustor_core.models.event import EventBase, EventType, progress_mark, untold_mark
from fustor_core.selection import Selection
from fustor_source_postgres import decoder as d
from fustor_source_postgres.control import Control
from fustor_source_postgres.decoder import UNCHANGED
from fustor_source_postgres.history import EVERY_TABLE, TableName
from fustor_source_postgres.memory import Memory
from fustor_source_postgres.pauses import Pauses
from fustor_source_postgres.position import inside, lsn_text
from fustor_source_postgres.schema import FULL, Table, Types, json_types, named, quoted
from fustor_source_postgres.tables import RowsOf
from fustor_source_postgres.unfilled import Place, Unfilled
from fustor_source_postgres.visibility import UNDER_WAY, Passed, read_under_way

_DOING: Final = "reading changes"
_ROWS_AT_ONCE: Final = 1000
_EVENTS_AHEAD: Final = 16
_WAIT_S: Final = 0.2
_MARK_EVERY_S: Final = 0.5
_STATUS_EVERY_S: Final = 3.0
_ASK_EVERY_S: Final = 0.01
_EMIT_AFTER_S: Final = 0.1
_FILL_EVERY_S: Final = 0.2
_BURST: Final = 60
_DATA, _KEEPALIVE = b"wk"
_ALIGNMENT: Final = 8
_BODY: Final = 25  # of a data message: its kind, two LSNs and a time stand before
_STATUS: Final = struct.Struct(">cQQQqB")
_KEEPALIVE_BODY: Final = struct.Struct(">QqB").unpack_from

Dictionary = dict[TableName, Table]


class TableChange(NamedTuple):
    """
    A change of tables that was found in the catalog.

    Attributes:
        looked_at: LSN: the catalog was read behind it.
        place: LSN: the catalog was read before it.
        tables: What happened to which tables.
        catalog: How the tables are now.
        on_told: Told of the index of the marks, when they are made.
    """

    looked_at: int
    place: int
    tables: Mapping[TableName, str]
    catalog: Dictionary
    on_told: Callable[[int], None]


class ReplicationStream(Iterator[EventBase]):
    """
    The iterator that `PostgresDriver.get_message_iterator` returns.

    Args:
        control: For questions besides.
        selection: Which tables and columns.
        tables: The catalog, by schema and name.
        types: Knows the types of values.
        slot: Name of the slot to read.
        publication: Name of the publication.
        start: LSN to begin at.
        stop: Ends the iterator within a second.
        required: Only these columns, and keys; None = all.
        on_table: Told of each table before its rows are given out, and again when it was changed: the LSN of the first row's commit,
            and whether the rows have columns that the catalog does not know.
        memory: Keeps the rows whose large values are still to be read.

    Raises:
        FustorError: The slot can't be read.
    """

    def __init__(
        self,
        control: Control,
        selection: Selection,
        tables: Dictionary,
        types: Types,
        slot: str,
        publication: str,
        start: int,
        stop: threading.Event,
        *,
        memory: Memory,
        required: Collection[str] | None = None,
        on_table: Callable[[TableName, int, bool], None] = lambda table, place, is_strange: None,
    ) -> None:
        self._control = control
        self._selection = selection
        self._catalog = tables
        self._types = types
        self._stop = stop
        self._required = required
        self._on_table = on_table
        self._relations: dict[int, RowsOf | None] = {}
        self._described: dict[int, d.Relation] = {}
        self._out: deque[EventBase] = deque()
        self._marked = -1
        self._marked_at = 0.0
        self._failure: Exception | None = None
        self._gathered = RowGatherer(self._out, _ROWS_AT_ONCE)
        self._commit = start
        self._ts: float | None = None
        self._acknowledged = 0
        self._status_at = time.monotonic()
        self._asked_at = 0.0
        self._heard_at = self._worked_at = time.monotonic()
        self._pauses = Pauses()
        self._awaited = 0
        self._awaited_since = 0.0
        self._truncated: dict[TableName, None] = {}
        self._changes: deque[TableChange] = deque()
        self._fill_at = 0.0
        self._is_woken = False
        self._using = threading.Lock()
        self.transactions = 0
        self.closed = False
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._link = control.server.connect(replication=True, is_over=stop.is_set)
            try:
                ((system, timeline, *_),) = self._link.query("IDENTIFY_SYSTEM", _DOING)
                identity = self.identity = f"{system}/{timeline}"
                self._unfilled = Unfilled(
                    memory.load_unfilled(identity), lambda rows: memory.save_unfilled(identity, rows)
                )
                self._link.start_copy(
                    f"START_REPLICATION SLOT {named(slot)} LOGICAL {lsn_text(start)}"
                    f" (proto_version '1', publication_names {quoted(named(publication))})",
                    "opening the replication slot",
                )
                under_way = read_under_way(control.query(UNDER_WAY)[0])
            except BaseException:
                self._link.close()
                raise
        except BaseException:
            self._close_pipe()
            raise
        self._link.poller.register(self._woken)
        self.passed = Passed(start, under_way)

    # For other threads

    def acknowledge(self, lsn: int) -> None:
        """
        Nothing before this LSN is needed again: the server may remove that part of its log.
        """
        self._acknowledged = max(self._acknowledged, lsn)

    def await_mark(self, lsn: int) -> None:
        """
        See to it that an event or mark at or past an LSN comes soon, also when nothing changes.
        """
        if lsn > self._awaited:
            self._awaited = lsn
            self._awaited_since = time.monotonic()
        self._wake()

    def tell(self, change: TableChange) -> None:
        """
        Say of tables that their rows changed untold, once the stream is past the place.
        """
        self._changes.append(change)
        self.await_mark(change.place + _ALIGNMENT)

    def fail(self, error: Exception) -> None:
        """
        End the stream with an error; the connection at once, also when nobody walks the iterator.
        """
        self._failure = self._failure or error
        if self._using.acquire(blocking=False):
            try:
                self._link.close()
            finally:
                self._using.release()
        else:
            self._wake()

    def keep_alive(self) -> None:
        """
        Tell the server that somebody is here, when the iterator was not walked for some time.
        """
        if time.monotonic() < self._status_at + _STATUS_EVERY_S or not self._using.acquire(blocking=False):
            return
        try:
            if not self.closed and self._failure is None:
                self._send_status()
        except ConnectionLost as exc:
            self._failure = self._failure or exc
        finally:
            self._using.release()

    def _wake(self) -> None:
        if not self.closed and not self._is_woken:
            self._is_woken = True
            os.write(self._waker, b".")

    # The iterator

    def __iter__(self) -> ReplicationStream:
        return self

    def __next__(self) -> EventBase:
        out = self._out
        while True:
            if self._stop.is_set() or self.closed:
                self.close()
                raise StopIteration
            if out:
                return out.popleft()
            if self._failure is not None:
                self.close()
                raise self._failure
            try:
                with self._using:
                    self._work()
            except BaseException as exc:
                if isinstance(exc, Exception) and (self._gathered.rows or out):
                    self._gathered.flush()  # what was read before is right
                    self._failure = exc
                    continue
                self.close()
                raise

    def _work(self) -> None:
        if self._failure is not None:
            raise self._failure
        link, out, take, next_data = self._link, self._out, self._take, self._link.next_data
        burst = 0
        now = time.monotonic()
        if now > self._worked_at + _STATUS_EVERY_S:
            self._heard_at = now  # nobody listened
        while len(out) < _EVENTS_AHEAD:
            size, data = next_data(1)
            if size > 0:
                take(bytes(data))
                burst += 1
                continue
            if size < 0:
                link.end_of_copy(_DOING)
                raise link.lost(_DOING, "the server ended the stream")
            if link.wait(0, _DOING):
                if self._is_woken:
                    self._drain_pipe()
                continue
            if burst >= _BURST:
                # Amid a backlog; a few changes never wait.
                burst = 0
                self._heard_at = time.monotonic()
                self._pauses.take()
                continue
            self._gathered.flush()
            if self._changes:
                self._tell_changes()
            if self._unfilled and time.monotonic() > self._fill_at:
                self._fill()
            self._mark()
            if out:
                return
            self._speak()
            self._pauses.caught_up()
            heard = link.wait(self._patience(), _DOING) or burst > 0
            now = self._worked_at = time.monotonic()
            if heard:
                self._heard_at = now
            elif now > self._heard_at + self._control.server.read_timeout_s:
                # It is asked for its place every few seconds.
                raise link.lost(_DOING, f"nothing was heard for {self._control.server.read_timeout_s:g} s")
            self._drain_pipe()
            return
        self._worked_at = time.monotonic()
        self._mark_now_and_then()
        if time.monotonic() > self._status_at + _STATUS_EVERY_S:
            self._send_status()

    def _patience(self) -> float:
        return _ASK_EVERY_S if self._awaited > self.passed.boundary else _WAIT_S

    def _drain_pipe(self) -> None:
        self._is_woken = False
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            return

    def _mark(self) -> None:
        boundary = self.passed.boundary
        if boundary > self._marked and boundary >= self._gathered.index:
            self._marked = boundary
            self._marked_at = time.monotonic()
            self._out.append(progress_mark(boundary))

    def _mark_now_and_then(self) -> None:
        # While the log is full of what nobody wants, the checkpoint moves all the same.
        if not self._gathered.rows and time.monotonic() > self._marked_at + _MARK_EVERY_S:
            self._mark()

    # What is said to the server

    def _speak(self) -> None:
        now = time.monotonic()
        if self._awaited > self.passed.boundary:
            if now > self._awaited_since + _EMIT_AFTER_S:
                # The log's end is not on disk, or is no place the server tells of: something new after it is.
                self._awaited_since = now
                self._control.emit_mark()
            if now > self._asked_at + _ASK_EVERY_S:
                self._send_status(ask=True)
        elif now > self._status_at + _STATUS_EVERY_S:
            self._send_status(ask=True)

    def _send_status(self, *, ask: bool = False) -> None:
        now = time.monotonic()
        self._status_at = now
        if ask:
            self._asked_at = now
        done = self._acknowledged
        micros = int((time.time() - 946_684_800) * 1e6)
        self._link.send(
            _STATUS.pack(b"r", max(self.passed.boundary, done), done, done, micros, int(ask)), "answering the server"
        )

    # Messages

    def _take(self, b: bytes) -> None:
        if b[0] == _DATA:
            kind = b[_BODY]
            if kind == d.INSERT:
                self._take_insert(b)
            elif kind == d.BEGIN:
                commit, micros, xid = d.BEGIN_BODY(b, _BODY + 1)
                self._commit = commit
                self._ts = d.unix_seconds(micros)
                if self.passed.add(xid, commit):
                    self.passed.prune(self._control.snapshot)
            elif kind == d.COMMIT:
                self.passed.boundary = d.COMMIT_BODY(b, _BODY + 1)[2]
                self.transactions += 1
                if self._truncated or self._changes:
                    self._tell_truncated()
                    self._tell_changes()
            elif kind == d.UPDATE:
                self._take_update(b)
            elif kind == d.DELETE:
                self._take_delete(b)
            elif kind == d.RELATION:
                self._take_relation(b)
            elif kind == d.TRUNCATE:
                self._take_truncate(b)
        elif b[0] == _KEEPALIVE:
            end, _, reply = _KEEPALIVE_BODY(b, 1)
            # Invariant: the server has sent every transaction that was committed before this place.
            self.passed.boundary = max(self.passed.boundary, end)
            if reply:
                self._send_status()

    def _take_relation(self, b: bytes) -> None:
        relation = d.read_relation(b, _BODY + 1)
        self._described[relation.oid] = relation
        self._use(relation)
        source = self._relations[relation.oid]
        if source is not None:
            place = source.schema, source.table
            self._on_table(place, self._commit, self._is_strange(source, place))

    def _is_strange(self, source: RowsOf, place: TableName) -> bool:
        table = self._catalog.get(place)
        if table is not None and set(source.fields) <= set(table.by_name):
            return False
        return not any(
            self._commit <= change.looked_at and (place in change.tables or EVERY_TABLE in change.tables)
            for change in self._changes
        )

    def _use(self, relation: d.Relation) -> None:
        if not self._selection.table(relation.schema, relation.table):
            self._relations[relation.oid] = None
            return
        table = self._catalog.get((relation.schema, relation.table))
        source = RowsOf(relation, table, self._types, self._selection, self._required)
        if not source.key and (relation.identity != FULL or not source.fields):
            self._relations[relation.oid] = None
            return
        self._gathered.flush()
        self._relations[relation.oid] = source

    def _take_truncate(self, b: bytes) -> None:
        told = [self._relations.get(oid) for oid in d.read_truncate(b, _BODY + 1)]
        self._truncated |= dict.fromkeys((one.schema, one.table) for one in told if one is not None)

    def _tell_truncated(self) -> None:
        # Invariant: behind the transaction, so at a place that nothing before has.
        if self._truncated:
            self._gathered.flush()
            self._out.extend(untold_mark(self.passed.boundary, *table, "TRUNCATE") for table in self._truncated)
            self._truncated.clear()

    def _tell_changes(self) -> None:
        boundary = self.passed.boundary
        while self._changes and boundary >= self._changes[0].place:
            if boundary <= self._marked:
                # Invariant: at a place that nothing before has: the next one.
                self.await_mark(boundary + _ALIGNMENT)
                return
            change = self._changes.popleft()
            self._gathered.flush()
            self._catalog = change.catalog
            self._types.forget()
            for relation in self._described.values():
                self._use(relation)
            self._out.extend(untold_mark(boundary, *table, what) for table, what in change.tables.items())
            change.on_told(boundary)

    def _source_of(self, b: bytes) -> RowsOf | None:
        return self._relations.get(d.U4(b, _BODY + 1)[0])

    def _take_insert(self, b: bytes) -> None:
        source = self._relations.get(d.U4(b, _BODY + 1)[0])
        if source is None:
            return
        row, _ = source.read(b, _BODY + 6)
        # The usual case by hand: one more row of the event that grows.
        gathered, fields = self._gathered, source.fields
        if (
            gathered.source is source
            and gathered.kind is EventType.INSERT
            and 0 < len(gathered.rows) < _ROWS_AT_ONCE
            and gathered.fields is fields
            and gathered.ordinal is None
            and not self._unfilled
        ):
            gathered.rows.append(row)
            gathered.index = inside(self._commit)
            gathered.ts = self._ts
            return
        self._add(EventType.INSERT, source, fields, row)

    def _take_delete(self, b: bytes) -> None:
        source = self._source_of(b)
        if source is None:
            return
        row, _ = source.read(b, _BODY + 6)
        if not source.key:
            self._add(EventType.DELETE, source, source.fields, row)
            return
        self._add(EventType.DELETE, source, source.key, source.pick_key(row))

    def _take_update(self, b: bytes) -> None:
        source = self._source_of(b)
        if source is None:
            return
        p = _BODY + 6
        old: tuple[Any, ...] | None = None
        if b[p - 1] != d.NEW_TUPLE:
            is_whole = b[p - 1] == d.OLD_TUPLE
            old, p = source.read(b, p)
            new, _ = source.read(b, p + 1)
            if is_whole and UNCHANGED in new:
                new = tuple(o if n is UNCHANGED else n for n, o in zip(new, old, strict=True))
        else:
            new, _ = source.read(b, p)
        fields = source.fields
        if not source.key:
            if old is None or UNCHANGED in new:
                raise ConfigError(
                    f"the log does not hold the old row of an update of {source.schema}.{source.table}, which has no key",
                    hint=f"let its owner run: ALTER TABLE {named(source.schema, source.table)} REPLICA IDENTITY FULL;",
                )
            self._add(EventType.DELETE, source, fields, old)
            self._add(EventType.INSERT, source, fields, new)
            return
        if old is not None and (old_key := source.pick_key(old)) != source.pick_key(new):
            self._add(EventType.DELETE, source, source.key, old_key)
            if UNCHANGED in new:
                self._add_moved(source, new)
            else:
                self._add(EventType.INSERT, source, fields, new)
            return
        if UNCHANGED in new:
            there = [at for at, value in enumerate(new) if value is not UNCHANGED]
            self._add(EventType.UPDATE, source, tuple(fields[at] for at in there), tuple(new[at] for at in there))
            return
        self._add(EventType.UPDATE, source, fields, new)

    def _add_moved(self, source: RowsOf, row: tuple[Any, ...]) -> None:
        """
        Take a row that has got another key, with the large values that the log does not repeat as the table has them now.

        They may be newer than this place of the stream; then the stream brings the same once more.
        """
        missing = frozenset(name for name, value in zip(source.fields, row, strict=True) if value is UNCHANGED)
        place = _place(source, source.pick_key(row))
        found = self._read_values(place, missing)
        if found is None:
            self._unfilled.add(place, missing)
        values = [
            (name, found[name] if found is not None and value is UNCHANGED else value)
            for name, value in zip(source.fields, row, strict=True)
            if value is not UNCHANGED or found is not None
        ]
        self._add(EventType.INSERT, source, tuple(name for name, _ in values), tuple(value for _, value in values))

    def _read_values(self, place: Place, names: frozenset[str]) -> dict[str, Any] | None:
        """
        Read columns of one row; None when it is not there.
        """
        schema, name, key = place
        table = self._catalog.get((schema, name))
        if table is None or not names <= set(table.by_name):
            return None
        columns = sorted(names)
        where = " AND ".join(f"{named(column)} = {quoted(text)}" for column, text in zip(table.key, key, strict=True))
        rows = self._control.query(f"SELECT {', '.join(map(named, columns))} FROM {named(schema, name)} WHERE {where}")
        if not rows:
            return None
        types = table.by_name
        return {
            column: None if value is None else types[column].type.convert(value)
            for column, value in zip(columns, rows[0], strict=True)
        }

    def _fill(self) -> None:
        """
        Read the large values of rows that were not there before: the stream has caught up.
        """
        self._fill_at = time.monotonic() + _FILL_EVERY_S
        sources = {(one.schema, one.table): one for one in self._relations.values() if one is not None}
        for place, missing in self._unfilled:
            schema, name, _ = place
            table = self._catalog.get((schema, name))
            if table is None or not missing <= set(table.by_name):
                self._unfilled.gone(place)  # with its table, or with its columns
                continue
            source = sources.get((schema, name))
            row = self._read_values(place, missing | set(table.key))
            if row is None:
                continue
            self._unfilled.gone(place)
            self._gathered.flush()
            index = inside(max(self.passed.boundary, self._gathered.index & ~1))
            self._gathered.index = index
            columns = source.columns if source is not None else json_types(table.sent)
            self._out.append(
                EventBase(
                    EventType.UPDATE,
                    schema,
                    name,
                    [tuple(row.values())],
                    tuple(row),
                    index,
                    key=table.key,
                    ts=self._ts,
                    columns=columns,
                )
            )
        self._unfilled.keep_if_changed()

    def _tell_unfilled(self, kind: EventType, source: RowsOf, fields: tuple[str, ...], row: tuple[Any, ...]) -> None:
        if kind is EventType.DELETE:
            self._unfilled.gone(_place(source, row))
        else:
            key = tuple(row[fields.index(name)] for name in source.key)
            self._unfilled.told(_place(source, key), frozenset(fields))

    def _add(self, kind: EventType, source: RowsOf, fields: tuple[str, ...], row: tuple[Any, ...]) -> None:
        if self._unfilled and source.key:
            self._tell_unfilled(kind, source, fields, row)
        # Invariant: more than what was committed before, less than the end of its own transaction.
        self._gathered.add(kind, source, fields, [row], (inside(self._commit), self._ts))

    def close(self) -> None:
        """
        Close the connection. May be called twice, and from another thread.
        """
        with self._using:
            if not self.closed:
                self.closed = True
                self._link.close()
                self._close_pipe()

    def _close_pipe(self) -> None:
        os.close(self._woken)
        os.close(self._waker)


def _place(source: RowsOf, key: tuple[Any, ...]) -> Place:
    return source.schema, source.table, tuple(map(_text, key))


def _text(value: Any) -> str:
    """
    Return a key's value in a form that the server reads.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, list):
        return "{" + ",".join('"' + _text(one).replace("\\", "\\\\").replace('"', '\\"') + '"' for one in value) + "}"
    return str(value)
