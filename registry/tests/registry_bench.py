"""
A Registry in this process, and callers of every kind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from fustor_registry.app import create_app
from fustor_registry.settings import RegistrySettings

PASSWORD = "a long password"
Headers = dict[str, str]


@dataclass
class Registry:
    """
    A running Registry.
    """

    app: FastAPI
    http: httpx.AsyncClient
    admin: Headers = field(default_factory=dict)

    async def call(
        self, method: str, path: str, who: Headers | None = None, body: Any = None, *, status: int | None = None
    ) -> Any:
        """
        Make a call below `/api/v1`; return what it answers.

        Args:
            status: What it must answer; by default any success.
        """
        answer = await self.http.request(method, f"/api/v1{path}", headers=who, json=body)
        assert answer.is_success if status is None else answer.status_code == status, (
            f"{method} {path}: {answer.status_code} {answer.text}"
        )
        return answer.json() if answer.content else None

    async def tokens(self, name: str = "admin", password: str = PASSWORD) -> dict[str, Any]:
        """
        Log in and return what that answers.
        """
        answer: dict[str, Any] = await self.call("POST", "/login", None, {"name": name, "password": password})
        return answer

    async def login(self, name: str = "admin", password: str = PASSWORD) -> Headers:
        """
        Log in and return what later calls carry.
        """
        return bearer((await self.tokens(name, password))["token"])

    async def user(self, name: str, role: str) -> Headers:
        """
        Make a user and log them in.
        """
        await self.call("POST", "/users", self.admin, {"name": name, "password": PASSWORD, "role": role})
        return await self.login(name)

    async def datastore(self, name: str, who: Headers | None = None) -> str:
        """
        Make a datastore and return its id.
        """
        made = await self.call("POST", "/datastores", who or self.admin, {"name": name})
        return str(made["id"])

    async def key(self, datastore: str, name: str = "k", who: Headers | None = None, **more: Any) -> dict[str, Any]:
        """
        Make a key and return what that answers.
        """
        body = {"name": name, "datastore_id": datastore, **more}
        made: dict[str, Any] = await self.call("POST", "/keys", who or self.admin, body)
        return made

    async def verify(self, key: str) -> dict[str, Any]:
        """
        Check a key.
        """
        said: dict[str, Any] = await self.call("POST", "/keys/verify", None, {"key": key})
        return said

    async def trail(self, **filters: Any) -> list[dict[str, Any]]:
        """
        Return entries of the audit trail, newest first.
        """
        answer = await self.http.get("/api/v1/audit", headers=self.admin, params=filters)
        assert answer.status_code == 200, answer.text
        entries: list[dict[str, Any]] = answer.json()
        return entries


def bearer(token: str) -> Headers:
    """
    Return the header that carries an access token.
    """
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Registry]:
    """
    Run a Registry whose admin is logged in.
    """
    app = create_app(RegistrySettings.load(**{"admin_password": PASSWORD, "log_console": False} | settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as http,
    ):
        made = Registry(app, http)
        if (settings.get("admin_password") or PASSWORD) == PASSWORD:
            made.admin = await made.login()
        yield made
