"""
What the apps of the three services have in common: logging, errors, health, metrics, and a stop that nothing holds up.

    def create_app(settings: AgentSettings | None = None) -> FastAPI:
        settings = settings or AgentSettings.load()
        app = create_service_app(settings, title="Fustor Agent", version=__version__, lifespan=lifespan)
        app.include_router(...)
        return app

`app.state` then has `settings`, `health` (add checks), `metrics` (the Prometheus collector registry) and `stopping`.
Nothing is read, written or started before the lifespan begins.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fustor_common import paths
from fustor_common.health import Health, health_router
from fustor_common.http import ErrorAnswer, RequestIdMiddleware, install_error_handlers
from fustor_common.logging import close_logging, setup_logging
from fustor_common.metrics import create_metrics, metrics_router
from fustor_common.settings import ServiceSettings
from fustor_core.errors import FustorError

log = logging.getLogger(__name__)

T = TypeVar("T")
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Stopping:
    """
    Says that the service has been told to stop, as soon as the signal arrives. Streams without an end must heed it, or they
    hold up the stop for `drain_timeout_s`.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """
        Tell whether the service is stopping.
        """
        return self._event.is_set()

    def set(self) -> None:
        """
        Begin to stop. From the event loop only.
        """
        self._event.set()

    async def wait(self) -> None:
        """
        Wait until the service is told to stop.
        """
        await self._event.wait()

    async def until(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """
        Yield the items until there are no more or the service stops: wrap the body of every endless stream in this.
        """
        stop = asyncio.ensure_future(self._event.wait())
        following: asyncio.Future[T] | None = None
        try:
            while not stop.done():
                following = asyncio.ensure_future(anext(items))
                await asyncio.wait((stop, following), return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return
                try:
                    item = following.result()
                except StopAsyncIteration:
                    return
                yield item
        finally:
            stop.cancel()
            if following is not None and not following.done():
                following.cancel()
                await asyncio.wait((following,))
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()


def create_service_app(
    settings: ServiceSettings, *, title: str, version: str, lifespan: Lifespan | None = None, **more: Any
) -> FastAPI:
    """
    Build the app of a service, without its own routes.

    Args:
        settings: Its settings.
        title: Name for the API's description.
        version: Version of the service.
        lifespan: What to start before the first request and to close after the last; entered once logging works. Its
            closing part gets `close_timeout_s` and is cancelled after that.
        more: Passed on to `FastAPI`.
    """
    health = Health()
    stopping = Stopping()
    failure: list[FustorError] = []

    @asynccontextmanager
    async def whole(app: FastAPI) -> AsyncIterator[None]:
        try:
            paths.ensure_dir(settings.config_dir)
            own_logging = setup_logging(settings)
        except FustorError as exc:
            failure.append(exc)
            raise
        stack = AsyncExitStack()
        try:
            with _hear_stop_signals(stopping):
                if lifespan is not None:
                    try:
                        await stack.enter_async_context(lifespan(app))
                    except FustorError as exc:
                        failure.append(exc)
                        raise
                health.remove("startup")
                health.add("stopping", lambda: "the service is stopping" if stopping.is_set() else None)
                log.info("%s is ready", title, extra={"service": settings.service, "version": version})
                try:
                    yield
                finally:
                    stopping.set()
                    try:
                        async with asyncio.timeout(settings.close_timeout_s):
                            await stack.aclose()
                    except TimeoutError:
                        log.error(
                            "closing took longer than %g s and was cut short; what was not acknowledged comes again after a restart",
                            settings.close_timeout_s,
                        )
        finally:
            if own_logging:
                close_logging()

    more.setdefault("responses", {400: {"model": ErrorAnswer, "description": "Error"}})
    app = FastAPI(title=title, version=version, lifespan=whole, **more)
    app.state.settings = settings
    app.state.health = health
    app.state.stopping = stopping
    app.state.metrics = create_metrics()
    health.add("startup", lambda: "the service is starting")
    install_error_handlers(app)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(_StartupFailureMiddleware, failure=failure)
    app.include_router(health_router(health, settings.service))
    app.include_router(metrics_router(app.state.metrics))
    return app


class _StartupFailureMiddleware:
    """
    Makes the server print one clear line, instead of a traceback, when a `FustorError` is why the service can't start.
    """

    def __init__(self, app: ASGIApp, failure: list[FustorError]) -> None:
        self.app = app
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_short(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self._failure:
                message = {**message, "message": str(self._failure[-1])}
            await send(message)

        await self.app(scope, receive, send_short)


@contextmanager
def _hear_stop_signals(stopping: Stopping) -> Iterator[None]:
    """
    Set `stopping` the moment SIGTERM or SIGINT arrives, whichever way the server was started.

    The server itself tells the app only after all requests have ended, which an endless stream never does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a server in a thread (tests) gets no signals
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stopping.set)
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    # Only when a server handles the signals itself; else the default action must stay what it is.
    heard = [number for number, handler in before.items() if callable(handler)]
    for number in heard:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
