"""
Users: created, changed and removed by admins; each changes their own password.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fustor_core.errors import Forbidden, NotFoundError, StateConflictError, Unauthorized
from fustor_registry import audit, logins
from fustor_registry.guesses import GuessLimit
from fustor_registry.logins import Logins, user_as_dict
from fustor_registry.models import User
from fustor_registry.passwords import Passwords
from fustor_registry.roles import SYSTEM, Caller, Role
from fustor_registry.store import Store, now

log = logging.getLogger(__name__)

_ADMINS_LOCK = 0x4675_7375


class Users:
    """
    The users. Methods block: call them from a worker thread. Whether the caller is an admin was checked before.
    """

    def __init__(self, store: Store, passwords: Passwords, guesses: GuessLimit, logins: Logins) -> None:
        self._store = store
        self._passwords = passwords
        self._guesses = guesses
        self._logins = logins

    def bootstrap(self, password: str | None) -> None:
        """
        Create the user `admin` when there are no users at all and a password is given.
        """
        if self._any():
            return
        if password is None:
            log.warning(
                "there are no users yet: set FUSTOR_REGISTRY_ADMIN_PASSWORD and start again to create the user 'admin'"
            )
            return
        try:
            self.create("admin", password, role="admin", caller=SYSTEM)
        except StateConflictError:
            log.info("another process created the user 'admin'")
        else:
            log.info("created the user 'admin'")

    def _any(self) -> bool:
        with self._store.read() as session:
            return bool(session.scalar(select(func.count()).select_from(User)))

    def create(
        self, name: str, password: str, *, role: Role, caller: Caller, must_change_password: bool = False
    ) -> dict[str, Any]:
        """
        Create a user.

        Raises:
            StateConflictError: The name is taken.
        """
        user = User(
            name=name,
            password_hash=self._passwords.hash(password),
            role=role,
            disabled=False,
            must_change_password=must_change_password,
            created_at=now(),
        )
        try:
            with self._store.write() as session:
                session.add(user)
                session.flush()
                shown = user_as_dict(user)
                audit.record(session, caller, "user.create", name, after=shown)
        except IntegrityError as exc:
            raise StateConflictError(
                f"there is a user {name!r} already", hint="choose another name", context={"name": name}
            ) from exc
        return shown

    def list(self) -> builtins.list[dict[str, Any]]:
        """
        Return all users, by id.
        """
        with self._store.read() as session:
            return [user_as_dict(user) for user in session.scalars(select(User).order_by(User.id))]

    def get(self, user_id: int) -> dict[str, Any]:
        """
        Return one user.

        Raises:
            NotFoundError: There is none of this id.
        """
        with self._store.read() as session:
            return user_as_dict(_need(session, user_id))

    def change(
        self, user_id: int, *, caller: Caller, role: Role | None = None, disabled: bool | None = None
    ) -> dict[str, Any]:
        """
        Change what is not None. Who is disabled is logged out everywhere.

        Raises:
            NotFoundError: There is none of this id.
            StateConflictError: No admin would be left.
        """
        with self._changing(user_id) as (session, user):
            before = user_as_dict(user)
            if role is not None:
                user.role = role
            if disabled is not None:
                user.disabled = disabled
            after = user_as_dict(user)
            if after != before:
                ended = logins.end_all(session, user.id) if user.disabled else 0
                audit.record(session, caller, "user.update", user.name, before=before, after=after, logins_ended=ended)
        return after

    def remove(self, user_id: int, *, caller: Caller) -> None:
        """
        Remove a user, with memberships and logins. API keys that they made stay.

        Raises:
            NotFoundError: There is none of this id.
            StateConflictError: No admin would be left.
        """
        with self._changing(user_id) as (session, user):
            before = user_as_dict(user)
            session.delete(user)
            self._guesses.forget(session, user.name)
            audit.record(session, caller, "user.remove", user.name, before=before)

    def reset_password(self, user_id: int, password: str, *, caller: Caller) -> None:
        """
        Give a user a password that they have to change; they are logged out everywhere, and may log in again at once.

        Raises:
            NotFoundError: There is none of this id.
            StateConflictError: It is the caller's own, for which the old one is asked.
        """
        if user_id == caller.user_id:
            raise StateConflictError(
                "this is your own password", hint="change it with the old one at POST /api/v1/users/me/password"
            )
        with self._store.read() as session:
            _need(session, user_id)
        self._set_password(user_id, password, caller=caller, action="user.password_reset", must_change=True)

    def change_password(self, caller: Caller, old: str, new: str) -> None:
        """
        Change the caller's own password; their other logins end.

        Raises:
            Forbidden: The old password is wrong.
            TooManyLogins: It was wrong too often.
            StateConflictError: The new one is the old one.
        """
        try:
            user = self._logins.check_password(caller.name, old, caller.address)
        except Unauthorized as exc:
            # The login is good: a client that is told 401 would refresh it and guess once more.
            raise Forbidden("the old password is wrong", hint="check it and try again") from exc
        if old == new:
            raise StateConflictError("the new password is the old one", hint="choose another one")
        self._set_password(user.id, new, caller=caller, action="user.password", keep=caller.login_id)

    def _set_password(
        self,
        user_id: int,
        password: str,
        *,
        caller: Caller,
        action: str,
        must_change: bool = False,
        keep: str | None = None,
    ) -> None:
        password_hash = self._passwords.hash(password)
        with self._store.write() as session:
            user = _need(session, user_id, change=True)
            user.password_hash = password_hash
            user.must_change_password = must_change
            self._guesses.forget(session, user.name)
            ended = logins.end_all(session, user.id, keep)
            audit.record(session, caller, action, user.name, logins_ended=ended, must_change_password=must_change)

    @contextmanager
    def _changing(self, user_id: int) -> Iterator[tuple[Session, User]]:
        """
        Lend a user to be changed or deleted, in a transaction that is committed only when an admin is left.

        Raises:
            NotFoundError: There is none of this id.
            StateConflictError: No admin would be left.
        """
        with self._store.write() as session:
            if not self._store.is_sqlite:
                # Two admins that demote each other at once take turns, in several processes too. On SQLite all writers do.
                session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADMINS_LOCK})
            yield session, _need(session, user_id, change=True)
            session.flush()
            left = select(func.count()).select_from(User).where(User.role == "admin", ~User.disabled)
            if not session.scalar(left):
                raise StateConflictError(
                    "this is the last admin, and without one nobody could manage users",
                    hint="make another user an admin first",
                )


def _need(session: Session, user_id: int, *, change: bool = False) -> User:
    user = session.get(User, user_id, with_for_update=change)
    if user is None:
        raise NotFoundError(
            f"there is no user with the id {user_id}", hint="GET /api/v1/users lists them", context={"id": user_id}
        )
    return user
