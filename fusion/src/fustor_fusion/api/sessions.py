"""
Sessions of syncs: open, keep alive, list, close.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fustor_common.openapi import error_answers
from fustor_fusion.api.access import AnyStore, WriteStore
from fustor_fusion.datastore import Datastore

router = APIRouter(
    prefix="/ingestor-api/v1/sessions", tags=["ingest"], responses=error_answers(400, 401, 403, 404, 409, 419, 503)
)
SessionHeader = Annotated[
    str, Header(alias="session-id", min_length=1, description="What opening the session answered")
]


class OpenSession(BaseModel):
    """
    Which sync, and which agent asks.
    """

    model_config = ConfigDict(extra="ignore")

    task_id: str = Field(min_length=1, max_length=500)
    agent_id: str | None = Field(None, max_length=500)


def _asked(datastore: Datastore, task_id: str) -> dict[str, Any]:
    state = datastore.syncs.get(task_id)
    answer: dict[str, Any] = {"snapshot_needed": state.snapshot_needed}
    if state.snapshot_needed and state.snapshot_request:
        answer["snapshot_request"] = state.snapshot_request
    return answer


@router.post("/", summary="Open a session for a sync; the agent's older one is superseded")
async def open_session(body: OpenSession, request: Request, datastore: WriteStore) -> dict[str, Any]:
    client = request.client.host if request.client else ""
    session, state = await datastore.open_session(body.task_id, body.agent_id, client)
    answer = {
        "session_id": session.session_id,
        "heartbeat_interval": datastore.sessions.timeout_s / 3,
        "session_timeout": datastore.sessions.timeout_s,
        "epoch": state.epoch,
        **_asked(datastore, body.task_id),
    }
    if state.active is not None:
        answer["snapshot_id"] = state.active.snapshot_id
        answer["snapshot_needed"] = True
    return answer


@router.post("/heartbeat", summary="Keep a session alive")
async def heartbeat(datastore: WriteStore, session_id: SessionHeader) -> dict[str, Any]:
    session = datastore.sessions.need(session_id)
    return _asked(datastore, session.task_id)


@router.get("/", summary="List the live sessions")
async def list_sessions(datastore: AnyStore) -> list[dict[str, Any]]:
    return [session.to_dict() for session in datastore.sessions.live()]


@router.delete("/", status_code=204, summary="End a session")
async def close_session(datastore: WriteStore, session_id: SessionHeader) -> Response:
    await datastore.close_session(session_id)
    return Response(status_code=204)
