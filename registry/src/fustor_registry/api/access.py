"""
What handlers ask for: the parts of the Registry, and who makes the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, StringConstraints

from fustor_core.errors import Forbidden, Unauthorized
from fustor_registry.agents import Agents
from fustor_registry.api.cookies import ACCESS
from fustor_registry.datastores import Datastores
from fustor_registry.keys import GoodKey, Keys
from fustor_registry.logins import Logins
from fustor_registry.models import NAME_LENGTH
from fustor_registry.roles import Caller
from fustor_registry.store import Store
from fustor_registry.users import Users

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=NAME_LENGTH, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$")
]
"""
A name that people give: it begins with a letter or digit; letters, digits, space and `._@-`.
"""
Id = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
"""
What names something that is there or not. PostgreSQL keeps no text with a NUL.
"""
PlainText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class Body(BaseModel):
    """
    What a request's body is: exactly of the types that it says.
    """

    model_config = ConfigDict(strict=True)


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What the app is made of.
    """

    store: Store
    users: Users
    logins: Logins
    datastores: Datastores
    keys: Keys
    agents: Agents


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


def address_of(request: Request) -> str:
    """
    Return where a request came from.
    """
    return request.client.host if request.client else "unknown"


_bearer = HTTPBearer(auto_error=False, description="The access token of a login.")
_cookie = APIKeyCookie(name=ACCESS, auto_error=False, description="The access token of a login, for pages.")
_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")

BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
CookieToken = Annotated[str | None, Depends(_cookie)]
KeyValue = Annotated[str | None, Depends(_key)]


def check_origin(request: Request) -> None:
    """
    See that a change asked for with a cookie comes from a page of this service: browsers send cookies along with any page's requests.

    Raises:
        Forbidden: It does not, or does not say.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    origin = request.headers.get("origin")
    if origin is not None:
        own = urlsplit(origin).netloc == request.headers.get("host")
    else:
        own = request.headers.get("sec-fetch-site") == "same-origin"
    if not own:
        raise Forbidden(
            "a change with a cookie must come from a page of the Registry itself",
            hint="programs send `Authorization: Bearer <token>` instead of the cookie",
        )


def _login(request: Request, parts: PartsOf, bearer: BearerToken, cookie: CookieToken) -> Caller:
    address = address_of(request)
    if bearer is not None:
        return parts.logins.who(bearer.credentials, address)
    if cookie is not None:
        check_origin(request)
        return parts.logins.who(cookie, address)
    raise Unauthorized(
        "this call needs a login",
        hint="POST /api/v1/login, then send `Authorization: Bearer <token>` with each call",
    )


AnyLogin = Annotated[Caller, Depends(_login)]
"""
A user, also one who has to change their password first.
"""


def _ready(caller: Caller) -> Caller:
    if caller.must_change_password:
        raise Forbidden(
            "an admin reset your password: change it before anything else",
            hint="POST /api/v1/users/me/password",
            context={"user": caller.name, "needed": "POST /api/v1/users/me/password"},
        )
    return caller


def _user(caller: AnyLogin) -> Caller:
    return _ready(caller)


AnyUser = Annotated[Caller, Depends(_user)]


def _user_or_key(request: Request, parts: PartsOf, bearer: BearerToken, cookie: CookieToken, key: KeyValue) -> Caller:
    if bearer is None and key is not None:
        return parts.keys.caller_of(key, address_of(request), "admin")[0]
    return _ready(_login(request, parts, bearer, cookie))


UserOrKey = Annotated[Caller, Depends(_user_or_key)]
"""
A user, or an API key with the scope `admin`, which reaches its own datastore alone.
"""


def _admin(caller: AnyUser) -> Caller:
    if not caller.is_admin:
        raise Forbidden(
            "only an admin may do this", hint="log in as a user who is an admin", context={"user": caller.name}
        )
    return caller


Admin = Annotated[Caller, Depends(_admin)]


@dataclass(frozen=True, slots=True)
class Reporter:
    """
    An API key that may ingest.
    """

    caller: Caller
    key: GoodKey


def _reporter(request: Request, parts: PartsOf, key: KeyValue) -> Reporter:
    if key is None:
        raise Unauthorized("this call needs an API key", hint="send a key with the scope 'ingest' as X-API-Key")
    return Reporter(*parts.keys.caller_of(key, address_of(request), "ingest"))


AnyReporter = Annotated[Reporter, Depends(_reporter)]
