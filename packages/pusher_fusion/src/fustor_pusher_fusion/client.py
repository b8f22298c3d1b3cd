"""
The HTTP connection pool to one Fusion service: sends requests, gives back the bodies of good answers.

The number of connections is not limited here: the agent bounds the pushes under way, and a live push must never wait for
a connection that a snapshot push holds. asyncio sets TCP_NODELAY on each.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from fustor_core.errors import ConfigError
from fustor_pusher_fusion.faults import Doing, error_for, network_faults
from fustor_pusher_fusion.params import FusionParams

_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_KEEPALIVE_S = 4.0  # below uvicorn's 5 s, so that it is mostly we who let go of an idle connection
_GONE = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


class FusionClient:
    """
    Requests to one Fusion, with its API key.

    Args:
        url: Root of the service.
        key: API key in clear; kept only in the headers of the pool.
        params: Timeouts and TLS.
    """

    def __init__(self, url: str, key: str, params: FusionParams) -> None:
        self.url = url
        self._params = params
        self._headers = {"X-API-Key": key, "Accept": "application/json", "User-Agent": "fustor-pusher-fusion"}
        self._pool: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        doing: Doing,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """
        Send one request and return the body of its answer.

        A request on a kept connection that Fusion has just closed is sent once more at once: Fusion tells repeated rows
        by their versions, so this is harmless.

        Raises:
            FustorError: Any of `fustor_pusher_fusion.faults`.
        """
        pool = self._open()
        url = self.url + path
        for last_try in (False, True):
            with network_faults(self.url, self._params.timeout_s):
                try:
                    async with pool.request(
                        method, url, data=body, headers=headers, params=query, allow_redirects=False
                    ) as response:
                        answer = await response.content.read(_MAX_ANSWER_BYTES)
                        while not response.content.at_eof() and len(answer) < _MAX_ANSWER_BYTES:
                            answer += await response.content.read(_MAX_ANSWER_BYTES)
                        if response.status // 100 == 2:
                            return answer
                        raise error_for(response.status, response.headers, answer, url=self.url, doing=doing)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
                    stale = isinstance(exc, aiohttp.ServerDisconnectedError) or exc.errno in _GONE
                    if last_try or not stale or isinstance(exc, aiohttp.ClientConnectorError):
                        raise
        raise AssertionError("unreachable: the second try returns or raises")

    async def close(self) -> None:
        """
        Close every connection. May be called twice.
        """
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._pool is None or self._pool.closed:
            self._pool = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=self._tls()),
                timeout=aiohttp.ClientTimeout(
                    total=self._params.timeout_s, sock_connect=self._params.connect_timeout_s
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._pool

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return True
        if not self._params.verify_tls:
            return False
        if self._params.ca_file is None:
            return True
        context = ssl.create_default_context()
        try:
            context.load_verify_locations(Path(self._params.ca_file).expanduser())
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                f"`ca_file` {self._params.ca_file!r} of a fusion pusher can't be read: {exc}",
                hint="give the path of a file of certificates in PEM form",
            ) from None
        return context
