"""
Requests through httpx: pooled connections, proxies of the environment, safe for use from several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from fustor_client.faults import error_from, unreachable
from fustor_client.transport import Answer


class HttpxTransport:
    """
    The default way of the synchronous clients.

    Args:
        base_url: Address of the service.
        timeout_s: How long an answer may take.
        client: One to use instead (a test's, or one with settings of its own); it is not closed.
    """

    def __init__(self, base_url: str, timeout_s: float = 30.0, client: httpx.Client | None = None) -> None:
        self._base = base_url.rstrip("/")
        self._owns = client is None
        self._client = client or httpx.Client(timeout=timeout_s)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """
        Send a request and read the whole answer.
        """
        try:
            answer = self._client.request(method, self._base + target, headers=headers, content=body)
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self._base, exc) from exc
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    def stream(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[str]:
        """
        Yield the lines of an endless answer.
        """
        with self._answer(target, headers, idle_s) as answer:
            yield from answer.iter_lines()

    def download(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[bytes]:
        """
        Yield a long answer piece by piece.
        """
        with self._answer(target, headers, idle_s) as answer:
            yield from answer.iter_bytes()

    @contextmanager
    def _answer(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(10, read=idle_s)
        try:
            with self._client.stream("GET", self._base + target, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    raise error_from(answer.status_code, answer.headers, answer.read(), self._base + target)
                yield answer
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self._base, exc) from exc

    def close(self) -> None:
        """
        Let go of the connections.
        """
        if self._owns:
            self._client.close()
