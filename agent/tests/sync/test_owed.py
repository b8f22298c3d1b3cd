"""
Rows that are owed whole, step by step: when they are read, what of a read counts, what is given up, and what is settled by it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fustor_agent.sync.checkpoint import AckTracker, Unit
from fustor_agent.sync.counters import Counters
from fustor_agent.sync.gap_pace import GapPace
from fustor_agent.sync.owed import OwedRows, RowsOrder, RowsRead
from fustor_agent.sync.settings import SyncSettings
from fustor_core.models.event import DeleteEvent, EventBase, InsertEvent, UpdateEvent, progress_mark

SETTINGS = SyncSettings(owed_rows=10, owed_at_once=4, owed_linger_s=1.0, owed_bytes=100_000)


class Bench:
    """
    Rows of one table, with a clock and a tracker.
    """

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        self.tracker = AckTracker()
        self.rows = OwedRows(replace(SETTINGS, **settings), lambda: self.now, Counters())

    def owe(self, index: int, *ids: int, **columns: Any) -> Unit:
        event = UpdateEvent("s", "t", [{"id": n, **columns} for n in ids], index=index, key=("id",))
        unit = self.tracker.event(index)
        assert self.rows.told(event)
        self.rows.owe(event, unit, range(len(ids)))
        return unit

    def told(self, event: EventBase) -> None:
        assert self.rows.told(event)

    def order(self) -> RowsOrder:
        self.now += 5.0
        order = self.rows.order()
        assert order is not None
        return order

    def read(self, order: RowsOrder, low: int, high: int, *rows: dict[str, Any]) -> None:
        events: list[EventBase] = [progress_mark(low)]
        if rows:
            fields = tuple(rows[0])
            aligned = [tuple(row.values()) for row in rows]
            events.append(InsertEvent("s", "t", aligned, fields, low, key=("id",)))
        self.rows.read(order, RowsRead(events, high))

    def sent(self, passed: int, *, at_once: bool = False) -> list[tuple[int, dict[str, Any]]]:
        found = []
        while (released := self.rows.release(passed, passed, at_once=at_once)) is not None:
            assert released.given_up is None
            for event, units in released.events:
                assert len(units) == len(event.rows)
                found += [(event.index, dict(zip(event.fields, row, strict=True))) for row in event.rows]  # type: ignore[arg-type]
        return found


def test_rows_wait_for_others_and_are_read_together() -> None:
    bench = Bench()
    bench.owe(1, 1, 2, a=0)
    assert bench.rows.order() is None and bench.rows.wait_s == 1.0
    bench.owe(2, 2, 3, a=0)
    bench.now = 1.0
    order = bench.rows.order()
    assert order is not None and order.keys == [(1,), (2,), (3,)], "each once"
    bench.owe(3, 4, 5, 6, 7, 8, a=0)
    assert bench.rows.order() is None, "one at a time"
    bench.read(order, 3, 3)
    full = bench.rows.order()
    assert full is not None and full.keys == [(4,), (5,), (6,), (7,)], "as many as fit do not wait"


def test_a_read_is_held_until_the_stream_has_passed_it_and_takes_what_that_told() -> None:
    bench = Bench()
    unit = bench.owe(5, 1, 2, a=1)
    order = bench.order()
    bench.told(UpdateEvent("s", "t", [{"id": 1, "b": "newer"}], index=7, key=("id",)))
    bench.read(order, 6, 8, {"id": 1, "a": 1, "b": "old"}, {"id": 2, "a": 1, "b": "x"})
    assert bench.sent(7) == []
    bench.told(DeleteEvent("s", "t", [{"id": 2}], index=8, key=("id",)))
    assert bench.sent(8) == [(8, {"id": 1, "a": 1, "b": "newer"})]
    assert bench.rows.count == 0
    assert unit.pending == 2, "its own part, and the row that was sent and is not acknowledged"


def test_a_read_from_before_the_event_is_done_again() -> None:
    bench = Bench()
    bench.owe(5, 1, a=1)
    bench.owe(9, 2, a=1)
    order = bench.order()
    bench.read(order, 6, 6, {"id": 1, "a": 1}, {"id": 2, "a": 0})
    assert bench.sent(9) == [(9, {"id": 1, "a": 1})]
    assert bench.order().keys == [(2,)]


def test_a_row_that_was_owed_anew_meanwhile_is_not_settled_by_the_old_read() -> None:
    bench = Bench()
    bench.owe(5, 1, a=1)
    order = bench.order()
    bench.read(order, 5, 9, {"id": 1, "a": 1})
    bench.told(InsertEvent("s", "t", [{"id": 1, "a": 2}], index=7, key=("id",)))
    bench.owe(8, 1, b=3)
    assert bench.sent(9) == [] and bench.order().keys == [(1,)]


def test_a_row_that_is_not_found_and_was_not_deleted_has_its_table_read_again() -> None:
    bench = Bench()
    bench.owe(5, 1, 2, a=1)
    bench.read(bench.order(), 6, 8)
    bench.told(DeleteEvent("s", "t", [{"id": 2}], index=7, key=("id",)))
    assert bench.rows.release(7, 7, at_once=False) is None
    released = bench.rows.release(8, 8, at_once=False)
    assert released is not None and released.given_up == ("s", "t") and released.events == []


def test_what_is_forgotten_is_settled_also_what_is_still_being_read() -> None:
    bench = Bench()
    unit = bench.owe(5, 1, 2, a=1)
    order = bench.order()
    bench.rows.forget(("s", "t"))
    assert unit.pending == 1 and bench.rows.count == 0 and bench.rows.wait_s > 1
    bench.owe(6, 1, a=1)
    bench.read(order, 9, 9, {"id": 1, "a": 1})
    assert bench.sent(9) == [], "it was not asked for by those who are owed now"
    assert bench.order().keys == [(1,)]


def test_a_table_whose_key_is_another_one_is_said() -> None:
    bench = Bench()
    bench.owe(5, 1, a=1)
    assert not bench.rows.told(UpdateEvent("s", "t", [{"id": 1, "k": 1}], index=6, key=("k",)))
    bench.rows.forget(("s", "t"))
    assert bench.rows.told(UpdateEvent("s", "t", [{"id": 1, "k": 1}], index=6, key=("k",)))


def test_a_full_table_of_owed_rows_lets_them_go_at_once() -> None:
    bench = Bench()
    bench.owe(5, *range(10), a=1)
    assert bench.rows.is_full
    bench.read(bench.order(), 5, 1000, *({"id": n, "a": 2} for n in range(4)))
    assert bench.sent(5) == []
    assert bench.sent(5, at_once=True) == [(5, {"id": n, "a": 2}) for n in range(4)]
    assert not bench.rows.is_full


def test_large_rows_are_read_in_smaller_parts() -> None:
    bench = Bench()
    for turn, count in enumerate([4, 2, 1, 1]):
        bench.owe(5 + turn, *range(4), a=1)
        order = bench.order()
        assert len(order.keys) == count
        bench.read(order, 10, 10, *({"id": n, "a": "x" * 40_000} for (n,) in order.keys))
        bench.sent(10)
        bench.rows.forget(None)
    bench.owe(20, *range(4), a=1)
    bench.read(bench.order(), 20, 20, {"id": 0, "a": "small"})
    bench.sent(20)
    assert len(bench.order().keys) == 2, "and in larger ones again"


@pytest.mark.parametrize("failing", [True, False])
def test_reads_in_vain_wait_longer_and_longer(failing: bool) -> None:
    bench = Bench()
    bench.owe(5, 1, a=1)
    for _ in range(11):
        order = bench.order()
        if failing:
            bench.rows.read_failed(order)
        else:
            bench.read(order, 4, 4)
        assert bench.rows.order() is None and bench.rows.wait_s > 0
    assert bench.rows.is_in_vain and bench.rows.tables == [("s", "t")]
    bench.now += 5
    bench.read(bench.order(), 5, 5, {"id": 1, "a": 1})
    assert not bench.rows.is_in_vain and bench.sent(5)


def test_tables_are_read_again_for_a_part_of_the_time_only() -> None:
    now = 0.0
    pace = GapPace(10.0, lambda: now)
    assert not pace.is_due(is_busy=True)
    assert pace.is_due(is_busy=False), "the first at once"
    pace.begun()
    now = 2.0
    assert not pace.is_due(is_busy=True)
    assert not pace.is_due(is_busy=False), "it has just ended"
    now = 11.9
    assert not pace.is_due(is_busy=False)
    now = 12.0
    assert pace.is_due(is_busy=False)
    pace.begun()
    now = 112.0
    assert not pace.is_due(is_busy=False)
    now = 411.9
    assert not pace.is_due(is_busy=False), "three times as long as it took"
    now = 412.0
    assert pace.is_due(is_busy=False)
