"""
Rows of a log become events; those of tables without a key are numbered within their transaction.
"""

from collections import deque
from types import SimpleNamespace
from typing import Any, cast

from fustor_core.gathering import RowGatherer, TableOfRows
from fustor_core.models.event import EventBase, EventType

INSERT, DELETE = EventType.INSERT, EventType.DELETE


def table(name: str, *key: str) -> TableOfRows:
    return cast(TableOfRows, SimpleNamespace(schema="s", table=name, key=key, columns={"a": {"type": "integer"}}))


def gathered(most: int, *rows: tuple[EventType, TableOfRows, int, int]) -> list[EventBase]:
    out: deque[EventBase] = deque()
    gatherer = RowGatherer(out, most)
    for kind, source, index, a in rows:
        gatherer.add(kind, source, ("a",), [(a,)], (index, None))
    gatherer.flush()
    return list(out)


def told(events: list[EventBase]) -> list[tuple[Any, ...]]:
    return [(one.event_type.value, one.index, one.ordinal, [row[0] for row in one.rows]) for one in events]


def test_rows_with_a_key_come_together_over_transactions() -> None:
    """The event carries the newest index, and no ordinals."""
    keyed = table("t", "a")
    assert told(gathered(10, (INSERT, keyed, 1, 1), (INSERT, keyed, 3, 2))) == [("insert", 3, None, [1, 2])]


def test_rows_are_read_straight_into_the_event_that_fits_them() -> None:
    """Rows of the same shape join the event that grows until it is full; others begin one, and what came before has left."""
    t, u = table("t", "a"), table("u", "a")
    out: deque[EventBase] = deque()
    gatherer = RowGatherer(out, most=3)
    gatherer.add(INSERT, t, ("a",), [(1,)], (1, None))

    grown = gatherer.rows_for(INSERT, t, ("a",), (3, 0.5))
    grown += [(2,), (3,)]
    gatherer.rows_for(INSERT, t, ("a",), (5, None)).append((4,))
    gatherer.rows_for(INSERT, u, ("a",), (7, None)).append((5,))
    gatherer.rows_for(DELETE, u, ("a",), (9, None)).append((6,))
    gatherer.flush()

    assert told(list(out)) == [
        ("insert", 3, None, [1, 2, 3]), ("insert", 5, None, [4]), ("insert", 7, None, [5]), ("delete", 9, None, [6]),
    ]  # fmt: skip
    assert [(one.table, one.ts) for one in out] == [("t", 0.5), ("t", None), ("u", None), ("u", None)]


def test_rows_without_a_key_are_numbered_within_their_transaction() -> None:
    """One event never holds rows of two; each table counts for itself, inserts and deletes alike."""
    t, u, keyed = table("t"), table("u"), table("k", "a")
    events = gathered(
        2, (INSERT, t, 1, 1), (INSERT, t, 1, 1), (INSERT, t, 1, 2), (DELETE, t, 1, 1), (INSERT, u, 1, 9), (INSERT, keyed, 1, 5),
        (INSERT, t, 1, 3), (INSERT, t, 3, 1),
    )  # fmt: skip
    assert told(events) == [
        ("insert", 1, 0, [1, 1]), ("insert", 1, 2, [2]), ("delete", 1, 3, [1]), ("insert", 1, 0, [9]), ("insert", 1, None, [5]),
        ("insert", 1, 4, [3]), ("insert", 3, 0, [1]),
    ]  # fmt: skip
    assert all(event.key is None and event.columns for event in events if event.ordinal is not None)
