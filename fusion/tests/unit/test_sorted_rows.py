"""
All rows of a table in an order, for an export: the same as its pages give, and what becomes of changes meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from tables_bench import NAME, ViewStore

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_fusion.views import tables_query, tables_sorted
from fustor_fusion.views.base import RowFilter, RowQuery
from fustor_fusion.views.tables_sorted import SortedRows

Kind = Literal["insert", "update", "delete"]
COLUMNS = {"id": {"type": "integer"}, "price": {"type": "string", "format": "decimal"}}
BY_PRICE = RowQuery(order="price", descending=True)


class Store(ViewStore):
    """
    A view whose table is filled and exported.
    """

    def put(self, rows: list[list[Any]], kind: Kind = "insert", *, has_key: bool = True) -> None:
        self.index += 1
        key = ["id"] if has_key else None
        event = WireEvent(kind, "db", "things", ["id", "price"], rows, self.index, key, columns=dict(COLUMNS))
        self.apply(event)

    def begin(self, query: RowQuery = BY_PRICE) -> SortedRows:
        begun = self.view.sort_rows(*NAME, query)
        assert begun is not None
        return begun


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, is_durable=True)
    yield made
    made.writer.close()


def look_through(series: SortedRows, steps: int = 1_000) -> None:
    for _ in range(steps):
        page = series.read(1, 0.0)
        assert page is not None and not page.rows
        if not page.is_partial:
            return
    pytest.fail("it goes on and on")


def rest(series: SortedRows, limit: int = 3) -> list[Any]:
    found = []
    while (page := series.read(limit, 1.0)) is not None:
        assert len(page.rows) <= limit
        found += [json.loads(bytes(row))["id"] for row in page.rows if not isinstance(row, dict)]
    return found


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_it_gives_what_the_pages_give(store: Store, descending: bool, limit: int) -> None:
    prices = ["0.10", "0.1", "-3", None, "1E+5", "99999.9", None, "10", "9", "NaN"]
    store.put([[at, prices[at % len(prices)]] for at in range(40)])
    where = (RowFilter("id", "ge", "5"),)
    pages = store.view.query_rows(*NAME, RowQuery(where, "price", descending, 1_000))
    assert pages is not None
    expected = [json.loads(bytes(row))["id"] for row in pages.rows if not isinstance(row, dict)]
    assert len(expected) == 35
    assert rest(store.begin(RowQuery(where, "price", descending)), limit) == expected


def test_what_changes_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Once all was looked through, each row has its turn: a row that is gone or does not fit any more is left out, a new one is not there,
    and none comes twice.
    """
    store.put([[at, str(at)] for at in range(10)])
    series = store.begin(RowQuery((RowFilter("price", "lt", "100"),), "price"))
    look_through(series)
    first = series.read(3, 1.0)
    assert first is not None and len(first.rows) == 3
    store.put([[4, "4"]], "delete")
    store.put([[5, "500"], [0, "8.5"], [11, "3.5"]])
    assert rest(series) == [3, 6, 7, 8, 9]


def test_large_rows_come_in_parts_and_copies_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_query, "PAGE_BYTES", 10)
    store.put([[at, str(at)] for at in range(7)])
    series = store.begin()
    look_through(series)
    page = series.read(100, 1.0)
    assert page is not None and len(page.rows) == 1
    assert rest(series, 100) == [5, 4, 3, 2, 1, 0]


def test_each_copy_of_a_row_without_a_key(store: Store) -> None:
    store.put([[1, "1"], [2, "2"], [2, "2"], [2, "2"], [2, "2"], [3, "0"]], has_key=False)
    series = store.begin()
    look_through(series)
    assert rest(series, 2) == [2, 2, 2, 2, 1, 3]


def test_a_table_that_is_dropped_or_has_other_columns_is_told(store: Store) -> None:
    store.put([[1, "1"], [2, "2"]])
    looking, giving = store.begin(), store.begin()
    look_through(giving)
    store.view.discard(store.writer, "t")
    for series in (looking, giving):
        with pytest.raises(InvalidRequest, match="became another one"):
            series.read(3, 1.0)
    assert store.view.sort_rows(*NAME, BY_PRICE) is None


def test_what_can_not_be_understood_is_told_before_anything_is_looked_at(store: Store) -> None:
    store.put([[1, "1"]])
    for query in (RowQuery(order="nothing"), RowQuery((RowFilter("price", "lt", "much"),), "price")):
        with pytest.raises(InvalidRequest):
            store.begin(query)


def test_whoever_goes_away_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Closed while a part is read, it closes behind that; nothing is given afterwards.
    """
    store.put([[at, str(at)] for at in range(5)])
    series = store.begin()
    look_through(series)
    fetch = tables_query.fetch

    def fetch_and_close(*given: Any) -> Any:
        series.close()
        return fetch(*given)

    monkeypatch.setattr(tables_sorted, "fetch", fetch_and_close)
    page = series.read(2, 1.0)
    assert page is not None and len(page.rows) == 2
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        series._notes.execute("SELECT 1")
    assert series.read(2, 1.0) is None
    series.close()
