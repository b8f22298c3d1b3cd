"""
Datastores: what Fusion keeps apart, who belongs to each, and what its policy says.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from fustor_core.errors import Forbidden, NotFoundError, StateConflictError
from fustor_registry import audit, roles
from fustor_registry.models import ApiKey, Datastore, Membership, User
from fustor_registry.roles import RANK, Caller, DatastoreRole
from fustor_registry.store import Store, now

QUOTAS: Final = ("max_rows", "max_bytes")
POLICY: Final = ("allow_concurrent_sessions", "session_timeout_s", "retention_days", *QUOTAS)


class Datastores:
    """
    The datastores. Methods block: call them from a worker thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, name: str, description: str, policy: Mapping[str, Any] | None = None, *, caller: Caller
    ) -> dict[str, Any]:
        """
        Create a datastore; the caller owns it. Its id is lower-case hex, safe as the name of a file.

        Raises:
            Forbidden: The caller may not make datastores, or not set quotas.
            StateConflictError: The name is taken.
        """
        roles.need_user(caller, "make a datastore")
        if RANK[caller.role or "read-only"] < RANK["owner"]:
            raise Forbidden(
                f"a user of the role {caller.role!r} may not make datastores", hint="ask an admin for the role 'owner'"
            )
        policy = {field: value for field, value in (policy or {}).items() if value is not None}
        _check_quotas(caller, policy)
        datastore = Datastore(
            id=secrets.token_hex(6),
            name=name,
            description=description,
            created_at=now(),
            **{"allow_concurrent_sessions": True, **policy},
        )
        with _name_is_free(name), self._store.write() as session:
            session.add(datastore)
            session.flush()
            session.add(Membership(datastore_id=datastore.id, user_id=caller.user_id, role="owner", created_at=now()))
            shown = as_dict(datastore)
            audit.record(session, caller, "datastore.create", name, datastore_id=datastore.id, after=shown)
        return shown

    def list(self, caller: Caller) -> builtins.list[dict[str, Any]]:
        """
        Return the datastores that the caller may see, oldest first.
        """
        query = select(Datastore).where(roles.visible(caller, Datastore.id))
        with self._store.read() as session:
            rows = session.scalars(query.order_by(Datastore.created_at, Datastore.id))
            return [as_dict(row) for row in rows]

    def get(self, datastore_id: str, *, caller: Caller) -> dict[str, Any]:
        """
        Return one datastore.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        with self._store.read() as session:
            return as_dict(roles.need(session, caller, datastore_id, "read-only"))

    def change(self, datastore_id: str, changes: Mapping[str, Any], *, caller: Caller) -> dict[str, Any]:
        """
        Change name, description or policy.

        Args:
            changes: Columns and their new values.

        Raises:
            NotFoundError: There is none that the caller may see.
            Forbidden: The caller does not own it, or sets quotas without being an admin.
            StateConflictError: The name is taken.
        """
        with _name_is_free(changes.get("name")), self._store.write() as session:
            datastore = roles.need(session, caller, datastore_id, "owner", change=True)
            before = as_dict(datastore)
            _check_quotas(caller, {k: v for k, v in changes.items() if getattr(datastore, k) != v})
            for name, value in changes.items():
                setattr(datastore, name, value)
            after = as_dict(datastore)
            if after != before:
                session.flush()
                audit.record(
                    session,
                    caller,
                    "datastore.update",
                    before["name"],
                    datastore_id=datastore_id,
                    before=flat(before),
                    after=flat(after),
                )
        return after

    def remove(self, datastore_id: str, *, revoke_keys: bool, caller: Caller) -> None:
        """
        Remove a datastore with its keys, members and agents. What Fusion stored of it stays with Fusion.

        Args:
            revoke_keys: Also when it has keys that work.

        Raises:
            NotFoundError: There is none that the caller may see.
            Forbidden: The caller does not own it.
            StateConflictError: It has keys that work.
        """
        roles.need_user(caller, "remove a datastore")
        with self._store.write() as session:
            datastore = roles.need(session, caller, datastore_id, "owner", change=True)
            keys = list(session.scalars(select(ApiKey).where(ApiKey.datastore_id == datastore_id)))
            working = [key for key in keys if key.works]
            if working and not revoke_keys:
                raise StateConflictError(
                    f"the datastore has {len(working)} keys that work, and what uses them would stop",
                    hint="revoke them first, or send `revoke_keys=true`",
                    context={"keys": [key.id for key in working]},
                )
            before = as_dict(datastore)
            session.execute(delete(ApiKey).where(ApiKey.datastore_id == datastore_id))
            session.delete(datastore)
            revoked = [key.id for key in working]
            audit.record(
                session,
                caller,
                "datastore.remove",
                datastore.name,
                datastore_id=datastore_id,
                before=before,
                revoked_keys=revoked,
            )

    def members(self, datastore_id: str, *, caller: Caller) -> builtins.list[dict[str, Any]]:
        """
        Return the members of a datastore, by name.

        Raises:
            NotFoundError: There is no datastore that the caller may see.
        """
        query = (
            select(User.name, Membership.role, Membership.created_at)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.datastore_id == datastore_id)
            .order_by(User.name)
        )
        with self._store.read() as session:
            roles.need(session, caller, datastore_id, "read-only")
            return [{"user": name, "role": role, "created_at": at} for name, role, at in session.execute(query)]

    def set_member(self, datastore_id: str, user: str, role: DatastoreRole, *, caller: Caller) -> dict[str, Any]:
        """
        Make a user a member of a datastore, or change what they are there.

        Raises:
            NotFoundError: There is no such datastore for the caller, or no such user.
            Forbidden: The caller does not own it.
            StateConflictError: The user's own role is less.
        """
        roles.need_user(caller, "change members")
        with self._store.write() as session:
            datastore = roles.need(session, caller, datastore_id, "owner", change=True)
            person = session.scalar(select(User).where(User.name == user))
            if person is None:
                raise NotFoundError(f"there is no user {user!r}", hint="ask an admin who there is")
            if RANK[person.role] < RANK[role]:
                raise StateConflictError(
                    f"the user {user!r} can't be {role!r} anywhere: their role is {person.role!r}",
                    hint="give them a lesser role here, or ask an admin to raise theirs",
                )
            membership = session.get(Membership, (datastore_id, person.id))
            before = None if membership is None else membership.role
            if membership is None:
                membership = Membership(datastore_id=datastore_id, user_id=person.id, role=role, created_at=now())
                session.add(membership)
            membership.role = role
            if before != role:
                audit.record(
                    session,
                    caller,
                    "member.set",
                    f"{datastore.name}: {user}",
                    datastore_id=datastore_id,
                    before=None if before is None else {"role": before},
                    after={"role": role},
                )
            return {"user": person.name, "role": role, "created_at": membership.created_at}

    def remove_member(self, datastore_id: str, user: str, *, caller: Caller) -> None:
        """
        Take a user out of a datastore.

        Raises:
            NotFoundError: There is no such datastore for the caller, or no such member.
            Forbidden: The caller does not own it.
        """
        roles.need_user(caller, "change members")
        with self._store.write() as session:
            datastore = roles.need(session, caller, datastore_id, "owner", change=True)
            query = select(Membership).join(User, User.id == Membership.user_id)
            membership = session.scalar(query.where(Membership.datastore_id == datastore_id, User.name == user))
            if membership is None:
                raise NotFoundError(
                    f"{user!r} is no member of this datastore",
                    hint=f"GET /api/v1/datastores/{datastore_id}/members lists them",
                )
            session.delete(membership)
            audit.record(
                session,
                caller,
                "member.remove",
                f"{datastore.name}: {user}",
                datastore_id=datastore_id,
                before={"role": membership.role},
            )


def _check_quotas(caller: Caller, changes: Mapping[str, Any]) -> None:
    named = [name for name in QUOTAS if name in changes]
    if named and not caller.is_admin:
        raise Forbidden(f"only an admin may set {', '.join(named)}", hint="ask an admin", context={"fields": named})


@contextmanager
def _name_is_free(name: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise StateConflictError(
            f"there is a datastore {name!r} already", hint="choose another name", context={"name": name}
        ) from exc


def policy_of(row: Datastore) -> dict[str, Any]:
    """
    Return the policy of a datastore.
    """
    return {name: getattr(row, name) for name in POLICY}


def as_dict(row: Datastore) -> dict[str, Any]:
    """
    Return a datastore as the API shows one.
    """
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "created_at": row.created_at,
        "policy": policy_of(row),
    }


def flat(shown: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a datastore with its policy beside its other fields, so that the trail tells just what changed.
    """
    return {**{name: value for name, value in shown.items() if name != "policy"}, **shown["policy"]}
