"""
Every route with every kind of key: without one, with a wrong one, with one that lacks the scope, and with another datastore's. Routes are
taken from the document, so that one that is added has to be named here.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from harness.routes import served
from ingest_bench import FakeRegistry, Fusion, users

from fustor_fusion.keys import Grant
from fustor_web_ui.inside import InsideTransport

TASK = "orders"
SECRET = "only-for-datastore-one"
CALLER = ("127.0.0.1", 50_000)
KEYS = {
    "ingest": Grant(True, 11, 1, "one", ["ingest"], 5.0),
    "read": Grant(True, 12, 1, "one", ["read"], 5.0),
    "admin": Grant(True, 13, 1, "one", ["admin"], 5.0),
    "none": Grant(True, 14, 1, "one", [], 5.0),
    "other": Grant(True, 15, 2, "two", ["ingest", "read", "admin"], 5.0),
}
OPEN = {"/health/live", "/health/ready", "/metrics"}
MAY: dict[str, set[str]] = {
    "POST /ingestor-api/v1/sessions/": {"ingest"},
    "GET /ingestor-api/v1/sessions/": {"ingest", "read"},
    "DELETE /ingestor-api/v1/sessions/": {"ingest"},
    "POST /ingestor-api/v1/sessions/heartbeat": {"ingest"},
    "POST /ingestor-api/v1/events/": {"ingest"},
    "GET /ingestor-api/v1/events/position": {"ingest"},
    "GET /ingestor-api/v1/syncs/": {"ingest", "read"},
    "GET /views/datastore": {"read"},
    "GET /views/flow": {"read"},
    "GET /views/flow/agents": {"read"},
    "GET /views/flow/syncs": {"read"},
    "GET /views/streams": {"read"},
    "GET /views/live": {"read"},
    "GET /views/tables": {"read"},
    "GET /views/tables/{task_id}/{name}/info": {"read"},
    "GET /views/tables/{task_id}/{name}/count": {"read"},
    "GET /views/tables/{task_id}/{name}/rows": {"read"},
    "GET /views/tables/{task_id}/{name}/row": {"read"},
    "GET /views/fs/trees": {"read"},
    "GET /views/fs/tree": {"read"},
    "GET /views/fs/entry": {"read"},
    "GET /views/fs/stats": {"read"},
    "GET /views/fs/sizes": {"read"},
    "GET /views/fs/timeline": {"read"},
    "GET /views/fs/search": {"read"},
}


def routes(fusion: Fusion) -> set[str]:
    return {f"{method} {path}" for method, path in served(fusion.app) if path not in OPEN}


async def call(fusion: Fusion, route: str, key: str | None, session: str) -> httpx.Response:
    """
    Call a route as one would who knows all that there is in datastore one.
    """
    method, _, path = route.partition(" ")
    path = path.replace("{task_id}", TASK).replace("{name}", "db/users")
    headers: dict[str, str] = {} if key is None else {"X-API-Key": key}
    if "sessions" in path and method != "GET" and not (method == "POST" and path.endswith("sessions/")):
        headers["session-id"] = session
    asked: dict[str, Any] = {"headers": headers}
    if path.endswith("sessions/") and method == "POST":
        asked["json"] = {"task_id": "another", "agent_id": "a"}
    elif path.endswith("events/"):
        asked["json"] = {"session_id": session, "events": [], "source_type": "message"}
    elif path.endswith("position"):
        asked["params"] = {"session_id": session}
    elif path.endswith("/row"):
        asked["params"] = {"key": "[1]"}
    elif path.endswith("search"):
        asked["params"] = {"q": SECRET}
    elif path.endswith("entry"):
        asked["params"] = {"path": SECRET}
    async with httpx.AsyncClient(transport=InsideTransport(fusion.app, CALLER), base_url="http://test") as http:
        if path == "/views/live":
            return await _live(http, asked)
        return await http.request(method, path, **asked)


async def _live(http: httpx.AsyncClient, asked: dict[str, Any]) -> httpx.Response:
    """
    Ask for the live tail, which is endless: its head says whether it was refused.
    """
    async with http.stream("GET", "/views/live", **asked) as answer:
        if answer.status_code != 200:
            await answer.aread()
        return answer


@pytest.fixture
async def session(fusion: Fusion, registry: FakeRegistry) -> str:
    """
    Datastore one holds a table and a live session; the keys are known.
    """
    registry.keys |= KEYS
    opened: str = (await fusion.open(TASK))["session_id"]
    await fusion.push(opened, users((1, SECRET)))
    return opened


async def test_the_matrix_names_every_route(fusion: Fusion) -> None:
    """
    Nobody adds a route without saying who may use it.
    """
    assert routes(fusion) == set(MAY)


@pytest.mark.parametrize("route", sorted(MAY))
async def test_a_route_opens_to_the_scopes_it_needs_and_to_no_other_key(
    fusion: Fusion, session: str, route: str
) -> None:
    """
    401 without a key or with a wrong one, 403 without the scope; with it, whatever the answer, neither of the two.
    """
    for key in (None, "wrong", ""):
        answer = await call(fusion, route, key, session)
        assert answer.status_code == 401, f"{route} with key {key!r}: {answer.status_code}"
        assert answer.json()["hint"], "says what to do"
    for key in ("none", "ingest", "read"):
        answer = await call(fusion, route, key, session)
        refused = answer.status_code == 403
        assert refused == (key not in MAY[route]), f"{route} with scope {key}: {answer.status_code}"
    answer = await call(fusion, route, "admin", session)
    assert answer.status_code not in (401, 403), route


@pytest.mark.parametrize("route", sorted(MAY))
async def test_the_key_of_another_datastore_sees_nothing(fusion: Fusion, session: str, route: str) -> None:
    """
    Whoever knows the names and the session of datastore one gets nothing of it with another's key, and changes nothing in it.
    """
    answer = await call(fusion, route, "other", session)
    if route != "GET /views/live":
        assert SECRET not in answer.text, f"{route}: {answer.text}"
        assert answer.status_code != 200 or TASK not in answer.text, f"{route}: {answer.text}"
    assert (await fusion.http.get("/ingestor-api/v1/sessions/")).json()[0]["session_id"] == session
    assert len(await fusion.rows(task=TASK)) == 1
