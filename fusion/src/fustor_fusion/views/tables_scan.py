"""
Finds the rows of one page among however many a table has, within a time.

Rows are looked through slice by slice in the order of their keys, each slice in one statement of SQLite, which holds neither the interpreter
nor a lock that a writer waits for. When the time is up the answer says how far it came, and its cursor goes on from there:

- in the order of keys: rows that were found so far, and the key to go on behind;
- ordered by a column: where the look-through is, the best rows so far (by their ids, they are compared anew), and the *bound*: what was left
  out is behind it, so nothing behind it may be shown before all was looked through again.

A cursor holds values, not a place in a list: what changes between two pages moves only itself.
"""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.tables_filter import Question, behind, limit_of, named, rough_of
from fustor_fusion.views.tables_types import Comparison, comparison

SORTED_ROWS: Final = 10_000
"""
Most rows of a page that is ordered by a column.
"""
FIRST_SLICE: Final = 250
LARGEST_SLICE: Final = 20_000
SLICE_S: Final = 0.02
FEW_GONE: Final = 1_000

_END: Final = "\U0010ffff"  # behind every key
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Place:
    """
    A row as a cursor names it.

    Attributes:
        values: What the page is ordered by; None = by key alone.
        key: Of the row.
        given: How many copies of it were given (of a table without a key).
    """

    values: list[Any]
    key: str
    given: int = 0


@dataclass(slots=True)
class Cursor:
    """
    Where to go on.

    Attributes:
        order: What the pages are ordered by; another request's cursor does not fit.
        after: The last row that was given; None = none yet.
        seen: Rows up to this key were looked through for the page to come; "" = none yet.
        best: Ids of the best of them.
        bound: See the module.
    """

    order: str
    after: Place | None = None
    seen: str = ""
    best: list[int] = field(default_factory=list)
    bound: Place | None = None

    def text(self) -> str:
        """
        Write it.
        """
        parts = [self.order, _listed(self.after), self.seen, self.best, _listed(self.bound)]
        return base64.urlsafe_b64encode(_encode(parts)).decode().rstrip("=")

    @staticmethod
    def read(text: str | None, order: str, values: int) -> Cursor:
        """
        Read it.

        Args:
            text: What a request gives.
            order: What its pages are ordered by.
            values: By how many values.

        Raises:
            InvalidRequest: It is none, or of another order.
        """
        if text is None:
            return Cursor(order)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            given, after, seen, best, bound = msgspec.json.decode(raw, type=_Written)
            if given != order:
                raise InvalidRequest(
                    "the cursor is of another order, or the order's column has got another type",
                    hint="begin without a cursor",
                )
            return Cursor(order, _place(after, values), seen, best, _place(bound, values))
        except (ValueError, msgspec.DecodeError) as exc:
            raise InvalidRequest(
                "the cursor can't be read", hint="pass `next` of the answer before, unchanged"
            ) from exc


_Listed = tuple[list[Any], str, int]
_Written = tuple[str, _Listed | None, str, list[int], _Listed | None]


def _listed(place: Place | None) -> _Listed | None:
    return None if place is None else (place.values, place.key, place.given)


def _place(listed: _Listed | None, values: int) -> Place | None:
    if listed is None:
        return None
    if len(listed[0]) != values or not all(_can_be_bound(value) for value in (*listed[0], listed[2])):
        raise ValueError("not the values of this order")
    return Place(*listed)


def _can_be_bound(value: Any) -> bool:
    return isinstance(value, str | float | None) or (isinstance(value, int) and -(2**63) <= value < 2**63)


@dataclass(slots=True)
class Found:
    """
    What a look-through came to.

    Attributes:
        rows: Id and number of copies of the rows to give, in their order.
        places: Of each of these.
        next: Where to go on; None = that was all.
        scanned: How many rows were looked at.
        is_partial: The time was up.
    """

    rows: list[tuple[int, int]]
    places: list[Place]
    next: Cursor | None
    scanned: int
    is_partial: bool


class Slices:
    """
    Cuts a table into slices in the order of its keys, as large as can be looked through in a moment.

    Args:
        conn: Sees one state of the store.
        table_id: The table.
        seen: Begin behind this key.
        first: Rows of the first slice.
        budget_s: After so long there is no further slice; None = never.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        table_id: int,
        seen: str,
        *,
        first: int,
        budget_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conn = conn
        self._table_id = table_id
        self._rows = first
        self._budget_s = budget_s
        self._clock = clock
        self.seen = seen
        self.scanned = 0
        self.is_done = False

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """
        Yield slices: behind the one key, up to the other.
        """
        began = self._clock()
        while not self.is_done:
            # Of this thread alone: on a busy machine a slice takes long because others run, and smaller ones would only cost more.
            sliced = time.thread_time()
            found = self._conn.execute(
                "SELECT key FROM tables_row WHERE table_id = ? AND key > ? ORDER BY key LIMIT 1 OFFSET ?",
                (self._table_id, self.seen, self._rows - 1),
            ).fetchone()
            end = _END if found is None else str(found[0])
            self.scanned += self._rows if found is not None else self._left()
            yield self.seen, end
            self.is_done = found is None
            self.seen = end
            if self._budget_s is not None and self._clock() - began >= self._budget_s:
                return
            took = max(time.thread_time() - sliced, SLICE_S / 4)
            self._rows = max(FIRST_SLICE // 5, min(LARGEST_SLICE, int(self._rows * SLICE_S / took)))

    def _left(self) -> int:
        counted = "SELECT COUNT(*) FROM tables_row WHERE table_id = ? AND key > ?"
        return int(self._conn.execute(counted, (self._table_id, self.seen)).fetchone()[0])


def use_index(conn: sqlite3.Connection, table_id: int, question: Question, *, has_key: bool) -> None:
    """
    Look through the index of keys alone where a question is of keys alone: several times faster.
    """
    if not has_key or question.is_plain or question.reads_rows:
        return
    gone = "SELECT COUNT(*) FROM (SELECT 1 FROM tables_row WHERE table_id = ? AND doc IS NULL LIMIT ?)"
    if conn.execute(gone, (table_id, FEW_GONE)).fetchone()[0] < FEW_GONE:
        question.copies = "1"


def in_slice(question: Question, sign: str = ">") -> str:
    """
    Return what chooses the rows of a slice, for `Question.around`.
    """
    chosen = f"table_id = :table AND key {sign} :begin AND key <= :end"
    if question.copies == "1":
        gone = "SELECT id FROM tables_row INDEXED BY tables_row_gone WHERE table_id = :table AND doc IS NULL"
        return f"FROM tables_row INDEXED BY sqlite_autoindex_tables_row_1 WHERE {chosen} AND id NOT IN ({gone})"
    return f"FROM tables_row WHERE {chosen} AND doc IS NOT NULL AND copies > 0"


def find_by_key(
    conn: sqlite3.Connection,
    table_id: int,
    question: Question,
    cursor: Cursor,
    limit: int,
    budget_s: float | None,
) -> Found:
    """
    Find rows in the order of their keys.
    """
    after = cursor.after
    given = 0 if after is None else after.given
    begin = max(cursor.seen, "" if after is None else after.key)
    first = limit + 1 if question.is_plain else FIRST_SLICE
    slices = Slices(conn, table_id, begin, first=first, budget_s=budget_s)
    rows: list[tuple[int, int]] = []
    places: list[Place] = []
    left = limit
    if given and after is not None:
        again = f"SELECT id, key, copies FROM {question.around(in_slice(question, '>='))} WHERE {question.where}"
        values = {**question.bound, "table": table_id, "begin": after.key, "end": after.key}
        for row_id, key, copies in conn.execute(again, values).fetchall():
            left -= give(rows, places, row_id, Place([], key), copies - given, left, given)
    sql = f"SELECT id, key, copies FROM {question.around(in_slice(question))} WHERE {question.where} ORDER BY key LIMIT :most"
    if left <= 0 and places:
        return Found(rows, places, Cursor(cursor.order, places[-1]), 0, False)
    for begin, end in slices:
        values = {**question.bound, "table": table_id, "begin": begin, "end": end, "most": left + 1}
        for row_id, key, copies in conn.execute(sql, values).fetchall():
            if left <= 0:
                return Found(rows, places, Cursor(cursor.order, places[-1]), slices.scanned, False)
            left -= give(rows, places, row_id, Place([], key), copies, left, 0)
            if places[-1].given:
                return Found(rows, places, Cursor(cursor.order, places[-1]), slices.scanned, False)
        if left <= 0 and end != _END:
            return Found(rows, places, Cursor(cursor.order, places[-1]), slices.scanned, False)
    following = None if slices.is_done else Cursor(cursor.order, None, slices.seen)
    return Found(rows, places, following, slices.scanned, following is not None)


def give(
    rows: list[tuple[int, int]], places: list[Place], row_id: int, place: Place, copies: int, left: int, before: int
) -> int:
    """
    Add what there is room for of a row's copies; return how many.
    """
    here = min(copies, left)
    if here <= 0:
        return 0
    rows.append((row_id, here))
    places.append(Place(place.values, place.key, before + here if here < copies else 0))
    return here


class Order:
    """
    An order by a column: rows without a value last, those with the same value by key.
    """

    def __init__(self, column: str, falling: bool, question: Question) -> None:
        kind = question.kind(column)
        self.compared: Comparison = comparison(kind, sorting=True)
        self.falling = falling
        self.prefix = question.take(column, self.compared)
        question.leave_out(self.prefix, self.compared, ":worst", falling=falling)
        self.name = f"{'-' if falling else '+'}{kind}:{column}"
        self.null = f"({self.prefix}v IS NULL)"
        self.parts = [self.null, *(named(part.sql, self.prefix) for part in self.compared.parts)]

    @property
    def by(self) -> str:
        """
        What ORDER BY says.
        """
        return f"{self.by_names(self.parts)}, key"

    def by_names(self, parts: Sequence[str]) -> str:
        """
        Return what ORDER BY says of the parts where they are called so.
        """
        ways = [self.falling != part.is_falling for part in self.compared.parts]
        named_ways = (f"{sql} {'DESC' if way else 'ASC'}" for sql, way in zip(parts[1:], ways, strict=True))
        return ", ".join([parts[0], *named_ways])

    def behind(self, question: Question, place: Place, *, inclusive: bool) -> str:
        """
        Return the condition that a row comes behind a place.
        """
        last = f"key {'>=' if inclusive else '>'} {question.bind(place.key)}"
        return behind(
            question, self.prefix, self.compared, place.values, falling=self.falling, last=last, null=self.null
        )


def find_by_column(
    conn: sqlite3.Connection,
    table_id: int,
    question: Question,
    order: Order,
    cursor: Cursor,
    limit: int,
    budget_s: float | None,
) -> Found:
    """
    Find rows in the order of a column.
    """
    most = min(limit, SORTED_ROWS) + 1
    after, bound = cursor.after, cursor.bound
    conditions = [question.where]
    if after is not None:
        conditions.append(order.behind(question, after, inclusive=after.given > 0))
    if bound is not None:
        conditions.append(f"NOT {order.behind(question, bound, inclusive=False)}")
    best = (
        "FROM tables_row NOT INDEXED WHERE id IN (SELECT value FROM json_each(:best)) AND table_id = :table AND key <= :begin"
        " AND doc IS NOT NULL AND copies > 0"
    )
    sql = (
        f"SELECT id, key, copies, {rough_of(order.compared, order.prefix)}, {', '.join(order.parts)} FROM {question.around(in_slice(question), best)}"
        f" WHERE {' AND '.join(conditions)} ORDER BY {order.by} LIMIT :most"
    )
    slices = Slices(conn, table_id, cursor.seen, first=max(FIRST_SLICE, most), budget_s=budget_s)
    ids, got, worst = cursor.best, [], None
    for begin, end in slices:
        values = {**question.bound, "table": table_id, "begin": begin, "end": end, "most": most, "worst": worst}
        got = conn.execute(sql, {**values, "best": _encode(ids).decode()}).fetchall()
        ids = [row[0] for row in got]
        if len(got) == most:
            bound = Place(list(got[-1][4:]), got[-1][1])
            worst = limit_of(order.compared, got[-1][3], falling=order.falling)
    if not slices.is_done:
        return Found([], [], Cursor(cursor.order, after, slices.seen, ids, bound), slices.scanned, True)
    rows: list[tuple[int, int]] = []
    places: list[Place] = []
    left = most - 1
    for row_id, key, copies, _, *parts in got:
        before = after.given if after is not None and (after.key, after.values) == (key, parts) else 0
        left -= give(rows, places, row_id, Place(parts, key), copies - before, left, before)
        if left <= 0:
            break
    is_all = bound is None and len(rows) == len(got) and not (places and places[-1].given)
    following = None if is_all else Cursor(cursor.order, places[-1] if places else after)
    return Found(rows, places, following, slices.scanned, False)


def count(
    conn: sqlite3.Connection, table_id: int, question: Question, cursor: Cursor, budget_s: float | None
) -> tuple[int, Cursor | None, int]:
    """
    Count rows; return how many there are, where to go on, and how many were looked at.
    """
    slices = Slices(conn, table_id, cursor.seen, first=FIRST_SLICE, budget_s=budget_s)
    sql = f"SELECT COALESCE(SUM(copies), 0) FROM {question.around(in_slice(question))} WHERE {question.where}"
    counted = 0
    for begin, end in slices:
        values = {**question.bound, "table": table_id, "begin": begin, "end": end}
        counted += conn.execute(sql, values).fetchone()[0]
    return counted, None if slices.is_done else Cursor(cursor.order, None, slices.seen), slices.scanned
