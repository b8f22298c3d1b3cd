"""
`/api/v1/agents`: agents that were seen.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fustor_common.openapi import error_answers
from fustor_registry.api.access import AnyReporter, Body, Id, PartsOf, UserOrKey

router = APIRouter(prefix="/api/v1", tags=["agents"])


def _text(most: int) -> StringConstraints:
    return StringConstraints(min_length=1, max_length=most, pattern=r"^[^\x00-\x1f]+$")


_SYNC_EXAMPLE: dict[str, Any] = {"id": "files", "state": "MESSAGE_SYNC"}


class AgentSync(Body):
    """
    A sync of an agent.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SYNC_EXAMPLE]})

    id: Annotated[str, _text(500)]
    state: Annotated[str, _text(200)]


class AgentReport(Body):
    """
    What an agent tells of itself.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"agent_id": "6f1d", "version": "0.1.0", "host": "lab-1", "syncs": [_SYNC_EXAMPLE]}]
        }
    )

    agent_id: Annotated[str, _text(100)]
    version: Annotated[str, _text(50)]
    host: Annotated[str, _text(255)]
    syncs: list[AgentSync] = Field([], max_length=1000)


class ReportAnswer(BaseModel):
    """
    When to report again.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"interval_s": 30}]})

    interval_s: float


class AgentAnswer(BaseModel):
    """
    An agent that was seen. `alive`: it reported within the last three intervals.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent_id": "6f1d",
                    "datastore_id": "5d8f3a7f3df7",
                    "version": "0.1.0",
                    "host": "lab-1",
                    "address": "192.0.2.7",
                    "syncs": [_SYNC_EXAMPLE],
                    "key_id": "1a2b3c4d",
                    "first_seen_at": "2030-01-31T12:00:00.000000+00:00",
                    "last_seen_at": "2030-01-31T12:00:30.000000+00:00",
                    "alive": True,
                }
            ]
        }
    )

    agent_id: str
    datastore_id: str
    version: str
    host: str
    address: str
    syncs: list[AgentSync]
    key_id: str
    first_seen_at: str
    last_seen_at: str
    alive: bool


@router.post(
    "/agents/heartbeat", response_model=ReportAnswer, responses=error_answers(401, 403, 404, 409), summary="Report"
)
def report(body: AgentReport, reporter: AnyReporter, parts: PartsOf) -> Any:
    """
    Tell that an agent lives. With an API key of the datastore that it feeds (scope `ingest`), every `interval_s` seconds.
    """
    return parts.agents.report(
        reporter.key,
        reporter.caller,
        body.agent_id,
        version=body.version,
        host=body.host,
        syncs=[sync.model_dump() for sync in body.syncs],
    )


@router.get("/agents", response_model=list[AgentAnswer], responses=error_answers(401, 403), summary="List the agents")
def list_agents(
    caller: UserOrKey,
    parts: PartsOf,
    datastore_id: Annotated[Id | None, Query(description="Those of this datastore alone.")] = None,
) -> Any:
    """
    List the agents of the datastores that the caller belongs to, the one last heard of first.
    """
    return parts.agents.list(caller, datastore_id=datastore_id)


@router.delete(
    "/datastores/{datastore_id}/agents/{agent_id}",
    status_code=204,
    responses=error_answers(401, 403, 404),
    summary="Forget an agent",
)
def forget_agent(datastore_id: Id, agent_id: Id, caller: UserOrKey, parts: PartsOf) -> None:
    """
    Forget an agent that is gone. Owners. One that lives comes back with its next report.
    """
    parts.agents.forget(datastore_id, agent_id, caller=caller)
