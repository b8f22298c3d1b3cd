"""
`/api/v1/users`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fustor_common.openapi import error_answers
from fustor_registry.api.access import Admin, AnyLogin, Body, Name, PartsOf
from fustor_registry.passwords import SHORTEST
from fustor_registry.roles import Role

router = APIRouter(prefix="/api/v1/users", tags=["users"])

Password = Annotated[SecretStr, Field(min_length=1, max_length=1000)]
NewPassword = Annotated[SecretStr, Field(min_length=SHORTEST, max_length=1000)]
UserId = Annotated[int, Path(ge=1, le=2**31 - 1)]


USER_EXAMPLE: dict[str, Any] = {
    "id": 2,
    "name": "ann",
    "role": "member",
    "disabled": False,
    "must_change_password": False,
    "created_at": "2030-01-31T12:00:00.000000+00:00",
    "last_login_at": "2030-02-28T12:00:00.000000+00:00",
}


class NewUser(Body):
    """
    A user to create. The role is the most that they can be in any datastore.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "ann", "password": "at least 8 characters", "role": "member"}]},
    )

    name: Name
    password: NewPassword
    role: Role = "member"
    must_change_password: bool = Field(False, description="Whether they have to change it before anything else.")


class ChangeUser(Body):
    """
    What to change of a user; what is left out stays.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "owner"}, {"disabled": True}]})

    role: Role | None = None
    disabled: bool | None = None


class ResetPassword(Body):
    """
    A password that the user has to change.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"password": "for the first login"}]})

    password: NewPassword


class ChangePassword(Body):
    """
    The password as it is and as it is to be.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"old_password": "as it was", "new_password": "as it is to be"}]},
    )

    old_password: Password
    new_password: NewPassword


class UserAnswer(BaseModel):
    """
    A user.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [USER_EXAMPLE]})

    id: int
    name: str
    role: Role
    disabled: bool
    must_change_password: bool
    created_at: str
    last_login_at: str | None


@router.get("/me", response_model=UserAnswer, responses=error_answers(401, 404), summary="Who am I")
def show_me(caller: AnyLogin, parts: PartsOf) -> Any:
    """
    Return the user who asks.
    """
    return parts.users.get(caller.user_id or 0)


@router.post(
    "/me/password",
    status_code=204,
    responses=error_answers(401, 403, 404, 409, 429),
    summary="Change my password",
)
def change_password(body: ChangePassword, caller: AnyLogin, parts: PartsOf) -> None:
    """
    Change the password of the user who asks; their other logins end. Wrong old passwords count as failed logins.
    """
    parts.users.change_password(caller, body.old_password.get_secret_value(), body.new_password.get_secret_value())


@router.get("", response_model=list[UserAnswer], responses=error_answers(401, 403), summary="List all users")
def list_users(_caller: Admin, parts: PartsOf) -> Any:
    """
    List all users. Admins only.
    """
    return parts.users.list()


@router.post(
    "", response_model=UserAnswer, status_code=201, responses=error_answers(401, 403, 409), summary="Create a user"
)
def create_user(body: NewUser, caller: Admin, parts: PartsOf) -> Any:
    """
    Create a user. Admins only.
    """
    return parts.users.create(
        body.name,
        body.password.get_secret_value(),
        role=body.role,
        caller=caller,
        must_change_password=body.must_change_password,
    )


@router.get("/{user_id:int}", response_model=UserAnswer, responses=error_answers(401, 403, 404), summary="Show a user")
def show_user(user_id: UserId, _caller: Admin, parts: PartsOf) -> Any:
    """
    Return one user. Admins only.
    """
    return parts.users.get(user_id)


@router.patch(
    "/{user_id:int}", response_model=UserAnswer, responses=error_answers(401, 403, 404, 409), summary="Change a user"
)
def change_user(user_id: UserId, body: ChangeUser, caller: Admin, parts: PartsOf) -> Any:
    """
    Change the role of a user, or disable or enable them. Admins only; one admin always stays.
    """
    return parts.users.change(user_id, caller=caller, role=body.role, disabled=body.disabled)


@router.delete("/{user_id:int}", status_code=204, responses=error_answers(401, 403, 404, 409), summary="Remove a user")
def remove_user(user_id: UserId, caller: Admin, parts: PartsOf) -> None:
    """
    Remove a user with logins and memberships; keys that they made go on. Admins only; one admin always stays.
    """
    parts.users.remove(user_id, caller=caller)


@router.post(
    "/{user_id:int}/password",
    status_code=204,
    responses=error_answers(401, 403, 404, 409),
    summary="Reset a user's password",
)
def reset_password(user_id: UserId, body: ResetPassword, caller: Admin, parts: PartsOf) -> None:
    """
    Give a user a new password, which they have to change; ends their logins and their wait after failed ones. Admins only.
    """
    parts.users.reset_password(user_id, body.password.get_secret_value(), caller=caller)
