"""
The app that a console runs in: sign-in and its sessions as plain forms, the console's own assets, and NiceGUI for the pages. Importing
this module imports NiceGUI; see `console`.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from nicegui import ui
from starlette.datastructures import FormData, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fustor_core.errors import FustorError
from fustor_web_ui import page, sign_in_form
from fustor_web_ui.console import Console
from fustor_web_ui.preferences import THEMES, preferences_of, remember
from fustor_web_ui.texts import LANGUAGES

log = logging.getLogger(__name__)

ASSETS: Final = Path(__file__).with_name("assets")
_POLICY: Final = (
    # NiceGUI compiles its templates in the browser. Nothing comes from elsewhere, and nothing goes there.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def build(console: Console) -> FastAPI:
    """
    Build the app of a console.
    """
    page.running = console
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(_Headers)
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")
    _add_sign_in(app, console)
    if console.style is not None:
        _add_style(app, console.style)
    importlib.import_module(console.pages)
    ui.run_with(
        app,
        title=console.title,
        favicon=ASSETS / "favicon.svg",
        reconnect_timeout=10.0,
        tailwind=False,
        show_welcome_message=False,
        session_middleware_kwargs=None,
    )
    return app


def _add_style(app: FastAPI, file: Path) -> None:
    async def style(request: Request) -> Response:
        return FileResponse(file, media_type="text/css")

    app.router.add_route("/own.css", style, methods=["GET"])


class _Headers:
    """
    Adds what tells the browser to keep to this service. Also takes it easy when somebody leaves before they have their answer, which
    NiceGUI's middleware makes an error of.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_left = False

        async def heed() -> Message:
            nonlocal has_left
            message = await receive()
            has_left = has_left or message["type"] == "http.disconnect"
            return message

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if "text/html" in headers.get("content-type", ""):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self._app(scope, heed, add)
        except RuntimeError as exc:
            if not has_left or str(exc) != "No response returned.":
                raise
            log.debug("somebody left before their answer was there: %s", scope["path"])


def _add_sign_in(app: FastAPI, console: Console) -> None:
    async def show(request: Request) -> Response:
        why = sign_in_form.REASONS.get(request.query_params.get("why", ""))
        following = _next(request.query_params)
        return HTMLResponse(sign_in_form.render(console, preferences_of(request), next=following, wrong=why))

    async def take(request: Request) -> Response:
        form = await request.form()
        chosen = preferences_of(request)
        following = _next(form)
        if not _is_from_here(request):
            return HTMLResponse(
                sign_in_form.render(console, chosen, next=following, wrong="This form was sent from another page."), 403
            )
        given = {field.name: str(form.get(field.name, "")) for field in console.fields}
        try:
            session = await console.sign_in(given, request)
        except FustorError as exc:
            kept = {field.name: given[field.name] for field in console.fields if not field.is_secret}
            text = sign_in_form.render(console, chosen, next=following, error=exc, given=kept)
            return HTMLResponse(text, 401)
        name = console.sessions.begin(session)
        answer = RedirectResponse(f"{console.path}{following}", 303)
        answer.set_cookie(
            console.cookie,
            name,
            path=console.path,
            httponly=True,
            samesite="lax",
            secure=console.always_secure or request.url.scheme == "https",
        )
        return answer

    async def leave(request: Request) -> Response:
        answer = RedirectResponse(f"{console.path}/sign-in", 303)
        if not _is_from_here(request):
            return answer
        session = console.sessions.end(request.cookies.get(console.cookie))
        answer.delete_cookie(console.cookie, path=console.path)
        if session is not None:
            await page.leave(session)
        return answer

    async def prefer(request: Request) -> Response:
        answer = RedirectResponse(f"{console.path}{_next(request.query_params)}", 303)
        for name, allowed in (("language", LANGUAGES), ("theme", THEMES)):
            value = request.query_params.get(name)
            if value in allowed:
                remember(answer, name, str(value))
        return answer

    app.router.add_route("/sign-in", show, methods=["GET"])
    app.router.add_route("/sign-in", take, methods=["POST"])
    app.router.add_route("/sign-out", leave, methods=["POST"])
    app.router.add_route("/preferences", prefer, methods=["GET"])


def _next(values: Any | FormData) -> str:
    """
    Return the page to go on to: one of this console, whatever the address says.
    """
    given = str(values.get("next") or "/")
    parts = urlsplit(given)
    is_own = given.startswith("/") and not given.startswith("//") and not parts.netloc and "\\" not in given
    return given if is_own and given.isprintable() else "/"


def _is_from_here(request: Request) -> bool:
    """
    Tell whether a form was sent by a page of this service: a browser says so, other programs need no protection.
    """
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
