"""
The app of the Registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fustor_common.app import create_service_app
from fustor_common.openapi import correct_document, error_answers
from fustor_registry import __version__
from fustor_registry.agents import Agents
from fustor_registry.api import agents, audit, datastores, keys, logins, users
from fustor_registry.api.access import Parts
from fustor_registry.console import registry_console
from fustor_registry.datastores import Datastores
from fustor_registry.guesses import GuessLimit
from fustor_registry.keys import Keys
from fustor_registry.logins import Logins
from fustor_registry.passwords import Passwords
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store
from fustor_registry.users import Users
from fustor_web_ui.console import add_console


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
            await console.close()
            store.close()

    app = create_service_app(
        chosen, title="Fustor Registry", version=__version__, lifespan=lifespan, responses=error_answers(400, 503)
    )
    for module in (logins, users, datastores, keys, agents, audit):
        app.include_router(module.router)
    correct_document(app)
    console = registry_console(app, chosen)
    if chosen.console:
        add_console(app, console, at_root=True)
    return app


def _open(store: Store, settings: RegistrySettings) -> Parts:
    store.migrate()
    passwords = Passwords()
    guesses = GuessLimit(store, settings)
    own_logins = Logins(store, settings, passwords, guesses)
    own_users = Users(store, passwords, guesses, own_logins)
    password = settings.admin_password
    own_users.bootstrap(None if password is None else password.get_secret_value())
    return Parts(
        store=store,
        users=own_users,
        logins=own_logins,
        datastores=Datastores(store),
        keys=Keys(store, ttl_s=settings.verify_ttl_s),
        agents=Agents(store, interval_s=settings.agent_interval_s),
    )
