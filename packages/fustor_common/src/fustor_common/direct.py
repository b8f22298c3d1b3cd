"""
A path that is answered before the framework looks for its route. For the one that nearly all requests of a service go to: finding the
route and preparing what its function might want costs more than the function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

Answer = Callable[[Request], Awaitable[Response]]


class DirectPath:
    """
    Answers one method of one path; everything else goes on to the app.

    Args:
        app: What comes after it.
        service: Whose error handlers answer what `answer` raises.
        method: Such as POST.
        path: As it stands in the request.
        answer: Reads the request itself.
    """

    def __init__(self, app: ASGIApp, service: FastAPI, method: str, path: str, answer: Answer) -> None:
        self.app = app
        self._service = service
        self._method = method
        self._path = path
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != self._method:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except Exception as exc:
            handlers = self._service.exception_handlers
            handle = next((handlers[kind] for kind in type(exc).__mro__ if kind in handlers), None)
            if handle is None:
                raise
            handled = handle(request, exc)
            response = handled if isinstance(handled, Response) else await handled
        await response(scope, receive, send)


def answer_directly(app: FastAPI, method: str, path: str, answer: Answer) -> None:
    """
    Have an app answer a path so, behind its other middleware. Its route stays, for the document and for other spellings of the path.
    """
    app.user_middleware.append(Middleware(DirectPath, app, method, path, answer))
