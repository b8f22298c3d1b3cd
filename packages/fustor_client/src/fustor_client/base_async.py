"""
What the asynchronous clients share.
"""

from __future__ import annotations

from typing import Self, TypeVar

import httpx

from fustor_client.base import JSON
from fustor_client.calls import Call
from fustor_client.faults import unreachable

T = TypeVar("T")


class AsyncBaseClient:
    """
    A client of one service; an asynchronous context manager that closes its connections.

    Calls may run at the same time.

    Args:
        url: Address of the service.
        timeout_s: How long an answer may take, seconds.
        client: An httpx client to use instead of an own one; it is not closed.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, client: httpx.AsyncClient | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers: dict[str, str] = dict(JSON)
        self._owns = client is None
        self._client = client or httpx.AsyncClient(timeout=timeout_s)

    async def _send(self, call: Call[T]) -> T:
        target = call.target()
        headers = {**self._headers, **call.headers}
        try:
            answer = await self._client.request(call.method, self.url + target, headers=headers, content=call.payload())
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self.url, exc) from exc
        return call.read(self.url + target, answer.status_code, answer.headers, answer.content)

    async def is_ready(self) -> bool:
        """
        Tell whether the service says it is ready.

        Raises:
            ConnectionLost: It does not answer.
        """
        try:
            return (await self._client.get(self.url + "/health/ready")).status_code == 200
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self.url, exc) from exc

    async def close(self) -> None:
        """
        Let go of the connections.
        """
        if self._owns:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
