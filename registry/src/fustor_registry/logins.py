"""
Logins: a password opens one, and a pair of tokens keeps it going.

The access token goes with each request and is good for minutes. The refresh token gets a new pair, once: when it comes a
second time, one of the two who have it stole it, and the whole login ends. Of both only the SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from fustor_core.errors import Forbidden, NotFoundError, Unauthorized
from fustor_registry import audit
from fustor_registry.guesses import GuessLimit
from fustor_registry.models import AccessToken, Login, RefreshToken, User
from fustor_registry.passwords import Passwords
from fustor_registry.roles import Caller
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store, now

_AGAIN = "log in again at POST /api/v1/login"


@dataclass(frozen=True, slots=True)
class Tokens:
    """
    What a login is kept going with. `login_expires_at` is when it ends however often it is refreshed.
    """

    access: str
    access_expires_at: str
    refresh: str
    login_expires_at: str
    user: dict[str, Any]


class Logins:
    """
    Opens, continues and ends logins. Methods block: call them from a worker thread.
    """

    def __init__(self, store: Store, settings: RegistrySettings, passwords: Passwords, guesses: GuessLimit) -> None:
        self._store = store
        self._settings = settings
        self._passwords = passwords
        self._guesses = guesses

    def log_in(self, name: str, password: str, *, address: str, client: str) -> Tokens:
        """
        Check a password and open a login.

        Raises:
            Unauthorized: The name or the password is wrong; which one is not said.
            Forbidden: The user is disabled.
            TooManyLogins: This name or address has to wait.
        """
        user = self.check_password(name, password, address)
        if user.disabled:
            raise Forbidden("this user is disabled", hint="ask an admin to enable it")
        rehashed = self._passwords.hash(password) if self._passwords.is_outdated(user.password_hash) else None
        with self._store.write() as session:
            current = session.get(User, user.id, with_for_update=True)
            if current is None or current.password_hash != user.password_hash or current.disabled:
                raise Unauthorized("the user was changed meanwhile", hint="try again")
            if rehashed is not None:
                current.password_hash = rehashed
            current.last_login_at = now()
            self._forget_old(session)
            login = Login(
                id=secrets.token_hex(8),
                user_id=current.id,
                created_at=now(),
                expires_at=now(self._settings.login_ttl_s),
                last_used_at=now(),
                address=address[:100],
                client=client[:200],
            )
            session.add(login)
            session.flush()
            tokens = self._issue(session, login, current)
            audit.record(session, Caller(current.name, address), "login", current.name, login_id=login.id)
        return tokens

    def check_password(self, name: str, password: str, address: str) -> User:
        """
        Return the user whose password this is; wrong ones count as guesses.

        Raises:
            Unauthorized: The name or the password is wrong; which one is not said.
            TooManyLogins: This name or address has to wait.
        """
        self._guesses.begin(name, address)
        with self._store.read() as session:
            # A name with a NUL is none, and PostgreSQL would refuse it.
            user = None if "\0" in name else session.scalar(select(User).where(User.name == name))
        if not self._passwords.matches(None if user is None else user.password_hash, password) or user is None:
            locked = self._guesses.is_locked(name)
            with self._store.write() as session:
                # What is typed as a name may be a password: only known ones are written down.
                target = "(unknown user)" if user is None else user.name
                audit.record(session, Caller("anonymous", address), "login.fail", target, locked=locked)
            raise Unauthorized("the name or the password is wrong", hint="check both and try again")
        with self._store.write() as session:
            self._guesses.succeeded(session, name, address)
        return user

    def refresh(self, token: str, *, address: str) -> Tokens:
        """
        Take a refresh token and return a new pair.

        Raises:
            Unauthorized: It is unknown, its login has ended, or it was used before, which ends its login.
        """
        digest = _hash(token)
        with self._store.write() as session:
            row = session.get(RefreshToken, digest, with_for_update=True)
            login = None if row is None else session.get(Login, row.login_id, with_for_update=True)
            user = None if login is None else session.get(User, login.user_id)
            if row is None or login is None or user is None or not _is_open(login) or user.disabled:
                raise Unauthorized("the login is unknown or has ended", hint=_AGAIN)
            if row.used_at is None:
                row.used_at = now()
                login.last_used_at = now()
                session.execute(delete(AccessToken).where(AccessToken.login_id == login.id))
                return self._issue(session, login, user)
            _end(session, [login.id])
            audit.record(session, Caller(user.name, address), "login.reuse", user.name, login_id=login.id)
        raise Unauthorized("this refresh token was used before, so its login was ended for safety", hint=_AGAIN)

    def who(self, token: str, address: str) -> Caller:
        """
        Return whose access token this is.

        Raises:
            Unauthorized: It is unknown or has expired.
        """
        query = (
            select(User, Login.id)
            .join(Login, Login.user_id == User.id)
            .join(AccessToken, AccessToken.login_id == Login.id)
            .where(AccessToken.token_hash == _hash(token), AccessToken.expires_at > now())
            .where(Login.ended_at.is_(None), Login.expires_at > now(), ~User.disabled)
        )
        with self._store.read() as session:
            row = session.execute(query).first()
        if row is None:
            raise Unauthorized(
                "the access token is unknown or has expired",
                hint="refresh the login at POST /api/v1/refresh, or log in again at POST /api/v1/login",
            )
        user, login_id = row
        return Caller(
            user.name,
            address,
            user_id=user.id,
            role=user.role,
            login_id=login_id,
            must_change_password=user.must_change_password,
        )

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """
        Return the open logins of a user, newest first.
        """
        query = select(Login).where(Login.user_id == caller.user_id, Login.ended_at.is_(None), Login.expires_at > now())
        with self._store.read() as session:
            return [
                {
                    "id": row.id,
                    "created_at": row.created_at,
                    "last_used_at": row.last_used_at,
                    "expires_at": row.expires_at,
                    "address": row.address,
                    "client": row.client,
                    "current": row.id == caller.login_id,
                }
                for row in session.scalars(query.order_by(Login.created_at.desc(), Login.id))
            ]

    def end(self, caller: Caller, login_id: str | None = None) -> None:
        """
        End a login of the caller: the one that they use, or another one.

        Raises:
            NotFoundError: It is no open login of theirs.
        """
        wanted = caller.login_id if login_id is None else login_id
        with self._store.write() as session:
            login = session.get(Login, wanted, with_for_update=True)
            if login is None or login.user_id != caller.user_id or not _is_open(login):
                raise NotFoundError(f"you have no open login {wanted!r}", hint="GET /api/v1/users/me/logins lists them")
            _end(session, [login.id])
            audit.record(session, caller, "logout", caller.name, login_id=login.id)

    def _issue(self, session: Session, login: Login, user: User) -> Tokens:
        access, refresh = f"fa_{secrets.token_urlsafe(32)}", f"fr_{secrets.token_urlsafe(32)}"
        expires_at = min(now(self._settings.access_ttl_s), login.expires_at)
        session.add(AccessToken(token_hash=_hash(access), login_id=login.id, expires_at=expires_at))
        session.add(RefreshToken(token_hash=_hash(refresh), login_id=login.id))
        return Tokens(access, expires_at, refresh, login.expires_at, user_as_dict(user))

    @staticmethod
    def _forget_old(session: Session) -> None:
        session.execute(delete(AccessToken).where(AccessToken.expires_at < now()))
        session.execute(delete(Login).where(Login.expires_at < now()))  # and with it the tokens


def end_all(session: Session, user_id: int, but: str | None = None) -> int:
    """
    End the logins of a user inside the transaction under way; return how many there were.

    Args:
        but: The login that stays.
    """
    query = select(Login.id).where(Login.user_id == user_id, Login.ended_at.is_(None), Login.expires_at > now())
    ids = [one for one in session.scalars(query) if one != but]
    _end(session, ids)
    return len(ids)


def _end(session: Session, login_ids: list[str]) -> None:
    session.execute(update(Login).where(Login.id.in_(login_ids)).values(ended_at=now()))
    session.execute(delete(AccessToken).where(AccessToken.login_id.in_(login_ids)))


def _is_open(login: Login) -> bool:
    return login.ended_at is None and login.expires_at > now()


def _hash(token: str) -> str:
    # Tokens are long and random: a fast hash is as safe as a slow one.
    return hashlib.sha256(token.encode()).hexdigest()


def user_as_dict(user: User) -> dict[str, Any]:
    """
    Return a user as the API shows one.
    """
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "must_change_password": user.must_change_password,
        "created_at": user.created_at,
        "last_login_at": user.last_login_at,
    }
