"""
`/api/v1/audit`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from fustor_registry import audit
from fustor_registry.api.access import Admin, PartsOf

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class AuditAnswer(BaseModel):
    """
    Who did what, when.
    """

    id: int
    at: str
    actor: str
    action: str
    target: str
    details: dict[str, Any]


@router.get("", response_model=list[AuditAnswer])
def list_audit(
    _user: Admin,
    parts: PartsOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(description="Only entries with a smaller id.")] = None,
) -> Any:
    """
    List the newest entries of the audit trail.
    """
    return audit.list_entries(parts.store, limit=limit, before=before)
