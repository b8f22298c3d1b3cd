"""
Who may do what. The one place that decides; every change asks here inside its own transaction.

A user has a role, which is the most that they can be anywhere, and memberships, which say what they are in a datastore.
What counts is the lesser of the two. An admin is everything everywhere. An API key with the scope `admin` is an owner of
its own datastore, without what only people may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from fustor_core.errors import Forbidden, NotFoundError
from fustor_registry.models import Datastore, Membership

Role = Literal["admin", "owner", "member", "read-only"]
DatastoreRole = Literal["owner", "member", "read-only"]

RANK: Final[dict[str, int]] = {"read-only": 1, "member": 2, "owner": 3, "admin": 4}


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who makes a request, and from where.

    Args:
        name: What the audit trail says: the user's name, `key:<id>` for an API key, `system` or `anonymous`.
        address: Where the request came from.
        user_id, role, login_id: Of a user.
        datastore_id: Of an API key.
        must_change_password: The user may do nothing else first.
    """

    name: str
    address: str = ""
    user_id: int | None = None
    role: str | None = None
    login_id: str | None = None
    datastore_id: str | None = None
    must_change_password: bool = False

    @property
    def is_admin(self) -> bool:
        """
        Whether this is a user who is an admin.
        """
        return self.role == "admin"


SYSTEM: Final = Caller("system")


def role_in(session: Session, caller: Caller, datastore_id: str) -> int:
    """
    Return the rank of a caller in a datastore; 0 = none.
    """
    if caller.is_admin:
        return RANK["admin"]
    if caller.datastore_id is not None:
        return RANK["owner"] if caller.datastore_id == datastore_id else 0
    if caller.user_id is None or caller.role is None:
        return 0
    membership = session.get(Membership, (datastore_id, caller.user_id))
    return 0 if membership is None else min(RANK[membership.role], RANK[caller.role])


def need(session: Session, caller: Caller, datastore_id: str, least: Role, *, change: bool = False) -> Datastore:
    """
    Return a datastore in which the caller is at least `least`.

    Args:
        change: The datastore itself is to be changed, and locked for that.

    Raises:
        NotFoundError: There is none, or the caller has nothing to do with it: the same answer, so that nothing is told.
        Forbidden: The caller is less.
    """
    datastore = session.get(Datastore, datastore_id, with_for_update=change)
    rank = 0 if datastore is None else role_in(session, caller, datastore_id)
    if datastore is None or rank == 0:
        raise NotFoundError(
            f"there is no datastore with the id {datastore_id!r}",
            hint="GET /api/v1/datastores lists those that you may see",
            context={"datastore_id": datastore_id},
        )
    if rank < RANK[least]:
        name = next(role for role, value in RANK.items() if value == rank)
        raise Forbidden(
            f"this needs the role {least!r} in the datastore, and you are {name!r}",
            hint="ask an owner of the datastore, or an admin",
            context={"datastore_id": datastore_id, "role": name, "needed": least},
        )
    return datastore


def need_user(caller: Caller, what: str) -> None:
    """
    See that the caller is a person.

    Raises:
        Forbidden: It is an API key.
    """
    if caller.user_id is None:
        raise Forbidden(f"an API key may not {what}", hint="log in as a user who may")


def visible(caller: Caller, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """
    Return the condition that a row belongs to a datastore that the caller may see.
    """
    if caller.is_admin:
        return true()
    if caller.datastore_id is not None:
        return column == caller.datastore_id
    return column.in_(_memberships(caller))


def _memberships(caller: Caller) -> Select[Any]:
    return select(Membership.datastore_id).where(Membership.user_id == caller.user_id)


def owned(caller: Caller) -> Select[Any]:
    """
    Return the query for the ids of the datastores that the caller, a user, owns.
    """
    owns = _memberships(caller).where(Membership.role == "owner")
    return owns if RANK.get(caller.role or "", 0) >= RANK["owner"] else owns.where(~true())
