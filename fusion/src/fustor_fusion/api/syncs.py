"""
What Fusion knows of each sync.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fustor_fusion.api.access import AnyStore

router = APIRouter(prefix="/ingestor-api/v1/syncs", tags=["ingest"])


@router.get("/", summary="List the syncs of the datastore")
def list_syncs(datastore: AnyStore) -> list[dict[str, Any]]:
    return datastore.list_syncs()
