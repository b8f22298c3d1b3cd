"""
Snapshots of tables without a key, filtered: rows are numbered, and the table's end says how many there were.

A reading is made at one place, in one order, from its first row on; so what a filter leaves is numbered anew as it is read, chunk by
chunk, and the number at the end is that of the rows that were left.
"""

from __future__ import annotations

from collections.abc import Callable

from fustor_agent.transforms.alignment import aligned
from fustor_agent.transforms.plan import Plan
from fustor_core.models.event import EventBase, Row

PlanOf = Callable[[EventBase, tuple[str, ...]], Plan]


class KeylessReadings:
    """
    Numbers the rows that filters leave of tables without a key.

    Args:
        plan_of: Returns the plan for an event whose rows have these fields; it has the filters.
    """

    def __init__(self, plan_of: PlanOf) -> None:
        self._plan_of = plan_of
        self._dropped: dict[tuple[str, str], int] = {}

    def chunk(self, event: EventBase) -> EventBase | None:
        """
        Return a chunk without the rows that don't pass; None = none is left.
        """
        table = (event.event_schema, event.table)
        ordinal = event.ordinal or 0
        if ordinal == 0:
            self._dropped[table] = 0
        left = self._left(event) if event.rows else []
        made = EventBase(
            event.event_type,
            event.event_schema,
            event.table,
            left,
            event.fields,
            event.index,
            key=event.key,
            ts=event.ts,
            columns=event.columns,
            resume_token=event.resume_token,
            ordinal=ordinal - self._dropped.get(table, 0),
        )
        self._dropped[table] = self._dropped.get(table, 0) + len(event.rows) - len(left)
        return made if left or not event.rows else None

    def _left(self, event: EventBase) -> list[Row]:
        left: list[Row] = []
        for fields, rows in aligned(event):
            kept = self._plan_of(event, fields).keeps(rows)
            left += [row for row, stays in zip(rows, kept, strict=True) if stays]
        return left
