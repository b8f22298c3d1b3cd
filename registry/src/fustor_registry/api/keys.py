"""
`/api/v1/keys`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fustor_registry.api.access import AnyUser, Name, PartsOf

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

Scope = Literal["ingest", "read"]


class NewKey(BaseModel):
    """
    A key to create.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name
    datastore_id: str
    scopes: Annotated[list[Scope], Field(min_length=1)] = ["ingest", "read"]


class KeyAnswer(BaseModel):
    """
    A key, without its secret part.
    """

    id: str
    name: str
    datastore_id: str
    scopes: list[str]
    prefix: str
    created_at: str
    revoked_at: str | None


class NewKeyAnswer(KeyAnswer):
    """
    A new key. `key` is shown this once.
    """

    key: str


class KeyToVerify(BaseModel):
    """
    A whole key.
    """

    key: Annotated[SecretStr, Field(max_length=1000)]


class Verified(BaseModel):
    """
    Whether a key is good and for what; `ttl_s` is how long that may be relied on.
    """

    valid: bool
    key_id: str | None
    datastore_id: str | None
    datastore_name: str | None
    scopes: list[str]
    ttl_s: int


@router.get("", response_model=list[KeyAnswer])
def list_keys(_user: AnyUser, parts: PartsOf) -> Any:
    """
    List all keys, revoked ones too.
    """
    return parts.keys.list()


@router.post("", response_model=NewKeyAnswer, status_code=201)
def create_key(body: NewKey, user: AnyUser, parts: PartsOf) -> Any:
    """
    Create a key. The answer is the only place where it is ever shown.
    """
    return parts.keys.create(body.name, body.datastore_id, list(body.scopes), actor=user.name)


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, user: AnyUser, parts: PartsOf) -> None:
    """
    Revoke a key.
    """
    parts.keys.revoke(key_id, actor=user.name)


@router.post("/verify", response_model=Verified)
def verify_key(body: KeyToVerify, parts: PartsOf) -> Any:
    """
    Check a key. Needs no login: the key is the proof.
    """
    return parts.keys.verify(body.key.get_secret_value())
