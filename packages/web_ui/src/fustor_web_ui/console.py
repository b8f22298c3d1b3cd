"""
A console as part of a service: an ASGI app that a service mounts. NiceGUI and the pages are imported when the first page is asked
for, so a service whose console nobody opens does not pay for it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import httpx
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fustor_web_ui.inside import InsideTransport
from fustor_web_ui.messages import Messages, catalogs_for
from fustor_web_ui.sessions import Session, Sessions
from fustor_web_ui.texts import OWN_CATALOG, Texts

INSIDE: Final = "http://inside"
"""
Address of the service's own API for clients that a console makes: their requests do not leave the process.
"""


class Place(NamedTuple):
    """
    An entry of the navigation.

    Attributes:
        path: Of the page, below the console's own.
        label: English.
        icon: Name of a Material icon.
        is_for: Tells from a session whether the entry is shown.
        also: Paths of pages that belong to it, though they do not lie below its own.
    """

    path: str
    label: str
    icon: str
    is_for: Callable[[Session], bool] = lambda session: True
    also: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """
        Tell whether a page belongs to it.
        """
        below = self.also if self.path == "/" else (self.path, *self.also)
        return path == self.path or any(path.startswith(f"{one}/") for one in below)


class Field(NamedTuple):
    """
    What somebody who signs in is asked for.
    """

    name: str
    label: str
    is_secret: bool
    autocomplete: str


class SignIn(Protocol):
    """
    Makes a session of what somebody gave.
    """

    def __call__(self, given: dict[str, str], request: Request) -> Awaitable[Session]:
        """
        Sign in.

        Raises:
            FustorError: Told to the person as it is.
        """


@dataclass
class Console:
    """
    The console of one service. There is one in a process that serves pages: NiceGUI's app is one, too.

    Attributes:
        service: Short name: of cookies, too.
        title: In every page's title.
        path: Where the service mounts it, without a slash at the end.
        pages: Module whose import registers the pages.
        navigation: The pages that are always one click away.
        fields: What somebody who signs in is asked for.
        sign_in: Makes a session of it.
        sign_in_hint: English: where to find what is asked for.
        who_label: English: what it is that a session is called by.
        catalog: The Chinese of the pages' sentences.
        sessions: Who is signed in.
        always_secure: Whether the session's cookie goes over https alone, however the request came: a proxy may speak it.
        style: Style sheet of what only this console's pages have.
    """

    service: str
    title: str
    path: str
    pages: str
    navigation: Sequence[Place]
    fields: Sequence[Field]
    sign_in: SignIn
    sign_in_hint: str
    who_label: str
    catalog: Path
    sessions: Sessions
    always_secure: bool = False
    style: Path | None = None
    _host: ASGIApp | None = field(default=None, init=False)
    _running: AbstractAsyncContextManager[Any] | None = field(default=None, init=False)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self.texts = Texts((OWN_CATALOG, self.catalog), Messages(catalogs_for(self.pages)))

    @property
    def cookie(self) -> str:
        """
        Name of the session's cookie. Cookies know no ports, so each service has its own.
        """
        return f"fustor_{self.service}_console"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer a request below the console's path.
        """
        if self._host is None:
            async with self._starting:
                if self._host is None:
                    await self._start()
        assert self._host is not None
        await self._host(scope, receive, send)

    async def _start(self) -> None:
        # Importing takes a second: the service goes on meanwhile.
        host = await asyncio.to_thread(importlib.import_module, "fustor_web_ui.host")
        app: FastAPI = await asyncio.to_thread(host.build, self)
        self._running = app.router.lifespan_context(app)
        await self._running.__aenter__()
        self._host = app

    async def close(self) -> None:
        """
        End what runs for the pages. May be called twice.
        """
        running, self._running = self._running, None
        self._host = None
        if running is not None:
            await running.__aexit__(None, None, None)


def inside(app: ASGIApp, request: Request) -> httpx.AsyncClient:
    """
    Return what sends requests to a service's own API without leaving the process, on behalf of who sent a request: limits and the
    audit trail see their address, and the service their browser.
    """
    asker = request.client
    where = ("127.0.0.1", 0) if asker is None else (asker.host, asker.port)
    return httpx.AsyncClient(
        transport=InsideTransport(app, client=where),
        headers={"User-Agent": request.headers.get("user-agent", "")},
        timeout=30.0,
    )


def add_console(app: FastAPI, console: Console, *, at_root: bool) -> None:
    """
    Mount a console in a service's app.

    Args:
        app: The app, whose other routes are there already.
        console: The console. Whoever runs the app closes it.
        at_root: Whether the service's root leads to the console.
    """
    if at_root:

        async def to_console(request: Request) -> Response:
            return RedirectResponse(f"{request.scope.get('root_path', '')}{console.path}/")

        app.router.add_route("/", to_console, methods=["GET"], include_in_schema=False)
    app.mount(console.path, console)
