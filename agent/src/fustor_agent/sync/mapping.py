"""
Field mapping: choose and rename columns on their way to the pusher (`SyncConfig.fields_mapping`).

A field of the target takes its value from the first of its sources (`table.field`) that the row's table has. Of a table that
the mapping names, only mapped fields and the key are sent; a table it does not name is sent as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from fustor_agent.sync.keys import row_dicts
from fustor_core.errors import RowRejected
from fustor_core.models.config import FieldMapping
from fustor_core.models.event import EventBase, EventType


class Mapper:
    """
    Applies the mapping of one sync.
    """

    def __init__(self, mappings: Sequence[FieldMapping]) -> None:
        self._tables: dict[str, list[tuple[str, str, bool]]] = {}
        for mapping in mappings:
            seen: set[str] = set()
            for source in mapping.source:
                table, _, name = source.rpartition(".")
                if table not in seen:
                    seen.add(table)
                    self._tables.setdefault(table, []).append((name, mapping.to, mapping.required))

    def apply(self, events: list[EventBase]) -> list[EventBase]:
        """
        Return the events with mapped columns.

        Raises:
            RowRejected: A new row lacks a required field.
        """
        if not self._tables:
            return events
        return [self._event(event) for event in events]

    def _event(self, event: EventBase) -> EventBase:
        wanted = self._tables.get(event.table)
        if not wanted or not event.rows:
            return event
        names = {source: to for source, to, _ in wanted}
        for name in event.key or ():
            names.setdefault(name, name)
        rows = []
        for row in row_dicts(event):
            if event.event_type is EventType.INSERT:
                for source, to, required in wanted:
                    if required and row.get(source) is None:
                        raise RowRejected(
                            f"a row of {event.table!r} has no value for {source!r}, which {to!r} requires",
                            hint="mend the row at the source, or make the field optional in fields_mapping",
                        )
            rows.append({names[name]: value for name, value in row.items() if name in names})
        columns = event.columns and {names[n]: kind for n, kind in event.columns.items() if n in names}
        return EventBase(
            event.event_type,
            event.event_schema,
            event.table,
            rows,
            index=event.index,
            key=event.key and [names[name] for name in event.key],
            ts=event.ts,
            columns=columns,
        )
