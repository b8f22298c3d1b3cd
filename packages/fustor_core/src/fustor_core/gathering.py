"""
Gathering rows of a log into events: what comes one after the other, of one table and changed in the same way, becomes one event.

For drivers whose source tells rows one by one. Rows of several transactions may come together; the event then carries the newest
index, which only widens what a chunk of a snapshot leaves to the stream. Not so for tables without a key: there each row has an
ordinal, and the rows of one event are of one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from fustor_core.models.event import EventBase, EventType

Place = tuple[int, float | None]
"""
What rows carry: their index, and the time of their commit in epoch seconds.
"""


class TableOfRows(Protocol):
    """
    A table as the log tells it at one place: how its rows are labelled.
    """

    @property
    def schema(self) -> str:
        """
        Its schema.
        """
        ...

    @property
    def table(self) -> str:
        """
        Its name.
        """
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """
        Names of its key; empty when nothing identifies a row.
        """
        ...

    @property
    def columns(self) -> Mapping[str, Any]:
        """
        Its columns' types.
        """
        ...


class RowGatherer:
    """
    Gathers rows; whole events go to `out`.

    Attributes:
        out: Where events go.
        kind, source, fields, rows, index, ts: Of the event that grows; no rows = there is none.
        ordinal: Of the first of `rows`; None when the table has a key.
        most: Most rows of an event.
    """

    __slots__ = (
        "_counted",
        "_counted_index",
        "fields",
        "index",
        "kind",
        "most",
        "ordinal",
        "out",
        "rows",
        "source",
        "ts",
    )

    def __init__(self, out: deque[EventBase], most: int) -> None:
        self.out = out
        self.most = most
        self.kind = EventType.INSERT
        self.source: TableOfRows | None = None
        self.fields: tuple[str, ...] = ()
        self.rows: list[Any] = []
        self.index = -1
        self.ts: float | None = None
        self.ordinal: int | None = None
        self._counted: dict[tuple[str, str], int] = {}
        self._counted_index = -1

    def rows_for(self, kind: EventType, source: TableOfRows, fields: tuple[str, ...], place: Place) -> list[Any]:
        """
        Return the list that rows of a table with a key are to be appended to, before anything else is asked of the gatherer: a
        driver's hot path reads them straight into the event that grows, or into a new one.
        """
        rows = self.rows
        if not (0 < len(rows) < self.most and kind is self.kind and source is self.source and fields == self.fields):
            self.flush()
            self.kind, self.source, self.fields = kind, source, fields
            rows = self.rows = []
        self.index, self.ts = place
        return rows

    def add(self, kind: EventType, source: TableOfRows, fields: tuple[str, ...], rows: list[Any], place: Place) -> None:
        """
        Take rows.
        """
        if source.key:
            self.rows_for(kind, source, fields, place).extend(rows)
        else:
            self._add_keyless(kind, source, fields, rows, place)

    def _add_keyless(
        self, kind: EventType, source: TableOfRows, fields: tuple[str, ...], rows: list[Any], place: Place
    ) -> None:
        index = place[0]
        # Invariant 9: (index, ordinal) names a row the same each time the log is read: counted from the transaction's beginning.
        if index != self._counted_index:
            self._counted_index = index
            self._counted.clear()
        table = (source.schema, source.table)
        ordinal = self._counted.get(table, 0)
        self._counted[table] = ordinal + len(rows)
        same = kind is self.kind and source is self.source and fields == self.fields and index == self.index
        follows = self.ordinal is not None and self.ordinal + len(self.rows) == ordinal
        if self.rows and same and follows and len(self.rows) < self.most:
            self.rows += rows
            return
        self.flush()
        self.kind, self.source, self.fields, self.rows = kind, source, fields, rows
        self.index, self.ts = place
        self.ordinal = ordinal

    def flush(self) -> None:
        """
        Make an event of what was gathered.
        """
        rows, source = self.rows, self.source
        if not rows or source is None:
            return
        self.rows = []
        ordinal, self.ordinal = self.ordinal, None
        event = EventBase(
            self.kind,
            source.schema,
            source.table,
            rows,
            self.fields,
            self.index,
            key=source.key or None,
            ts=self.ts,
            columns=None if self.kind is EventType.DELETE and source.key else source.columns,
            ordinal=ordinal,
        )
        self.out.append(event)
