"""
`/api/v1/datastores`: datastores, their policy and their members.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from fustor_common.openapi import error_answers
from fustor_registry.api.access import AnyUser, Body, Id, Name, PartsOf, PlainText, UserOrKey
from fustor_registry.roles import DatastoreRole

router = APIRouter(prefix="/api/v1/datastores", tags=["datastores"])

_MOST = 2**53 - 1  # what every JSON reader keeps exactly
POLICY_EXAMPLE: dict[str, Any] = {
    "allow_concurrent_sessions": True,
    "session_timeout_s": 60,
    "retention_days": 365,
    "max_rows": 10_000_000,
    "max_bytes": 10_000_000_000,
}


class Policy(Body):
    """
    How a datastore is to be used.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [POLICY_EXAMPLE]})

    allow_concurrent_sessions: bool = Field(
        True, description="Whether several syncs may feed the datastore at the same time; false: one session at a time."
    )
    session_timeout_s: float | None = Field(
        None,
        ge=1,
        le=86_400,
        description="After how long without a heartbeat a session may be taken over; null: Fusion's own setting.",
    )
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="After how many days without a live session Fusion removes all that it stored of a sync; null: never. A sync that is alive is never touched, and days on which Fusion did not run do not count. One that comes back afterwards is asked for a whole snapshot.",
    )
    max_rows: int | None = Field(
        None, ge=0, le=_MOST, description="Most rows that Fusion stores; null: no limit. Set by admins."
    )
    max_bytes: int | None = Field(
        None, ge=0, le=_MOST, description="Most bytes that Fusion stores; null: no limit. Set by admins."
    )


class PolicyChange(Policy):
    """
    What to change of a policy; what is left out stays.
    """


class NewDatastore(Body):
    """
    A datastore to create.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "lab", "description": "the lab's file server"}]}
    )

    name: Name
    description: PlainText = ""
    policy: Policy | None = None


class ChangeDatastore(Body):
    """
    What to change of a datastore; what is left out stays, in the policy too.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "lab"}, {"policy": {"allow_concurrent_sessions": False}}]},
    )

    name: Name | None = None
    description: PlainText | None = None
    policy: PolicyChange | None = None


class DatastoreAnswer(BaseModel):
    """
    A datastore.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5d8f3a7f3df7",
                    "name": "lab",
                    "description": "the lab's file server",
                    "created_at": "2030-01-31T12:00:00.000000+00:00",
                    "policy": POLICY_EXAMPLE,
                }
            ]
        }
    )

    id: str
    name: str
    description: str
    created_at: str
    policy: Policy


class SetMember(Body):
    """
    What the user is to be in the datastore.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "member"}]})

    role: DatastoreRole


class MemberAnswer(BaseModel):
    """
    A user and what they are in the datastore.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user": "ann", "role": "member", "created_at": "2030-01-31T12:00:00.000000+00:00"}]
        }
    )

    user: str
    role: DatastoreRole
    created_at: str


@router.get("", response_model=list[DatastoreAnswer], responses=error_answers(401, 403), summary="List the datastores")
def list_datastores(caller: UserOrKey, parts: PartsOf) -> Any:
    """
    List the datastores that the caller belongs to; admins see all.
    """
    return parts.datastores.list(caller)


@router.post(
    "",
    response_model=DatastoreAnswer,
    status_code=201,
    responses=error_answers(401, 403, 409),
    summary="Create a datastore",
)
def create_datastore(body: NewDatastore, caller: AnyUser, parts: PartsOf) -> Any:
    """
    Create a datastore and own it. Users of the role owner, and admins; quotas are set by admins.
    """
    policy = None if body.policy is None else body.policy.model_dump(exclude_unset=True)
    return parts.datastores.create(body.name, body.description, policy, caller=caller)


@router.get(
    "/{datastore_id}",
    response_model=DatastoreAnswer,
    responses=error_answers(401, 403, 404),
    summary="Show a datastore",
)
def show_datastore(datastore_id: Id, caller: UserOrKey, parts: PartsOf) -> Any:
    """
    Return one datastore.
    """
    return parts.datastores.get(datastore_id, caller=caller)


@router.patch(
    "/{datastore_id}",
    response_model=DatastoreAnswer,
    responses=error_answers(401, 403, 404, 409),
    summary="Change a datastore",
)
def change_datastore(datastore_id: Id, body: ChangeDatastore, caller: UserOrKey, parts: PartsOf) -> Any:
    """
    Change name, description or policy. Owners; quotas are set by admins. Fusion follows within seconds.
    """
    changes = {
        name: value for name, value in body.model_dump(include={"name", "description"}).items() if value is not None
    }
    if body.policy is not None:
        changes |= body.policy.model_dump(exclude_unset=True)
    return parts.datastores.change(datastore_id, changes, caller=caller)


@router.delete(
    "/{datastore_id}", status_code=204, responses=error_answers(401, 403, 404, 409), summary="Remove a datastore"
)
def remove_datastore(
    datastore_id: Id,
    caller: AnyUser,
    parts: PartsOf,
    revoke_keys: Annotated[bool, Query(description="Also when it has keys that work.")] = False,
) -> None:
    """
    Remove a datastore with its keys, members and agents. Owners. What Fusion stored of it stays with Fusion.
    """
    parts.datastores.remove(datastore_id, revoke_keys=revoke_keys, caller=caller)


@router.get(
    "/{datastore_id}/members",
    response_model=list[MemberAnswer],
    responses=error_answers(401, 403, 404),
    summary="List the members",
)
def list_members(datastore_id: Id, caller: AnyUser, parts: PartsOf) -> Any:
    """
    List who belongs to a datastore, and as what.
    """
    return parts.datastores.members(datastore_id, caller=caller)


@router.put(
    "/{datastore_id}/members/{user}",
    response_model=MemberAnswer,
    responses=error_answers(401, 403, 404, 409),
    summary="Make a user a member",
)
def set_member(datastore_id: Id, user: Name, body: SetMember, caller: AnyUser, parts: PartsOf) -> Any:
    """
    Make a user a member, or change what they are. Owners.
    """
    return parts.datastores.set_member(datastore_id, user, body.role, caller=caller)


@router.delete(
    "/{datastore_id}/members/{user}", status_code=204, responses=error_answers(401, 403, 404), summary="Remove a member"
)
def remove_member(datastore_id: Id, user: Name, caller: AnyUser, parts: PartsOf) -> None:
    """
    Take a user out of a datastore. Owners. Keys that they made go on.
    """
    parts.datastores.remove_member(datastore_id, user, caller=caller)
