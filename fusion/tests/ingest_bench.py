"""
Fixtures of Fusion's tests: a fake Registry, an app in this process, and a helper that speaks its API.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fustor_core.models.envelope import MSGPACK, Envelope, WireEvent, encode_envelope
from fustor_fusion.app import create_app
from fustor_fusion.keys import Grant, RegistryAway
from fustor_fusion.settings import FusionSettings
from fustor_fusion.store.schema import ensure_schema


class FakeRegistry:
    """
    Knows keys; can be away; counts what it is asked.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Grant] = {
            "key-1": Grant(True, 1, 1, "one", ["ingest", "read"], 5.0),
            "key-2": Grant(True, 2, 2, "two", ["ingest", "read"], 5.0),
            "key-read": Grant(True, 3, 1, "one", ["read"], 5.0),
        }
        self.away = False
        self.asked = 0

    async def ask(self, key: str) -> Grant:
        self.asked += 1
        if self.away:
            raise RegistryAway("the Registry is away")
        return self.keys.get(key, Grant(False))


@pytest.fixture(scope="session")
def blank_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema, to be copied: a migration takes most of a second."""
    path = tmp_path_factory.mktemp("blank") / "blank.db"
    ensure_schema(path)
    return path


@pytest.fixture
def config_dir(tmp_path: Path, blank_db: Path) -> Path:
    folder = tmp_path / "config"
    (folder / "fusion").mkdir(parents=True)
    for datastore in ("1", "2"):
        shutil.copy(blank_db, folder / "fusion" / f"{datastore}.db")
    return folder


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


class Fusion:
    """
    A running app and a client with a key.
    """

    def __init__(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        self.app = app
        self.http = http

    async def open(self, task_id: str = "t", agent_id: str | None = "a") -> dict[str, Any]:
        answer = await self.http.post("/ingestor-api/v1/sessions/", json={"task_id": task_id, "agent_id": agent_id})
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def send(self, session_id: str, *events: WireEvent, **control: Any) -> httpx.Response:
        body = encode_envelope(Envelope(session_id, list(events), **control), MSGPACK)
        return await self.http.post("/ingestor-api/v1/events/", content=body, headers={"Content-Type": MSGPACK})

    async def push(self, session_id: str, *events: WireEvent, **control: Any) -> dict[str, Any]:
        answer = await self.send(session_id, *events, **control)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def rows(
        self, table: str = "users", task: str = "t", schema: str = "db", **params: Any
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        asked = {"limit": 1000, **params}
        while True:
            answer = await self.http.get(f"/views/tables/{task}/{schema}/{table}/rows", params=asked)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            rows += page["rows"]
            if page["next"] is None or "limit" in params:
                return rows
            asked["cursor"] = page["next"]


@asynccontextmanager
async def running(
    settings: FusionSettings,
    registry: FakeRegistry,
    key: str = "key-1",
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Fusion]:
    app = create_app(settings, ask=registry.ask, clock=clock)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://fusion", headers={"X-API-Key": key}) as http:
            yield Fusion(app, http)


@pytest.fixture
def settings(config_dir: Path) -> FusionSettings:
    return FusionSettings.load(config_dir=config_dir, log_console=False, tombstone_min_age_s=0)


@pytest.fixture
async def fusion(settings: FusionSettings, registry: FakeRegistry) -> AsyncIterator[Fusion]:
    async with running(settings, registry) as service:
        yield service


def users(
    *rows: tuple[Any, ...], index: int = 1, kind: Any = "insert", fields: tuple[str, ...] = ("id", "name")
) -> WireEvent:
    """An event of the table `users` with the key `id`."""
    return WireEvent(kind, "db", "users", list(fields), [list(r) for r in rows], index, ["id"])
