"""
The message stream: reads the binary log and gives out events.

Rows of one table that come one after the other, also of several transactions, become one event, as long as more of the log
has already arrived; nothing waits for more. Positions: see `position`. A statement that changes rows without telling them
(TRUNCATE, ALTER TABLE, ...) becomes an `UntoldMark` for each table concerned, at the end of its transaction: a snapshot brings what
the log does not tell.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from zlib import crc32

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_core.gathering import RowGatherer
from fustor_core.models.event import EventBase, progress_mark, untold_mark
from fustor_core.selection import Selection
from fustor_source_mysql.cascades import UNCHECKED, Cascades, Parent, problem
from fustor_source_mysql.changes import INSERTS, ROWS, SECOND_FORMAT, UPDATES, take_changes
from fustor_source_mysql.compressed import inflated, inflated_rows, payload_events
from fustor_source_mysql.connection import LARGEST_PACKET, Packets
from fustor_source_mysql.control import Control
from fustor_source_mysql.hidden import HiddenTables
from fustor_source_mysql.position import Boundary, file_number, index_of, inside
from fustor_source_mysql.prepared import PreparedPlaces, XaStatement, read_prepare, read_xa
from fustor_source_mysql.schema import Catalog, Table
from fustor_source_mysql.statements import read_statement
from fustor_source_mysql.tablemap import TableMap, read_names, read_table_map, table_id_of
from fustor_source_mysql.tables import RowsOf, is_sequence

_HEADER = struct.Struct("<IBIIIH").unpack_from
_HEADER_BYTES = 20  # with the status byte before
_SMALLEST = 4 + _HEADER_BYTES
_U32 = struct.Struct("<I").unpack_from
_RESIDUE = 0x2144DF1C  # CRC-32 of anything that is followed by its own CRC-32
_ROWS_AT_ONCE = 1000
_EVENTS_AHEAD = 16
_WAIT_S = 0.2
_MARK_EVERY_S = 0.5
_HEARTBEAT_NS = 5_000_000_000
_CHECKSUM_BYTES = 4

QUERY, ROTATE, FORMAT, XID, TABLE_MAP, HEARTBEAT, GTID, ANONYMOUS_GTID = 2, 4, 15, 16, 19, 27, 33, 34
XA_PREPARE, PARTIAL_UPDATE, PAYLOAD, HEARTBEAT_2, TAGGED_GTID = 38, 39, 40, 41, 42
ANNOTATE, MARIADB_GTID, QUERY_COMPRESSED = 160, 162, 165
_STANDALONE, _PREPARED = 1, 64
_NO_EVENTS: Iterator[bytes] = iter(())
_ANY = ("", "")  # any table
_ARTIFICIAL = 0x20

_USUAL = ROWS | {TABLE_MAP, XID, ANNOTATE, MARIADB_GTID}
_COMPRESSED_ROWS = {166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}


class BinlogStream(Iterator[EventBase]):
    """
    The iterator that `MysqlDriver.get_message_iterator` returns.

    Args:
        control: For questions besides.
        wanted: Which tables and columns.
        log: Name of the log that `start` is in.
        start: Where to begin: the end of a transaction.
        stop: Ends the iterator within a second.
        hidden: Looks at tables that the server does not describe as the log does.
        required: Only these columns, and keys; None = all.
        on_file: Told of each log: its number, and when it was begun; False ends the stream.
        on_keyless: Told of each table that has rows and no key; False = leave them out.
        on_cascade: Told of each table of which rows may have changed by a foreign key, and of the table that its rows refer to.
        server_id: The id of this reader among replicas; None = a random one.
        prepared: Where XA transactions were prepared.
        replay: Read only the prepared transaction that begins at `start`; its rows get this index.

    Raises:
        FustorError: The log can't be opened.
    """

    def __init__(
        self,
        control: Control,
        wanted: Selection,
        log: str,
        start: Boundary,
        stop: threading.Event,
        *,
        hidden: HiddenTables,
        required: Collection[str] | None = None,
        on_file: Callable[[int, int], bool] = lambda number, begun: True,
        on_keyless: Callable[[str, str, Table | None], bool] = lambda schema, table, declared: True,
        on_cascade: Callable[[tuple[str, str], tuple[str, str]], None] = lambda child, parent: None,
        server_id: int | None = None,
        prepared: PreparedPlaces | None = None,
        replay: int | None = None,
    ) -> None:
        self._control = control
        self._wanted = wanted
        self._stop = stop
        self._required = required
        self._on_file = on_file
        self._on_keyless = on_keyless
        self._on_cascade = on_cascade
        self._hidden = hidden
        self._told_hidden: set[tuple[str, str]] = set()
        self._catalog = Catalog(control.query, wanted)
        self._cascades = Cascades(control, wanted)
        self._tables: dict[int, RowsOf | None] = {}
        self._parents: dict[int, Parent | None] = {}
        self._maps: dict[int, bytes] = {}
        self._out: deque[EventBase] = deque()
        self._boundary = (start.file, start.offset)
        self._file = start.file
        self._offset = start.offset
        self._in_transaction = False
        self._standalone = False
        self._untold: dict[tuple[str, str], str] = {}
        self._cascaded: dict[tuple[str, str], str] = {}
        self._told_here: set[RowsOf] = set()
        self._marked = -1
        self._marked_at = 0.0
        self._failure: Exception | None = None
        self._prepared = prepared
        self._replay = replay
        self._replayed: BinlogStream | None = None  # a prepared transaction whose rows are still to be taken
        self._is_over = False
        self._is_prepared = False  # whether the transaction that is read now is one
        self._has_rows = False
        self._stem, _, digits = log.rpartition(".")
        self._digits = len(digits)
        self._nested = _NO_EVENTS  # events of a compressed transaction still to be taken
        self._gathered = RowGatherer(self._out, _ROWS_AT_ONCE)
        self._tell = self._rows_untold
        self.events = 0
        self.closed = False
        self._packets = self._open(log, start, server_id)

    def _open(self, log: str, start: Boundary, server_id: int | None) -> Packets:
        server = self._control.server
        connection = server.connect()
        for statement in (
            "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
            f"SET @master_heartbeat_period = {_HEARTBEAT_NS}, @source_heartbeat_period = {_HEARTBEAT_NS}",
            "SET @mariadb_slave_capability = 4",
            "SET SESSION net_write_timeout = 3600",
        ):
            server.query(connection, statement, "opening the binary log")
        ((checksum,),) = server.query(connection, "SELECT @@global.binlog_checksum")
        self._tail = _CHECKSUM_BYTES if str(checksum).upper() == "CRC32" else 0
        packets = Packets(server, connection, "reading the binary log", self._stop.is_set)
        reader = server_id or random.randrange(2**31, 2**32 - 1)  # not a secret
        packets.command(b"\x12" + struct.pack("<IHI", start.offset, 0, reader) + log.encode())
        return packets

    def __iter__(self) -> BinlogStream:
        return self

    def __next__(self) -> EventBase:
        out = self._out
        while True:
            if self._stop.is_set() or self.closed:
                self.close()
                raise StopIteration
            if out:
                return out.popleft()
            if self._is_over:
                self.close()
                raise StopIteration
            if self._failure is not None:
                self.close()
                raise self._failure
            try:
                self._work()
            except BaseException as exc:
                if isinstance(exc, Exception) and (self._gathered.rows or out):
                    self._gathered.flush()  # what was read before is right
                    self._failure = exc
                    continue
                self.close()
                raise

    def _work(self) -> None:
        packets, out = self._packets, self._out
        while len(out) < _EVENTS_AHEAD and not self._is_over:
            if self._nested is not _NO_EVENTS:
                self._take_nested(self._nested)
                continue
            if self._replayed is not None:
                self._take_replayed(self._replayed)
                continue
            self._take_buffered(packets)
            if self._has_more():
                continue
            if len(out) >= _EVENTS_AHEAD:
                break
            payload = packets.try_next()
            if payload is not None:
                if payload[0] != 0:
                    raise ConnectionLost("the server ended the binary log", hint="the agent opens it again")
                self._take(payload, 0, len(payload))
                continue
            if packets.is_waiting():
                self._gathered.flush()
                self._mark()
            if out or packets.fill(_WAIT_S) or self._stop.is_set():
                return
        self._mark_now_and_then()

    def _take_buffered(self, packets: Packets) -> None:
        """
        Take the packets that lie whole in the buffer, where they are, as long as there is room for what comes of them. The
        events that most transactions are made of are taken by hand, the others by `_take`.
        """
        out, take, maps = self._out, self._take, self._maps
        buffer, at = packets.buffer, packets.at
        size = len(buffer)
        taken = 0
        while size - at > _SMALLEST:
            start = at + 4
            end = start + (buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16)
            if end > size or end - start == LARGEST_PACKET or buffer[start]:
                break
            packets.at = at = end
            kind = buffer[start + 5]
            if kind not in _USUAL or (not self._in_transaction and kind != MARIADB_GTID):
                take(buffer, start, end)
                if len(out) >= _EVENTS_AHEAD or self._has_more():
                    break
                continue
            taken += 1
            if self._tail:
                if crc32(buffer[start + 1 : end]) != _RESIDUE:
                    raise self._damaged(_U32(buffer, start + 14)[0])
                end -= _CHECKSUM_BYTES
            body = start + _HEADER_BYTES
            if kind == TABLE_MAP:
                if maps.get(table_id_of(buffer, body)) != buffer[body + 8 : end]:
                    self._take_table(buffer, body, end)
            elif kind in ROWS:
                self._take_rows(buffer, body, end, kind, _U32(buffer, start + 1)[0])
                if buffer[start + 17] != self._offset >> 24 & 0xFF:  # often enough to see that 32 bits ran over
                    self._move_to(_U32(buffer, start + 14)[0])
                if len(out) >= _EVENTS_AHEAD:
                    break
            elif kind == XID:
                self._move_to(_U32(buffer, start + 14)[0])
                self._end_transaction()
                if len(out) >= _EVENTS_AHEAD:
                    break
            elif kind == MARIADB_GTID:
                self._begin_transaction(buffer[body + 12])
            # What remains is the text of a statement whose rows follow.
        self.events += taken

    def _has_more(self) -> bool:
        return self._nested is not _NO_EVENTS or self._replayed is not None or self._is_over

    def _mark(self) -> None:
        index = index_of(*self._boundary)
        if index > self._marked and self._replay is None:
            self._marked = index
            self._marked_at = time.monotonic()
            self._out.append(progress_mark(index))

    def _mark_now_and_then(self) -> None:
        # While the log is full of what nobody wants, the checkpoint moves all the same.
        if not self._gathered.rows and time.monotonic() > self._marked_at + _MARK_EVERY_S:
            self._mark()

    # Events of the log

    def _take(self, b: bytes, at: int, end: int) -> None:
        """
        Take one event: `b[at:end]` is a status byte, the header, and the body.
        """
        timestamp, kind, _, _, next_offset, flags = _HEADER(b, at + 1)
        self.events += 1
        if kind == FORMAT:
            self._tail = _CHECKSUM_BYTES if b[end - _CHECKSUM_BYTES - 1] == 1 else 0
        if self._tail:
            if crc32(b[at + 1 : end]) != _RESIDUE:
                raise self._damaged(next_offset)
            end -= _CHECKSUM_BYTES
        real = next_offset and not flags & _ARTIFICIAL
        if real:
            self._move_to(next_offset)
        body = at + _HEADER_BYTES
        if kind in ROWS:
            self._take_rows(b, body, end, kind, timestamp)
            return
        if kind == TABLE_MAP:
            self._take_table(b, body, end)
            return
        if kind == XID:
            self._end_transaction()
            return
        if kind == MARIADB_GTID:
            self._begin_transaction(b[body + 12])
            return
        if kind == ANNOTATE and self._in_transaction:
            return
        self._take_seldom(b, body, end, kind, timestamp, flags)
        if real and not self._in_transaction and kind not in (HEARTBEAT, HEARTBEAT_2, ROTATE):
            self._boundary = (self._file, self._offset)

    def _move_to(self, next_offset: int) -> None:
        """
        Take note of where the event behind this one begins, of which the log tells 32 bits.
        """
        offset = (self._offset & ~0xFFFFFFFF) | next_offset
        self._offset = offset if offset >= self._offset else offset + (1 << 32)

    def _damaged(self, next_offset: int) -> ConnectionLost:
        return ConnectionLost(
            f"an event of the binary log is damaged: its checksum is wrong (file {self._file}, before {next_offset})",
            hint="if it stays, the log on the server is damaged: look at it with mariadb-binlog --verify-binlog-checksum",
        )

    def _begin_transaction(self, flags: int) -> None:
        self._in_transaction = True
        self._standalone = bool(flags & _STANDALONE)
        self._is_prepared, self._has_rows = bool(flags & _PREPARED), False

    def _take_nested(self, events: Iterator[bytes]) -> None:
        """
        Take events of a compressed transaction until enough has come of it. They have no checksums of their own.
        """
        tail, self._tail = self._tail, 0
        try:
            for event in events:
                self._take(event, 0, len(event))
                if len(self._out) >= _EVENTS_AHEAD:
                    return
        finally:
            self._tail = tail
        self._nested = _NO_EVENTS

    def _take_seldom(self, b: bytes, body: int, end: int, kind: int, timestamp: int, flags: int) -> None:
        if kind in _COMPRESSED_ROWS:
            plain = _COMPRESSED_ROWS[kind]
            rows = inflated_rows(b[body:end], has_extra=plain in SECOND_FORMAT, is_update=plain in UPDATES)
            self._take_rows(rows, 0, len(rows), plain, timestamp)
        elif kind in (GTID, ANONYMOUS_GTID, TAGGED_GTID):
            self._is_prepared = False
            self._in_transaction = self._standalone = True  # until BEGIN says that more than one statement follows
        elif kind in (QUERY, QUERY_COMPRESSED):
            self._take_statement(b[body:end], kind)
        elif kind == ROTATE:
            self._rotate(b[body:end])
        elif kind == FORMAT:
            if timestamp and not self._on_file(self._file, timestamp):
                raise ConnectionLost(
                    "the server's logs are not those of before: they were reset, or the server was restored",
                    hint="the agent goes on at the newest place, and a snapshot fills the gap",
                    wait_s=0.0,
                )
        elif kind == PAYLOAD:
            self._nested = payload_events(b[body:end])
            self._in_transaction = True
        elif kind == XA_PREPARE:
            self._end_prepared(*read_prepare(b[body:end]))
        elif kind == PARTIAL_UPDATE:
            raise ConfigError(
                "the log holds a partial update of JSON; it can't be read",
                hint="let an administrator run: SET GLOBAL binlog_row_value_options = ''; (sessions that are open keep what they had)",
            )

    def _rotate(self, body: bytes) -> None:
        (offset,) = struct.unpack_from("<Q", body)
        number = file_number(body[8:].rstrip(b"\0").decode())
        if number != self._file or offset > self._offset:
            self._file, self._offset = number, offset
            self._forget_tables()
            if not self._in_transaction and number > self._boundary[0]:
                self._boundary = (number, offset)

    def _end_transaction(self) -> None:
        self._in_transaction = self._standalone = self._is_prepared = False
        self._boundary = (self._file, self._offset)
        self._told_here.clear()
        if self._untold or self._cascaded:
            self._tell_untold()

    def _tell_untold(self) -> None:
        # Invariant: behind the transaction, so at a place that nothing before has, and what follows is true again.
        self._gathered.flush()
        index = index_of(*self._boundary)
        self._out.extend(untold_mark(index, *table, reason) for table, reason in self._untold.items())
        for table, reason in self._cascaded.items():
            if table not in self._untold:
                self._out.append(untold_mark(index, *table, reason, may_wait=True))
        self._untold.clear()
        self._cascaded.clear()

    @property
    def boundary(self) -> Boundary:
        """
        The end of the last transaction that was read whole.
        """
        return Boundary(*self._boundary)

    def _take_statement(self, body: bytes, kind: int) -> None:
        _, _, schema_size, _, status_size = struct.unpack_from("<IIBHH", body)
        p = 13 + status_size
        schema = body[p : p + schema_size].decode("utf-8", "replace")
        raw = body[p + schema_size + 1 :]
        text = (inflated(raw) if kind == QUERY_COMPRESSED else raw).decode("utf-8", "replace")
        xa = read_xa(text)
        if xa is not None:
            self._take_xa(xa)
            return
        statement = read_statement(text, schema)
        if statement.effect == "begin":
            self._in_transaction, self._standalone = True, False
            return
        is_end = statement.effect == "commit" or self._standalone or not self._in_transaction
        if statement.effect in ("schema", "rows gone", "rights"):
            self._catalog.forget()
            self._cascades.forget()
            self._forget_tables()
        if statement.effect == "rows as text" and self._wanted.schema(schema):
            raise ConfigError(
                f"the log holds a statement instead of rows: {text[:80]!r}",
                hint="let an administrator run: SET GLOBAL binlog_format = ROW; and see that no session sets another",
            )
        reason = text[:80]
        for table in statement.tables:
            if self._wanted.table(*table):
                self._untold[table] = reason
        if statement.effect == "rights":
            self._told_hidden.clear()
        if statement.is_drop:
            self._hidden.dropped(statement.tables)
        for old, new in statement.renamed:
            self._hidden.renamed(old, new, is_wanted=self._wanted.table(*new))
        if statement.schema_gone is not None:
            self._hidden.schema_dropped(statement.schema_gone)
        if statement.schema_gone is not None and self._wanted.schema(statement.schema_gone):
            self._untold[_ANY] = reason  # which tables it had, nobody knows any more
        if statement.effect == "rollback to":
            # Rows that were told of tables without transactions stay, the others are undone.
            self._untold |= {(source.schema, source.table): reason for source in self._told_here}
        if is_end:
            self._end_transaction()

    # XA transactions, see `prepared`

    def _take_xa(self, statement: XaStatement) -> None:
        if statement.verb == "start":
            self._in_transaction, self._standalone, self._is_prepared, self._has_rows = True, False, True, False
        elif statement.verb == "rollback":
            self._end_transaction()
        elif statement.verb == "commit":
            at = self.boundary
            found = self._prepared.find(statement.xid, at) if self._prepared is not None else None
            if found is None:
                self._changed_untold(_ANY, "an XA transaction was committed whose rows were logged before")
                self._end_transaction()
                return
            place, has_rows = found
            if has_rows:
                self._begin_replay(place)
            else:
                self._end_transaction()

    def _end_prepared(self, is_committed: bool, xid: str) -> None:
        if self._replay is not None:
            self._gathered.flush()
            self._is_over = True
        elif is_committed and self._has_rows:
            self._begin_replay(self.boundary)
        else:
            if self._prepared is not None and not is_committed:
                self._prepared.note(xid, self.boundary, has_rows=self._has_rows)
            self._end_transaction()

    def _begin_replay(self, place: Boundary) -> None:
        """
        Read the rows that were prepared at a place; they count from here on.
        """
        self._gathered.flush()
        if place.file not in self._control.logs():
            self._changed_untold(_ANY, "the log with the rows of an XA transaction is gone")
            self._end_transaction()
            return
        self._in_transaction = True
        self._replayed = BinlogStream(
            self._control,
            self._wanted,
            f"{self._stem}.{place.file:0{self._digits}}",
            place,
            self._stop,
            required=self._required,
            on_keyless=self._on_keyless,
            on_cascade=self._on_cascade,
            hidden=self._hidden,
            replay=inside(*self._boundary),
        )

    def _take_replayed(self, rows: BinlogStream) -> None:
        for event in rows:
            self._out.append(event)
            if len(self._out) >= _EVENTS_AHEAD:
                return
        if self._stop.is_set():
            return
        self._replayed = None
        self._untold |= rows._untold
        self._cascaded |= rows._cascaded
        self._end_transaction()

    def _forget_tables(self) -> None:
        self._tables.clear()
        self._parents.clear()
        self._maps.clear()

    def _take_table(self, b: bytes, p: int, end: int) -> None:
        number = table_id_of(b, p)
        body = b[p + 8 : end]
        if self._maps.get(number) == body:
            return
        self._maps[number] = body
        self._parents.pop(number, None)
        schema, table, _ = read_names(body, 0)
        if not self._wanted.table(schema, table):
            self._tables[number] = None
            return
        found = read_table_map(body, 0, len(body), is_mariadb=self._control.is_mariadb)
        declared = self._catalog.table(schema, table)
        if (declared is None and is_sequence(found)) or self._is_left_out(found, declared):
            self._tables[number] = None
            return
        source = RowsOf(found, declared, self._control.charset_of, self._wanted, self._required)
        if not source.key and not (self._on_keyless(schema, table, declared) and source.columns):
            self._tables[number] = None
            return
        self._tables[number] = source

    def _is_left_out(self, found: TableMap, declared: Table | None) -> bool:
        place = found.schema, found.table
        names = [name for name in found.names or () if self._wanted.column(*place, name)]
        described = () if declared is None else declared.by_name
        if all(name in described for name in names) and place not in self._hidden:
            return False
        look = self._hidden.look(place, names, is_described=declared is not None)
        if look.lacks_rows and place not in self._told_hidden:
            # Once for each opening: whether the mark was heard before the last one ended, nobody knows.
            self._told_hidden.add(place)
            self._changed_untold(
                place, "the account may not read the table or some of its columns, or could not before"
            )
        return look.is_left_out

    # Rows

    def _take_rows(self, b: bytes, p: int, end: int, kind: int, timestamp: int) -> None:
        number = table_id_of(b, p)
        if kind not in INSERTS:
            parent = self._parents[number] if number in self._parents else self._look_for_children(number)
            if parent is not None and not b[p + 6] & UNCHECKED:
                self._take_parent(parent, b, p, end, kind)
        source = self._tables.get(number)
        if source is None:
            return
        if self._is_prepared and self._replay is None:
            self._has_rows = True
            return
        self._told_here.add(source)
        # Invariant: more than what was committed before, less than the end of its own transaction.
        index = inside(*self._boundary) if self._replay is None else self._replay
        take_changes(b, p, end, kind, source, self._gathered, (index, float(timestamp)), self._tell)

    def _look_for_children(self, number: int) -> Parent | None:
        body = self._maps.get(number)
        parent = None
        if body is not None:
            parent = self._cascades.parent(read_table_map(body, 0, len(body), is_mariadb=self._control.is_mariadb))
        self._parents[number] = parent
        return parent

    def _take_parent(self, parent: Parent, b: bytes, p: int, end: int, kind: int) -> None:
        """
        Take note of what the server did to the rows that refer to those of an event.
        """
        if self._is_prepared and self._replay is None:
            self._has_rows = True  # also when the parent itself is not wanted
            return
        for child in parent.children(b, p, end, kind):
            if child not in self._cascaded:
                self._cascaded[child] = problem(child, parent.place)["what"]
                self._on_cascade(child, parent.place)

    def _rows_untold(self, source: RowsOf, reason: str) -> None:
        self._changed_untold((source.schema, source.table), reason)

    def _changed_untold(self, table: tuple[str, str], reason: str) -> None:
        """
        Say at the end of the transaction that rows of a table changed untold; ("", "") = of any table.
        """
        self._untold[table] = reason

    def close(self) -> None:
        """
        Close the connection. May be called twice, and from another thread.
        """
        if not self.closed:
            self.closed = True
            replayed = self._replayed
            if replayed is not None:
                replayed.close()
            self._packets.close()
