"""
What Fusion knows of each sync.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fustor_common.openapi import error_answers
from fustor_fusion.api.access import AnyStore

router = APIRouter(prefix="/ingestor-api/v1/syncs", tags=["ingest"], responses=error_answers(401, 403, 503))


@router.get("/", summary="List the syncs of the datastore")
def list_syncs(datastore: AnyStore) -> list[dict[str, Any]]:
    return datastore.list_syncs()
