"""
Fusion's pages. They show what Fusion's API lets the API key see that somebody signed in with; see `fustor_web_ui`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request

from fustor_client.fusion_async import AsyncFusionClient
from fustor_core.errors import Forbidden, Unauthorized
from fustor_fusion.settings import FusionSettings
from fustor_web_ui.console import INSIDE, Console, Field, Place, inside
from fustor_web_ui.sessions import Session, Sessions

PATH: Final = "/view"


def fusion_console(app: FastAPI, settings: FusionSettings) -> Console:
    """
    Build the console of a Fusion.

    Args:
        app: Fusion's app.
        settings: Its settings.
    """

    async def sign_in(given: dict[str, str], request: Request) -> Session:
        http = inside(app, request)
        try:
            client = AsyncFusionClient(INSIDE, given["key"], client=http)
            opened = await client.datastore()
        except Forbidden as exc:
            await http.aclose()
            raise Forbidden(
                "This API key may bring rows, but not look at them.",
                hint="Ask for a key with the scope “read”: the Registry's console makes one under “API keys”.",
            ) from exc
        except Unauthorized as exc:
            await http.aclose()
            raise Unauthorized(
                "This API key opens nothing: the Registry does not know it, or it was revoked or has ended.",
                hint="Look whether it was copied whole. The Registry's console lists the keys under “API keys”.",
            ) from exc
        except BaseException:
            await http.aclose()
            raise
        name = opened.datastore_name or opened.datastore_id
        return Session(
            client,
            name,
            http,
            facts={"datastore": opened.datastore_id, "name": name},
            # A key whose scopes were taken away is of no more use here than one that was revoked.
            ends_by=(Unauthorized, Forbidden),
        )

    return Console(
        service="fusion",
        title="Fustor Fusion",
        path=PATH,
        pages="fustor_fusion.console.pages",
        navigation=(
            Place("/", "Overview", "hub"),
            Place("/files", "Files", "folder"),
            Place("/tables", "Tables", "table_chart"),
            Place("/freshness", "Freshness", "schedule"),
        ),
        fields=(Field("key", "API key", is_secret=True, autocomplete="current-password"),),
        sign_in=sign_in,
        sign_in_hint="Create keys in the Registry console; to look at data, a key needs the scope “read”.",
        who_label="Datastore",
        catalog=Path(__file__).with_name("zh.json"),
        style=Path(__file__).with_name("console.css"),
        sessions=Sessions(idle_s=settings.console_idle_s, longest_s=settings.console_longest_s),
        always_secure=settings.cookie_secure == "always",
    )
