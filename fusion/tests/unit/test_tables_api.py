"""
Tables over HTTP: the list, one of them, how filters are written, answers that take their time, files, the live tail of one table.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ingest_bench import FakeRegistry, Fusion, running, users

from fustor_core.models.envelope import WireEvent
from fustor_fusion.api import tables as api
from fustor_fusion.settings import FusionSettings
from fustor_fusion.views import tables_scan, tables_sorted

ROWS = "/views/tables/t/db/users/rows"
COLUMNS = {"id": {"type": "integer"}, "name": {"type": "string"}, "price": {"type": "string", "format": "decimal"}}


async def fill(fusion: Fusion, many: int = 5) -> str:
    session: str = (await fusion.open())["session_id"]
    rows = [[at, f"name {at}", f"-{at}.5"] for at in range(many)]
    await fusion.push(
        session, WireEvent("insert", "db", "users", list(COLUMNS), rows, 1, ["id"], columns=dict(COLUMNS))
    )
    return session


async def test_a_table_says_how_much_it_has_and_when_that_changed(fusion: Fusion) -> None:
    session = await fill(fusion)
    one = (await fusion.http.get("/views/tables/t/db/users/info")).json()
    assert (one["rows"], one["key"], one["columns"]) == (5, ["id"], COLUMNS)
    assert one["bytes"] > 100 and one["changed_at"] > 0
    assert one["coverage"] == "partial", "no snapshot has ended"
    assert (await fusion.http.get("/views/tables")).json()["rows"] == [one]
    await fusion.push(session, WireEvent("delete", "db", "users", ["id"], [[1]], 2, ["id"]))
    assert (await fusion.http.get("/views/tables/t/db/users/info")).json()["rows"] == 4
    missing = await fusion.http.get("/views/tables/t/db/nothing/info")
    assert (missing.status_code, missing.json()["code"]) == (404, "request.not_found")


async def test_the_list_of_tables_is_searched_sorted_and_cut(fusion: Fusion) -> None:
    session = (await fusion.open())["session_id"]
    for index, name in enumerate(("cars", "Carts", "boats"), 1):
        await fusion.push(
            session, WireEvent("insert", "db", name, ["id"], [[at] for at in range(index)], index, ["id"])
        )

    async def names(**params: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            asked = {**params, "limit": 1, **({"cursor": cursor} if cursor else {})}
            answer = (await fusion.http.get("/views/tables", params=asked)).json()
            found += [row["table"] for row in answer["rows"]]
            cursor = answer["next"]
            if cursor is None:
                return found

    assert await names(sort="rows", order="desc") == ["boats", "Carts", "cars"]
    assert await names(q="CAR", sort="rows") == ["cars", "Carts"]
    assert await names(q="nothing") == []
    await fusion.push(session, WireEvent("insert", "db", "cars", ["id", "seats"], [[9, 4]], 4, ["id"]))
    assert await names(sort="columns", order="desc") == ["cars", "Carts", "boats"]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (["id:ge:3"], [3, 4]),
        (['["id", "ge", "3"]'], [3, 4]),
        (["id:in:1,2", "name:contains:NAME 2"], [2]),
        (["price:lt:-3"], [3, 4]),
        (["name:isnull:true"], []),
        (["name:isnull"], []),
    ],
)
async def test_filters_are_written_in_two_ways_and_all_have_to_hold(
    fusion: Fusion, where: list[str], found: list[int]
) -> None:
    await fill(fusion)
    answer = (await fusion.http.get(ROWS, params={"where": where, "order": '["id", "asc"]'})).json()
    assert [row["id"] for row in answer["rows"]] == found
    counted = (await fusion.http.get("/views/tables/t/db/users/count", params={"where": where})).json()
    assert (counted["count"], counted["next"]) == (len(found), None)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"where": "id"}, "'id'"),
        ({"where": ["id:eq:1", "id:about:1"]}, "'id:about:1'"),
        ({"where": '["id", "eq"]'}, "can't be read"),
        ({"where": "ix:eq:1"}, "no column 'ix'"),
        ({"where": "price:gt:much"}, "holds numbers"),
        ({"order": '["id", "up"]'}, "the order"),
        ({"order": "none"}, "no column 'none'"),
        ({"cursor": "x"}, "cursor can't be read"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_sent(fusion: Fusion, params: dict[str, Any], says: str) -> None:
    """
    Also of a file: its answer begins when the request is understood.
    """
    await fill(fusion)
    for form in ("json", "csv"):
        answer = await fusion.http.get(ROWS, params={**params, "format": form})
        assert answer.status_code == 400, answer.text
        assert says in answer.json()["message"] and answer.json()["hint"]


async def test_an_answer_takes_no_longer_than_it_may_and_says_so(
    settings: FusionSettings, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With next to no time each answer is of one slice, and the cursor leads on to all rows in the end.
    """
    monkeypatch.setattr(tables_scan, "FIRST_SLICE", 10)
    monkeypatch.setattr(tables_scan, "LARGEST_SLICE", 10)
    settings.rows_budget_s = 1e-9
    async with running(settings, registry) as fusion:
        await fill(fusion, 100)
        for asked in ({"where": "name:eq:name 99"}, {"order": "-price", "limit": 3}):
            params: dict[str, Any] = dict(asked)
            partial, rows, scanned = 0, [], 0
            while not rows:
                answer = (await fusion.http.get(ROWS, params=params)).json()
                rows += answer["rows"]
                partial += answer["partial"]
                scanned += answer["scanned"]
                params["cursor"] = answer["next"]
            assert partial >= 5
            assert scanned >= 90
            assert rows[0]["id"] == (99 if "where" in asked else 0)


@pytest.mark.parametrize("order", [None, "-price"])
async def test_files_have_every_row_however_many_pages_that_takes(
    fusion: Fusion, monkeypatch: pytest.MonkeyPatch, order: str | None
) -> None:
    """
    In an order, too, the table is looked through once.
    """
    looked: list[str] = []
    slices = tables_scan.Slices.__iter__

    def looking(self: tables_scan.Slices) -> Iterator[tuple[str, str]]:
        for begin, end in slices(self):
            looked.append(begin)
            yield begin, end

    monkeypatch.setattr(api, "EXPORT_ROWS", 7)
    monkeypatch.setattr(api, "EXPORT_STEP_S", 1e-9)
    monkeypatch.setattr(tables_sorted, "FIRST_SLICE", 10)
    monkeypatch.setattr(tables_scan.Slices, "__iter__", looking)
    await fill(fusion, 100)
    asked = {"order": order} if order else {}
    text = (await fusion.http.get(ROWS, params={"format": "jsonl", **asked})).text
    assert len(looked) >= 10 and looked.count("") == 1
    assert looked == sorted(looked)
    ids = [json.loads(one)["id"] for one in text.splitlines()]
    assert sorted(ids) == list(range(100))
    assert order is None or ids == list(range(100))
    table = list(csv.DictReader(io.StringIO((await fusion.http.get(ROWS, params={"format": "csv", **asked})).text)))
    assert [int(row["id"]) for row in table] == ids


async def test_a_csv_for_spreadsheets_has_no_formulas_and_the_other_is_exact(fusion: Fusion) -> None:
    """
    A text that begins like a formula gets an apostrophe, a decimal does not: it is a number.
    """
    session = (await fusion.open())["session_id"]
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a=1", "", None]
    rows = [[at, name, "-1.5"] for at, name in enumerate(names)]
    await fusion.push(
        session, WireEvent("insert", "db", "users", list(COLUMNS), rows, 1, ["id"], columns=dict(COLUMNS))
    )
    for safe in (False, True):
        answer = await fusion.http.get(ROWS, params={"format": "csv", "safe": safe})
        assert answer.headers["content-type"].startswith("text/csv")
        read = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        told = [row["name"] for row in read]
        assert told == [f"'{name}" if safe and at < 6 else name or "" for at, name in enumerate(names)]
        assert {row["price"] for row in read} == {"-1.5"}
        assert answer.text.endswith('7,"",-1.5\r\n8,,-1.5\r\n')


async def test_the_live_tail_of_one_table_tells_of_no_other(fusion: Fusion) -> None:
    session = (await fusion.open())["session_id"]
    hub = fusion.app.state.datastores.opened()[0].live
    reader = hub.join("users", None, task_id="t", schema="db")
    other = (await fusion.open(task_id="u"))["session_id"]
    await fusion.push(other, users((1, "of another sync")))
    await fusion.push(session, WireEvent("insert", "other", "users", ["id"], [[1]], 1, ["id"]))
    await fusion.push(session, WireEvent("insert", "db", "cars", ["id"], [[1]], 2, ["id"]))
    await fusion.push(session, users((1, "this one"), index=3))
    frames = reader.frames(5.0)
    assert await anext(frames) == b": connected\n\n"
    async with asyncio.timeout(10):
        told = await anext(frames)
    assert told.count(b"event: change") == 1 and b"this one" in told
    hub.leave(reader)
