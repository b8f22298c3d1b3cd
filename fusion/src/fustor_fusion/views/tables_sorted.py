"""
All rows of a table in the order of a column, found in one look-through.

What rows are ordered by and their keys are noted in a temporary database, which SQLite keeps in a file of its own once it is larger than its
cache, and removes when it is closed. Rows are read when their turn comes, as they are then: one that was deleted meanwhile, or that the
conditions do not let through any more, is left out; one that came meanwhile is not there.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NoReturn

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_fusion.views import tables_scan
from fustor_fusion.views.base import Database, RowPage, RowQuery
from fustor_fusion.views.tables_filter import Question
from fustor_fusion.views.tables_query import fetch, find_table, question_of
from fustor_fusion.views.tables_scan import FIRST_SLICE, Found, Order, Place, Slices, give, in_slice

CACHE_KIB: Final = 16 * 1024

_THESE: Final = (
    "FROM tables_row WHERE table_id = :table AND key IN (SELECT value FROM json_each(:keys)) AND doc IS NOT NULL"
    " AND copies > 0"
)
_encode = msgspec.json.Encoder().encode


class SortedRows:
    """
    The rows, part by part. Any thread, one at a time; `close` at any time.

    Args:
        database: The store.
        name: Sync, schema and name of the table.
        query: Which rows, and in which order.

    Attributes:
        columns: See `RowPage`.

    Raises:
        InvalidRequest: The query can't be understood.
        LookupError: There is no such table.
    """

    def __init__(self, database: Database, name: tuple[str, str, str], query: RowQuery) -> None:
        self._database = database
        self._name = name
        self._query = query
        self._lock = threading.Lock()
        self._is_closed = False
        self._seen = ""
        self._turns: Iterator[Any] | None = None
        self._waiting: list[tuple[str, int]] = []
        with database.read() as conn:
            found = find_table(conn, *name)
            if found is None:
                raise LookupError(name)
            self._table_id, _, columns = found
            self.columns = list(columns)
            _, order = self._ordered(conn)
        self._order = order.name
        self._notes = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._notes.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for setting in ("temp_store = FILE", "journal_mode = OFF", "synchronous = OFF"):
            self._notes.execute(f"PRAGMA {setting}")
        self._columns = [f"part{at}" for at in range(len(order.parts))]
        self._by = order.by_names(self._columns)
        self._notes.execute(f"CREATE TABLE note(key, {', '.join(self._columns)})")
        self._notes.execute("BEGIN")

    def read(self, limit: int, budget_s: float) -> RowPage | None:
        """
        Go on for a moment; return the rows that this came to, none while the look-through goes on. None = that was all.

        Args:
            limit: Most rows.
            budget_s: How long to look through the table.

        Raises:
            InvalidRequest: The table was dropped or made anew meanwhile, or its columns do not fit the query any more.
        """
        try:
            with self._lock:
                if self._is_closed:
                    return None
                if self._turns is None:
                    return self._look_through(budget_s)
                return self._take(self._turns, limit)
        finally:
            if self._is_closed:
                self.close()  # whoever closed it meanwhile could not wait

    def close(self) -> None:
        """
        Let go of the temporary database; does not wait for who is reading. May be called twice.
        """
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._turns = None
                self._notes.close()
            finally:
                self._lock.release()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._database.read() as conn:
            conn.execute("BEGIN")  # one state for all that follows
            yield conn

    def _asked(self, conn: sqlite3.Connection) -> tuple[Question, bool]:
        found = find_table(conn, *self._name)
        if found is None or found[0] != self._table_id:
            self._refuse()
        _, key, columns = found
        return question_of(self._query.where, columns, key, conn), bool(key)

    def _ordered(self, conn: sqlite3.Connection) -> tuple[Question, Order]:
        question, has_key = self._asked(conn)
        assert self._query.order is not None
        order = Order(self._query.order, self._query.descending, question)
        tables_scan.use_index(conn, self._table_id, question, has_key=has_key)
        return question, order

    def _refuse(self) -> NoReturn:
        raise InvalidRequest(
            f"the table {self._name[2]!r} became another one while it was read", hint="ask for its rows again"
        )

    def _look_through(self, budget_s: float) -> RowPage:
        with self._reading() as conn:
            question, order = self._ordered(conn)
            if order.name != self._order:
                self._refuse()
            sql = f"SELECT key, {', '.join(order.parts)} FROM {question.around(in_slice(question))} WHERE {question.where}"
            put = f"INSERT INTO note VALUES (?{', ?' * len(self._columns)})"
            slices = Slices(conn, self._table_id, self._seen, first=FIRST_SLICE, budget_s=budget_s)
            for begin, end in slices:
                values = {**question.bound, "table": self._table_id, "begin": begin, "end": end, "worst": None}
                self._notes.executemany(put, conn.execute(sql, values).fetchall())
        self._seen = slices.seen
        if slices.is_done:
            self._turns = self._notes.execute(f"SELECT key FROM note ORDER BY {self._by}, key")
        return RowPage([], None, self.columns, slices.scanned, not slices.is_done)

    def _take(self, turns: Iterator[Any], limit: int) -> RowPage | None:
        keys = self._waiting
        keys += [(key, 0) for (key,) in islice(turns, limit - len(keys))]
        if not keys:
            return None
        with self._reading() as conn:
            question, _ = self._asked(conn)
            asked = {**question.bound, "table": self._table_id, "keys": _encode([key for key, _ in keys]).decode()}
            sql = f"SELECT key, id, copies FROM {question.around(_THESE)} WHERE {question.where}"
            there = {key: (row_id, copies) for key, row_id, copies in conn.execute(sql, asked)}
            found = Found([], [], None, 0, False)
            left = limit
            for key, given in keys:
                row_id, copies = there.get(key, (0, 0))
                left -= give(found.rows, found.places, row_id, Place([], key), copies - given, left, given)
                if left <= 0:
                    break
            rows, following = fetch(conn, found, self._order)
        last = following.after if following is not None else found.places[-1] if left <= 0 else None
        self._waiting = [] if last is None else _behind(keys, last)
        return RowPage(rows, None, self.columns)


def _behind(keys: list[tuple[str, int]], last: Place) -> list[tuple[str, int]]:
    """
    Return what is left once a row was given, with those of its copies that were not.
    """
    at = next(at for at, (key, _) in enumerate(keys) if key == last.key)
    return ([(last.key, last.given)] if last.given else []) + keys[at + 1 :]
