"""
Gathering rows of a log into events: what comes one after the other, of one table and changed in the same way, becomes one event.

For drivers whose source tells rows one by one. Rows of several transactions may come together; the event then carries the newest
index, which only widens what a chunk of a snapshot leaves to the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from fustor_core.models.event import EventBase, EventType


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
        Names of its key.
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
        kind, source, fields, rows, index, ts: Of the event that grows; no rows = there is none. A driver's hot path may append to
            `rows` itself when all else is the same and there are fewer than `most`.
        most: Most rows of an event.
    """

    __slots__ = ("fields", "index", "kind", "most", "out", "rows", "source", "ts")

    def __init__(self, out: deque[EventBase], most: int) -> None:
        self.out = out
        self.most = most
        self.kind = EventType.INSERT
        self.source: TableOfRows | None = None
        self.fields: tuple[str, ...] = ()
        self.rows: list[Any] = []
        self.index = -1
        self.ts: float | None = None

    def add(
        self,
        kind: EventType,
        source: TableOfRows,
        fields: tuple[str, ...],
        rows: list[Any],
        index: int,
        ts: float | None,
    ) -> None:
        """
        Take rows. `rows` may be kept and added to.
        """
        grown = self.rows
        if grown and kind is self.kind and source is self.source and fields == self.fields and len(grown) < self.most:
            grown += rows
        else:
            self.flush()
            self.kind, self.source, self.fields, self.rows = kind, source, fields, rows
        self.index = index
        self.ts = ts

    def flush(self) -> None:
        """
        Make an event of what was gathered.
        """
        rows, source = self.rows, self.source
        if not rows or source is None:
            return
        self.rows = []
        event = EventBase(
            self.kind,
            source.schema,
            source.table,
            rows,
            self.fields,
            self.index,
            key=source.key,
            ts=self.ts,
            columns=None if self.kind is EventType.DELETE else source.columns,
        )
        self.out.append(event)
