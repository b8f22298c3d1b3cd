"""
The datastore that a key opens.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from fustor_common.openapi import error_answers
from fustor_fusion.api.access import KeyHeader, ReadStore
from fustor_fusion.keys import KeyCache, need_key

router = APIRouter(prefix="/views", tags=["views"], responses=error_answers(401, 403, 503))


class OpenedDatastore(BaseModel):
    """
    The datastore that a key opens, and what the key may do in it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"datastore_id": "3", "datastore_name": "lab", "key_id": "17", "scopes": ["read"]}
        }
    )

    datastore_id: str = Field(description="Id of the datastore at the Registry")
    datastore_name: str | None = Field(description="Its name at the Registry")
    key_id: str | None = Field(description="Id of the key at the Registry")
    scopes: list[str] = Field(description="What the key may do: ingest, read, admin")


@router.get("/datastore", summary="The datastore that the key opens, and what the key may do")
async def opened_datastore(request: Request, datastore: ReadStore, key: KeyHeader = None) -> OpenedDatastore:
    keys: KeyCache = request.app.state.keys
    grant = await keys.verify(need_key(key))
    return OpenedDatastore(
        datastore_id=datastore.datastore_id,
        datastore_name=grant.datastore_name,
        key_id=None if grant.key_id is None else str(grant.key_id),
        scopes=grant.scopes,
    )
