"""
`/api/v1/keys`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fustor_common.openapi import error_answers
from fustor_common.path_parts import name_part
from fustor_registry.api.access import Body, Id, Name, PartsOf, UserOrKey
from fustor_registry.api.datastores import POLICY_EXAMPLE, Policy

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])
name_part("key", "(?!verify(?:/|$))[^/]+")  # another method of `verify` is none of the key of that name
_KEY = "/{key_id:key}"

Scope = Literal["ingest", "read", "admin"]
LONGEST_S = 10 * 366 * 86_400
Seconds = Annotated[int, Field(ge=1, le=LONGEST_S)]

_KEY_EXAMPLE: dict[str, Any] = {
    "id": "1a2b3c4d",
    "name": "agent",
    "datastore_id": "5d8f3a7f3df7",
    "scopes": ["ingest"],
    "prefix": "fk_1a2b3c4d",
    "created_at": "2030-01-31T12:00:00.000000+00:00",
    "created_by": "ann",
    "expires_at": "2031-01-31T12:00:00.000000+00:00",
    "last_used_at": "2030-02-28T12:00:00.000000+00:00",
    "replaced_by": "5e6f7a8b",
    "revoked_at": "2030-02-28T12:00:01.000000+00:00",
}


class NewKey(Body):
    """
    A key to create. `admin` has the other scopes too, and manages its datastore at the Registry.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "agent", "datastore_id": "5d8f3a7f3df7", "scopes": ["ingest"]}]},
    )

    name: Name
    datastore_id: Id
    scopes: list[Scope] = Field(["ingest", "read"], min_length=1, max_length=3)
    expires_in_s: Seconds | None = Field(None, description="After how long it ends, seconds; null: never.")


class ChangeKey(Body):
    """
    What to change of a key; what is left out stays.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "agent"}, {"expires_in_s": 86_400}]}
    )

    name: Name | None = None
    expires_in_s: Seconds | None = Field(None, description="After how long from now it ends, seconds; null: never.")


class RotateKey(Body):
    """
    How a key is replaced.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_s": 86_400}]})

    overlap_s: int = Field(86_400, ge=0, le=30 * 86_400, description="How long the old key still works, seconds.")


class KeyAnswer(BaseModel):
    """
    A key, without its secret part. `replaced_by` is the key that it was rotated into.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY_EXAMPLE]})

    id: str
    name: str
    datastore_id: str
    scopes: list[str]
    prefix: str
    created_at: str
    created_by: str | None
    expires_at: str | None
    last_used_at: str | None
    replaced_by: str | None
    revoked_at: str | None


class NewKeyAnswer(KeyAnswer):
    """
    A new key. `key` is shown this once.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{**_KEY_EXAMPLE, "key": "fk_1a2b3c4d_..."}]})

    key: str


class KeyToVerify(Body):
    """
    A whole key.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "fk_1a2b3c4d_..."}]})

    key: Annotated[SecretStr, Field(max_length=1000)]


class Verified(BaseModel):
    """
    Whether a key works and for what; `ttl_s` is how long that may be relied on, and never past `expires_at`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "valid": True,
                    "key_id": "1a2b3c4d",
                    "datastore_id": "5d8f3a7f3df7",
                    "datastore_name": "lab",
                    "scopes": ["ingest"],
                    "ttl_s": 5,
                    "expires_at": "2031-01-31T12:00:00.000000+00:00",
                    "policy": POLICY_EXAMPLE,
                }
            ]
        }
    )

    valid: bool
    key_id: str | None
    datastore_id: str | None
    datastore_name: str | None
    scopes: list[str]
    ttl_s: int
    expires_at: str | None
    policy: Policy | None


@router.get("", response_model=list[KeyAnswer], responses=error_answers(401, 403), summary="List the keys")
def list_keys(
    caller: UserOrKey,
    parts: PartsOf,
    datastore_id: Annotated[Id | None, Query(description="Those of this datastore alone.")] = None,
    working: Annotated[bool, Query(description="Without those that are revoked or have expired.")] = False,
) -> Any:
    """
    List the keys of the datastores that the caller belongs to, oldest first.
    """
    return parts.keys.list(caller, datastore_id=datastore_id, working=working)


@router.post(
    "",
    response_model=NewKeyAnswer,
    status_code=201,
    responses=error_answers(401, 403, 404, 409),
    summary="Create a key",
)
def create_key(body: NewKey, caller: UserOrKey, parts: PartsOf) -> Any:
    """
    Create a key. Members; the scope `admin` only owners. The answer is the only place where it is ever shown.
    """
    return parts.keys.create(
        body.name, body.datastore_id, list(body.scopes), caller=caller, expires_in_s=body.expires_in_s
    )


@router.post("/verify", response_model=Verified, summary="Check a key")
def verify_key(body: KeyToVerify, parts: PartsOf) -> Any:
    """
    Tell what a key opens. Needs no login: the key is the proof. One that is unknown, revoked or expired answers `valid: false`.
    """
    return parts.keys.verify(body.key.get_secret_value())


@router.get(_KEY, response_model=KeyAnswer, responses=error_answers(401, 403, 404), summary="Show a key")
def show_key(key_id: Id, caller: UserOrKey, parts: PartsOf) -> Any:
    """
    Return one key, without its secret part.
    """
    return parts.keys.get(key_id, caller=caller)


@router.patch(_KEY, response_model=KeyAnswer, responses=error_answers(401, 403, 404, 409), summary="Change a key")
def change_key(key_id: Id, body: ChangeKey, caller: UserOrKey, parts: PartsOf) -> Any:
    """
    Change the name of a key, or when it ends. Owners, and the member who made it.
    """
    changes = body.model_dump(exclude_unset=True)
    if body.name is None:
        changes.pop("name", None)
    return parts.keys.change(key_id, changes, caller=caller)


@router.post(
    f"{_KEY}/rotate",
    response_model=NewKeyAnswer,
    status_code=201,
    responses=error_answers(401, 403, 404, 409),
    summary="Replace a key",
)
def rotate_key(key_id: Id, caller: UserOrKey, parts: PartsOf, body: RotateKey | None = None) -> Any:
    """
    Make a new key of the same name and scopes; the old one works for `overlap_s` longer. Owners, and the member who made it.
    """
    return parts.keys.rotate(key_id, overlap_s=(body or RotateKey()).overlap_s, caller=caller)


@router.delete(_KEY, status_code=204, responses=error_answers(401, 403, 404), summary="Revoke a key")
def revoke_key(key_id: Id, caller: UserOrKey, parts: PartsOf) -> None:
    """
    Revoke a key. Owners, and the member who made it. Fusion stops taking it within seconds.
    """
    parts.keys.revoke(key_id, caller=caller)
