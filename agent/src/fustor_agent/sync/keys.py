"""
Which row an event speaks of: keys of rows, the same for live events and chunks.

The key of a row is a scalar for one key field and a tuple for several. A table without a key has its full row as key; are its rows
numbered (`EventBase.ordinal`), the consumer settles each by its number, and none has to wait for another.
Invariant: two events of one table with the same `key_shape` give equal keys for the same row.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from operator import itemgetter
from typing import Any

from fustor_core.models.event import EventBase, EventType

TableId = tuple[str, str]


def table_of(event: EventBase) -> TableId:
    """
    Return schema and table.
    """
    return (event.event_schema, event.table)


def name_of(event: EventBase) -> str:
    """
    Return the name of an event's table as snapshots are narrowed by it: `schema.table`.
    """
    return full_name(*table_of(event))


def full_name(schema: str, table: str) -> str:
    """
    Return the same of a schema and a table.
    """
    return f"{schema}.{table}" if schema else table


def key_shape(event: EventBase) -> tuple[str, ...]:
    """
    Return the fields that make the key of an event's rows.
    """
    return event.key if event.key else tuple(sorted(event.fields))


def row_keys(event: EventBase) -> list[Hashable]:
    """
    Return the keys of an event's rows, in their order.
    """
    rows = event.rows
    if not rows:
        return []
    if isinstance(rows[0], Mapping):
        if event.key is None or not event.key:
            keys: list[Any] = [tuple(row[name] for name in sorted(row)) for row in rows]
        else:
            keys = list(map(itemgetter(*event.key), rows))
    else:
        at = [event.fields.index(name) for name in key_shape(event)]
        keys = list(map(itemgetter(*at), rows))
    try:
        hash(keys[0])
    except TypeError:
        return [repr(key) for key in keys]
    return keys


def row_dicts(event: EventBase) -> list[dict[str, Any]]:
    """
    Return an event's rows as dicts.
    """
    if event.rows and isinstance(event.rows[0], Mapping):
        return [dict(row) for row in event.rows]
    return [dict(zip(event.fields, row, strict=True)) for row in event.rows]


def is_partial(event: EventBase) -> bool:
    """
    Tell whether columns may be missing: an update that is not known to carry all of them.
    """
    if event.event_type is not EventType.UPDATE:
        return False
    if event.columns is None or not event.rows:
        return True
    if isinstance(event.rows[0], Mapping):
        return any(not event.columns.keys() <= row.keys() for row in event.rows)  # type: ignore[union-attr]
    return not event.columns.keys() <= set(event.fields)


def with_rows(event: EventBase, rows: Any, *, index: int | None = None, skipped: int = 0) -> EventBase:
    """
    Return a copy of an event with other rows (and another index); of its own rows, those before the first are `skipped`.
    """
    return EventBase(
        event.event_type,
        event.event_schema,
        event.table,
        rows,
        None if rows and isinstance(rows[0], Mapping) else event.fields,
        event.index if index is None else index,
        key=event.key,
        ts=event.ts,
        columns=event.columns,
        ordinal=event.ordinal_after(skipped),
    )
