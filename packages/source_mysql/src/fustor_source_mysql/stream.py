"""
The message stream: reads the binary log and gives out events.

Rows of one table that come one after the other, also of several transactions, become one event, as long as more of the log
has already arrived; nothing waits for more. Positions: see `position`. A statement that changes rows without telling them
(TRUNCATE, ALTER TABLE, ...) ends the stream with `RowsUntold`: the driver reopens it behind the statement and says that the position
was lost, so that a snapshot brings what the log does not tell.
"""

from __future__ import annotations

import random
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any
from zlib import crc32

from fustor_core.errors import ConfigError, ConnectionLost, RowsUntold
from fustor_core.gathering import RowGatherer
from fustor_core.models.event import EventBase, EventType, progress_mark
from fustor_core.selection import Selection
from fustor_source_mysql.connection import LARGEST_PACKET, Packets
from fustor_source_mysql.control import Control
from fustor_source_mysql.position import Boundary, file_number, index_of, inside
from fustor_source_mysql.schema import Catalog
from fustor_source_mysql.statements import read_statement
from fustor_source_mysql.tablemap import lenenc, read_names, read_table_map, table_id_of
from fustor_source_mysql.tables import Images, RowsOf, picker

_HEADER = struct.Struct("<IBIIIH").unpack_from
_HEADER_BYTES = 20  # with the status byte before
_SMALLEST = 4 + _HEADER_BYTES
_CHECKSUM = struct.Struct("<I").unpack_from
_ROWS_AT_ONCE = 1000
_EVENTS_AHEAD = 16
_WAIT_S = 0.2
_MARK_EVERY_S = 0.5
_HEARTBEAT_NS = 5_000_000_000
_CHECKSUM_BYTES = 4

QUERY, ROTATE, FORMAT, XID, TABLE_MAP, HEARTBEAT, GTID, ANONYMOUS_GTID = 2, 4, 15, 16, 19, 27, 33, 34
XA_PREPARE, PARTIAL_UPDATE, PAYLOAD, ANNOTATE, MARIADB_GTID, QUERY_COMPRESSED = 38, 39, 40, 160, 162, 165
_STANDALONE = 1
_ARTIFICIAL = 0x20

_INSERTS, _UPDATES, _DELETES = {23, 30}, {24, 31}, {25, 32}
_ROWS = _INSERTS | _UPDATES | _DELETES
_SECOND_FORMAT = {30, 31, 32}
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
        required: Only these columns, and keys; None = all.
        on_file: Told of each log: its number, and when it was begun; False ends the stream.
        on_keyless: Told of each table that has rows and no key: they are left out.
        server_id: The id of this reader among replicas; None = a random one.

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
        required: Collection[str] | None = None,
        on_file: Callable[[int, int], bool] = lambda number, begun: True,
        on_keyless: Callable[[str, str], None] = lambda schema, table: None,
        server_id: int | None = None,
    ) -> None:
        self._control = control
        self._wanted = wanted
        self._stop = stop
        self._required = required
        self._on_file = on_file
        self._on_keyless = on_keyless
        self._catalog = Catalog(control.query, wanted)
        self._tables: dict[int, RowsOf | None] = {}
        self._maps: dict[int, bytes] = {}
        self._out: deque[EventBase] = deque()
        self._boundary = (start.file, start.offset)
        self._file = start.file
        self._offset = start.offset
        self._in_transaction = False
        self._standalone = False
        self._marked = -1
        self._marked_at = 0.0
        self._failure: Exception | None = None
        self.gtids: dict[str, int] = {}
        """
        MySQL's transactions passed so far: the last number of each server.
        """
        self._gathered = RowGatherer(self._out, _ROWS_AT_ONCE)
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
        packets, out, take = self._packets, self._out, self._take
        while len(out) < _EVENTS_AHEAD:
            # The usual case by hand: a packet that lies whole in the buffer is read where it is.
            buffer, at = packets.buffer, packets.at
            size = len(buffer)
            while size - at > _SMALLEST:
                length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
                end = at + 4 + length
                if end > size or length == LARGEST_PACKET or buffer[at + 4]:
                    break
                packets.at = end
                take(buffer, at + 4, end)
                at = end
                if len(out) >= _EVENTS_AHEAD:
                    self._mark_now_and_then()
                    return
            payload = packets.try_next()
            if payload is not None:
                if payload[0] != 0:
                    raise ConnectionLost("the server ended the binary log", hint="the agent opens it again")
                take(payload, 0, len(payload))
                continue
            if packets.is_waiting():
                self._gathered.flush()
                self._mark()
            if out or packets.fill(_WAIT_S) or self._stop.is_set():
                return
        self._mark_now_and_then()

    def _mark(self) -> None:
        index = index_of(*self._boundary)
        if index > self._marked:
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
            end -= _CHECKSUM_BYTES
            if crc32(b[at + 1 : end]) != _CHECKSUM(b, end)[0]:
                raise ConnectionLost(
                    f"an event of the binary log is damaged: its checksum is wrong (file {self._file}, before {next_offset})",
                    hint="if it stays, the log on the server is damaged: look at it with mariadb-binlog --verify-binlog-checksum",
                )
        real = next_offset and not flags & _ARTIFICIAL
        if real:
            offset = (self._offset & ~0xFFFFFFFF) | next_offset
            self._offset = offset if offset >= self._offset else offset + (1 << 32)
        body = at + _HEADER_BYTES
        if kind in _ROWS:
            self._take_rows(b, body, end, kind, timestamp)
            return
        if kind == TABLE_MAP:
            self._take_table(b, body, end)
            return
        if kind == XID:
            self._end_transaction()
            return
        if kind == MARIADB_GTID:
            self._in_transaction = True
            self._standalone = bool(b[body + 12] & _STANDALONE)
            return
        if kind == ANNOTATE and self._in_transaction:
            return
        self._take_seldom(b, body, end, kind, timestamp, flags)
        if real and not self._in_transaction and kind not in (HEARTBEAT, ROTATE):
            self._boundary = (self._file, self._offset)

    def _take_seldom(self, b: bytes, body: int, end: int, kind: int, timestamp: int, flags: int) -> None:
        if kind in _COMPRESSED_ROWS:
            plain = _COMPRESSED_ROWS[kind]
            inflated = _inflated_rows(b[body:end], plain)
            self._take_rows(inflated, 0, len(inflated), plain, timestamp)
        elif kind in (GTID, ANONYMOUS_GTID):
            self._in_transaction, self._standalone = True, False
            if kind == GTID:
                self.gtids[b[body + 1 : body + 17].hex()] = struct.unpack_from("<Q", b, body + 17)[0]
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
        elif kind in (XA_PREPARE, PARTIAL_UPDATE, PAYLOAD):
            raise _unreadable(kind)

    def _rotate(self, body: bytes) -> None:
        (offset,) = struct.unpack_from("<Q", body)
        number = file_number(body[8:].rstrip(b"\0").decode())
        if number != self._file or offset > self._offset:
            self._file, self._offset = number, offset
            self._tables.clear()
            self._maps.clear()
            if not self._in_transaction and number > self._boundary[0]:
                self._boundary = (number, offset)

    def _end_transaction(self) -> None:
        self._in_transaction = False
        self._boundary = (self._file, self._offset)

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
        text = (_inflated(raw) if kind == QUERY_COMPRESSED else raw).decode("utf-8", "replace")
        statement = read_statement(text, schema)
        if statement.effect == "begin":
            self._in_transaction = True
            return
        if statement.effect == "commit" or self._standalone or not self._in_transaction:
            self._standalone = False
            self._end_transaction()
        if statement.effect in ("schema", "rows gone"):
            self._catalog.forget()
            self._tables.clear()
            self._maps.clear()
        if statement.effect == "rows as text" and self._wanted.schema(schema):
            raise ConfigError(
                f"the log holds a statement instead of rows: {text[:80]!r}",
                hint="let an administrator run: SET GLOBAL binlog_format = ROW; and see that no session sets another",
            )
        if statement.effect == "xa" and self._wanted.schema(schema):
            raise _unreadable(XA_PREPARE)
        lost = statement.schema_gone is not None and self._wanted.schema(statement.schema_gone)
        lost = lost or any(self._wanted.table(*table) for table in statement.tables)
        if (statement.effect == "rows gone" and lost) or statement.effect == "rollback to":
            raise RowsUntold(f"{text[:80]!r} changed rows without telling them", self.boundary.index)

    def _take_table(self, b: bytes, p: int, end: int) -> None:
        number = table_id_of(b, p)
        body = b[p + 8 : end]
        if self._maps.get(number) == body:
            return
        self._maps[number] = body
        schema, table, _ = read_names(body, 0)
        if not self._wanted.table(schema, table):
            self._tables[number] = None
            return
        found = read_table_map(body, 0, len(body), is_mariadb=self._control.is_mariadb)
        source = RowsOf(
            found, self._catalog.table(schema, table), self._control.charset_of, self._wanted, self._required
        )
        if not source.key:
            self._on_keyless(schema, table)
            self._tables[number] = None
            return
        self._tables[number] = source

    # Rows

    def _take_rows(self, b: bytes, p: int, end: int, kind: int, timestamp: int) -> None:
        source = self._tables.get(table_id_of(b, p))
        if source is None:
            return
        p += 8
        if kind in _SECOND_FORMAT:
            p += b[p] | b[p + 1] << 8
        count, p = lenenc(b, p)
        size = (count + 7) // 8
        images = source.images(b[p : p + size])
        p += size
        read = images.read
        if kind in _INSERTS:
            rows = []
            while p < end:
                row, p = read(b, p)
                rows.append(row)
            self._add(EventType.INSERT, source, images.fields, rows, timestamp)
        elif kind in _DELETES:
            rows = []
            while p < end:
                row, p = read(b, p)
                rows.append(row)
            rows = list(map(picker(images.fields, source.key), rows))
            self._add(EventType.DELETE, source, source.key, rows, timestamp)
        else:
            after = source.images(b[p : p + size])
            self._take_updates(b, p + size, end, source, images, after, timestamp)

    def _take_updates(
        self, b: bytes, p: int, end: int, source: RowsOf, before: Images, after: Images, timestamp: int
    ) -> None:
        read_old, read_new, key = before.read, after.read, source.key
        old_key = picker(before.fields, key)
        fields, whole = after.fields, after.is_whole
        if whole:
            new_key = picker(fields, key)
            rows: list[Any] = []
            while p < end:
                old, p = read_old(b, p)
                new, p = read_new(b, p)
                if old_key(old) == new_key(new):
                    rows.append(new)
                    continue
                if rows:
                    self._add(EventType.UPDATE, source, fields, rows, timestamp)
                    rows = []
                self._add(EventType.DELETE, source, key, [old_key(old)], timestamp)
                self._add(EventType.INSERT, source, fields, [new], timestamp)
            if rows:
                self._add(EventType.UPDATE, source, fields, rows, timestamp)
            return
        changed = tuple(name for name in fields if name not in key)
        pick = picker(fields, changed) if changed else lambda row: ()
        moved = [name for name in key if name in after.at]
        partial: list[Any] = []
        while p < end:
            old, p = read_old(b, p)
            new, p = read_new(b, p)
            named = old_key(old)
            if any(new[after.at[name]] != named[key.index(name)] for name in moved):
                raise RowsUntold(
                    f"the key of a row of {source.schema}.{source.table} changed, and binlog_row_image = MINIMAL does not "
                    "tell the rest of the row",
                    self.boundary.index,
                )
            partial.append(named + pick(new))
        self._add(EventType.UPDATE, source, key + changed, partial, timestamp)

    def _add(self, kind: EventType, source: RowsOf, fields: tuple[str, ...], rows: list[Any], timestamp: int) -> None:
        # Invariant: more than what was committed before, less than the end of its own transaction.
        self._gathered.add(kind, source, fields, rows, inside(*self._boundary), float(timestamp))

    def close(self) -> None:
        """
        Close the connection. May be called twice, and from another thread.
        """
        if not self.closed:
            self.closed = True
            self._packets.close()


def _unreadable(kind: int) -> ConfigError:
    what, mend = {
        XA_PREPARE: (
            "an XA transaction, whose rows are logged before it is known whether it commits",
            "leave its tables out with `exclude`",
        ),
        PARTIAL_UPDATE: (
            "a partial update of JSON",
            "let an administrator run: SET GLOBAL binlog_row_value_options = '';",
        ),
        PAYLOAD: (
            "a compressed transaction",
            "let an administrator run: SET GLOBAL binlog_transaction_compression = OFF;",
        ),
    }[kind]
    return ConfigError(f"the log holds {what}; it can't be read", hint=mend)


def _inflated(data: bytes) -> bytes:
    """
    Inflate what MariaDB compressed: a byte with the size of the length (low three bits), the length, and zlib's data.
    """
    size = data[0] & 0x07
    return zlib.decompress(data[1 + size :])


def _inflated_rows(body: bytes, kind: int) -> bytes:
    """
    Inflate the rows of a compressed event's body; what stands before them is not compressed.
    """
    p = 8
    if kind in _SECOND_FORMAT:
        p += body[p] | body[p + 1] << 8
    count, p = lenenc(body, p)
    p += (count + 7) // 8 * (2 if kind in _UPDATES else 1)
    return body[:p] + _inflated(body[p:])
