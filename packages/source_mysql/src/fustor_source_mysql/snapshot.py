"""
The snapshot: reads tables in the order of their keys, in short transactions, and gives out chunks.

Low watermark: MariaDB tells exactly which place in the log a consistent snapshot shows (`binlog_snapshot_file` and
`binlog_snapshot_position`). MySQL does not: see `visibility`. "Current position, then SELECT" would lose what is in the log and
not yet visible.

A table without a key is read wholly in one transaction, at an exact place: see `keyless`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from fustor_core.errors import ConnectionLost, DriverError, FustorError
from fustor_core.models.event import EventBase, InsertEvent, progress_mark
from fustor_core.parallel_tables import Chunk, ParallelTables, StopOfBoth
from fustor_core.selection import Selection
from fustor_core.table_token import Cursor, TableToken
from fustor_source_mysql import values
from fustor_source_mysql.connection import Packets, Server
from fustor_source_mysql.control import Control
from fustor_source_mysql.hidden import HiddenTables, Place
from fustor_source_mysql.keyless import open_locked
from fustor_source_mysql.lenenc import lenenc
from fustor_source_mysql.position import Boundary, file_number
from fustor_source_mysql.schema import Catalog, Column, Table, named, quoted
from fustor_source_mysql.visibility import Gate

_COM_QUERY = b"\x03"
_ANSWER_WAIT_S = 600.0
_SLOW_READER_S = 3600
_BY_NUMBER = ("enum", "set", "bit")  # whose order as text is not the order of ORDER BY

RowReader = Callable[[bytes], tuple[Any, ...]]


class Snapshot:
    """
    One snapshot.

    Args:
        control: For questions besides.
        wanted: Which tables and columns.
        stop: Ends the snapshot within a second.
        hidden: Knows of tables that the account may not read.
        batch_size: Most rows in a chunk.
        rows_at_once: Most rows in one transaction.
        tables_at_once: Most tables read at the same time.
        tables: Only these tables: `table` or `schema.table`.
        where: Only rows of which this holds, in SQL.
        token: Go on after the chunk that carried it.
        required: Only these columns, and keys; None = all.
        with_keyless: Whether tables without a key are read.
        on_keyless: Told of each table that has no key; False = leave it out.
    """

    def __init__(
        self,
        control: Control,
        wanted: Selection,
        stop: threading.Event,
        *,
        hidden: HiddenTables,
        batch_size: int,
        rows_at_once: int,
        tables_at_once: int,
        tables: Collection[str] | None = None,
        where: str | None = None,
        token: str | None = None,
        required: Collection[str] | None = None,
        with_keyless: bool = True,
        on_keyless: Callable[[str, str, Table | None], bool] = lambda schema, table, declared: True,
    ) -> None:
        self._control = control
        self._server: Server = control.server
        self._wanted = wanted
        self._stop = StopOfBoth(stop)
        self._gate = Gate(control, self._stop)
        self._at_once = max(1, rows_at_once)
        self._batch = max(1, min(batch_size, self._at_once))
        self._tables_at_once = tables_at_once
        self._names = None if tables is None else set(tables)
        self._where = where
        self._token = TableToken.read(token)
        self._required = required
        self._with_keyless = with_keyless and where is None
        self._on_keyless = on_keyless
        self._hidden = hidden
        self._refused: Mapping[Place, FustorError] = {}

    def chunks(self) -> Iterator[EventBase]:
        """
        Yield the chunks.

        Raises:
            FustorError: See `fustor_source_mysql.faults`.
        """
        if self._token is None:
            yield self._watermark()
        # In this order: what is granted in between is described, and read next time; it is not left out.
        self._refused = refused = self._hidden.refusals(self._is_asked)
        described = Catalog(self._control.query, self._wanted).tables()
        seen = {table.place: table for table in described} | {place: Table(*place, (), ()) for place in refused}
        asked = [table for table in seen.values() if self._is_asked(table.place)]
        yield from ParallelTables(
            [table for table in asked if table.place in refused or table.key or self._has_exact(table)],
            connect=self._connect,
            read=self._table,
            token=self._token,
            at_once=self._tables_at_once,
            stop=self._stop,
        ).chunks()

    def rows_of(self, table: Table) -> Iterator[EventBase]:
        """
        Yield the rows of one table, behind a watermark.

        Raises:
            FustorError: As `chunks`.
        """
        packets = self._connect()
        try:
            yield progress_mark(self._begin(packets.connection).index)
            self._server.query(packets.connection, "COMMIT")
            for chunk in self._table(packets, table, None):
                yield chunk.event
        finally:
            packets.close()

    def _watermark(self) -> EventBase:
        """
        Return where the snapshot begins, taken before anybody looks at which tables there are: what is not there then is gone.
        """
        packets = self._connect()
        try:
            return progress_mark(self._begin(packets.connection).index)
        finally:
            packets.close()

    def _connect(self) -> Packets:
        return Packets(self._server, self._server.connect(), "reading tables", self._stop.is_set)

    def _is_asked(self, place: Place) -> bool:
        schema, name = place
        return self._names is None or name in self._names or f"{schema}.{name}" in self._names

    def _has_exact(self, table: Table) -> bool:
        return self._on_keyless(table.schema, table.name, table) and self._with_keyless

    def _keyless(self, packets: Packets, table: Table) -> Iterator[Chunk]:
        """
        Read a table without a key, from its beginning.
        """
        sent = [c for c in table.sent if self._required is None or c.name in self._required]
        if not sent:
            return
        packets.doing = f"reading {table.schema}.{table.name}"
        self._server.query(packets.connection, f"SET SESSION net_write_timeout = {_SLOW_READER_S}")
        low = self._begin_exact(packets.connection, table)
        # No index: rows come in the order they lie in, the same each time they are read at the same place.
        sql = f"SELECT {', '.join(map(_expression, sent))} FROM {named(table.schema)}.{named(table.name)} USE INDEX ()"
        make = _ChunkMaker(table, sent)
        count = 0
        rows: list[Any] = []
        for row in self._rows(packets, sql, make_reader([values.from_text(c.kind, c.charset) for c in sent])):
            rows.append(row)
            if len(rows) >= self._batch:
                yield Chunk(make.event(rows, low, count), None)
                count += len(rows)
                rows = []
        if self._stop.is_set():
            return
        if rows:
            yield Chunk(make.event(rows, low, count), None)
        yield Chunk(make.event([], low, count + len(rows)), None)
        self._server.query(packets.connection, "COMMIT")

    def _begin_exact(self, connection: Any, table: Table) -> Boundary:
        """
        Open a transaction that shows a table exactly as it was at a known place of the log.
        """
        if self._control.tells_snapshot_place:
            return self._begin(connection)
        server = self._server
        server.query(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        def begin() -> None:
            server.query(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")

        return open_locked(self._control, table, begin)

    def _table(self, packets: Packets, table: Table, after: Cursor) -> Iterator[Chunk]:
        if table.place in self._refused:
            raise self._refused[table.place]
        if not table.key:
            yield from self._keyless(packets, table)
            return
        sent = [c for c in table.sent if self._required is None or c.name in self._required or c.name in table.key]
        if not sent:
            return
        keys = [table.by_name[name] for name in table.key]
        select = ", ".join([*map(_expression, sent), *map(_cursor_expression, keys)])
        source = f"{named(table.schema)}.{named(table.name)}"
        reader = make_reader([*(values.from_text(c.kind, c.charset) for c in sent), *(_literal_of(c) for c in keys)])
        make = _ChunkMaker(table, sent)
        cursor = None if after is None else list(after)
        packets.doing = f"reading {table.schema}.{table.name}"
        while not self._stop.is_set():
            low = self._begin(packets.connection)
            order = f" ORDER BY {', '.join(map(_order, keys))} LIMIT {self._at_once}"
            sql = f"SELECT {select} FROM {source}{self._conditions(keys, cursor)}{order}"
            count = 0
            rows: list[Any] = []
            for row in self._rows(packets, sql, reader):
                count += 1
                rows.append(row)
                if len(rows) >= self._batch:
                    cursor = make.cursor(rows)
                    yield Chunk(make.event(rows, low), cursor)
                    rows = []
            if self._stop.is_set():
                return
            if rows:
                cursor = make.cursor(rows)
                yield Chunk(make.event(rows, low), cursor)
            self._server.query(packets.connection, "COMMIT")
            if count < self._at_once:
                return

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
        low = self._gate.open()
        server.query(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
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


class _ChunkMaker:
    """
    Makes the chunks of one table out of rows that end with their keys as literals.
    """

    def __init__(self, table: Table, sent: list[Column]) -> None:
        self._table = table
        self._fields = tuple(column.name for column in sent)
        self._columns = {column.name: column.json_type for column in sent}

    def event(self, rows: list[tuple[Any, ...]], low: Boundary, ordinal: int | None = None) -> EventBase:
        table, width = self._table, len(self._fields)
        read = [row[:width] for row in rows]
        return InsertEvent(
            table.schema,
            table.name,
            read,
            self._fields,
            low.index,
            key=table.key or None,
            columns=self._columns,
            ordinal=ordinal,
        )

    def cursor(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        """
        Return where the next chunk begins.
        """
        return list(rows[-1][len(self._fields) :])


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
