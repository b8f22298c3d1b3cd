"""
Who may use `/api`, and what every route of it gets at hand.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fustor_agent.settings import AgentSettings
from fustor_agent.supervisor import Supervisor
from fustor_core.errors import Unauthorized

_BEARER: Final = HTTPBearer(auto_error=False, description="The token that the agent made when it first started.")


@dataclass(frozen=True, slots=True)
class Service:
    """
    What the routes work on; lives in `app.state.service` while the agent runs.
    """

    settings: AgentSettings
    supervisor: Supervisor
    log_followers: set[object] = field(default_factory=set)


def get_service(request: Request) -> Service:
    """
    Return the running service.
    """
    service: Service = request.app.state.service
    return service


async def check_access(
    request: Request, credential: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> None:
    """
    Let the request in, or say why not.

    Raises:
        Unauthorized: The request has no token, or a wrong one.
    """
    wanted: str = request.app.state.api_token
    given = credential.credentials.strip() if credential is not None else ""
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Unauthorized(
            "the token is wrong" if given else "this agent wants a token",
            hint="send `Authorization: Bearer <token>`: the agent made it when it first started, in `state/agent-token` below its "
            "config root, unless FUSTOR_AGENT_API_TOKEN sets another",
        )


Access = Depends(check_access)
Running = Annotated[Service, Depends(get_service)]
