"""
Requests that do not leave the process: what a console's client sends through to its own service. Unlike httpx's own transport for ASGI apps
it hands the body of an answer on as it comes, so that a stream which never ends can be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

import httpx
from starlette.types import ASGIApp, Message, Scope

log = logging.getLogger(__name__)

_PIECES: Final = 16
_LEAVE_S: Final = 2.0


class InsideTransport(httpx.AsyncBaseTransport):
    """
    Hands requests to an ASGI app.

    Args:
        app: The app.
        client: Address and port that the app is told they come from.
    """

    def __init__(self, app: ASGIApp, client: tuple[str, int]) -> None:
        self._app = app
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": self._client,
            "root_path": "",
        }
        exchange = _Exchange(await request.aread())
        return await exchange.run(self._app, scope)


class _Exchange(httpx.AsyncByteStream):
    """
    One request and its answer; the answer's body, too.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)
        self._begun: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._left = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> httpx.Response:
        self._task = asyncio.create_task(self._serve(app, scope))
        try:
            status, headers = await self._begun
        except BaseException:
            self._left.set()
            self._task.cancel()
            raise
        return httpx.Response(status, headers=headers, stream=self)

    async def _serve(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as exc:
            if self._begun.done():
                # Whoever asked has the answer that tells of it, or has left.
                log.exception("a request of a console failed: %s", scope["path"])
            else:
                self._begun.set_exception(exc)
        finally:
            if not self._begun.done():
                self._begun.set_exception(httpx.RemoteProtocolError(f"no answer to {scope['path']}"))
            await self._put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._begun.done():
                self._begun.set_result((message["status"], list(message.get("headers", ()))))
        elif message["type"] == "http.response.body" and message.get("body"):
            await self._put(message["body"])

    async def _put(self, piece: bytes | None) -> None:
        if not self._left.is_set():
            await self._pieces.put(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def aclose(self) -> None:
        """
        Tell the app that nobody listens any more, as a server would, and wait for it a little.
        """
        self._left.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()
        task, self._task = self._task, None
        if task is not None and not task.done():
            await asyncio.wait({task}, timeout=_LEAVE_S)
            task.cancel()
