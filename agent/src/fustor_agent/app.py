"""
The agent as a web application: what lives for as long as it runs, and its routes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from fustor_agent.api import configs, deadletters, drivers, instances, logs, overview, syncs
from fustor_agent.api.access import Service
from fustor_agent.bus import BusPool
from fustor_agent.cleanups import Cleanups
from fustor_agent.config_file import drivers_of
from fustor_agent.config_reload import on_hangup, reload_and_apply
from fustor_agent.configs import Configs
from fustor_agent.console import agent_console
from fustor_agent.database import AgentDatabase
from fustor_agent.deadletters import DeadLetters
from fustor_agent.managed_sync import MakeRuntime, Parts
from fustor_agent.metered import PushMetrics
from fustor_agent.registry_report import reporting
from fustor_agent.revisions import Revisions
from fustor_agent.runtime_maker import runtime_maker
from fustor_agent.settings import AgentSettings
from fustor_agent.state import StateStore
from fustor_agent.supervisor import Supervisor
from fustor_agent.sync_metrics import SyncMetrics
from fustor_common.agent_token import ensure_token
from fustor_common.app import create_service_app
from fustor_common.interpreter import responsive
from fustor_common.logging import get_logger
from fustor_common.openapi import correct_document, error_answers
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.plugins import Catalog, pusher_drivers, source_drivers
from fustor_web_ui.console import add_console

log = get_logger(__name__)


def create_app(
    settings: AgentSettings | None = None,
    *,
    sources: Catalog[SourceDriver] | None = None,
    pushers: Catalog[PusherDriver] | None = None,
    make_runtime: MakeRuntime | None = None,
    buses: BusPool | None = None,
) -> FastAPI:
    """
    Build the agent.

    Args:
        settings: Read from the environment when not given.
        sources, pushers: The drivers to use instead of the installed ones, for tests.
        make_runtime, buses: What makes the runtime of a sync, and the buses, instead of the real ones, for tests.

    Raises:
        ConfigError: A setting is wrong.
    """
    chosen = settings or AgentSettings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        db = AgentDatabase(chosen.config_dir)
        try:
            given = chosen.api_token
            app.state.api_token = ensure_token(chosen.config_dir) if given is None else given.get_secret_value()
            dead_letters = DeadLetters(db, max_rows=chosen.dead_letter_rows)
            source_catalog = source_drivers() if sources is None else sources
            pusher_catalog = pusher_drivers() if pushers is None else pushers
            installed = drivers_of(source_catalog, pusher_catalog)
            agent_configs = Configs(chosen.config_dir, Revisions(db), installed)
            supervisor = Supervisor(
                Parts(
                    settings=chosen,
                    configs=agent_configs,
                    cleanups=Cleanups(db),
                    state=StateStore(db),
                    dead_letters=dead_letters,
                    agent_id=db.agent_id,
                    sources=source_catalog,
                    pushers=pusher_catalog,
                    buses=BusPool() if buses is None else buses,
                    push_metrics=PushMetrics(app.state.metrics),
                    make_runtime=make_runtime or runtime_maker(chosen),
                )
            )
            app.state.service = Service(chosen, supervisor)
            app.state.metrics.register(SyncMetrics(supervisor.sync_statuses, time.time))
            agent_configs.reload("found at start")
            for problem in agent_configs.problems:
                log.error("the configuration has a problem", problem=str(problem))
            for plugin in (*supervisor.parts.sources.list(), *supervisor.parts.pushers.list()):
                if plugin.error:
                    log.error(
                        "a driver can't be used",
                        driver=plugin.name,
                        distribution=plugin.distribution,
                        reason=plugin.error,
                    )
            await supervisor.apply()
            try:
                async with reporting(chosen, db.agent_id, supervisor.sync_statuses):
                    with responsive(chosen.switch_interval_s), on_hangup(lambda: reload_and_apply(supervisor)):
                        yield
            finally:
                await supervisor.stop_all()
        finally:
            await console.close()
            db.close()

    app = create_service_app(
        chosen,
        title="Fustor Agent",
        version=version("fustor-agent"),
        lifespan=lifespan,
        responses=error_answers(400, 503),
    )
    for module in (overview, instances, configs, syncs, drivers, deadletters, logs):
        app.include_router(module.router)
    correct_document(app)
    console = agent_console(app, chosen)
    if chosen.console:
        add_console(app, console, at_root=True)
    return app
