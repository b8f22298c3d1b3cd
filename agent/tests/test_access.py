# ruff: noqa: ASYNC240 - tests may read small files on the event loop
"""
Who may use the API: every route is tried without a token, with a wrong one and with the right one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.routes import served

from fustor_agent.app import create_app
from fustor_agent.settings import AgentSettings
from fustor_common.agent_token import ensure_token, read_token, token_file
from fustor_core.errors import ConfigError

OPEN = {"/health/live", "/health/ready", "/metrics"}
"""
What is answered without a token: nothing in it is secret, and probes and Prometheus ask for it.
"""


@pytest.fixture
async def app(settings: Any, config_path: Path, drivers: Any, doubles: Any) -> AsyncIterator[Any]:
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        yield app


def routes(app: Any) -> list[tuple[str, str, dict[str, Any]]]:
    paths = app.openapi()["paths"]
    return [(method.upper(), path, told) for path, methods in paths.items() for method, told in methods.items()]


def filled(path: str) -> str:
    names = {
        "kind": "sources",
        "section": "syncs",
        "action": "test_connection",
        "letter_id": "1",
        "revision_id": "1",
        "cleanup_id": "1",
    }
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, names.get(part.strip("{}"), "nobody"))
    return path


async def test_every_route_wants_the_token_and_nothing_happens_without_it(
    app: Any, authorized: dict[str, str], config_path: Path
) -> None:
    """
    Without it and with a wrong one 401 and the same file as before; with it anything but 401.
    """
    before = config_path.read_text()
    assert {(method, path) for method, path, _ in routes(app)} == served(app)
    tried = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent.example") as client:
        for method, path, _ in routes(app):
            url = filled(path)
            if path in OPEN:
                assert (await client.request(method, url)).status_code in {200, 503}, path
                continue
            assert path.startswith("/api/"), f"{path} is neither open nor below /api"
            token = authorized["Authorization"].removeprefix("Bearer ")
            for bad in (
                {},
                {"Authorization": ""},
                {"Authorization": "Bearer"},
                {"Authorization": "Bearer wrong"},
                {"Authorization": f"Bearer {token}x"},
                {"Authorization": f"Bearer {token[:-1]}"},
                {"Authorization": token},
                {"Authorization": f"Basic {token}"},
                {"Cookie": f"token={token}", "X-API-Key": token},
            ):
                answer = await client.request(method, f"{url}?token={token}", headers=bad)
                assert answer.status_code == 401, (method, path, bad)
                body = answer.json()
                assert body["code"] == "request.unauthorized" and "state/agent-token" in body["hint"]
                assert answer.headers["WWW-Authenticate"] == "Bearer" and token not in answer.text
                tried += 1
        assert config_path.read_text() == before and len(app.state.service.supervisor.sync_statuses()) == 2
        for method, path, _ in routes(app):
            if path not in OPEN and not path.endswith("/follow"):
                answer = await client.request(method, filled(path), headers=authorized)
                assert answer.status_code not in {401, 403, 500}, (method, path, answer.text)
    assert tried > 200


def test_every_route_tells_its_answers_and_errors(app: Any) -> None:
    """
    The description of the API: the token as a security scheme, a schema for each answer, and the errors with an example.
    """
    document = app.openapi()
    assert [one["scheme"] for one in document["components"]["securitySchemes"].values()] == ["bearer"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    ids = [told["operationId"] for _, _, told in routes(app)]
    assert len(ids) == len(set(ids)), "generated clients name their functions by it"
    for method, path, told in routes(app):
        if path in OPEN:
            continue
        assert told["security"] == [{"HTTPBearer": []}], path
        assert told["summary"] and told["description"], path
        assert {"400", "401", "503"} <= told["responses"].keys() and "422" not in told["responses"], path
        if "{" in path:
            assert "404" in told["responses"], f"{method} {path} names something that may not exist"
        if "If-Match" in {parameter["name"] for parameter in told.get("parameters", ())}:
            [success] = [answer for status, answer in told["responses"].items() if status.startswith("2")]
            assert "412" in told["responses"] and "ETag" in success["headers"], f"{method} {path}"
        for status, answer in told["responses"].items():
            contents = answer.get("content", {})
            for content in contents.values():
                assert content.get("schema") or content.get("example"), (method, path, status)
            if not status.startswith("2"):
                error = contents["application/json"]
                assert error["schema"]["$ref"].endswith("/ErrorAnswer") and error["example"]["hint"], (path, status)
        if method in {"POST", "PUT"} and "requestBody" in told:
            [content] = told["requestBody"]["content"].values()
            body = document["components"]["schemas"].get(content["schema"].get("$ref", "").rpartition("/")[2], {})
            assert content.get("examples") or body.get("examples"), f"{method} {path} shows no example"
    json.dumps(document)


def test_a_token_is_made_once_and_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSTOR_AGENT_API_TOKEN", raising=False)
    assert read_token(tmp_path) is None
    token = ensure_token(tmp_path)
    assert len(token) >= 32 and ensure_token(tmp_path) == token == read_token(tmp_path)
    assert token_file(tmp_path).stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("FUSTOR_AGENT_API_TOKEN", "another-one-that-was-given")
    assert read_token(tmp_path) == "another-one-that-was-given"
    token_file(tmp_path).write_text("short\n")
    with pytest.raises(ConfigError, match="fewer than 16"):
        ensure_token(tmp_path)


def test_it_listens_on_this_machine_alone_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSTOR_AGENT_HOST", raising=False)
    assert AgentSettings.load().host == "127.0.0.1"
    monkeypatch.setenv("FUSTOR_AGENT_API_TOKEN", "short")
    with pytest.raises(ConfigError, match="FUSTOR_AGENT_API_TOKEN") as caught:
        AgentSettings.load()
    assert "'short'" not in str(caught.value)
