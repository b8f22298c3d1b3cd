"""
Requests that do not leave the process: answered while they grow, and the app learns when nobody listens any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fustor_web_ui.inside import InsideTransport


class Endless:
    """
    An app with a stream that never ends by itself.
    """

    def __init__(self) -> None:
        self.app = FastAPI()
        self.sent = 0
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

        @self.app.get("/endless")
        async def endless() -> StreamingResponse:
            return StreamingResponse(self._lines(), media_type="text/event-stream")

        @self.app.post("/echo")
        async def echo(request: Request) -> dict[str, str]:
            body = await request.body()
            assert request.client is not None
            return {"body": body.decode(), "from": request.client.host, "query": request.url.query}

        @self.app.get("/broken")
        async def broken() -> None:
            raise ValueError("this handler is broken")

        @self.app.get("/broken-later")
        async def broken_later() -> StreamingResponse:
            return StreamingResponse(self._breaking())

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.sent += 1
                self.begun.set()
                yield b"line %d\n" % self.sent
                await asyncio.sleep(0)
        finally:
            self.ended.set()

    @staticmethod
    async def _breaking() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("this stream is broken")


@pytest.fixture
def service() -> Endless:
    return Endless()


@pytest.fixture
async def client(service: Endless) -> AsyncIterator[httpx.AsyncClient]:
    transport = InsideTransport(service.app, client=("10.0.0.9", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as opened:
        yield opened


async def test_a_request_arrives_whole_and_from_whom_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.post("/echo?a=1", content=b"x" * 100_000)
    assert answer.json() == {"body": "x" * 100_000, "from": "10.0.0.9", "query": "a=1"}


async def test_an_endless_answer_is_read_as_it_grows_and_ends_with_its_reader(
    client: httpx.AsyncClient, service: Endless
) -> None:
    """
    The app waits for a slow reader, and ends the stream when the reader leaves.
    """
    async with client.stream("GET", "/endless") as answer:
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(3)] == ["line 1", "line 2", "line 3"]
        for _ in range(200):
            await asyncio.sleep(0)
        assert service.sent < 50, "it does not run ahead of who reads"
    async with asyncio.timeout(10):
        await service.ended.wait()


async def test_a_reader_that_is_cancelled_ends_the_stream(client: httpx.AsyncClient, service: Endless) -> None:
    async def read() -> None:
        async with client.stream("GET", "/endless") as answer:
            async for _ in answer.aiter_lines():
                pass

    task = asyncio.create_task(read())
    async with asyncio.timeout(10):
        await service.begun.wait()
        task.cancel()
        await service.ended.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_broken_handler_is_an_answer_as_it_is_over_the_network(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get("/broken")).status_code == 500
    async with client.stream("GET", "/broken-later") as answer:
        assert [piece async for piece in answer.aiter_bytes()] == [b"begun"]
    assert "a request of a console failed: /broken-later" in caplog.text
