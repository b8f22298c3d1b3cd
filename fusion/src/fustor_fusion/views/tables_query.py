"""
Queries of the `tables` view: what tables there are, rows with filter, order and paging, how many rows there are, one row by key.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from fustor_core.errors import InvalidRequest
from fustor_fusion.views import tables_scan
from fustor_fusion.views.base import Database, RowCount, RowFilter, RowPage, RowQuery, StreamInfo
from fustor_fusion.views.tables_discarded import NOBODY
from fustor_fusion.views.tables_filter import MOST_FILTERS, Question
from fustor_fusion.views.tables_scan import Cursor, Found, Order

PAGE_BYTES: Final = 8 * 1024 * 1024
"""
A page ends with the row that brings it past so many bytes.
"""
SAMPLE_ROWS: Final = 200
COUNT_SHARE: Final = 0.05
"""
Counting the rows of a large table takes a while: no more of the time than this is spent on it, and what was counted before is told meanwhile.
"""
_BY_KEY: Final = "key"
_FETCHED: Final = 50

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Size:
    rows: int
    octets: int
    good_until: float


class TableQueries:
    """
    Answers queries. Any thread.

    Args:
        database: The store.
        clock: Monotonic seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._sizes: dict[int, _Size] = {}

    def list_tables(self, conn: sqlite3.Connection) -> list[dict[str, Any]]:
        """
        Describe the tables, in the shape of `GET /views/tables`.
        """
        found = conn.execute(f"{_TABLE} WHERE task_id <> ? ORDER BY task_id, schema, name", (NOBODY,)).fetchall()
        self._sizes = {row[0]: self._sizes[row[0]] for row in found if row[0] in self._sizes}
        return [self._described(conn, row) for row in found]

    def table(self, conn: sqlite3.Connection, task_id: str, schema: str, table: str) -> dict[str, Any] | None:
        """
        Describe one table; None = there is no such table.
        """
        found = conn.execute(f"{_TABLE} {_NAMED}", (task_id, schema, table)).fetchone()
        return None if found is None else self._described(conn, found)

    def _described(self, conn: sqlite3.Connection, row: Sequence[Any]) -> dict[str, Any]:
        table_id, task_id, schema, name, key, columns, last_index, changed_at = row
        size = self._size(conn, table_id, has_key=key is not None)
        return {
            "task_id": task_id,
            "schema": schema,
            "table": name,
            "rows": size.rows,
            "bytes": size.octets,
            "key": None if key is None else _decode(key),
            "columns": _decode(columns),
            "last_index": last_index,
            "changed_at": changed_at,
        }

    def _size(self, conn: sqlite3.Connection, table_id: int, *, has_key: bool) -> _Size:
        began = self._clock()
        known = self._sizes.get(table_id)
        if known is not None and began < known.good_until:
            return known
        rows = _count_keyed(conn, table_id) if has_key else _count_copies(conn, table_id)
        sampled, octets = conn.execute(
            "SELECT COUNT(*), COALESCE(SUM(length(CAST(doc AS BLOB)) + length(CAST(key AS BLOB))), 0) FROM (SELECT doc, key"
            " FROM tables_row WHERE table_id = ? AND doc IS NOT NULL AND copies > 0 LIMIT ?)",
            (table_id, SAMPLE_ROWS),
        ).fetchone()
        ended = self._clock()
        size = _Size(rows, octets * rows // sampled if sampled else 0, ended + (ended - began) / COUNT_SHARE)
        self._sizes[table_id] = size
        return size

    @staticmethod
    def list_streams(conn: sqlite3.Connection) -> list[StreamInfo]:
        """
        Tell which tables there are, without counting their rows.
        """
        found = conn.execute(
            "SELECT task_id, schema, name, last_index FROM tables_table WHERE task_id <> ?", (NOBODY,)
        ).fetchall()
        return [StreamInfo(*row) for row in found]

    def row(self, task_id: str, schema: str, table: str, key: list[Any]) -> Raw | None:
        """
        Return the row of a key; None = there is none.
        """
        with self._database.read() as conn:
            found = find_table(conn, task_id, schema, table)
            if found is None:
                return None
            row = conn.execute(
                "SELECT doc FROM tables_row WHERE table_id = ? AND key = ? AND doc IS NOT NULL AND copies > 0",
                (found[0], _encode(key).decode()),
            ).fetchone()
        return None if row is None else Raw(row[0].encode())

    def rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowPage | None:
        """
        Return a page of rows; None = there is no such table. A row of a table without a key comes once for each copy.

        Raises:
            InvalidRequest: The query can't be understood.
        """
        with self._database.read() as conn:
            conn.execute("BEGIN")  # one state for all that follows
            table_found = find_table(conn, task_id, schema, table)
            if table_found is None:
                return None
            table_id, key, columns = table_found
            question = question_of(query.where, columns, key, conn)
            if query.order is None:
                tables_scan.use_index(conn, table_id, question, has_key=bool(key))
                cursor = Cursor.read(query.cursor, _BY_KEY, 0)
                found = tables_scan.find_by_key(conn, table_id, question, cursor, query.limit, query.budget_s)
            else:
                order = Order(query.order, query.descending, question)
                tables_scan.use_index(conn, table_id, question, has_key=bool(key))
                cursor = Cursor.read(query.cursor, order.name, len(order.parts))
                found = tables_scan.find_by_column(conn, table_id, question, order, cursor, query.limit, query.budget_s)
            rows, following = fetch(conn, found, cursor.order)
        return RowPage(
            rows, None if following is None else following.text(), list(columns), found.scanned, found.is_partial
        )

    def count(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowCount | None:
        """
        Count rows; None = there is no such table.

        Raises:
            InvalidRequest: The query can't be understood.
        """
        with self._database.read() as conn:
            conn.execute("BEGIN")
            table_found = find_table(conn, task_id, schema, table)
            if table_found is None:
                return None
            table_id, key, columns = table_found
            question = question_of(query.where, columns, key, conn)
            tables_scan.use_index(conn, table_id, question, has_key=bool(key))
            cursor = Cursor.read(query.cursor, _BY_KEY, 0)
            counted, following, scanned = tables_scan.count(conn, table_id, question, cursor, query.budget_s)
        return RowCount(counted, None if following is None else following.text(), scanned)


_TABLE: Final = "SELECT id, task_id, schema, name, key, columns, last_index, changed_at FROM tables_table"
_NAMED: Final = "WHERE task_id = ? AND schema = ? AND name = ?"


def find_table(
    conn: sqlite3.Connection, task_id: str, schema: str, table: str
) -> tuple[int, list[str], dict[str, Any]] | None:
    """
    Return a table's id, key and columns; None = there is no such table.
    """
    row = conn.execute(f"SELECT id, key, columns FROM tables_table {_NAMED}", (task_id, schema, table)).fetchone()
    return None if row is None else (row[0], [] if row[1] is None else _decode(row[1]), _decode(row[2]))


def question_of(
    where: Sequence[RowFilter], columns: dict[str, Any], key: Sequence[str], conn: sqlite3.Connection
) -> Question:
    """
    Put conditions together.

    Raises:
        InvalidRequest: They can't be understood.
    """
    if len(where) > MOST_FILTERS:
        raise InvalidRequest(
            f"the request has {len(where)} filters",
            hint=f"give at most {MOST_FILTERS}; `in` takes several values of one column",
        )
    question = Question(columns, key)
    for one in where:
        question.add_filter(one, conn)
    return question


def fetch(conn: sqlite3.Connection, found: Found, order: str) -> tuple[list[dict[str, Any] | Raw], Cursor | None]:
    """
    Read the rows that were found, until they are many bytes.
    """
    rows: list[dict[str, Any] | Raw] = []
    octets = 0
    for at in range(0, len(found.rows), _FETCHED):
        some = found.rows[at : at + _FETCHED]
        ids = _encode([row_id for row_id, _ in some]).decode()
        docs = dict(
            conn.execute(
                "SELECT id, doc FROM tables_row WHERE id IN (SELECT value FROM json_each(?))", (ids,)
            ).fetchall()
        )
        for number, (row_id, copies) in enumerate(some, at):
            doc = docs[row_id].encode()
            rows += [Raw(doc)] * copies
            octets += len(doc) * copies
            if octets > PAGE_BYTES and number + 1 < len(found.rows):
                return rows, Cursor(order, found.places[number])
    return rows, found.next


def _count_keyed(conn: sqlite3.Connection, table_id: int) -> int:
    # Both counts read only an index.
    counted = conn.execute(
        "SELECT (SELECT COUNT(*) FROM tables_row INDEXED BY sqlite_autoindex_tables_row_1 WHERE table_id = ?1)"
        " - (SELECT COUNT(*) FROM tables_row INDEXED BY tables_row_gone WHERE table_id = ?1 AND doc IS NULL)",
        (table_id,),
    ).fetchone()
    return int(counted[0])


def _count_copies(conn: sqlite3.Connection, table_id: int) -> int:
    counted = conn.execute(
        "SELECT COALESCE(SUM(copies), 0) FROM tables_row WHERE table_id = ? AND doc IS NOT NULL AND copies > 0",
        (table_id,),
    ).fetchone()
    return int(counted[0])
