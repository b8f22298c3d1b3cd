"""
`/api/v1/datastores`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from fustor_registry.api.access import AnyUser, Name, PartsOf

router = APIRouter(prefix="/api/v1/datastores", tags=["datastores"])


class NewDatastore(BaseModel):
    """
    A datastore to create.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Annotated[str, StringConstraints(max_length=2000)] = ""


class DatastoreAnswer(BaseModel):
    """
    A datastore.
    """

    id: str
    name: str
    description: str
    created_at: str


@router.get("", response_model=list[DatastoreAnswer])
def list_datastores(_user: AnyUser, parts: PartsOf) -> Any:
    """
    List all datastores.
    """
    return parts.datastores.list()


@router.post("", response_model=DatastoreAnswer, status_code=201)
def create_datastore(body: NewDatastore, user: AnyUser, parts: PartsOf) -> Any:
    """
    Create a datastore.
    """
    return parts.datastores.create(body.name, body.description, actor=user.name)
