"""
The Registry's pages. They see and do what the Registry's API lets the person who is signed in; see `fustor_web_ui`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request

from fustor_client.registry_async import AsyncRegistryClient
from fustor_registry.settings import RegistrySettings
from fustor_web_ui.console import INSIDE, Console, Field, Place, inside
from fustor_web_ui.sessions import Session, Sessions

PATH: Final = "/console"
PASSWORD_PAGE: Final = "/account"


def _is_admin(session: Session) -> bool:
    return str(session.facts["role"]) == "admin"


def registry_console(app: FastAPI, settings: RegistrySettings) -> Console:
    """
    Build the console of a Registry.

    Args:
        app: The Registry's app.
        settings: Its settings.
    """

    async def sign_in(given: dict[str, str], request: Request) -> Session:
        http = inside(app, request)
        client = AsyncRegistryClient(INSIDE, client=http)
        try:
            await client.login(given["name"], given["password"])
            user = await client.me()
        except BaseException:
            await http.aclose()
            raise
        return Session(
            client,
            user.name,
            http,
            facts={"role": user.role, "id": user.id},
            detour=PASSWORD_PAGE if user.must_change_password else None,
            leave=client.logout,
        )

    return Console(
        service="registry",
        title="Fustor Registry",
        path=PATH,
        pages="fustor_registry.console.pages",
        navigation=(
            Place("/", "Datastores", "storage", also=("/datastores",)),
            Place("/keys", "API keys", "vpn_key"),
            Place("/agents", "Agents", "sensors"),
            Place("/users", "Users", "group", _is_admin),
            Place("/audit", "Audit trail", "history"),
            Place(PASSWORD_PAGE, "Your account", "person"),
        ),
        fields=(
            Field("name", "User name", is_secret=False, autocomplete="username"),
            Field("password", "Password", is_secret=True, autocomplete="current-password"),
        ),
        sign_in=sign_in,
        sign_in_hint="Forgotten the password? An admin can give you another one.",
        who_label="User",
        catalog=Path(__file__).with_name("zh.json"),
        style=Path(__file__).with_name("console.css"),
        always_secure=settings.cookie_secure == "always",
        sessions=Sessions(idle_s=settings.console_idle_s, longest_s=settings.console_longest_s),
    )
