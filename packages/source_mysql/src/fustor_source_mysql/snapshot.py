"""
The snapshot: reads tables in the order of their keys, in short transactions, and gives out chunks.

Low watermark: MariaDB tells exactly which place in the log a consistent snapshot shows (`binlog_snapshot_file` and
`binlog_snapshot_position`). MySQL does not: there the place is taken first, then the stream is awaited there, and then that
every transaction it passed can be seen (`WAIT_FOR_EXECUTED_GTID_SET`). "Current position, then SELECT" would lose what is in
the log and not yet visible.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from fustor_core.errors import ConfigError, ConnectionLost, DriverError
from fustor_core.models.event import EventBase, InsertEvent
from fustor_core.selection import Selection
from fustor_core.table_token import read_token, write_token
from fustor_source_mysql import values
from fustor_source_mysql.connection import Packets, Server
from fustor_source_mysql.control import Control
from fustor_source_mysql.position import Boundary, file_number
from fustor_source_mysql.schema import Catalog, Column, Table, named, quoted
from fustor_source_mysql.stream import BinlogStream
from fustor_source_mysql.tablemap import lenenc

_COM_QUERY = b"\x03"
_ANSWER_WAIT_S = 600.0
_BY_NUMBER = ("enum", "set", "bit")  # whose order as text is not the order of ORDER BY

RowReader = Callable[[bytes], tuple[Any, ...]]


class Snapshot:
    """
    One snapshot.

    Args:
        control: For questions besides.
        wanted: Which tables and columns.
        stream: The open message stream, where there is one.
        stop: Ends the snapshot within a second.
        batch_size: Most rows in a chunk.
        rows_at_once: Most rows in one transaction.
        tables: Only these tables: `table` or `schema.table`.
        where: Only rows of which this holds, in SQL.
        token: Go on after the chunk that carried it.
        required: Only these columns, and keys; None = all.
        on_keyless: Told of each table that has no key: it is left out.
    """

    def __init__(
        self,
        control: Control,
        wanted: Selection,
        stream: BinlogStream | None,
        stop: threading.Event,
        *,
        batch_size: int,
        rows_at_once: int,
        tables: Collection[str] | None = None,
        where: str | None = None,
        token: str | None = None,
        required: Collection[str] | None = None,
        on_keyless: Callable[[str, str], None] = lambda schema, table: None,
    ) -> None:
        self._control = control
        self._server: Server = control.server
        self._wanted = wanted
        self._stream = stream
        self._stop = stop
        self._batch = max(1, batch_size)
        self._at_once = max(self._batch, rows_at_once)
        self._names = None if tables is None else set(tables)
        self._where = where
        self._token = read_token(token)
        self._required = required
        self._on_keyless = on_keyless

    def chunks(self) -> Iterator[EventBase]:
        """
        Yield the chunks.

        Raises:
            FustorError: See `fustor_source_mysql.faults`.
        """
        tables = [t for t in Catalog(self._control.query, self._wanted).tables() if self._is_asked(t)]
        token = self._token
        after = None if token is None else token.place
        for table in tables:
            place = (table.schema, table.name)
            if self._stop.is_set():
                return
            if after is not None and place < after:
                continue
            if not table.key:
                self._on_keyless(table.schema, table.name)
                continue
            yield from self._table(table, token.after if token is not None and place == after else None)

    def _is_asked(self, table: Table) -> bool:
        return self._names is None or table.name in self._names or f"{table.schema}.{table.name}" in self._names

    def _table(self, table: Table, cursor: list[Any] | None) -> Iterator[EventBase]:
        sent = [c for c in table.sent if self._required is None or c.name in self._required or c.name in table.key]
        if not sent:
            return
        keys = [table.by_name[name] for name in table.key]
        select = ", ".join([*map(_expression, sent), *map(_cursor_expression, keys)])
        source = f"{named(table.schema)}.{named(table.name)}"
        reader = make_reader([*(values.from_text(c.kind, c.charset) for c in sent), *(_literal_of(c) for c in keys)])
        fields = tuple(c.name for c in sent)
        columns = {c.name: c.json_type for c in sent}
        width = len(sent)
        connection = self._server.connect()
        packets = Packets(self._server, connection, f"reading {table.schema}.{table.name}", self._stop.is_set)
        try:
            while not self._stop.is_set():
                low = self._begin(connection)
                order = f" ORDER BY {', '.join(map(_order, keys))} LIMIT {self._at_once}"
                sql = f"SELECT {select} FROM {source}{self._conditions(keys, cursor)}{order}"
                count = 0
                rows: list[Any] = []
                for row in self._rows(packets, sql, reader):
                    count += 1
                    rows.append(row)
                    if len(rows) >= self._batch:
                        yield self._chunk(table, fields, columns, rows, width, low)
                        cursor = list(rows[-1][width:])
                        rows = []
                if self._stop.is_set():
                    return
                if rows:
                    yield self._chunk(table, fields, columns, rows, width, low)
                    cursor = list(rows[-1][width:])
                self._server.query(connection, "COMMIT")
                if count < self._at_once:
                    return
        finally:
            packets.close()

    def _chunk(
        self, table: Table, fields: tuple[str, ...], columns: dict[str, Any], rows: list[Any], width: int, low: Boundary
    ) -> EventBase:
        token = write_token(table.schema, table.name, rows[-1][width:])
        return InsertEvent(
            table.schema,
            table.name,
            [row[:width] for row in rows],
            fields,
            low.index,
            key=table.key,
            columns=columns,
            resume_token=token,
        )

    def _conditions(self, keys: list[Column], cursor: list[Any] | None) -> str:
        parts = [f"({self._where})"] if self._where else []
        if cursor is not None:
            parts.append(_after(keys, cursor))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _begin(self, connection: Any) -> Boundary:
        """
        Open a transaction whose rows are those at a known place of the log.
        """
        server = self._server
        server.query(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if self._control.is_mariadb:
            server.query(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
            found = dict(server.query(connection, "SHOW STATUS LIKE 'binlog_snapshot_%'"))
            told = {str(name).lower(): value for name, value in found.items()}
            file, offset = told.get("binlog_snapshot_file"), told.get("binlog_snapshot_position")
            if not file or offset is None:
                self._control.newest()  # says that the log is off, when that is why
                raise DriverError(
                    "the server does not tell which place of the log a snapshot shows",
                    hint="see that the binary log is on and InnoDB is used",
                )
            return Boundary(file_number(str(file)), int(offset))
        low = self._gate_of_mysql()
        server.query(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return low

    def _gate_of_mysql(self) -> Boundary:
        _, low = self._control.newest()
        stream = self._stream
        if stream is None or stream.closed:
            raise ConnectionLost("the message stream is not open", hint="the snapshot goes on when it is")
        while stream.boundary < low:
            if self._stop.wait(0.001) or stream.closed:
                raise ConnectionLost("the message stream ended", hint="the snapshot goes on when it is open again")
        if not stream.gtids and (self._control.variable("gtid_mode") or "").upper() != "ON":
            raise ConfigError(
                "MySQL without GTIDs does not tell what a snapshot shows",
                hint="set gtid_mode = ON and enforce_gtid_consistency = ON at the server",
            )
        if stream.gtids:
            wanted = ",".join(f"{_uuid(sid)}:1-{last}" for sid, last in dict(stream.gtids).items())
            self._control.query(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{wanted}', 60)")
        return low

    def _rows(self, packets: Packets, sql: str, reader: RowReader) -> Iterator[tuple[Any, ...]]:
        """
        Run a query and yield its rows as they arrive.
        """
        packets.command(_COM_QUERY + sql.encode())
        head = packets.next(_ANSWER_WAIT_S)
        if head is None:
            self._no_answer()
            return
        count, _ = lenenc(head, 0)
        for _ in range(count + 1):  # descriptions of the columns, and the end of them
            if packets.next(_ANSWER_WAIT_S) is None:
                self._no_answer()
                return
        while True:
            row = packets.try_next()
            if row is None:
                row = packets.next(_ANSWER_WAIT_S)
                if row is None:
                    self._no_answer()
                    return
            if row[0] == 0xFE and len(row) < 9:
                return
            yield reader(row)

    def _no_answer(self) -> None:
        if not self._stop.is_set():
            raise ConnectionLost(
                f"no rows within {_ANSWER_WAIT_S:.0f} s", hint="look at what the server is doing: SHOW PROCESSLIST"
            )


def _uuid(sid: str) -> str:
    return f"{sid[:8]}-{sid[8:12]}-{sid[12:16]}-{sid[16:20]}-{sid[20:]}"


def _expression(column: Column) -> str:
    """
    Return SQL for a value in the text form that `values.from_text` reads.
    """
    name = named(column.name)
    if column.kind == "float" and column.data_type == "float":
        return f"{name} + 0e0"  # as text a FLOAT is rounded to six digits
    if column.kind in ("bit", "year"):
        return f"{name} + 0"
    return name


def _order(column: Column) -> str:
    return f"{named(column.name)} + 0" if column.kind in _BY_NUMBER else named(column.name)


def _cursor_expression(column: Column) -> str:
    """
    Return SQL for a key's value that can be written back as a literal.
    """
    if column.kind in _BY_NUMBER:
        return f"{named(column.name)} + 0"
    if column.kind == "float" and column.data_type == "float":
        return f"{named(column.name)} + 0e0"
    return named(column.name)


def _literal_of(column: Column) -> Callable[[bytes], str]:
    """
    Return what turns a key's value into a literal of SQL.
    """
    if column.kind in ("int", "float", "year", *_BY_NUMBER):
        return bytes.decode
    if column.kind in ("bytes", "shape"):
        return lambda data: f"X'{data.hex()}'"
    if column.kind in ("text", "json"):
        return lambda data: f"_utf8mb4 X'{data.hex()}'" if data else "''"
    return lambda data: quoted(data.decode())


def _after(keys: list[Column], cursor: list[Any]) -> str:
    """
    Return the condition for rows after a key; compared by the server, in its own order.
    """
    alternatives = []
    for at, column in enumerate(keys):
        same = [f"{_order(k)} = {cursor[n]}" for n, k in enumerate(keys[:at])]
        alternatives.append(" AND ".join([*same, f"{_order(column)} > {cursor[at]}"]))
    either = " OR ".join(f"({one})" for one in alternatives)
    # The first column's bound alone lets the server enter the index at the right place.
    return f"({_order(keys[0])} >= {cursor[0]} AND ({either}))" if len(keys) > 1 else f"({either})"


def make_reader(converters: list[Callable[[bytes], Any]]) -> RowReader:
    """
    Compile what reads one row of a query's answer: each value is its length and its text, NULL is 251.
    """
    names: dict[str, Any] = {f"f{at}": converter for at, converter in enumerate(converters)}
    names["_lenenc"] = lenenc
    lines = ["def read(b):", " p = 0"]
    for at, converter in enumerate(converters):
        value = "b[p:p+n]" if converter is bytes else f"f{at}(b[p:p+n])"
        lines += [
            " n = b[p]; p += 1",
            f" if n == 251: v{at} = None",
            " else:",
            "  if n > 251: n, p = _lenenc(b, p - 1)",
            f"  v{at} = {value}; p += n",
        ]
    lines.append(f" return ({''.join(f'v{at},' for at in range(len(converters)))})")
    # The source is made of numbers and names that are ours alone; nothing of it comes from the server.
    exec("\n".join(lines), names)
    read: RowReader = names["read"]
    return read
