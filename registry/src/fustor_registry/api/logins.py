"""
`/api/v1/login`, `/refresh`, `/logout` and the open logins of a user.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyCookie
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from fustor_common.openapi import error_answers
from fustor_core.errors import Unauthorized
from fustor_registry.api.access import AnyLogin, Body, Id, PartsOf, address_of, check_origin
from fustor_registry.api.cookies import REFRESH, clear_cookies, set_cookies
from fustor_registry.api.users import USER_EXAMPLE, Password, UserAnswer
from fustor_registry.logins import Tokens

router = APIRouter(prefix="/api/v1", tags=["logins"])

_USES_COOKIES = Field(
    False, description="For pages: the tokens come as HttpOnly cookies, and not in the answer's body."
)


class LoginRequest(Body):
    """
    A name and a password.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "admin", "password": "at least 8 characters"}]}
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    password: Password
    cookies: bool = _USES_COOKIES


class RefreshRequest(Body):
    """
    A refresh token; without one that of the cookie is taken, and the new ones come as cookies.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"refresh_token": "fr_..."}]})

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=1000)] | None = None


class LoginAnswer(BaseModel):
    """
    A login. `token` goes into `Authorization: Bearer`; `refresh_token` gets the next pair, once. Both are null when they came as cookies.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "token": "fa_...",
                    "expires_at": "2030-01-31T12:15:00.000000+00:00",
                    "refresh_token": "fr_...",
                    "login_expires_at": "2030-02-01T00:00:00.000000+00:00",
                    "user": USER_EXAMPLE,
                }
            ]
        }
    )

    token: str | None
    expires_at: str
    refresh_token: str | None
    login_expires_at: str
    user: UserAnswer


class OpenLogin(BaseModel):
    """
    A login that has not ended. `current` is the one that asks.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "9f2c6a0d1b3e4f58",
                    "created_at": "2030-01-31T12:00:00.000000+00:00",
                    "last_used_at": "2030-01-31T12:00:00.000000+00:00",
                    "expires_at": "2030-02-01T00:00:00.000000+00:00",
                    "address": "192.0.2.7",
                    "client": "Mozilla/5.0",
                    "current": True,
                }
            ]
        }
    )

    id: str
    created_at: str
    last_used_at: str
    expires_at: str
    address: str
    client: str
    current: bool


def _answer(request: Request, response: Response, tokens: Tokens, *, cookies: bool) -> dict[str, Any]:
    if cookies:
        set_cookies(request, response, tokens)
    response.headers["Cache-Control"] = "no-store"
    return {
        "token": None if cookies else tokens.access,
        "expires_at": tokens.access_expires_at,
        "refresh_token": None if cookies else tokens.refresh,
        "login_expires_at": tokens.login_expires_at,
        "user": tokens.user,
    }


@router.post("/login", response_model=LoginAnswer, responses=error_answers(401, 403, 429), summary="Log in")
def log_in(body: LoginRequest, request: Request, response: Response, parts: PartsOf) -> Any:
    """
    Give a name and a password for a pair of tokens. Names and addresses that fail too often have to wait (429, `Retry-After`).
    """
    tokens = parts.logins.log_in(
        body.name,
        body.password.get_secret_value(),
        address=address_of(request),
        client=request.headers.get("user-agent", ""),
    )
    return _answer(request, response, tokens, cookies=body.cookies)


_refresh_cookie = APIKeyCookie(name=REFRESH, auto_error=False, description="The refresh token of a login, for pages.")


@router.post(
    "/refresh", response_model=LoginAnswer, responses=error_answers(401, 403), summary="Get a new pair of tokens"
)
def refresh(
    request: Request,
    response: Response,
    parts: PartsOf,
    cookie: Annotated[str | None, Depends(_refresh_cookie)],
    body: RefreshRequest | None = None,
) -> Any:
    """
    Give a refresh token for a new pair. The old pair ends; a refresh token that comes again ends the whole login.
    """
    given = None if body is None or body.refresh_token is None else body.refresh_token.get_secret_value()
    uses_cookies = given is None
    if given is None:
        if cookie is None:
            raise Unauthorized(
                "there is no refresh token", hint="send `refresh_token`, or log in at POST /api/v1/login"
            )
        check_origin(request)
        given = cookie
    return _answer(request, response, parts.logins.refresh(given, address=address_of(request)), cookies=uses_cookies)


@router.post("/logout", status_code=204, responses=error_answers(401, 403, 404), summary="End this login")
def log_out(request: Request, response: Response, caller: AnyLogin, parts: PartsOf) -> None:
    """
    End the login that asks, with its tokens and cookies.
    """
    parts.logins.end(caller)
    clear_cookies(request, response)


@router.get("/users/me/logins", response_model=list[OpenLogin], responses=error_answers(401), summary="List my logins")
def list_logins(caller: AnyLogin, parts: PartsOf) -> Any:
    """
    List where the user who asks is logged in.
    """
    return parts.logins.list(caller)


@router.delete(
    "/users/me/logins/{login_id}",
    status_code=204,
    responses=error_answers(401, 403, 404),
    summary="End one of my logins",
)
def end_login(login_id: Id, caller: AnyLogin, parts: PartsOf) -> None:
    """
    End a login of the user who asks, wherever it is.
    """
    parts.logins.end(caller, login_id)
