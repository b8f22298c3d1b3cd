"""
From errors to HTTP answers, in one place, and the id that every request gets.

The one error shape is `FustorError.to_dict()`: `{"code", "message", "hint", "context"}`.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fustor_common.logging import mask_secrets, request_id
from fustor_core import errors
from fustor_core.errors import FustorError

log = logging.getLogger(__name__)

_STATUS: dict[type[FustorError], int] = {
    FustorError: 500,
    errors.ConfigError: 400,
    errors.DriverError: 502,
    errors.DriverNotUsable: 400,
    errors.ConsumerBusy: 503,
    errors.SessionSuperseded: 419,
    errors.SessionConflict: 409,
    errors.RowRejected: 422,
    errors.BatchRejected: 422,
    errors.NotFoundError: 404,
    errors.StateConflictError: 409,
    errors.PreconditionFailed: 412,
    errors.OverloadedError: 503,
    errors.InvalidRequest: 400,
    errors.RequestTooLarge: 413,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
}
_CODES = {
    400: errors.InvalidRequest.code,
    401: errors.Unauthorized.code,
    403: errors.Forbidden.code,
    404: errors.NotFoundError.code,
    405: "request.method_not_allowed",
    409: errors.StateConflictError.code,
    412: errors.PreconditionFailed.code,
    413: errors.RequestTooLarge.code,
    415: "request.unsupported_media_type",
    429: "request.too_many",
    503: errors.OverloadedError.code,
}
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class ErrorAnswer(BaseModel):
    """
    The body of every answer that is not a success.
    """

    code: str
    message: str
    hint: str
    context: dict[str, Any]


class _ErrorResponse(JSONResponse):
    """
    An error as ASCII: what was refused may be text that UTF-8 can't write, and the error repeats it.
    """

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def status_of(error: FustorError) -> int:
    """
    Return the HTTP status that an error is answered with: `http_status` of its class where that has one, else by the tree.
    """
    own = getattr(error, "http_status", None)
    if isinstance(own, int):
        return own
    return next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS)


def code_of_status(status: int) -> str:
    """
    Return the code of an error that is known by its HTTP status alone.
    """
    return _CODES.get(status, f"http.{status}")


def error_response(error: FustorError) -> JSONResponse:
    """
    Turn an error into its answer, with `Retry-After` where waiting helps and `WWW-Authenticate` for 401.
    """
    status = status_of(error)
    body = error.to_dict()
    if isinstance(error, errors.BatchRejected):
        body["context"].setdefault("rejected", {str(n): reason for n, reason in error.rejected.items()})
    headers: dict[str, str] = {}
    if status in {429, 503}:
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "wait_s", None) or 1)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body["context"] = mask_secrets(body["context"])
    return _ErrorResponse(body, status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """
    Make an app answer every error in the one shape.
    """

    async def on_fustor_error(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, FustorError)
        if status_of(exc) == 500:
            log.error("request failed", exc_info=exc)
        return error_response(exc)

    async def on_invalid(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        # Not the input itself: it may be a password.
        problems = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in exc.errors()]
        return error_response(
            errors.InvalidRequest(
                "the request is not valid: " + "; ".join(f"{p['where']}: {p['what']}" for p in problems),
                hint="see the API's description at /docs",
                context={"problems": problems},
            )
        )

    async def on_unwritable(request: Request, exc: Exception) -> JSONResponse:
        # JSON can name halves of characters (\\ud800), and no file or database of ours can write them.
        log.warning("%s %s: text that UTF-8 can't write", request.method, request.url.path)
        return error_response(
            errors.InvalidRequest(
                "the request holds text that UTF-8 can't write (a lone surrogate)", hint="send whole characters"
            )
        )

    async def on_http_exception(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        status = exc.status_code
        detail = str(exc.detail)
        if status in {404, 405} and detail == HTTPStatus(status).phrase:
            detail = f"there is no {request.method} {request.url.path}"
        headers = dict(exc.headers or {})
        if status == 405:
            headers["Allow"] = ", ".join(_methods(request))
        body: dict[str, Any] = {
            "code": code_of_status(status),
            "message": detail,
            "hint": "see the API's description at /docs" if status in {404, 405} else "",
            "context": {},
        }
        return _ErrorResponse(body, status_code=status, headers=headers)

    app.add_exception_handler(FustorError, on_fustor_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(UnicodeEncodeError, on_unwritable)


def _methods(request: Request) -> list[str]:
    """
    Return every method that the path of a request knows: the framework itself names those of the first route alone.
    """
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


class RequestIdMiddleware:
    """
    Gives each request an id (the caller's `X-Request-ID`, else a new one), answers it back and has it logged; turns an exception
    that nobody handled into a 500 that carries it.

    Plain ASGI and without a lock or a task of its own: the ingest and query paths run through here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._prefix = secrets.token_hex(4)
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        value = b""
        for name, given in scope["headers"]:
            if name == b"x-request-id" and _GIVEN_ID.fullmatch(given):
                value = given
                break
        if not value:
            value = f"{self._prefix}-{next(self._count):x}".encode()
        # Never reset: the server runs each request in a context of its own.
        request_id.set(value.decode())
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", value)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as exc:
            if started:
                raise  # too late for an answer: the server logs it and cuts the connection
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=exc)
            answer = JSONResponse(
                {
                    "code": "internal",
                    "message": "the service failed to answer this request",
                    "hint": "the service's log has the traceback under this request id",
                    "context": {"request_id": value.decode()},
                },
                status_code=500,
            )
            await answer(scope, receive, send_with_id)
