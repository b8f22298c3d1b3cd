"""
What the synchronous clients share: where the service is, with which credential, and how a call is sent.
"""

from __future__ import annotations

from typing import Self, TypeVar

from fustor_client.calls import Call
from fustor_client.transport import Transport

T = TypeVar("T")
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class BaseClient:
    """
    A client of one service; a context manager that closes its connection.

    Args:
        url: Address of the service.
        timeout_s: How long an answer may take, seconds.
        transport: How requests travel; httpx by default.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, transport: Transport | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers: dict[str, str] = dict(JSON)
        if transport is None:
            from fustor_client.httpx_transport import HttpxTransport  # a third of a second to import

            transport = HttpxTransport(self.url, timeout_s)
        self._transport = transport

    def _send(self, call: Call[T]) -> T:
        target = call.target()
        answer = self._transport.request(call.method, target, {**self._headers, **call.headers}, call.payload())
        return call.read(self.url + target, answer.status, answer.headers, answer.body)

    def is_ready(self) -> bool:
        """
        Tell whether the service says it is ready.

        Raises:
            ConnectionLost: It does not answer.
        """
        return self._transport.request("GET", "/health/ready", self._headers, None).status == 200

    def close(self) -> None:
        """
        Let go of the connection.
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
