"""
`/api/v1/audit`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

from fustor_common.openapi import error_answers
from fustor_registry import audit
from fustor_registry.api.access import AnyUser, Id, PartsOf
from fustor_registry.store import as_text

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


def _not_a_number(given: object) -> object:
    if isinstance(given, str) and "T" not in given.upper():
        raise ValueError("the time must be like 2030-01-31T12:00:00Z")
    return given


def _in_range(time: datetime) -> datetime:
    try:
        as_text(time)
    except OverflowError as exc:
        raise ValueError("the time is out of range") from exc
    return time


Time = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_in_range)]


class AuditAnswer(BaseModel):
    """
    Who changed what, when, from where. `before` and `after` have what was changed, never a secret.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 17,
                    "at": "2030-01-31T12:00:00.000000+00:00",
                    "actor": "ann",
                    "action": "key.update",
                    "target": "1a2b3c4d",
                    "datastore_id": "5d8f3a7f3df7",
                    "before": {"name": "agent"},
                    "after": {"name": "lab agent"},
                    "address": "192.0.2.7",
                    "request_id": "a1b2c3d4-5",
                    "details": {},
                }
            ]
        }
    )

    id: int
    at: str
    actor: str
    action: str
    target: str
    datastore_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str
    request_id: str
    details: dict[str, Any]


@router.get(
    "", response_model=list[AuditAnswer], responses=error_answers(401, 403, 404), summary="Read the audit trail"
)
def list_audit(
    caller: AnyUser,
    parts: PartsOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="Only entries with a smaller id: the next page.")
    ] = None,
    actor: Annotated[Id | None, Query(description="Who: a user's name, or `key:<id>`.")] = None,
    action: Annotated[Id | None, Query(description="What: `key.create`, or `key` for all of keys.")] = None,
    target: Annotated[Id | None, Query(description="To what: a name, or the id of a key.")] = None,
    datastore_id: Annotated[Id | None, Query()] = None,
    since: Annotated[Time | None, Query(description="At or after this time.")] = None,
    until: Annotated[Time | None, Query(description="Before this time.")] = None,
) -> Any:
    """
    List entries, newest first. Admins see all, owners those of their datastores.
    """
    wanted = audit.Filter(
        actor=actor,
        action=action,
        target=target,
        datastore_id=datastore_id,
        since=None if since is None else as_text(since),
        until=None if until is None else as_text(until),
        before=before,
    )
    return audit.list_entries(parts.store, caller, wanted, limit=limit)
