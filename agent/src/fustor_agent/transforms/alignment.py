"""
The rows of an event as sequences, whatever the driver made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fustor_core.models.event import EventBase


def aligned(event: EventBase) -> Iterator[tuple[tuple[str, ...], Sequence[Sequence[Any]]]]:
    """
    Yield the rows as sequences with the fields they have, in their order.
    """
    rows = event.rows
    if not rows or not isinstance(rows[0], Mapping):
        yield event.fields, rows  # type: ignore[misc]  # rows of one event are of one kind
        return
    fields: tuple[str, ...] = ()
    part: list[Sequence[Any]] = []
    for row in rows:
        assert isinstance(row, Mapping)
        names = tuple(row)
        if names != fields:
            if part:
                yield fields, part
            fields, part = names, []
        part.append(tuple(row.values()))
    yield fields, part
