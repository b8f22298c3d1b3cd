from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fustor_cli.local.layout import Layout

Route = Callable[[re.Match[str], Any], Any]


class Service(ThreadingHTTPServer):
    """
    A service on the loopback: routes by regular expression of `METHOD /path?query`; what a route returns is the JSON
    answer, (status, value) another status. A function as value of a status 0 writes the answer itself.
    """

    daemon_threads = True

    def __init__(self, routes: dict[str, Route]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.calls: list[str] = []
        self.port = int(self.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = f"{self.command} {self.path}"
        self.server.calls.append(call)
        for pattern, route in self.server.routes.items():
            match = re.fullmatch(pattern, call)
            if match is not None:
                answer = route(match, json.loads(body) if body else None)
                break
        else:
            answer = (404, {"code": "request.not_found", "message": f"no {call}", "hint": ""})
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """
        Keep the output of the tests clean.
        """


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Route]], Service]]:
    running: list[tuple[Service, threading.Thread]] = []

    def start(routes: dict[str, Route]) -> Service:
        service = Service(routes)
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((service, thread))
        return service

    yield start
    for service, thread in running:
        service.shutdown()
        thread.join()
        service.server_close()


@pytest.fixture(autouse=True)
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """
    An empty config root; nothing of this machine's settings is seen.
    """
    for name in [name for name in os.environ if name.startswith("FUSTOR_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path / "config"))
    return Layout(tmp_path / "config")
