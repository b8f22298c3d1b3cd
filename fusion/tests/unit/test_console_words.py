"""
What the console says of how things are, and of numbers.
"""

from __future__ import annotations

import pytest
from harness.reader import page_of

from fustor_client.models import FlowSummary, TableInfo
from fustor_fusion import console
from fustor_fusion.console.overview import verdict
from fustor_fusion.console.tables import size_of
from fustor_fusion.console.tables_cells import cell, is_written_number, number_cell
from fustor_fusion.console.times import ago_of
from fustor_web_ui.page import Page
from fustor_web_ui.states import Mood
from fustor_web_ui.texts import Language


def page(language: Language = "en") -> Page:
    return page_of(console, language)


@pytest.mark.parametrize(
    ("states", "said", "mood"),
    [
        ({}, "Nothing feeds this datastore yet.", Mood.OFF),
        ({"removed": 2}, "Nothing feeds this datastore yet.", Mood.OFF),
        ({"live": 1}, "The sync is live.", Mood.GOOD),
        ({"live": 3}, "All 3 syncs are live.", Mood.GOOD),
        ({"stopped": 1}, "The sync brings nothing now: stopped.", Mood.BAD),
        ({"stopped": 1, "live": 2}, "1 of 3 syncs brings nothing now: 1 stopped.", Mood.BAD),
        ({"stopped": 1, "silent": 2}, "3 of 3 syncs bring nothing now: 2 silent, 1 stopped.", Mood.BAD),
        ({"copying": 1}, "The sync is connected, but does not have all its data yet (copying).", Mood.WAIT),
        (
            {"waiting": 1, "live": 1},
            "2 syncs are connected; 1 does not have all its data yet (1 awaiting copy).",
            Mood.WAIT,
        ),
        (
            {"waiting": 2, "copying": 1, "live": 2},
            "5 syncs are connected; 3 do not have all their data yet (2 awaiting copy, 1 copying).",
            Mood.WAIT,
        ),
    ],
)
def test_one_sentence_says_how_all_is(states: dict[str, int], said: str, mood: Mood) -> None:
    assert verdict(page(), FlowSummary(by_state=states)) == (said, mood)


def test_the_sentence_in_chinese() -> None:
    said, _ = verdict(page("zh"), FlowSummary(by_state={"waiting": 2, "copying": 1, "live": 2}))
    assert said == "5 个同步任务已连接，其中 3 个的数据尚不完整（2 个待复制、1 个复制中）。"


def test_what_has_not_been_yet_and_what_is_not_known_differ() -> None:
    assert (ago_of(page(), None), ago_of(page(), None, never="none yet")) == ("unknown", "none yet")
    assert (ago_of(page("zh"), None), ago_of(page("zh"), None, never="none yet")) == ("未知", "暂无")


def test_the_size_of_a_tree_is_counted_that_of_a_table_is_not() -> None:
    def said(table: str, octets: int | None, rows: int = 3) -> str:
        return size_of(page(), TableInfo("sync", "s", table, rows=rows, bytes=octets))

    assert said("files", 2048) == "2.0 KiB"
    assert said("orders", 2048) == "about 2.0 KiB"
    assert (said("orders", 0, rows=0), said("orders", None)) == ("0 B", "unknown")


@pytest.mark.parametrize("value", [0, -3, 2.5, "42.095", "-7", "0.1"])
def test_numbers_are_known_without_a_type(value: object) -> None:
    assert is_written_number(value)


@pytest.mark.parametrize("value", [True, "", "007", "1.", "1e5", "١", "12 ", "a", [1]])
def test_what_is_no_number(value: object) -> None:
    assert not is_written_number(value)


def test_a_long_number_may_be_cut_where_it_is_shown_and_no_integer_is() -> None:
    assert number_cell(cell(-(2**63), {"type": "integer"})) == (str(-(2**63)), "", False)
    assert number_cell(cell("186.4433333333333333333333", None)) == ("186.4433333333333333333…", "is-fraction", True)
    assert number_cell(cell("1" * 30, None)) == ("1" * 23 + "…", "is-digits", True)
    assert number_cell(cell(None, None)).text == "NULL"
