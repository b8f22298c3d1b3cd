"""
What the agent tells the Registry of itself, against a server that answers as the test says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fustor_agent import registry_report
from fustor_agent.registry_report import reporting
from fustor_agent.settings import AgentSettings


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any], list[int]]]:
    """
    A Registry's heartbeat endpoint: its address, what it was told, and the statuses it answers, the last one for ever.
    """
    told: list[Any] = []
    statuses = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.path, self.headers["X-API-Key"], body))
            answer = b'{"interval_s": 0.01, "code": "request.overloaded", "message": "busy", "hint": ""}'
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """
            Keep the output of the tests clean.
            """

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told, statuses
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_agent_reports_again_and_again_with_the_key_of_the_file(
    listener: Any, tmp_path: Path, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It waits for the file of the key, goes on after a refusal, and takes a rotated key without a restart.
    """
    monkeypatch.setattr(registry_report, "FIRST_WAIT_S", 0.01)
    url, told, statuses = listener
    statuses[:] = [503, 200]
    key_file = tmp_path / "key"
    settings = AgentSettings.load(config_dir=tmp_path, registry_url=url, registry_key_file=key_file)
    syncs = [
        {"id": "files", "state": "MESSAGE_SYNC|RUNNING_CONF_OUTDATE", "reason": None, "health": "live"},
        {"id": "orders", "state": "STARTING", "reason": "nobody answers", "health": "retrying"},
    ]
    async with reporting(settings, "agent-1", lambda: syncs):
        assert told == []
        key_file.write_text("fk_first\n")
        await until(lambda: len(told) >= 3)
        key_file.write_text("fk_second\n")
        await until(lambda: told[-1][1] == "fk_second")
    assert [key for _, key, _ in told][:3] == ["fk_first"] * 3
    path, _, body = told[0]
    assert path == "/api/v1/agents/heartbeat"
    assert body["agent_id"] == "agent-1" and body["version"] and body["host"]
    assert body["syncs"] == [
        {"id": "files", "state": "MESSAGE_SYNC|RUNNING_CONF_OUTDATE"},
        {"id": "orders", "state": "STARTING|RETRYING"},  # or it would be "starting" there for ever
    ]


async def test_an_agent_that_was_told_nothing_reports_nowhere(tmp_path: Path) -> None:
    """
    Without an address, or without a key, nothing is begun.
    """
    for more in ({}, {"registry_url": "http://127.0.0.1:9"}, {"registry_key_file": tmp_path / "key"}):
        settings = AgentSettings.load(config_dir=tmp_path, **more)
        async with reporting(settings, "agent-1", lambda: pytest.fail("asked for nothing")):
            pass
