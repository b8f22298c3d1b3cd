"""
How a synchronous client's bytes travel: the interface, and the implementation on the standard library.

`fustor_client.httpx_transport` is the default of the clients; `StdlibTransport` imports in a few milliseconds and is
what the `fustor` command uses.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from fustor_client.faults import error_from, unreachable
from fustor_core.errors import InvalidRequest

_PIECE_BYTES: Final = 64 * 1024


class Answer(NamedTuple):
    """
    An HTTP answer; names of headers in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """
    Sends one request at a time; not for use from several threads at once.
    """

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """
        Send a request and read the whole answer.

        Raises:
            ConnectionLost: The service can't be reached or stopped answering.
        """

    def stream(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[str]:
        """
        Yield the lines of an endless answer, without their line ends.

        Raises:
            ConnectionLost: The service can't be reached, said nothing for `idle_s` seconds, or ended the stream badly.
            FustorError: The answer is an error.
        """

    def download(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[bytes]:
        """
        Yield a long answer piece by piece.

        Raises:
            ConnectionLost: The service can't be reached, said nothing for `idle_s` seconds, or broke the answer off.
            FustorError: The answer is an error.
        """

    def close(self) -> None:
        """
        Let go of the connection.
        """


class StdlibTransport:
    """
    One kept-alive connection of `http.client`. Takes no proxy from the environment.

    Args:
        base_url: Address of the service, without a path's final slash.
        timeout_s: How long an answer may take.
    """

    def __init__(self, base_url: str, timeout_s: float = 30.0) -> None:
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            valid = False
        if not valid:
            raise InvalidRequest(
                f"{base_url!r} is not the address of a service", hint="write it like http://127.0.0.1:8102"
            )
        self._base = base_url
        self._prefix = parts.path.rstrip("/")
        self._parts = parts
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout_s)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """
        Send a request and read the whole answer.
        """
        while True:
            fresh = self._connection is None
            connection = self._connection or self._connect(self._timeout_s)
            self._connection = connection
            try:
                connection.request(method, self._prefix + target, body=body, headers=dict(headers))
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self.close()
                # A kept connection that the service has closed meanwhile shows only now; a read may simply be repeated.
                if not fresh and method == "GET" and not isinstance(exc, TimeoutError):
                    continue
                raise unreachable(self._base, exc) from exc
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data)

    def stream(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[str]:
        """
        Yield the lines of an endless answer, on a connection of its own.
        """
        with self._answer(target, headers, idle_s) as answer:
            while line := answer.readline():
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def download(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[bytes]:
        """
        Yield a long answer piece by piece, on a connection of its own.
        """
        with self._answer(target, headers, idle_s) as answer:
            while piece := answer.read1(_PIECE_BYTES):
                yield piece

    @contextmanager
    def _answer(self, target: str, headers: Mapping[str, str], idle_s: float) -> Iterator[http.client.HTTPResponse]:
        with self._opened(idle_s) as connection:
            try:
                connection.request("GET", self._prefix + target, headers=dict(headers))
                answer = connection.getresponse()
                if answer.status >= 300:
                    got = {k.lower(): v for k, v in answer.getheaders()}
                    raise error_from(answer.status, got, answer.read(), self._base + target)
                yield answer
            except (OSError, http.client.HTTPException) as exc:
                raise unreachable(self._base, exc) from exc

    @contextmanager
    def _opened(self, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
        connection = self._connect(timeout_s)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """
        Let go of the connection.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None
