"""
`/api/v1/login` and `/api/v1/users`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints
from pydantic import Field as ModelField

from fustor_registry.api.access import Admin, Name, PartsOf

router = APIRouter(prefix="/api/v1", tags=["users"])


class Login(BaseModel):
    """
    A name and a password.
    """

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    password: Annotated[SecretStr, ModelField(min_length=1, max_length=1000)]


class NewUser(BaseModel):
    """
    A user to create.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name
    password: Annotated[SecretStr, ModelField(min_length=8, max_length=1000)]
    is_admin: bool = False


class LoginAnswer(BaseModel):
    """
    A login. `token` goes into `Authorization: Bearer`.
    """

    token: str
    expires_at: str


class UserAnswer(BaseModel):
    """
    A user.
    """

    id: int
    name: str
    is_admin: bool
    created_at: str


@router.post("/login", response_model=LoginAnswer)
def log_in(body: Login, request: Request, parts: PartsOf) -> Any:
    """
    Log in.
    """
    address = request.client.host if request.client else "unknown"
    return parts.users.log_in(body.name, body.password.get_secret_value(), address)


@router.get("/users", response_model=list[UserAnswer])
def list_users(_user: Admin, parts: PartsOf) -> Any:
    """
    List all users.
    """
    return parts.users.list()


@router.post("/users", response_model=UserAnswer, status_code=201)
def create_user(body: NewUser, user: Admin, parts: PartsOf) -> Any:
    """
    Create a user.
    """
    return parts.users.create(body.name, body.password.get_secret_value(), is_admin=body.is_admin, actor=user.name)
