"""
The Agent's pages. They see and do what the Agent's API lets who has its token; see `fustor_web_ui`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request

from fustor_agent.settings import AgentSettings
from fustor_client.agent_async import AsyncAgentClient
from fustor_core.errors import Unauthorized
from fustor_web_ui.console import INSIDE, Console, Field, Place, inside
from fustor_web_ui.sessions import Session, Sessions

PATH: Final = "/console"
_WRONG: Final = "This is not the token of this agent."
_WHERE: Final = (
    "The agent made its token when it first started: it is in the file state/agent-token of its folder (~/.fustor unless "
    "FUSTOR_CONFIG_DIR says another). If FUSTOR_AGENT_API_TOKEN is set, that is the token."
)


def agent_console(app: FastAPI, settings: AgentSettings) -> Console:
    """
    Build the console of an Agent.

    Args:
        app: The Agent's app.
        settings: Its settings.
    """

    async def sign_in(given: dict[str, str], request: Request) -> Session:
        http = inside(app, request)
        try:
            client = AsyncAgentClient(INSIDE, given["token"].strip(), client=http)
            overview = await client.overview()
        except Unauthorized as exc:
            await http.aclose()
            raise Unauthorized(_WRONG) from exc
        except BaseException:
            await http.aclose()
            raise
        return Session(client, overview.host, http)

    return Console(
        service="agent",
        title="Fustor Agent",
        path=PATH,
        pages="fustor_agent.console.pages",
        navigation=(
            Place("/", "Dashboard", "dashboard"),
            Place("/sources", "Sources", "storage"),
            Place("/pushers", "Pushers", "cloud_upload"),
            Place("/syncs", "Syncs", "sync", also=("/watch",)),
            Place("/revisions", "Revisions", "history"),
            Place("/logs", "Log", "article"),
            Place("/dead-letters", "Dead letters", "report"),
        ),
        fields=(Field("token", "Token", is_secret=True, autocomplete="current-password"),),
        sign_in=sign_in,
        sign_in_hint=_WHERE,
        who_label="Host",
        catalog=Path(__file__).with_name("zh.json"),
        style=Path(__file__).with_name("console.css"),
        sessions=Sessions(idle_s=settings.console_idle_s, longest_s=settings.console_longest_s),
        always_secure=settings.cookie_secure == "always",
    )
