"""
Who may use `/api`, and what every route of it gets at hand.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from fustor_agent.settings import AgentSettings
from fustor_agent.supervisor import Supervisor
from fustor_core.errors import Forbidden, Unauthorized


@dataclass(frozen=True, slots=True)
class Service:
    """
    What the routes work on; lives in `app.state.service` while the agent runs.
    """

    settings: AgentSettings
    supervisor: Supervisor


def get_service(request: Request) -> Service:
    """
    Return the running service.
    """
    service: Service = request.app.state.service
    return service


def check_access(request: Request) -> None:
    """
    Let the request in, or say why not.

    Without a token the agent trusts this machine, and so must keep out web pages that a browser on it shows: they can send
    requests here, but give themselves away by `Origin`, or by a `Host` that is not this machine (DNS rebinding).

    Raises:
        Unauthorized: A token is wanted and the request has none, or a wrong one.
        Forbidden: The request comes from a web page of another site.
    """
    settings: AgentSettings = request.app.state.settings
    if settings.api_token is not None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        wanted = settings.api_token.get_secret_value()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), wanted.encode()):
            raise Unauthorized("this agent wants a token", hint="send `Authorization: Bearer <FUSTOR_AGENT_API_TOKEN>`")
        return
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Forbidden(
            f"requests from web pages of {origin!r} are not taken",
            hint="set FUSTOR_AGENT_API_TOKEN to use the API from there",
        )
    if _is_loopback(settings.host) and host and not _is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise Forbidden(
            f"this agent listens on this machine only and is not {host!r}",
            hint="use http://127.0.0.1, or set FUSTOR_AGENT_API_TOKEN",
        )


def _is_loopback(host: str) -> bool:
    # `testserver` is what the in-process client of Starlette calls the app; no page can be served under such a name.
    if host in ("localhost", "testserver"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Access = Depends(check_access)
Running = Annotated[Service, Depends(get_service)]
