"""
The cookies in which a browser keeps a login. No script can read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from fastapi import Request, Response

from fustor_registry.logins import Tokens
from fustor_registry.settings import RegistrySettings

ACCESS: Final = "fustor_registry_access"
REFRESH: Final = "fustor_registry_refresh"
_PATHS: Final = {ACCESS: "/", REFRESH: "/api/v1/refresh"}


def set_cookies(request: Request, response: Response, tokens: Tokens) -> None:
    """
    Give the browser its tokens. The refresh token goes nowhere but to where it is used.
    """
    for name, value, end in (
        (ACCESS, tokens.access, tokens.access_expires_at),
        (REFRESH, tokens.refresh, tokens.login_expires_at),
    ):
        left = (datetime.fromisoformat(end) - datetime.now(UTC)).total_seconds()
        response.set_cookie(
            name,
            value,
            max_age=max(0, int(left)),
            path=_PATHS[name],
            httponly=True,
            secure=_is_secure(request),
            samesite="strict",
        )


def clear_cookies(request: Request, response: Response) -> None:
    """
    Take the tokens from the browser.
    """
    for name, path in _PATHS.items():
        response.delete_cookie(name, path=path, httponly=True, secure=_is_secure(request), samesite="strict")


def _is_secure(request: Request) -> bool:
    settings: RegistrySettings = request.app.state.settings
    return settings.cookie_secure == "always" or request.url.scheme == "https"
