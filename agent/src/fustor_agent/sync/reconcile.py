"""
Chunk windows: what the live stream touched after a chunk's low watermark L is taken out of the chunk.

A row whose key was touched after L by a whole row or a delete is dropped: the stream carries it. Was it touched by partial
updates only, the chunk's row supplies the columns that they lack. What is left is true at the stream's present point.

Invariant: every touch with an index > `floor` since `start` is remembered. A chunk with L < `floor` can't be
reconciled and has to be read again. So does a chunk of a table whose rows changed untold after its L: what the stream said of
them before is not the truth any more, and the chunk must not give way to it. Where the table is read again later in any case, the chunk goes
out with indexes as old as what it shows, so that the sweep of that reading takes away what went.

Rows with ordinals are left as they are: their chunk shows the table exactly as it was at L, and the consumer adds what came after. Only
the stream must not begin behind L (`stream_floor`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fustor_agent.sync.keys import TableId, is_partial, key_shape, row_dicts, row_keys, table_of
from fustor_core.models.event import EventBase, Row

Touches = int | tuple[int, list[tuple[int, dict[str, Any]]]]
"""
What touched a key: index of the newest whole row or delete (-1 = none), and the partial updates after it: index and columns. Just
the index when there are none, which is nearly always: a long snapshot remembers very many.
"""


@dataclass(slots=True)
class Reconciled:
    """
    What is left of some rows of a chunk.

    Attributes:
        untouched: As they were read.
        merged: Completed with what partial updates carried, as dicts.
        merged_at: Index of the newest partial update in each of them.
        dropped: How many the stream carries instead.
    """

    untouched: Sequence[Row]
    merged: list[dict[str, Any]] = field(default_factory=list)
    merged_at: list[int] = field(default_factory=list)
    dropped: int = 0


class TouchedLog:
    """
    Remembers which keys the live stream touched while a snapshot runs.

    Args:
        limit: Most touches remembered.
    """

    def __init__(self, limit: int) -> None:
        self.floor = -1
        self.stream_floor = -1
        self.recording = False
        self._limit = limit
        self._tables: dict[TableId, dict[Hashable, Touches]] = {}
        self._shapes: dict[TableId, set[tuple[str, ...]]] = {}
        self._untold: dict[TableId, int] = {}
        self._owed: dict[TableId, int] = {}
        self._count = 0
        self._newest = -1

    def start(self, last_seen: int) -> None:
        """
        Record from now on; `last_seen` is the newest index already delivered.
        """
        self.clear(last_seen)
        self.recording = True

    def stop(self) -> None:
        """
        Forget everything.
        """
        self.clear(-1)
        self._untold.clear()
        self._owed.clear()
        self.recording = False

    def clear(self, floor: int) -> None:
        """
        Forget touches up to `floor`, which is all of them.
        """
        self._tables.clear()
        self._shapes.clear()
        self._count = 0
        self._newest = -1
        self.floor = floor

    def raise_floor(self, floor: int) -> None:
        """
        Nothing at or below `floor` was seen.
        """
        self.floor = max(self.floor, floor)
        self.stream_floor = max(self.stream_floor, floor)

    def is_too_old(self, chunk: EventBase) -> bool:
        """
        Tell whether changes may be missing both from a chunk and from what is remembered of the stream.
        """
        floor = self.floor if chunk.ordinal is None else self.stream_floor
        return chunk.index < max(floor, self._untold.get(table_of(chunk), -1))

    def untold(self, table: TableId, index: int) -> None:
        """
        Rows of a table changed up to `index` without being told.
        """
        self._untold[table] = max(index, self._untold.get(table, -1))

    def owed(self, table: TableId, index: int) -> None:
        """
        Rows of one table may have changed up to `index` without being told; it will be read again in any case.
        """
        self._owed[table] = max(index, self._owed.get(table, -1))

    def may_hold_old(self, chunk: EventBase) -> bool:
        """
        Tell whether the chunk may show rows that have changed or gone since it was read, untold.
        """
        return chunk.index < self._owed.get(table_of(chunk), -1)

    def record(self, event: EventBase) -> None:
        """
        Take a live event.
        """
        if not self.recording or event.ordinal is not None:
            return
        table = table_of(event)
        touched = self._tables.setdefault(table, {})
        self._shapes.setdefault(table, set()).add(key_shape(event))
        before = len(touched)
        if is_partial(event):
            for key, row in zip(row_keys(event), row_dicts(event), strict=True):
                touches = touched.get(key, -1)
                if isinstance(touches, int):
                    touches = touched[key] = (touches, [])
                touches[1].append((event.index, row))
            self._count += len(event.rows)
            self._newest = max(self._newest, event.index)
        elif event.index >= self._newest:
            # What came before a whole row never matters again.
            self._newest = event.index
            touched.update(dict.fromkeys(row_keys(event), event.index))
            self._count += len(touched) - before
        else:
            # Repeated after the stream was opened again: what is remembered may be newer.
            for key in row_keys(event):
                touches = touched.get(key, -1)
                if isinstance(touches, int):
                    touched[key] = max(touches, event.index)
                else:
                    touched[key] = (max(touches[0], event.index), touches[1])
            self._count += len(touched) - before

    @property
    def is_full(self) -> bool:
        """
        Whether more is remembered than allowed: time to `prune`.
        """
        return self._count > self._limit

    def prune(self, oldest_low: int, last_seen: int) -> None:
        """
        Forget what no open chunk needs (touches at or below `oldest_low`); is that not enough, forget all.
        """
        count = 0
        for table, touched in list(self._tables.items()):
            kept: dict[Hashable, Touches] = {}
            for key, touches in touched.items():
                if isinstance(touches, int):
                    if touches > oldest_low:
                        kept[key] = touches
                        count += 1
                    continue
                whole, partial = touches
                newer = [one for one in partial if one[0] > oldest_low]
                if newer or whole > oldest_low:
                    kept[key] = (whole, newer) if newer else whole
                    count += 1 + len(newer)
            self._tables[table] = kept
        self._count = count
        self.floor = max(self.floor, oldest_low)
        if count > self._limit // 2:
            self.clear(last_seen)

    def reconcile(self, event: EventBase, rows: Sequence[Row], low: int) -> Reconciled:
        """
        Take out of a chunk's rows what was touched after `low`.
        """
        touched = self._tables.get(table_of(event))
        if not touched or event.ordinal is not None:
            return Reconciled(rows)  # the normal case costs nothing per row
        part = event if rows is event.rows else _slice(event, rows)
        if self._shapes[table_of(event)] != {key_shape(event)}:
            # The live path names rows differently (no key there): compare by the chunk's own key is impossible.
            return self._reconcile_by_overlap(part, low)
        untouched: list[Row] = []
        merged: list[dict[str, Any]] = []
        merged_at: list[int] = []
        dropped = 0
        dicts: list[dict[str, Any]] | None = None
        for at, key in enumerate(row_keys(part)):
            touches = touched.get(key, -1)
            whole, partial = (touches, ()) if isinstance(touches, int) else touches
            if whole > low:
                dropped += 1
                continue
            newer = [one for one in partial if one[0] > low]
            if not newer:
                untouched.append(rows[at])
                continue
            dicts = dicts or row_dicts(part)
            row = dicts[at]
            for _, columns in newer:
                row.update(columns)
            merged.append(row)
            merged_at.append(max(index for index, _ in newer))
        return Reconciled(untouched, merged, merged_at, dropped)

    def _reconcile_by_overlap(self, part: EventBase, low: int) -> Reconciled:
        # Dropping a row that was not touched would lose it, keeping a touched one could bring back an old one.
        raise KeyShapeMismatch(
            f"live events and chunks of {part.event_schema}.{part.table} do not name the same key: "
            f"{sorted(self._shapes[table_of(part)])!r} and {key_shape(part)!r}"
        )


class KeyShapeMismatch(ValueError):
    """
    A driver's live events and chunks disagree on the key of a table.
    """


def _slice(event: EventBase, rows: Sequence[Row]) -> EventBase:
    return EventBase(event.event_type, event.event_schema, event.table, rows, event.fields, event.index, key=event.key)
