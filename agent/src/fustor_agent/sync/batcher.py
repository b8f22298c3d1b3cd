"""
Sizes: what an event weighs, and where a push is cut.

Bytes are estimated from a few rows; the estimate bounds memory and the size of a push, nothing depends on it being exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fustor_core.models.event import EventBase, Row

_SAMPLE = 4


def row_bytes(row: Any) -> int:
    """
    Estimate the bytes of one row.
    """
    values = row.values() if isinstance(row, Mapping) else row
    size = 24 + 12 * len(values)
    for value in values:
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is dict or kind is list:
            size += len(repr(value))
    return size


def rows_bytes(rows: Sequence[Row]) -> int:
    """
    Estimate the bytes of some rows from a sample spread over them.
    """
    count = len(rows)
    if count <= _SAMPLE:
        return sum(map(row_bytes, rows))
    step = count // _SAMPLE
    sample = sum(row_bytes(rows[at * step]) for at in range(_SAMPLE))
    return sample * count // _SAMPLE


def event_bytes(event: EventBase) -> int:
    """
    Estimate the bytes of an event.
    """
    return 64 + rows_bytes(event.rows)


def events_bytes(events: Sequence[EventBase]) -> int:
    """
    Estimate the bytes of some events from a sample spread over them.
    """
    step = max(1, len(events) // _SAMPLE)
    sample = events[::step]
    return sum(map(event_bytes, sample)) * len(events) // max(1, len(sample))


def rows_that_fit(rows: Sequence[Row], max_rows: int, max_bytes: int) -> int:
    """
    Tell how many of the rows go into one push; at least one.
    """
    count = min(len(rows), max_rows)
    size = rows_bytes(rows)
    if size > max_bytes:
        count = min(count, max(1, len(rows) * max_bytes // size))
    return max(count, 1)
