"""
The snapshot: reads tables in the order of their keys by COPY, in short transactions, and gives out chunks.

Low watermark: see `visibility`. Keys are compared by the server alone, in its own order and collation. A table without a key is read
wholly in one transaction, at an exact place: see `keyless`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from fustor_core.models.event import EventBase, InsertEvent, progress_mark
from fustor_core.parallel_tables import Chunk, ParallelTables, StopOfBoth
from fustor_core.selection import Selection
from fustor_core.table_token import Cursor, TableToken
from fustor_source_postgres.connection import Link
from fustor_source_postgres.control import Control
from fustor_source_postgres.keyless import begin_exact
from fustor_source_postgres.schema import Column, Table, Types, columns_of, json_types, named, quoted, read_tables
from fustor_source_postgres.stream import ReplicationStream
from fustor_source_postgres.visibility import TransactionSnapshot

_IDLE: Final = """
SELECT backend_xid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND state LIKE 'idle in transaction%'
UNION ALL SELECT transaction FROM pg_prepared_xacts
WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query ILIKE '%commit%prepared%' AND state = 'active'
  AND pid <> pg_backend_pid())
"""
_COMPARED: Final = """
SELECT t.oid, format_type(t.oid, -1), coalesce((
  SELECT n.nspname FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod AND a.amname = 'btree'
    JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 5
      AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype
    JOIN pg_operator g ON g.oid = o.amopopr JOIN pg_namespace n ON n.oid = g.oprnamespace
  WHERE c.opcdefault AND c.opcintype = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END LIMIT 1), 'pg_catalog')
FROM pg_type t WHERE t.oid IN ({oids})
"""
_LONGEST_SORTING_S: Final = 600.0
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}

RowReader = Callable[[str], tuple[Any, ...]]


class Snapshot:
    """
    One snapshot.

    Args:
        control: For questions besides.
        selection: Which tables and columns.
        stream: The open message stream, where there is one; without it a chunk's low watermark is 0.
        stop: Ends the snapshot within a second.
        batch_size: Most rows in a chunk.
        rows_at_once: Most rows in one transaction.
        tables_at_once: Most tables read at the same time.
        tables: Only these tables: `table` or `schema.table`.
        where: Only rows of which this holds, in SQL.
        token: Go on after the chunk that carried it.
        required: Only these columns, and keys; None = all.
        with_keyless: Whether tables without a key are read.
        published: Schema and name of the tables whose changes the stream brings: no others; None = not known.
        before: Told which tables were found, and how they are, before any row is given out.
    """

    def __init__(
        self,
        control: Control,
        selection: Selection,
        stream: ReplicationStream | None,
        stop: threading.Event,
        *,
        batch_size: int,
        rows_at_once: int,
        tables_at_once: int,
        tables: Collection[str] | None = None,
        where: str | None = None,
        token: str | None = None,
        required: Collection[str] | None = None,
        with_keyless: bool = True,
        published: Collection[tuple[str, str]] | None = None,
        before: Callable[[list[Table]], None] = lambda tables: None,
    ) -> None:
        self._control = control
        self._selection = selection
        self._published = published
        self._before = before
        self._stream = stream
        self._stop = StopOfBoth(stop)
        self._at_once = max(1, rows_at_once)
        self._batch = max(1, min(batch_size, self._at_once))
        self._tables_at_once = tables_at_once
        self._names = None if tables is None else set(tables)
        self._where = where
        self._token = TableToken.read(token)
        self._required = required
        self._with_keyless = with_keyless and where is None

    def chunks(self) -> Iterator[EventBase]:
        """
        Yield the chunks.

        Raises:
            FustorError: See `fustor_source_postgres.faults`.
        """
        if self._token is None:
            yield self._watermark()
        found = read_tables(self._control.query, self._selection, Types(self._control.query))
        self._before(found)
        yield from ParallelTables(
            [table for table in found if self._is_asked(table)],
            connect=self._connect,
            read=self._table,
            token=self._token,
            at_once=self._tables_at_once,
            stop=self._stop,
        ).chunks()

    def rows_of(self, table: Table) -> Iterator[EventBase]:
        """
        Yield the rows of one table, behind a watermark; none of a table whose changes do not come.

        Raises:
            FustorError: As `chunks`.
        """
        self._before([table])
        link = self._connect()
        try:
            yield progress_mark(self._begin(link, "reading rows by their keys"))
            link.query("COMMIT", "reading rows by their keys")
            if self._is_asked(table):
                for chunk in self._table(link, table, None):
                    yield chunk.event
        finally:
            link.close()

    def _watermark(self) -> EventBase:
        """
        Return where the snapshot begins, taken before anybody looks at which tables there are: what is not there then is gone.
        """
        link = self._connect()
        try:
            return progress_mark(self._begin(link, "beginning a snapshot"))
        finally:
            link.close()

    def _connect(self) -> Link:
        return self._control.server.connect(is_over=self._stop.is_set)

    def _is_asked(self, table: Table) -> bool:
        if table.why_not is not None or not (table.key or self._with_keyless):
            return False
        if self._published is not None and (table.schema, table.name) not in self._published:
            return False  # its changes do not come: its rows would grow old unseen
        return self._names is None or table.name in self._names or table.full_name in self._names

    def _keyless(self, link: Link, table: Table) -> Iterator[Chunk]:
        """
        Read a table without a key, from its beginning.
        """
        sent = columns_of(table, self._required)
        if not sent:
            return
        low = begin_exact(self._control, link, table, self._stop.is_set)
        doing = f"reading {table.full_name}"
        columns = ", ".join(named(column.name) for column in sent)
        link.start_copy(f"COPY (SELECT {columns} FROM {_source(table)}) TO STDOUT", doing)
        read = make_reader(sent)
        make = _ChunkMaker(table, sent, [])
        count = 0
        lines: list[str] = []
        for line in self._lines(link, doing):
            lines.append(line)
            if len(lines) >= self._batch:
                yield Chunk(make.event(lines, read, low, count), None)
                count += len(lines)
                lines = []
        if self._stop.is_set():
            return
        if lines:
            yield Chunk(make.event(lines, read, low, count), None)
        yield Chunk(make.event([], read, low, count + len(lines)), None)
        link.query("COMMIT", doing)

    def _table(self, link: Link, table: Table, after: Cursor) -> Iterator[Chunk]:
        if not table.key:
            yield from self._keyless(link, table)
            return
        sent = columns_of(table, self._required)
        keys = [table.by_name[name] for name in table.key]
        source = _source(table)
        places = [next(at for at, column in enumerate(sent) if column.name == key.name) for key in keys]
        read = make_reader(sent)
        make = _ChunkMaker(table, sent, places)
        doing = f"reading {table.full_name}"
        columns = ", ".join(named(column.name) for column in sent)
        order = ", ".join(named(key.name) for key in keys)
        compared = compared_types(self._control, keys)
        cursor = None if after is None else list(after)
        while not self._stop.is_set():
            low = self._begin(link, doing)
            condition = self._conditions(keys, compared, cursor)
            link.start_copy(
                f"COPY (SELECT {columns} FROM {source}{condition} ORDER BY {order} LIMIT {self._at_once}) TO STDOUT",
                doing,
            )
            count = 0
            lines: list[str] = []
            for line in self._lines(link, doing):
                lines.append(line)
                if len(lines) >= self._batch:
                    count += len(lines)
                    cursor = make.cursor(lines[-1])
                    yield Chunk(make.event(lines, read, low), cursor)
                    lines = []
            if self._stop.is_set():
                return
            if lines:
                count += len(lines)
                cursor = make.cursor(lines[-1])
                yield Chunk(make.event(lines, read, low), cursor)
            link.query("COMMIT", doing)
            if count < self._at_once:
                return

    def _begin(self, link: Link, doing: str) -> int:
        """
        Open a transaction; return the low watermark of what it reads.
        """
        link.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", doing)

        def take() -> TransactionSnapshot:
            ((text,),) = link.query("SELECT pg_current_snapshot()", doing)
            return TransactionSnapshot.parse(str(text))

        stream = self._stream
        if stream is None:
            take()
            return 0
        return stream.passed.low(take, self._idle)

    def _idle(self) -> set[int]:
        return {int(xid) for (xid,) in self._control.query(_IDLE) if xid is not None}

    def _conditions(self, keys: list[Column], compared: list[tuple[str, str]], cursor: list[str] | None) -> str:
        parts = [f"({self._where})"] if self._where else []
        if cursor is not None:
            parts.append(_after([named(key.name) for key in keys], compared, cursor))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _lines(self, link: Link, doing: str) -> Iterator[str]:
        next_data = link.next_data
        while True:
            size, data = next_data(1)
            if size > 0:
                yield bytes(data).decode()
            elif size < 0:
                link.end_of_copy(doing)
                return
            elif not link.wait(0.25, doing) and self._stop.is_set():
                return


def compared_types(control: Control, keys: Sequence[Column]) -> list[tuple[str, str]]:
    """
    Return, for each column of a key, its type for literals and the schema of its operators: that of an extension's type is
    not where the server's own are, and others of the same name may compare in another order.
    """
    rows = control.query(_COMPARED.format(oids=",".join(str(key.oid) for key in keys)))
    found = {int(oid or 0): (str(name), str(schema)) for oid, name, schema in rows}
    return [found[key.oid] for key in keys]


def _source(table: Table) -> str:
    # An old-style child table is a table of its own; the rows of partitions are those of their table.
    name = named(table.schema, table.name)
    return name if table.is_partitioned else f"ONLY {name}"


class _ChunkMaker:
    """
    Makes the chunks of one table.
    """

    def __init__(self, table: Table, sent: list[Column], places: list[int]) -> None:
        self._table = table
        self._fields = tuple(column.name for column in sent)
        self._columns = json_types(sent)
        self._places = places

    def event(self, lines: list[str], read: RowReader, low: int, ordinal: int | None = None) -> EventBase:
        table = self._table
        rows = list(map(read, lines))
        return InsertEvent(
            table.schema,
            table.name,
            rows,
            self._fields,
            low,
            key=table.key or None,
            columns=self._columns,
            ordinal=ordinal,
        )

    def cursor(self, line: str) -> list[str]:
        """
        Return the key of a row, as the server writes it.
        """
        values = line[:-1].split("\t")
        return [unescape(values[at]) for at in self._places]


def _after(names: list[str], compared: list[tuple[str, str]], cursor: list[str]) -> str:
    """
    Return the condition for rows after a key; compared by the server, in its own order.
    """
    values = [f"{quoted(text)}::{kind}" for text, (kind, _) in zip(cursor, compared, strict=True)]
    if all(schema == "pg_catalog" for _, schema in compared):
        return f"({', '.join(names)}) > ({', '.join(values)})"

    def compare(at: int, operator: str) -> str:
        return f"{names[at]} OPERATOR({named(compared[at][1])}.{operator}) {values[at]}"

    either = " OR ".join(
        f"({' AND '.join([*(compare(before, '=') for before in range(at)), compare(at, '>')])})"
        for at in range(len(names))
    )
    # The first column's bound alone lets the server enter the index at the right place.
    return f"({compare(0, '>=')} AND ({either}))"


def unescape(text: str) -> str:
    """
    Return a value of COPY's text format without its escapes.
    """
    if "\\" not in text:
        return text
    pieces = text.split("\\")
    out = [pieces[0]]
    at = 1
    while at < len(pieces):
        piece = pieces[at]
        if piece:
            out.append(_ESCAPES.get(piece[0], piece[0]) + piece[1:])
            at += 1
        else:  # an escaped backslash; what follows it is plain
            out.append("\\" + (pieces[at + 1] if at + 1 < len(pieces) else ""))
            at += 2
    return "".join(out)


def make_reader(columns: list[Column]) -> RowReader:
    """
    Compile what reads one line of a COPY: values between tabs, NULL as backslash N, a backslash before what is escaped.
    """
    names: dict[str, Any] = {"_un": unescape}
    plain = []
    careful = []
    for at, column in enumerate(columns):
        convert = column.type.convert
        if convert in (int, float):
            call, safe = f"{convert.__name__}(v[{at}])", f"{convert.__name__}(v[{at}])"
        elif convert is str:
            call, safe = f"v[{at}]", f"_un(v[{at}])"
        else:
            names[f"f{at}"] = convert
            call, safe = f"f{at}(v[{at}])", f"f{at}(_un(v[{at}]))"
        plain.append(f"{call},")
        careful.append(f"None if v[{at}] == '\\\\N' else {safe},")
    lines = [
        "def read(line):",
        " v = line[:-1].split('\\t')",
        f" if '\\\\' not in line: return ({''.join(plain)})",
        f" return ({''.join(careful)})",
    ]
    # The source is made of numbers and names that are ours alone; nothing of it comes from the server.
    exec("\n".join(lines), names)
    read: RowReader = names["read"]
    return read
