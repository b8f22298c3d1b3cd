# ruff: noqa: ASYNC240 - tests may read small files on the event loop
"""
The REST API: what the reference says, errors in the one shape, and no secret in any answer or log line.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fustor_agent.app import create_app
from fustor_agent.sync.ports import Refusal
from fustor_core.errors import ConnectionLost
from fustor_core.models.event import InsertEvent

SECRETS = ("very-secret", "resolved-secret", "third-secret")


@pytest.fixture
async def app(settings: Any, config_path: Path, drivers: Any, doubles: Any) -> AsyncIterator[Any]:
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(app: Any, doubled: Any, until: Any, authorized: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    await until(lambda: len(doubled.runtime.alive) == 2)
    seen: list[str] = []

    async def keep(response: httpx.Response) -> None:
        await response.aread()
        seen.append(response.text)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:8100",
        event_hooks={"response": [keep]},
        headers=authorized,
    ) as c:
        yield c
    log = app.state.settings.log_file.read_text()
    for secret in SECRETS:
        assert secret not in "".join(seen), "a secret was answered"
        assert secret not in log, "a secret was logged"


async def test_instances_show_start_and_stop(http: httpx.AsyncClient) -> None:
    everything = (await http.get("/api/instances")).json()
    assert [s["id"] for s in everything["syncs"]] == ["one", "two"] and everything["buses"]
    one = (await http.get("/api/instances/one")).json()
    assert (one["state"], one["source"], one["pusher"], one["dead_letters"]) == ("MESSAGE_SYNC", "src", "out", 0)
    assert (await http.post("/api/instances/one/stop")).json()["state"] == "STOPPED"
    assert (await http.post("/api/instances/one/start")).json()["state"] in ("STARTING", "MESSAGE_SYNC")
    gone = await http.get("/api/instances/three")
    assert gone.status_code == 404 and gone.json()["code"] == "request.not_found" and "one, two" in gone.json()["hint"]


async def test_what_a_sync_logs_does_not_carry_the_id_of_the_request_that_started_it(
    http: httpx.AsyncClient, app: Any, doubled: Any, until: Any
) -> None:
    doubled.runtime.fail_start["one"] = ConnectionLost("the source is away")
    await http.post("/api/instances/one/stop")
    await http.post("/api/instances/one/start")
    await until(lambda: doubled.runtime.started.count("one") >= 3)
    lines = [json.loads(line) for line in app.state.settings.log_file.read_text().splitlines()]
    told = [line for line in lines if line["event"] == "a sync can't run"]
    assert told and not any("request_id" in line for line in told)


async def test_snapshots_are_started_paused_resumed_and_cancelled(http: httpx.AsyncClient) -> None:
    begun = await http.post("/api/instances/one/snapshot", json={"tables": ["files"], "where": "x > 1"})
    snapshot = begun.json()["snapshot"]
    assert (snapshot["state"], snapshot["tables"], snapshot["where"]) == ("running", ["files"], "x > 1")
    again = await http.post("/api/instances/one/snapshot")
    assert again.status_code == 409
    assert (await http.post("/api/instances/one/snapshot/pause")).json()["snapshot"]["state"] == "paused"
    assert (await http.post("/api/instances/one/snapshot/resume")).json()["snapshot"]["state"] == "running"
    assert (await http.post("/api/instances/one/snapshot/cancel")).json()["snapshot"] is None
    await http.post("/api/instances/two/stop")
    assert (await http.post("/api/instances/two/snapshot")).status_code == 409


async def test_configuration_is_shown_changed_and_applied(http: httpx.AsyncClient, config_path: Path) -> None:
    pusher = (await http.get("/api/configs/pushers/out")).json()
    assert pusher["credential"] == {"key": "***"} and pusher["problems"] == []
    assert (await http.get("/api/configs/sources/src")).json()["credential"] == {"key": "${SRC_KEY}"}
    changed = await http.put("/api/configs/pushers/out", json={**pusher, "batch_size": 5000})
    assert changed.status_code == 200 and changed.json()["batch_size"] == 5000
    assert "very-secret" in config_path.read_text(), "the mask left the secret as it was"
    assert "${SRC_KEY}" in config_path.read_text(), "references are written back unresolved"
    assert (await http.get("/api/instances/one")).json()["state"] == "MESSAGE_SYNC|RUNNING_CONF_OUTDATE"
    applied = (await http.post("/api/configs/apply")).json()
    assert applied["applied"]["restarted"] == ["one", "two"]
    assert (await http.put("/api/configs/syncs/three", json={"source": "src", "pusher": "out"})).status_code == 200
    assert (await http.post("/api/configs/apply")).json()["applied"]["started"] == ["three"]
    assert (await http.delete("/api/configs/syncs/three")).json() == {"entry": None, "dependants": []}
    assert (await http.post("/api/configs/apply")).json()["applied"]["stopped"] == ["three"]
    assert [row["id"] for row in (await http.get("/api/configs/syncs")).json()["rows"]] == ["one", "two"]


async def test_a_wrong_change_is_refused_and_changes_nothing(http: httpx.AsyncClient, config_path: Path) -> None:
    before = config_path.read_text()
    for section, id_, entry, says in [
        ("pushers", "out", {"driver": "keeping"}, "endpoint"),
        ("pushers", "out", {"driver": "k", "endpoint": "x", "credential": {"kee": "third-secret"}}, "credential.kee"),
        ("syncs", "one", {"source": "nowhere", "pusher": "out"}, "nowhere"),
        ("sources", "no spaces", {"driver": "x", "uri": "y"}, "can't be an id"),
    ]:
        answer = await http.put(f"/api/configs/{section}/{id_}", json=entry)
        assert answer.status_code == 400 and answer.json()["code"] == "config.invalid" and answer.json()["hint"]
        assert says in answer.json()["message"]
    used = await http.delete("/api/configs/sources/src")
    assert used.status_code == 409 and "'one'" in used.json()["message"]
    assert (await http.delete("/api/configs/sources/other")).status_code == 404
    assert (await http.get("/api/configs/nonsense")).status_code == 404
    for method, path, allowed in (
        ("PUT", "configs/revisions/1", "GET"),
        ("POST", "configs/unused", "DELETE, GET"),
        ("GET", "configs/apply", "POST"),
        ("GET", "dead-letters/_replay", "POST"),
    ):
        answer = await http.request(method, f"/api/{path}", json={})
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), path
    assert config_path.read_text() == before


async def test_revisions_are_listed_shown_masked_and_rolled_back(http: httpx.AsyncClient, config_path: Path) -> None:
    original = config_path.read_text()
    await http.put(
        "/api/configs/pushers/new", json={"driver": "keeping", "endpoint": "x", "credential": {"key": "third-secret"}}
    )
    config_path.write_text(config_path.read_text() + "# by hand\n")
    await http.post("/api/configs/apply")
    rows = (await http.get("/api/configs/revisions")).json()["rows"]
    assert [row["reason"] for row in rows] == ["edited by hand", "added pushers.new", "found at start"]
    shown = (await http.get(f"/api/configs/revisions/{rows[0]['id']}")).json()
    assert "new:" in shown["text"] and "'***'" in shown["text"]
    back = await http.post(f"/api/configs/revisions/{rows[-1]['id']}/rollback")
    assert back.status_code == 200 and config_path.read_text() == original
    assert (await http.get("/api/configs/revisions")).json()["rows"][0]["reason"].startswith("rolled back")
    assert (await http.get("/api/configs/revisions/999")).status_code == 404


async def test_a_file_broken_by_hand_is_said_and_can_be_rolled_back(
    http: httpx.AsyncClient, config_path: Path, doubled: Any
) -> None:
    config_path.write_text("sources: [\n")
    answer = await http.post("/api/configs/apply")
    assert answer.status_code == 409 and f"{config_path}:" in answer.json()["message"]
    assert set(doubled.runtime.alive) == {"one", "two"}, "what runs goes on"
    refused = await http.put("/api/configs/syncs/one", json={"source": "src", "pusher": "out"})
    assert refused.status_code == 409 and config_path.read_text() == "sources: [\n"
    assert (await http.get("/api/configs")).json()["problems"][0]["line"]
    await http.post("/api/configs/revisions/1/rollback")
    assert (await http.post("/api/configs/apply")).json()["problems"] == []


async def test_an_agent_starts_on_a_broken_or_absent_file(
    settings: Any, drivers: Any, doubles: Any, authorized: dict[str, str]
) -> None:
    for text in (None, "sources: [\n"):
        if text is not None:
            (settings.config_dir / "agent-config.yaml").write_text(text)
        app = create_app(settings, **drivers, **doubles)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", headers=authorized
            ) as client,
        ):
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.get("/api/instances")).json() == {"buses": [], "syncs": [], "total": 0}
            assert bool((await client.get("/api/configs")).json()["problems"]) == (text is not None)


async def test_drivers_are_listed_with_what_is_wrong_with_them(http: httpx.AsyncClient) -> None:
    drivers = (await http.get("/api/drivers")).json()
    assert [d["name"] for d in drivers["sources"]] == ["broken", "quiet"]
    assert [d["title"] for d in drivers["sources"]] == ["broken", "Quiet things"]
    assert "ModuleNotFoundError" in drivers["sources"][0]["error"] and drivers["sources"][1]["error"] is None
    assert (await http.get("/api/drivers/sources/quiet")).json()["title"] == "Quiet things"
    assert (await http.get("/api/drivers/sources/quiet/wizard")).json()["title"] == "Quiet things"
    wizard = (await http.get("/api/drivers/pushers/keeping/wizard")).json()
    assert (wizard["title"], wizard["steps"]) == ("keeping", [])
    tried = await http.post("/api/drivers/sources/quiet/test", json={"uri": "x", "credential": {"key": "${SRC_KEY}"}})
    assert tried.json()["ok"] is True
    assert (await http.post("/api/drivers/pushers/keeping/test", json={"endpoint": "x"})).json()["ok"] is True
    assert (await http.get("/api/drivers/pushers/nope/wizard")).status_code == 400


async def test_dead_letters_are_listed_shown_replayed_and_deleted(http: httpx.AsyncClient, app: Any) -> None:
    letters = app.state.service.supervisor.parts.dead_letters
    for n in range(3):
        letters.park(
            "one",
            [InsertEvent("db", "t", [{"id": n}], index=n)],
            epoch=0,
            why=Refusal("batch.rejected", "too long", "cut it"),
        )
    page = (await http.get("/api/dead-letters", params={"sync": "one", "limit": 2})).json()
    assert [(row["reason"], row["hint"]) for row in page["rows"]] == [("too long", "cut it")] * 2 and page[
        "counts"
    ] == {"one": 3}
    rest = (await http.get("/api/dead-letters", params={"after": page["next"]})).json()
    assert len(rest["rows"]) == 1 and rest["next"] is None and rest["full"] is False
    id_ = page["rows"][0]["id"]
    letter = (await http.get(f"/api/dead-letters/{id_}")).json()
    assert (letter["event"]["rows"], letter["position"]) == ([[0]], "q0")
    assert (await http.post(f"/api/dead-letters/{id_}/replay")).json()["replayed"] == id_
    assert (await http.delete(f"/api/dead-letters/{id_}")).status_code == 404
    assert (await http.delete(f"/api/dead-letters/{id_ + 1}")).status_code == 204
    assert (await http.get("/api/instances/one")).json()["dead_letters"] == 1


async def test_metrics_tell_every_figure_of_a_sync(http: httpx.AsyncClient, app: Any, doubled: Any) -> None:
    pusher = doubled.runtime.alive["one"].parts["pusher"]
    await pusher.push([], source_type="message")
    text = (await http.get("/metrics")).text
    for line in (
        'fustor_agent_rows_pushed_total{sync="one"} 5.0',
        'fustor_agent_events_pushed_total{sync="one"} 2.0',
        'fustor_agent_queue_bytes{sync="one"} 0.0',
        'fustor_agent_dead_letter_rows{sync="one"} 0.0',
        'fustor_agent_checkpoint{sync="one"} 9.0',
        'fustor_agent_sync_state{state="MESSAGE_SYNC",sync="one"} 1.0',
        'fustor_agent_push_seconds_count{source_type="message",sync="one"} 1.0',
    ):
        assert line in text
    assert "fustor_agent_checkpoint_age_seconds" in text and "process_resident_memory_bytes" in text
