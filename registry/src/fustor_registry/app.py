"""
The app of the Registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fustor_common.app import create_service_app
from fustor_registry import __version__
from fustor_registry.api import audit, datastores, keys, users
from fustor_registry.api.access import Parts
from fustor_registry.datastores import Datastores
from fustor_registry.keys import Keys
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store
from fustor_registry.users import Users


def create_app(settings: RegistrySettings | None = None) -> FastAPI:
    """
    Build the app; the database is opened, and brought to the newest schema, when its lifespan begins.

    Args:
        settings: By default those of the environment.
    """
    chosen = settings or RegistrySettings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = Store(chosen.url_of_database)
        try:
            parts = await asyncio.to_thread(_open, store, chosen)
            app.state.parts = parts
            app.state.health.add("database", lambda: asyncio.to_thread(store.check))
            yield
        finally:
            store.close()

    app = create_service_app(chosen, title="Fustor Registry", version=__version__, lifespan=lifespan)
    for module in (users, datastores, keys, audit):
        app.include_router(module.router)
    return app


def _open(store: Store, settings: RegistrySettings) -> Parts:
    store.migrate()
    parts = Parts(store, Users(store, settings), Datastores(store), Keys(store, ttl_s=settings.verify_ttl_s))
    password = settings.admin_password
    parts.users.bootstrap(None if password is None else password.get_secret_value())
    return parts
