from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

Answerer = Callable[["Request"], None]


class Seen(NamedTuple):
    """
    What one request was.
    """

    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


class Request(BaseHTTPRequestHandler):
    """
    One request to the scripted service; `reply` answers it.
    """

    protocol_version = "HTTP/1.1"
    server: Scripted

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, *chunks: bytes) -> None:
        """
        Answer with server-sent events, then end the connection.
        """
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
            self.wfile.flush()
        self.close_connection = True

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # A handler serves every request of its connection, so what this one was is put aside.
        self.server.requests.append(Seen(self.path, self.query, self.headers, self.body))
        with self.server.turn:
            answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """
        Keep the output of the tests clean.
        """


class Scripted(ThreadingHTTPServer):
    """
    A service on the loopback that answers as told: each answer once, the last one for ever.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.script: list[Answerer] = [lambda request: request.reply(500)]
        self.requests: list[Seen] = []
        self.turn = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def says(self, *answers: Answerer) -> None:
        self.script = list(answers)


@pytest.fixture
def service() -> Iterator[Scripted]:
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
