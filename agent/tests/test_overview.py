# ruff: noqa: ASYNC240 - tests may read small files on the event loop
"""
What a console asks: how all is, in little, and a part of the syncs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fustor_agent.app import create_app
from fustor_agent.console import PATH
from fustor_agent.settings import AgentSettings
from fustor_agent.sync.ports import Refusal
from fustor_core.errors import ConfigError
from fustor_core.models.event import InsertEvent


@pytest.fixture
async def app(
    settings: AgentSettings, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> AsyncIterator[Any]:
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        await until(lambda: len(doubled.runtime.alive) == 2)
        yield app


@pytest.fixture
async def http(app: Any, authorized: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8100/api", headers=authorized
    ) as client:
        yield client


async def waiting(http: httpx.AsyncClient) -> dict[str, list[str]]:
    return dict((await http.get("/overview")).json()["configuration"]["waiting"])


async def test_the_overview_counts(http: httpx.AsyncClient, doubled: Any, until: Any) -> None:
    seen = (await http.get("/overview")).json()
    assert (seen["syncs"], seen["health"]["live"], seen["failed"]) == (2, 2, [])
    assert seen["configuration"]["in_force"] and seen["configuration"]["problems"] == []
    doubled.runtime.fail_start["one"] = ConfigError("no such table", hint="make it")
    await http.post("/instances/one/stop")
    await http.post("/instances/one/start")
    await until(lambda: doubled.runtime.started.count("one") >= 2)
    seen = (await http.get("/overview")).json()
    assert (seen["failed"], seen["health"]["failed"], seen["health"]["live"]) == (["one"], 1, 1)
    one = (await http.get("/instances/one")).json()
    assert (one["health"], one["reason"], one["hint"]) == ("failed", "no such table", "make it")


async def test_the_overview_names_whose_dead_letters_there_are(http: httpx.AsyncClient, app: Any) -> None:
    seen = (await http.get("/overview")).json()
    assert (seen["dead_letters"], seen["dead_letters_of"]) == (0, [])
    letters = app.state.service.supervisor.parts.dead_letters
    for sync in ("two", "two", "one"):
        letters.park(sync, [InsertEvent("db", "t", [{"id": 1}], index=1)], epoch=0, why=Refusal("c.d", "r"))
    seen = (await http.get("/overview")).json()
    assert (seen["dead_letters"], seen["dead_letters_of"]) == (3, ["one", "two"])


async def test_what_applying_would_do_is_told_before_it_is_done(http: httpx.AsyncClient) -> None:
    """
    Of each kind, and what was told is what is done.
    """
    nothing = {"start": [], "restart": [], "stop": [], "clean": []}
    assert await waiting(http) == nothing
    before = (await http.get("/overview")).json()["configuration"]["applied_revision"]
    await http.put("/configs/syncs/two", json={"source": "src", "pusher": "out", "disabled": True})
    await http.put("/configs/syncs/three", json={"source": "src", "pusher": "out"})
    await http.put("/configs/syncs/one", json={"source": "src", "pusher": "out", "transforms": []})
    meanwhile = (await http.get("/overview")).json()["configuration"]
    assert meanwhile["applied_revision"] == before != meanwhile["revision"]
    told = await waiting(http)
    assert told == {"start": ["three"], "restart": ["one"], "stop": ["two"], "clean": []}
    applied = (await http.post("/configs/apply")).json()["applied"]
    assert (applied["started"], applied["restarted"], applied["stopped"]) == (["three"], ["one"], ["two"])
    assert await waiting(http) == nothing
    after = (await http.get("/overview")).json()["configuration"]
    assert after["applied_revision"] == after["revision"] != before
    two = (await http.get("/instances/two")).json()
    assert (two["disabled_by"], two["health"]) == ("syncs", "stopped")
    await http.put("/configs/pushers/spare", json={"driver": "keeping", "endpoint": "x"})
    last = (await http.get("/overview")).json()["configuration"]
    assert last["applied_revision"] == last["revision"] > after["revision"], (
        "nothing that runs goes by what has changed"
    )


async def test_what_a_person_has_stopped_does_not_wait(http: httpx.AsyncClient) -> None:
    await http.post("/instances/one/stop")
    assert await waiting(http) == {"start": [], "restart": [], "stop": [], "clean": []}


async def test_a_broken_file_is_told(http: httpx.AsyncClient, config_path: Path) -> None:
    config_path.write_text(config_path.read_text() + "syncs: {one: [}\n")
    configuration = (await http.get("/overview")).json()["configuration"]
    assert not configuration["in_force"]
    assert configuration["problems"][0]["line"] is not None


async def test_syncs_come_in_parts_by_health_and_by_text(http: httpx.AsyncClient, config_path: Path) -> None:
    config = yaml.safe_load(config_path.read_text())
    config["syncs"] |= {f"more-{at}": {"source": "src", "pusher": "out", "disabled": True} for at in range(5)}
    config_path.write_text(yaml.safe_dump(config, sort_keys=False))
    assert (await http.post("/configs/apply")).is_success

    async def found(**wanted: Any) -> tuple[list[str], int]:
        answer = (await http.get("/instances", params=wanted)).json()
        return [sync["id"] for sync in answer["syncs"]], answer["total"]

    assert await found(health="live") == (["one", "two"], 2)
    assert await found(text="MORE", offset=1, limit=2) == (["more-1", "more-2"], 5)
    assert await found(text="src", health="stopped", limit=1) == (["more-0"], 5)
    assert await found(text="nothing like it") == ([], 0)
    assert await found(offset=100) == ([], 7)
    for wrong in ({"limit": 0}, {"offset": -1}, {"health": "well"}):
        assert (await http.get("/instances", params=wrong)).status_code in (400, 422)


async def test_syncs_in_trouble_come_first_where_that_is_wanted(http: httpx.AsyncClient, doubled: Any) -> None:
    doubled.runtime.alive["two"].health = lambda: "retrying"

    async def order(**wanted: Any) -> list[str]:
        return [sync["id"] for sync in (await http.get("/instances", params=wanted)).json()["syncs"]]

    assert await order() == ["one", "two"]
    assert await order(troubled_first=True) == ["two", "one"]
    assert await order(troubled_first=True, limit=1) == ["two"]


async def test_of_many_tables_those_with_errors_come_first(http: httpx.AsyncClient, doubled: Any) -> None:
    status = doubled.runtime.alive["one"].status
    tables = [{"table": f"t{at}", "state": "errored" if at == 40 else "live"} for at in range(50)]
    doubled.runtime.alive["one"].status = lambda: {**status(), "tables": tables}
    answer = (await http.get("/instances", params={"text": "one", "tables": 2})).json()
    (sync,) = answer["syncs"]
    assert [table["table"] for table in sync["tables"]] == ["t40", "t0"]
    assert sync["table_counts"] == {"live": 49, "errored": 1}
    assert len((await http.get("/instances/one")).json()["tables"]) == 50


async def test_the_root_leads_to_the_console_unless_there_is_none(
    config_path: Path, drivers: Any, doubles: Any
) -> None:
    for is_there in (True, False):
        chosen = AgentSettings.load(log_console=False, console=is_there)
        app = create_app(chosen, **drivers, **doubles)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8100") as client:
            answer = await client.get("/")
        expected = (307, f"{PATH}/") if is_there else (404, None)
        assert (answer.status_code, answer.headers.get("location")) == expected
