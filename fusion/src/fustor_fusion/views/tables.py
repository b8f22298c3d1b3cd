"""
The `tables` view: rows of any table, stored by (task, schema, table, key) as JSON documents.

A row is settled field by field, so that pushes may arrive in any order and any number of times:
- a *full image* (an insert, a row of a snapshot) sets every field at its version, and a delete removes every field at its version;
- a *partial image* (an update with some of the columns) sets only its fields; `late` keeps the version of each field that
  is newer than the full image. A partial image of an unknown row makes a row that an older full image completes.

Tables without a key are in `fustor_fusion.views.tables_ordinal` (and, from clients whose events do not number their rows, in
`fustor_fusion.views.tables_keyless`), queries in `fustor_fusion.views.tables_query`.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_fusion.views import tables_discarded, tables_ordinal
from fustor_fusion.views.base import (
    Applied,
    Database,
    RowCount,
    RowPage,
    RowQuery,
    Stream,
    StreamInfo,
    View,
    is_among,
)
from fustor_fusion.views.tables_keyless import KeylessRows
from fustor_fusion.views.tables_ordinal import OrdinalRows
from fustor_fusion.views.tables_query import TableQueries
from fustor_fusion.views.tables_sorted import SortedRows

FULL: Final = 1
DELETED: Final = 2
NO_IMAGE: Final = 0
SECOND_NS: Final = 1_000_000_000

_DDL: Final = (
    """CREATE TABLE IF NOT EXISTS tables_table(
        id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL,
        key TEXT, columns TEXT NOT NULL, whole TEXT NOT NULL, last_index INTEGER NOT NULL, UNIQUE(task_id, schema, name))""",
    # doc: the row as people see it, NULL when there is none. epoch, idx: version of the full image or of the delete.
    """CREATE TABLE IF NOT EXISTS tables_row(
        id INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, key TEXT NOT NULL, doc TEXT, epoch INTEGER NOT NULL, idx INTEGER NOT NULL,
        run INTEGER NOT NULL, image INTEGER NOT NULL, late TEXT, copies INTEGER NOT NULL DEFAULT 1, UNIQUE(table_id, key))""",
    "CREATE INDEX IF NOT EXISTS tables_row_gone ON tables_row(table_id, epoch, idx) WHERE doc IS NULL",
    "CREATE INDEX IF NOT EXISTS tables_row_late ON tables_row(table_id) WHERE late IS NOT NULL",
    # Changes of rows of tables without a key: how many copies came (1), went (-1), or were in a snapshot (run + 1).
    """CREATE TABLE IF NOT EXISTS tables_delta(
        table_id INTEGER NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL, idx INTEGER NOT NULL, what INTEGER NOT NULL,
        copies INTEGER NOT NULL, PRIMARY KEY(table_id, key, epoch, idx, what)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS tables_delta_open ON tables_delta(table_id, key) WHERE what < 2",
)
_PUT: Final = """
    INSERT INTO tables_row(table_id, key, doc, epoch, idx, run, image, late) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)
    ON CONFLICT(table_id, key) DO UPDATE SET
        doc = excluded.doc, epoch = excluded.epoch, idx = excluded.idx, image = excluded.image, run = max(excluded.run, run)
    WHERE late IS NULL AND (excluded.epoch > epoch OR (excluded.epoch = epoch AND excluded.idx >= idx))
"""
_GET: Final = "SELECT doc, epoch, idx, image, late FROM tables_row WHERE table_id = ? AND key = ?"
_SET: Final = """
    INSERT INTO tables_row(table_id, key, doc, epoch, idx, run, image, late) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(table_id, key) DO UPDATE SET
        doc = excluded.doc, epoch = excluded.epoch, idx = excluded.idx, image = excluded.image, late = excluded.late,
        run = max(excluded.run, run)
"""
_CONFIRM: Final = "UPDATE tables_row SET run = ? WHERE table_id = ? AND key = ? AND run < ?"

_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Table:
    """
    One table as the applier knows it.

    Attributes:
        columns: Its columns and their types, as the newest event told them.
        whole: The columns that its full images have had, for senders that do not tell the columns.
        last_index: The newest index seen.
        told_at: Epoch and index of the event that `columns` are from; not kept over a restart.
        changed_at: When its rows changed last, as far as it was noted, nanoseconds since the epoch.
        seen: Sets of fields that brought nothing new.
    """

    id: int
    key: tuple[str, ...] | None
    columns: dict[str, Any]
    whole: frozenset[str]
    last_index: int
    told_at: tuple[int, int] = (-1, -1)
    changed_at: int = 0
    seen: set[tuple[str, ...]] = field(default_factory=set)

    def is_whole(self, event: WireEvent) -> bool:
        """
        Tell whether an update carries every column.
        """
        if event.columns is not None:
            return event.columns.keys() <= set(event.fields)
        return bool(self.whole) and self.whole.issubset(event.fields)

    def learn_columns(self, event: WireEvent, epoch: int) -> bool:
        """
        Take note of the columns that an event tells or shows; return whether they have changed.
        """
        fields, at = tuple(event.fields), (epoch, event.index)
        if event.columns is not None:
            if at < self.told_at:
                return False  # a chunk read before the columns changed
            told = {f: None for f in fields if f not in event.columns} | event.columns
            self.told_at = at
            if told == self.columns:
                return False
            self.columns = told  # a column that was dropped goes
            return True
        if fields in self.seen:
            return False
        self.seen.add(fields)
        new = {f: None for f in fields if f not in self.columns}
        self.columns.update(new)
        return bool(new)


class TablesView(View):
    """
    See the module.
    """

    name: ClassVar[str] = "tables"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._tables: dict[tuple[str, str, str], Table] = {}
        self._keyless = KeylessRows()
        self._ordinal = OrdinalRows()
        self._queries = TableQueries(database)

    def create(self, conn: sqlite3.Connection) -> None:
        """
        Create the tables of this view.
        """
        for statement in _DDL:
            conn.execute(statement)
        tables_ordinal.create(conn)
        if "changed_at" not in {row[1] for row in conn.execute("PRAGMA table_info(tables_table)")}:
            conn.execute("ALTER TABLE tables_table ADD COLUMN changed_at INTEGER")

    def claims(self, event: WireEvent) -> bool:
        """
        Take every table.
        """
        return True

    def rolled_back(self) -> None:
        """
        Forget what is known of tables; it is read again.
        """
        self._tables.clear()

    def apply(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, *, listening: bool) -> Applied:
        """
        Apply the rows of one event.

        Raises:
            InvalidRequest: The key differs from the one the table has, and there is no index; or a row can't be written as JSON.
        """
        applied = Applied()
        table = self._table(conn, stream, event, applied)
        if table is None:
            applied.stale += len(event.rows)
            return applied
        self._apply_rows(conn, table, stream, event, applied, listening)
        if applied.applied:
            self._touch(conn, table)
        return applied

    def _apply_rows(
        self,
        conn: sqlite3.Connection,
        table: Table,
        stream: Stream,
        event: WireEvent,
        applied: Applied,
        listening: bool,
    ) -> None:
        fields = event.fields
        if table.key is None:
            if event.ordinal is not None:
                self._ordinal.apply(conn, table.id, stream, event, applied)
            elif self._ordinal.is_numbered(conn, table.id):
                raise InvalidRequest(
                    f"rows of table {event.table!r} came with an `ordinal` before, and these have none",
                    hint="number the rows of every event of a table without a key, or of none",
                    context={"table": event.table, "schema": event.event_schema, "task_id": stream.task_id},
                )
            else:
                self._keyless.apply(conn, table.id, stream, event, applied)
            if listening:
                applied.changes.extend(self._change(stream, event, [], row) for row in event.rows)
            return
        at = [fields.index(name) for name in table.key]
        try:
            keys = [_encode([row[n] for n in at]).decode() for row in event.rows]
            if event.event_type == "delete":
                self._delete(conn, table, stream, event, keys, applied, listening)
            elif event.event_type == "insert" or table.is_whole(event):
                self._put(conn, table, stream, event, keys, applied, listening)
            else:
                self._patch(conn, table, stream, event, keys, applied, listening)
        except (TypeError, UnicodeEncodeError) as exc:
            raise InvalidRequest(f"a row of table {event.table!r} can't be stored as JSON: {exc}") from exc

    @staticmethod
    def _touch(conn: sqlite3.Connection, table: Table) -> None:
        """
        Note when rows of the table changed last, to the second: a commit for each would write more than the rows do.
        """
        now = time.time_ns()
        if abs(now - table.changed_at) >= SECOND_NS:
            table.changed_at = now
            conn.execute("UPDATE tables_table SET changed_at = ? WHERE id = ?", (now, table.id))

    def _put(
        self,
        conn: sqlite3.Connection,
        table: Table,
        stream: Stream,
        event: WireEvent,
        keys: list[str],
        applied: Applied,
        listening: bool,
    ) -> None:
        fields = event.fields
        run = stream.run or 0
        values = [
            (table.id, key, _encode(dict(zip(fields, row, strict=True))).decode(), stream.epoch, event.index, run, FULL)
            for key, row in zip(keys, event.rows, strict=True)
        ]
        self._fast(conn, table, stream, event, keys, values, applied, listening)

    def _delete(
        self,
        conn: sqlite3.Connection,
        table: Table,
        stream: Stream,
        event: WireEvent,
        keys: list[str],
        applied: Applied,
        listening: bool,
    ) -> None:
        values = [(table.id, key, None, stream.epoch, event.index, 0, DELETED) for key in keys]
        self._fast(conn, table, stream, event, keys, values, applied, listening)

    def _fast(
        self,
        conn: sqlite3.Connection,
        table: Table,
        stream: Stream,
        event: WireEvent,
        keys: list[str],
        values: list[tuple[Any, ...]],
        applied: Applied,
        listening: bool,
    ) -> None:
        """
        Put whole images (or tombstones), rows with late fields apart.
        """
        late = bool(
            conn.execute(
                "SELECT 1 FROM tables_row WHERE table_id = ? AND late IS NOT NULL LIMIT 1", (table.id,)
            ).fetchone()
        )
        if not late and not listening:
            changed = conn.executemany(_PUT, values).rowcount
            applied.applied += changed
            applied.stale += len(values) - changed
            if stream.run is not None and changed < len(values):
                # What is stale is there all the same: the snapshot has seen it.
                conn.executemany(_CONFIRM, [(stream.run, table.id, key, stream.run) for key in keys])
            return
        for key, row, value in zip(keys, event.rows, values, strict=True):
            changed = conn.execute(_PUT, value).rowcount
            if not changed and late:
                changed = self._complete(conn, table, stream, event, key, value)
            if not changed and stream.run is not None:
                conn.execute(_CONFIRM, (stream.run, table.id, key, stream.run))
            self._count(applied, bool(changed))
            if changed and listening:
                applied.changes.append(self._change(stream, event, key, row))

    def _complete(
        self, conn: sqlite3.Connection, table: Table, stream: Stream, event: WireEvent, key: str, value: tuple[Any, ...]
    ) -> int:
        """
        Put a whole image (or a tombstone) below the late fields of a row; return whether it changed something.
        """
        doc, epoch, idx, image, late_text = conn.execute(_GET, (table.id, key)).fetchone()
        version = (stream.epoch, event.index)
        if late_text is None or (image != NO_IMAGE and version < (epoch, idx)):
            return 0
        stored = _decode(doc)
        late = {name: at for name, at in _decode(late_text).items() if tuple(at) > version}
        merged: dict[str, Any] | None = None if value[2] is None else _decode(value[2])
        if late:
            merged = merged if merged is not None else dict(zip(table.key or (), _decode(key), strict=True))
            merged.update((name, stored[name]) for name in late)
        text = None if merged is None else _encode(merged).decode()
        late_now = _encode(late).decode() if late else None
        conn.execute(_SET, (table.id, key, text, *version, value[5], value[6], late_now))
        return 1

    def _patch(
        self,
        conn: sqlite3.Connection,
        table: Table,
        stream: Stream,
        event: WireEvent,
        keys: list[str],
        applied: Applied,
        listening: bool,
    ) -> None:
        """
        Apply partial images.
        """
        names = event.fields
        key_names = set(table.key or ())
        version = (stream.epoch, event.index)
        run = stream.run or 0
        for key, row in zip(keys, event.rows, strict=True):
            found = conn.execute(_GET, (table.id, key)).fetchone()
            doc, epoch, idx, image, late_text = found or (None, -1, -1, NO_IMAGE, None)
            if image != NO_IMAGE and version < (epoch, idx):
                if stream.run is not None:
                    conn.execute(_CONFIRM, (stream.run, table.id, key, stream.run))
                self._count(applied, False)
                continue
            late: dict[str, Any] = {} if late_text is None else _decode(late_text)
            stored: dict[str, Any] = {} if doc is None else _decode(doc)
            changed = found is None
            for name, value in zip(names, row, strict=True):
                if name in key_names:
                    stored[name] = value
                elif name not in late or tuple(late[name]) <= version:
                    stored[name] = value
                    late[name] = version
                    changed = True
            # A key alone is an image too: the row is there.
            changed = changed or doc is None
            text = _encode(stored).decode()
            conn.execute(_SET, (table.id, key, text, epoch, idx, run, image, _encode(late).decode()))
            self._count(applied, changed)
            if changed and listening:
                applied.changes.append(self._change(stream, event, key, row))

    @staticmethod
    def _count(applied: Applied, changed: bool) -> None:
        if changed:
            applied.applied += 1
        else:
            applied.stale += 1

    @staticmethod
    def _change(stream: Stream, event: WireEvent, key: str | list[Any], row: list[Any]) -> dict[str, Any]:
        return {
            "op": event.event_type,
            "task_id": stream.task_id,
            "schema": event.event_schema,
            "table": event.table,
            "key": _decode(key) if isinstance(key, str) else key,
            "row": dict(zip(event.fields, row, strict=True)),
            "index": event.index,
            "epoch": stream.epoch,
            "ts": event.ts,
        }

    def _table(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, applied: Applied) -> Table | None:
        name = (stream.task_id, event.event_schema, event.table)
        table = self._tables.get(name) or self._read_table(conn, name)
        key = None if event.key is None else tuple(event.key)
        if table is None:
            row = (*name, None if key is None else _encode(key).decode(), "{}", "[]", -1)
            made = conn.execute(
                "INSERT INTO tables_table(task_id, schema, name, key, columns, whole, last_index) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            table = Table(int(made.lastrowid or 0), key, {}, frozenset(), -1)
        if key != table.key:
            if event.index < 0:
                raise InvalidRequest(
                    f"table {event.table!r} of schema {event.event_schema!r} has the key {table.key!r}, and rows came with {key!r}",
                    hint="send an index with the rows, so that the newer key is known; or give the sync another id",
                    context={"table": event.table, "schema": event.event_schema, "task_id": stream.task_id},
                )
            if (stream.epoch, event.index) < table.told_at:
                return None  # a chunk read before the key changed
            table = self._rekeyed(conn, table, key)
            applied.lost.append(f"{event.event_schema}.{event.table}" if event.event_schema else event.table)
        self._tables[name] = table
        new_columns = table.learn_columns(event, stream.epoch)
        whole = table.whole | frozenset(event.fields) if event.event_type == "insert" else table.whole
        if new_columns or whole != table.whole or event.index > table.last_index:
            table.whole = whole
            table.last_index = max(table.last_index, event.index)
            conn.execute(
                "UPDATE tables_table SET columns = ?, whole = ?, last_index = ? WHERE id = ?",
                (_encode(table.columns).decode(), _encode(sorted(whole)).decode(), table.last_index, table.id),
            )
        return table

    @staticmethod
    def _rekeyed(conn: sqlite3.Connection, table: Table, key: tuple[str, ...] | None) -> Table:
        """
        Begin a table anew that has got another key: its rows can't be told apart by the old one any more.
        """
        for store in tables_discarded.ROW_STORES:
            conn.execute(f"DELETE FROM {store} WHERE table_id = ?", (table.id,))
        text = None if key is None else _encode(key).decode()
        conn.execute("UPDATE tables_table SET key = ? WHERE id = ?", (text, table.id))
        return Table(table.id, key, {}, frozenset(), table.last_index)

    @staticmethod
    def _read_table(conn: sqlite3.Connection, name: tuple[str, str, str]) -> Table | None:
        found = conn.execute(
            "SELECT id, key, columns, whole, last_index FROM tables_table WHERE task_id = ? AND schema = ? AND name = ?",
            name,
        ).fetchone()
        if found is None:
            return None
        key = None if found[1] is None else tuple(_decode(found[1]))
        return Table(found[0], key, _decode(found[2]), frozenset(_decode(found[3])), found[4])

    def sweep(self, conn: sqlite3.Connection, stream: Stream, start_index: int, tables: list[str] | None) -> int:
        """
        Remove what the snapshot did not confirm; a removed row leaves a tombstone just below the snapshot's beginning.
        """
        removed = 0
        for table_id, schema, name, key in conn.execute(
            "SELECT id, schema, name, key FROM tables_table WHERE task_id = ?", (stream.task_id,)
        ).fetchall():
            if not is_among(tables, schema, name):
                continue
            before = removed
            if key is None:
                rows = self._ordinal if self._ordinal.is_numbered(conn, table_id) else self._keyless
                removed += rows.sweep(conn, table_id, stream, start_index)
            else:
                removed += self._sweep_keyed(conn, table_id, stream, start_index)
            if removed > before:
                conn.execute("UPDATE tables_table SET changed_at = ? WHERE id = ?", (time.time_ns(), table_id))
        return removed

    @staticmethod
    def _sweep_keyed(conn: sqlite3.Connection, table_id: int, stream: Stream, start_index: int) -> int:
        below = (stream.epoch, stream.epoch, start_index)
        old = "table_id = ? AND run <> ? AND doc IS NOT NULL AND (epoch < ? OR (epoch = ? AND idx < ?))"
        for row_id, late in conn.execute(
            f"SELECT id, late FROM tables_row WHERE {old} AND late IS NOT NULL", (table_id, stream.run, *below)
        ).fetchall():
            if max(tuple(at) for at in _decode(late).values() or [(-1, -1)]) < (stream.epoch, start_index):
                conn.execute("UPDATE tables_row SET late = NULL WHERE id = ?", (row_id,))
        return conn.execute(
            f"UPDATE tables_row SET doc = NULL, image = ?, epoch = ?, idx = ? WHERE {old} AND late IS NULL",
            (DELETED, stream.epoch, start_index - 1, table_id, stream.run, *below),
        ).rowcount

    def collect_garbage(self, conn: sqlite3.Connection, task_id: str, epoch: int, checkpoint: int, limit: int) -> int:
        """
        Forget tombstones, and fold the changes of tables without a key.
        """
        forgotten = 0
        for table_id, key in conn.execute("SELECT id, key FROM tables_table WHERE task_id = ?", (task_id,)).fetchall():
            if forgotten >= limit:
                break
            if key is None:
                rows = self._ordinal if self._ordinal.is_numbered(conn, table_id) else self._keyless
                forgotten += rows.fold(conn, table_id, epoch, checkpoint, limit - forgotten)
                continue
            forgotten += conn.execute(
                "DELETE FROM tables_row WHERE id IN (SELECT id FROM tables_row WHERE table_id = ? AND doc IS NULL"
                " AND (epoch < ? OR (epoch = ? AND idx <= ?)) LIMIT ?)",
                (table_id, epoch, epoch, checkpoint, limit - forgotten),
            ).rowcount
        return forgotten

    def discard(self, conn: sqlite3.Connection, task_id: str) -> None:
        """
        Let go of the tables of a sync.
        """
        tables_discarded.discard(conn, task_id)
        self._tables = {name: table for name, table in self._tables.items() if name[0] != task_id}

    def clear_discarded(self, conn: sqlite3.Connection, limit: int) -> int:
        """
        Remove rows of tables that were let go of.
        """
        return tables_discarded.clear(conn, limit)

    def list_tables(self, conn: sqlite3.Connection) -> list[dict[str, Any]]:
        """
        Describe the tables.
        """
        return self._queries.list_tables(conn)

    def describe_table(self, conn: sqlite3.Connection, task_id: str, schema: str, table: str) -> dict[str, Any] | None:
        """
        Describe one table.
        """
        return self._queries.table(conn, task_id, schema, table)

    def list_streams(self, conn: sqlite3.Connection) -> list[StreamInfo]:
        """
        Tell which tables there are.
        """
        return self._queries.list_streams(conn)

    def query_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowPage | None:
        """
        Return rows of a table.
        """
        return self._queries.rows(task_id, schema, table, query)

    def sort_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> SortedRows | None:
        """
        Begin to give all rows in an order.
        """
        try:
            return SortedRows(self.database, (task_id, schema, table), query)
        except LookupError:
            return None

    def count_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowCount | None:
        """
        Count rows of a table.
        """
        return self._queries.count(task_id, schema, table, query)

    def get_row(self, task_id: str, schema: str, table: str, key: list[Any]) -> dict[str, Any] | msgspec.Raw | None:
        """
        Return the row of a key.
        """
        return self._queries.row(task_id, schema, table, key)
