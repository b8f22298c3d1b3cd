"""
Parts of an agent for tests: its own config root, drivers that live in a catalog of the test, doubles of bus and runtime.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from fustor_agent.bus import BusPool
from fustor_agent.settings import AgentSettings
from fustor_agent.sync.runtime import SyncRuntime
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import BatchRejected, ConfigError, StateConflictError
from fustor_core.models.event import EventBase
from fustor_core.plugins import Catalog

TOKEN = "the-token-of-the-agents-of-these-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}

CONFIG: dict[str, Any] = {
    "sources": {
        "src": {"driver": "quiet", "uri": "quiet://here", "disabled": False, "credential": {"key": "${SRC_KEY}"}}
    },
    "pushers": {
        "out": {"driver": "keeping", "endpoint": "http://h:1", "disabled": False, "credential": {"key": "very-secret"}}
    },
    "syncs": {"one": {"source": "src", "pusher": "out"}, "two": {"source": "src", "pusher": "out"}},
}


class QuietSource(SourceDriver):
    """
    A source in which nothing happens.
    """

    title = "Quiet things"

    @classmethod
    def position_text(cls, position: int) -> str:
        return f"q{position}"

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        return iter(())

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        return iter(()), False

    def is_position_available(self, position: int) -> bool:
        return True


class KeepingPusher(PusherDriver):
    """
    Keeps what it is given; refuses what the test says.
    """

    ordering = "index"
    made: list[KeepingPusher] = []  # noqa: RUF012 - what the tests look at
    refuse = False

    def __init__(self, id: str, config: Any) -> None:  # noqa: A002 - as the contract has it
        super().__init__(id, config)
        if config.driver_params.get("explode"):
            raise RuntimeError("boom in the constructor")
        self.pushed: list[tuple[list[EventBase], dict[str, Any]]] = []
        self.closed = False
        KeepingPusher.made.append(self)

    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        return {"session_id": "s"}

    async def push(self, events: Any, **control: Any) -> dict[str, Any]:
        if KeepingPusher.refuse and any(event.rows for event in events):
            raise BatchRejected("still refused")
        self.pushed.append((list(events), control))
        return {"snapshot_needed": False}

    async def close(self) -> None:
        self.closed = True


class FakeRuntime:
    """
    A runtime that starts, stops and dies as the test says.
    """

    fail_start: dict[str, Exception] = {}  # noqa: RUF012 - what the tests set
    alive: dict[str, FakeRuntime] = {}  # noqa: RUF012
    started: list[str] = []  # noqa: RUF012

    def __init__(self, sync_id: str, config: Any, **parts: Any) -> None:
        self.sync_id, self.config, self.parts = sync_id, config, parts
        self.dead = asyncio.Event()
        self.snapshot: dict[str, Any] | None = None

    async def start(self) -> None:
        FakeRuntime.started.append(self.sync_id)
        if self.sync_id in FakeRuntime.fail_start:
            raise FakeRuntime.fail_start[self.sync_id]
        FakeRuntime.alive[self.sync_id] = self

    @property
    def running(self) -> bool:
        return not self.dead.is_set()

    async def stop(self, timeout_s: float = 8.0) -> None:
        FakeRuntime.alive.pop(self.sync_id, None)

    def status(self) -> dict[str, Any]:
        return {
            "state": "MESSAGE_SYNC",
            "states": ["MESSAGE_SYNC"],
            "pushed_rows": 5,
            "pushed_events": 2,
            "queue_bytes": 0,
            "checkpoint": 9,
            "session_id": "sess-1",
            "snapshot": self.snapshot,
        }

    def health(self) -> str:
        return "live"

    def outgoing(self, event: EventBase) -> list[EventBase]:
        return [event]

    async def request_snapshot(self, tables: list[str] | None = None, where: str | None = None) -> None:
        if self.snapshot:
            raise StateConflictError("one is under way", hint="wait for it")
        self.snapshot = {"state": "running", "tables": tables, "where": where}

    def pause_snapshot(self) -> None:
        assert self.snapshot
        self.snapshot["state"] = "paused"

    def resume_snapshot(self) -> None:
        assert self.snapshot
        self.snapshot["state"] = "running"

    def cancel_snapshot(self) -> None:
        self.snapshot = None


class FakeBuses:
    """
    Counts what is acquired and given back.
    """

    def __init__(self) -> None:
        self.held: list[str] = []
        self.factories: list[Any] = []

    def acquire(self, source_id: str, config: Any, driver_factory: Any) -> Any:
        self.held.append(source_id)
        self.factories.append(driver_factory)
        return source_id

    async def release(self, bus: Any) -> None:
        self.held.remove(bus)

    def status(self) -> list[dict[str, Any]]:
        return [{"id": bus} for bus in self.held]


def catalog(group: str, base: type[Any], **classes: Any) -> Catalog[Any]:
    """
    Return a catalog of classes given by name; a value that is a text is a driver that can't be imported.
    """
    points = []
    for name, cls in classes.items():
        if isinstance(cls, str):
            points.append(EntryPoint(name, cls, group))
            continue
        module = types.ModuleType(f"fustor_test_driver_{name}")
        cast(Any, module).Driver = cls
        sys.modules[module.__name__] = module
        points.append(EntryPoint(name, f"{module.__name__}:Driver", group))
    return Catalog(group, base, points)


@pytest.fixture(name="make_catalog")
def make_catalog_fixture() -> Any:
    return catalog


@pytest.fixture
def authorized() -> dict[str, str]:
    """
    The headers that open the API of an agent with `settings`.
    """
    return dict(AUTHORIZED)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentSettings:
    monkeypatch.setenv("SRC_KEY", "resolved-secret")
    monkeypatch.setenv("FUSTOR_AGENT_API_TOKEN", TOKEN)
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path))
    return AgentSettings.load(restart_first_s=0.01, restart_most_s=0.05, watch_interval_s=0.01, log_console=False)


@pytest.fixture
def config_path(settings: AgentSettings) -> Path:
    path = settings.config_dir / "agent-config.yaml"
    path.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return path


@pytest.fixture
def drivers() -> dict[str, Any]:
    return {
        "sources": catalog(
            "fustor.drivers.sources", SourceDriver, quiet=QuietSource, broken="no_such_module_anywhere:X"
        ),
        "pushers": catalog("fustor.drivers.pushers", PusherDriver, keeping=KeepingPusher),
    }


@pytest.fixture
def doubles() -> Iterator[dict[str, Any]]:
    for kept in (FakeRuntime.fail_start, FakeRuntime.alive, FakeRuntime.started, KeepingPusher.made):
        kept.clear()
    KeepingPusher.refuse = False
    buses = FakeBuses()
    yield {
        "make_runtime": lambda sync_id, config, **parts: cast(SyncRuntime, FakeRuntime(sync_id, config, **parts)),
        "buses": cast(BusPool, buses),
    }


@pytest.fixture
def doubled() -> Any:
    """
    The classes behind `doubles`, for a test to steer.
    """
    return types.SimpleNamespace(runtime=FakeRuntime, pusher=KeepingPusher, config=CONFIG, error=ConfigError)


async def until(true: Any, timeout_s: float = 10) -> None:
    """
    Wait for a condition.
    """
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Any:
    return until
