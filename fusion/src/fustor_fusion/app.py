"""
Builds the Fusion service.

`app.state` has `settings`, `datastores`, `keys`, `scan_threads` and `fusion_metrics` beside what `fustor_common.app` puts there.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from fustor_common.app import create_service_app
from fustor_common.direct import answer_directly
from fustor_common.interpreter import responsive
from fustor_common.logging import get_logger
from fustor_common.openapi import correct_document, error_answers
from fustor_core.errors import ConfigError, NotFoundError
from fustor_fusion.api import datastores as own_datastore
from fustor_fusion.api import events, flow, live, sessions, syncs, tables
from fustor_fusion.api.access import ReadStore
from fustor_fusion.console import fusion_console
from fustor_fusion.datastore import Datastores
from fustor_fusion.keys import Ask, KeyCache, RegistryClient
from fustor_fusion.metrics import FusionMetrics
from fustor_fusion.scan_threads import ScanThreads
from fustor_fusion.settings import FusionSettings
from fustor_fusion.views.base import View
from fustor_web_ui.console import add_console

log = get_logger(__name__)


def create_app(
    settings: FusionSettings | None = None, *, ask: Ask | None = None, clock: Callable[[], float] = time.monotonic
) -> FastAPI:
    """
    Build the app.

    Args:
        settings: Its settings; read from the environment by default.
        ask: Asks the Registry about a key; for tests.
        clock: Monotonic seconds, for sessions and retention; for tests.
    """
    settings = settings or FusionSettings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = RegistryClient(settings.registry_url, settings.registry_timeout_s)
        keys = KeyCache(ask or registry.ask, settings.config_dir / "fusion" / "keys.db", settings.key_max_age_s)
        app.state.keys = keys
        app.state.scan_threads = ScanThreads()
        try:
            try:
                await asyncio.to_thread(keys.load)
                await asyncio.to_thread(datastores.open_existing)
            except (sqlite3.Error, OSError) as exc:
                raise ConfigError(
                    f"the store in {str(datastores.folder)!r} can't be opened: {exc}",
                    hint="check that the folder is writable, the disk has space and the files are whole",
                    context={"folder": str(datastores.folder)},
                ) from exc
            with responsive():
                yield
        finally:
            await console.close()
            for datastore in datastores.opened():
                datastore.live.close()
            await keys.close()
            await registry.close()
            await asyncio.to_thread(app.state.scan_threads.close)
            await asyncio.to_thread(datastores.close)

    app = create_service_app(settings, title="Fustor Fusion", version=version("fustor-fusion"), lifespan=lifespan)
    metrics = FusionMetrics(app.state.metrics)
    datastores = Datastores(settings, metrics, clock=clock)
    app.state.fusion_metrics = metrics
    app.state.datastores = datastores
    metrics.queue_bytes.set_function(lambda: sum(d.applier.queued_bytes for d in datastores.opened()))
    metrics.live_readers.set_function(lambda: sum(len(d.live) for d in datastores.opened()))
    metrics.sessions.set_function(lambda: sum(len(d.sessions.live()) for d in datastores.opened()))
    app.state.health.add("store", lambda: _problems(datastores))
    app.state.health.add("views", lambda: _view_problems(datastores))
    for module in (events, sessions, syncs, own_datastore, flow, live, tables):
        app.include_router(module.router)
    answer_directly(app, "POST", events.PUSH_PATH, events.push)
    _add_view_routes(app, datastores)
    correct_document(app)
    console = fusion_console(app, settings)
    if settings.console:
        add_console(app, console, at_root=True)
    return app


def _problems(datastores: Datastores) -> str | None:
    """
    Say which stores can't be written.
    """
    return "; ".join(d.applier.failure for d in datastores.opened() if d.applier.failure) or None


def _view_problems(datastores: Datastores) -> str | None:
    """
    Say which views can't be used.
    """
    errors = {p.name: p.error for p in datastores.catalog.list() if p.error is not None}
    for datastore in datastores.opened():
        errors.update(datastore.view_errors)
    return "; ".join(f"view {name!r}: {error}" for name, error in sorted(errors.items())) or None


def _add_view_routes(app: FastAPI, datastores: Datastores) -> None:
    for plugin in datastores.catalog.list():
        if plugin.error is not None:
            continue
        cls = datastores.catalog.get(plugin.name)
        try:
            router = cls.router(_resolver(plugin.name))
        except Exception as exc:
            log.error("the routes of a view can't be used", view=plugin.name, exc_info=exc)
            continue
        if router is not None:
            app.include_router(
                router, prefix="/views", tags=["views"], responses=error_answers(400, 401, 403, 404, 503)
            )


def _resolver(name: str) -> Callable[..., Any]:
    async def resolve(datastore: ReadStore) -> View:
        view = datastore.view(name)
        if view is None:
            raise NotFoundError(
                f"the view {name!r} can't be used: {datastore.view_errors.get(name, 'it is not installed')}",
                hint="GET /health/ready says what is broken",
            )
        return view

    return resolve
