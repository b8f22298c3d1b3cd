"""
What handlers ask for: the parts of the Registry, and who makes the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import StringConstraints

from fustor_core.errors import Forbidden, Unauthorized
from fustor_registry.datastores import Datastores
from fustor_registry.keys import Keys
from fustor_registry.models import NAME_LENGTH
from fustor_registry.store import Store
from fustor_registry.users import LoggedIn, Users

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=NAME_LENGTH, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$")
]
"""
A name that people give: it begins with a letter or digit; letters, digits, space and `._@-`.
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What the app is made of.
    """

    store: Store
    users: Users
    datastores: Datastores
    keys: Keys


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


def _user(parts: PartsOf, authorization: Annotated[str | None, Header()] = None) -> LoggedIn:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(
            "this call needs a login",
            hint="POST /api/v1/login, then send `Authorization: Bearer <token>` with each call",
        )
    return parts.users.who(token.strip())


AnyUser = Annotated[LoggedIn, Depends(_user)]


def _admin(user: AnyUser) -> LoggedIn:
    if not user.is_admin:
        raise Forbidden(
            "only an admin may do this", hint="log in as a user who is an admin", context={"user": user.name}
        )
    return user


Admin = Annotated[LoggedIn, Depends(_admin)]
