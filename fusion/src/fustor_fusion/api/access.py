"""
Who calls: from the API key of a request to the datastore it opens.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from fustor_core.errors import Forbidden
from fustor_fusion.datastore import Datastore, Datastores
from fustor_fusion.keys import KeyCache, need_key

KeyHeader = Annotated[str | None, Header(alias="X-API-Key", description="API key of the datastore")]


async def open_datastore(request: Request, key: str | None, scope: str) -> Datastore:
    """
    Return the datastore of a key.

    Raises:
        Unauthorized: The key is missing, unknown, revoked or expired.
        Forbidden: The key lacks the scope.
        OverloadedError: The key is unknown here and the Registry can't be reached.
    """
    keys: KeyCache = request.app.state.keys
    datastores: Datastores = request.app.state.datastores
    grant = await keys.verify(need_key(key))
    if not grant.allows(scope):
        raise Forbidden(
            f"the API key may not {scope}",
            hint=f"make a key with the scope {scope!r} at the Registry",
            context={"key_id": grant.key_id, "scopes": grant.scopes, "needed": scope},
        )
    datastore = await datastores.get(str(grant.datastore_id))
    datastore.follow(keys.policy_of(datastore.datastore_id))
    return datastore


async def reader(request: Request, key: KeyHeader = None) -> Datastore:
    """
    Dependency: the datastore of a caller who may read.
    """
    return await open_datastore(request, key, "read")


async def writer(request: Request, key: KeyHeader = None) -> Datastore:
    """
    Dependency: the datastore of a caller who may ingest.
    """
    return await open_datastore(request, key, "ingest")


async def either(request: Request, key: KeyHeader = None) -> Datastore:
    """
    Dependency: the datastore of a caller who may read or ingest.
    """
    try:
        return await open_datastore(request, key, "ingest")
    except Forbidden:
        return await open_datastore(request, key, "read")


ReadStore = Annotated[Datastore, Depends(reader)]
WriteStore = Annotated[Datastore, Depends(writer)]
AnyStore = Annotated[Datastore, Depends(either)]
