# ruff: noqa: ASYNC220 - tests may read small files and start processes on the event loop
"""
A whole agent with the real bus and runtime: a small source, the echo pusher, a restart, a stop by SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml

from fustor_agent.app import create_app
from fustor_common.agent_token import token_file
from fustor_core.drivers import SourceDriver
from fustor_core.models.event import EventBase, InsertEvent, progress_mark
from fustor_core.plugins import pusher_drivers


class ListSource(SourceDriver):
    """
    A table that a test adds rows to, with a log that reaches back to the beginning.
    """

    log: ClassVar[list[int]] = []
    wakes: ClassVar[list[queue.SimpleQueue[None]]] = []
    asked: ClassVar[list[int]] = []

    @classmethod
    def add(cls, row: int) -> None:
        cls.log.append(row)
        for wake in cls.wakes:
            wake.put(None)

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        low = len(self.log)
        rows = [{"id": row} for row in self.log]
        yield InsertEvent("db", "t", rows, index=low, key=["id"], resume_token="end")

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.wakes.append(wake)
        self.asked.append(start_position)
        return self._walk(len(self.log) if start_position < 0 else start_position, wake, kwargs["stop_event"]), False

    def _walk(self, at: int, wake: queue.SimpleQueue[None], stop: Any) -> Iterator[EventBase]:
        yield progress_mark(at)
        while not stop.is_set():
            while at < len(self.log):
                at += 1
                yield InsertEvent("db", "t", [{"id": self.log[at - 1]}], index=at, key=["id"], ts=time.time())
            try:
                wake.get(timeout=0.05)
            except queue.Empty:
                yield progress_mark(at)

    def high_watermark(self) -> int | None:
        return len(self.log)

    @classmethod
    def position_text(cls, position: int) -> str:
        return f"row {position}"

    @classmethod
    def bytes_between(cls, earlier: int, later: int) -> int | None:
        return 100 * (later - earlier)

    def is_position_available(self, position: int) -> bool:
        return True

    def incarnation(self) -> str:
        return "the only one"


@pytest.fixture
def echoed(settings: Any) -> Iterator[Any]:
    ListSource.log[:] = [1, 2, 3]
    ListSource.wakes.clear()
    ListSource.asked.clear()
    out = settings.config_dir / "echo.jsonl"
    config = {
        "sources": {"src": {"driver": "list", "uri": "list://", "disabled": False}},
        "pushers": {
            "out": {"driver": "echo", "endpoint": "file", "disabled": False, "driver_params": {"file": str(out)}}
        },
        "syncs": {"one": {"source": "src", "pusher": "out"}},
    }
    (settings.config_dir / "agent-config.yaml").write_text(yaml.safe_dump(config))

    def ids(source_type: str) -> list[int]:
        said = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return [row[0] for line in said if line.get("source_type") == source_type for row in line["event"]["rows"]]

    return ids


@asynccontextmanager
async def agent(settings: Any, make_catalog: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        settings,
        sources=make_catalog("fustor.drivers.sources", SourceDriver, list=ListSource),
        pushers=pusher_drivers(),
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {settings.api_token.get_secret_value()}"},
        ) as client,
    ):
        yield client


async def test_snapshot_live_changes_and_a_restart_without_repeating_the_snapshot(
    settings: Any, echoed: Any, until: Any, make_catalog: Any
) -> None:
    async with agent(settings, make_catalog) as client:
        await until(lambda: sorted(echoed("snapshot")) == [1, 2, 3])
        ListSource.add(4)
        await until(lambda: 4 in echoed("message"))
        status = (await client.get("/api/instances/one")).json()
        assert "MESSAGE_SYNC" in status["states"] and status["pushed_rows"] >= 4, status
        async with asyncio.timeout(10):
            while status["checkpoint"] != 4:
                await asyncio.sleep(0.01)
                status = (await client.get("/api/instances/one")).json()
        assert (status["position"], status["lag_index"], status["lag_bytes"]) == ("row 4", 0, 0)
        assert (await client.get("/api/instances")).json()["buses"]
        assert 'fustor_agent_rows_pushed_total{sync="one"}' in (await client.get("/metrics")).text
    ListSource.add(5)
    async with agent(settings, make_catalog):
        await until(lambda: 5 in echoed("message"))
    assert ListSource.asked[0] == -1 and ListSource.asked[1] >= 0, "the second start went on from the checkpoint"


async def test_a_real_agent_process_answers_and_stops_on_sigterm(settings: Any, tmp_path: Path, until: Any) -> None:
    """
    Started as people start it, with nothing configured: ready, small, and gone within 10 s of SIGTERM with exit code 0.
    """
    env = {**os.environ, "FUSTOR_CONFIG_DIR": str(tmp_path), "FUSTOR_AGENT_PORT": "0"}
    env.pop("FUSTOR_AGENT_API_TOKEN", None)
    with subprocess.Popen(
        [sys.executable, "-c", "from fustor_agent.cli import main; main()", "start"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            pid_file = tmp_path / "fustor_agent.pid"

            def url() -> str:
                try:
                    return str(json.loads(pid_file.read_text())["url"])
                except (FileNotFoundError, ValueError):
                    return ""

            await until(lambda: url() or process.poll() is not None, 60)
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            async with httpx.AsyncClient(base_url=url(), timeout=120) as client:
                assert (await client.get("/health/ready")).status_code == 200
                assert (await client.get("/api/instances")).status_code == 401
                made = token_file(tmp_path)
                assert made.stat().st_mode & 0o777 == 0o600, "for its owner only"
                client.headers["Authorization"] = f"Bearer {made.read_text().strip()}"
                assert (await client.get("/api/instances")).json()["syncs"] == []
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) in (0, -signal.SIGTERM)
        finally:
            if process.poll() is None:
                process.kill()


async def test_full_dead_letters_stop_the_sync_loudly_and_drop_nothing(
    settings: Any, echoed: Any, until: Any, make_catalog: Any, drivers: Any, doubled: Any
) -> None:
    config = yaml.safe_load((settings.config_dir / "agent-config.yaml").read_text())
    config["pushers"]["out"] = {"driver": "keeping", "endpoint": "x", "disabled": False}
    (settings.config_dir / "agent-config.yaml").write_text(yaml.safe_dump(config))
    small = settings.model_copy(update={"dead_letter_rows": 2})
    sources = make_catalog("fustor.drivers.sources", SourceDriver, list=ListSource)
    doubled.pusher.refuse = True
    try:
        app = create_app(small, sources=sources, pushers=drivers["pushers"])
        async with app.router.lifespan_context(app):
            supervisor = app.state.service.supervisor
            await until(lambda: "MESSAGE_SYNC" in supervisor.sync_status("one")["states"])
            for row in range(10, 15):
                ListSource.add(row)
            await until(lambda: "ERROR" in supervisor.sync_status("one")["states"], 30)
            status = supervisor.sync_status("one")
            assert "no room" in status["reason"] and "FUSTOR_AGENT_DEAD_LETTER_ROWS" in status["hint"], status
            kept = [
                supervisor.parts.dead_letters.event(letter.id)[1] for letter in supervisor.parts.dead_letters.page()
            ]
            assert sum(len(event.rows) for event in kept) <= 2
            doubled.pusher.refuse = False
            parked = {row[0] for event in kept for row in event.rows}
            supervisor.parts.dead_letters.max_rows = 1000
            await supervisor.stop("one")
            await supervisor.start("one")  # the wait after such an error is long; a person who has made room starts it

            def seen() -> set[int]:
                events = [e for p in doubled.pusher.made for pushed, _ in p.pushed for e in pushed]
                return parked | {row["id"] for e in events for row in e.rows}

            await until(lambda: seen() >= {10, 11, 12, 13, 14})
    finally:
        doubled.pusher.refuse = False
