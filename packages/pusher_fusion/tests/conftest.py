"""
A small Fusion over real HTTP whose answers a test decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import zstandard
from aiohttp import web

from fustor_core.models.config import ApiKeyCredential, PusherConfig
from fustor_core.models.envelope import Envelope, decode_envelope
from fustor_pusher_fusion import FusionPusher

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeFusion:
    """
    Keeps every request; answers like Fusion, or as `answer` says.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.connections: set[tuple[str, int]] = set()
        self.answer: Handler | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.connections.add(request.transport.get_extra_info("peername")[:2] if request.transport else ("", 0))
        if self.answer is not None:
            return await self.answer(request)
        path = request.path
        if path.endswith("/sessions/") and request.method == "POST":
            return web.json_response({"session_id": "s1", "heartbeat_interval": 5, "epoch": 3, "snapshot_needed": True})
        if path.endswith("/sessions/") and request.method == "DELETE":
            return web.Response(status=204)
        if path.endswith("/position"):
            return web.json_response({"index": 41})
        if path.endswith("/heartbeat"):
            return web.json_response({"snapshot_needed": True, "snapshot_request": {"tables": ["files"]}})
        if path.endswith("/syncs/"):
            return web.json_response([{"task_id": "t"}])
        return web.json_response({"snapshot_needed": False, "snapshot_cancelled": True, "index": 7, "applied": 2})

    def says(self, status: int, body: Any = None, **headers: str) -> None:
        """
        Answer every request with this from now on.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            if isinstance(body, str):
                return web.Response(status=status, text=body, content_type="text/html", headers=headers)
            return web.json_response(body, status=status, headers=headers)

        self.answer = answer

    def envelope(self, at: int = -1) -> Envelope:
        """
        Return a pushed envelope, decoded.
        """
        request, body = self.requests[at], self.bodies[at]
        if request.headers.get("Content-Encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompress(body)
        return decode_envelope(body, request.content_type)


@pytest.fixture
async def fusion() -> AsyncIterator[FakeFusion]:
    fake = FakeFusion()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await fake.handle(request)

    server = web.Server(handle, auto_decompress=False)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield fake
    listening.close()
    await server.shutdown(0.1)
    await listening.wait_closed()


@pytest.fixture
async def make_pusher(fusion: FakeFusion) -> AsyncIterator[Callable[..., FusionPusher]]:
    made: list[FusionPusher] = []

    def make(endpoint: str | None = None, key: str = "fk_secret_key", **params: Any) -> FusionPusher:
        config = PusherConfig(
            driver="fusion",
            endpoint=endpoint or fusion.url,
            credential=ApiKeyCredential(key=key),
            driver_params=params,
        )
        made.append(FusionPusher("p1", config))
        return made[-1]

    yield make
    for pusher in made:
        await pusher.close()
        await pusher.close()
