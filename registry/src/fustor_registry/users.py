"""
Users and their logins. Passwords are kept as argon2 hashes, login tokens as SHA-256.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from fustor_core.errors import FustorError, StateConflictError, Unauthorized
from fustor_registry import audit
from fustor_registry.models import LoginToken, User
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store, now

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000


class TooManyLogins(FustorError):
    """
    Too many logins of this name or address failed lately.
    """

    code = "request.too_many"
    http_status = 429

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many failed logins", hint=f"wait {wait_s:.0f} s, then try again")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """
    Who makes a request.
    """

    id: int
    name: str
    is_admin: bool


class LoginLimit:
    """
    Counts failed logins by name and by address, and makes those who fail too often wait.

    Unknown names count like known ones, so that waiting tells nothing about who exists.
    """

    def __init__(self, failures: int, wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._wait_s = wait_s
        self._clock = clock
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, *whom: str) -> None:
        """
        Raise `TooManyLogins` while one of these has to wait.
        """
        with self._lock:
            for key in whom:
                count, last = self._seen.get(key, (0, 0.0))
                left = last + self._wait_s - self._clock()
                if left <= 0:
                    self._seen.pop(key, None)
                elif count >= self._failures:
                    raise TooManyLogins(left)

    def failed(self, *whom: str) -> None:
        """
        Count a failure.
        """
        with self._lock:
            for key in whom:
                count, _ = self._seen.pop(key, (0, 0.0))
                self._seen[key] = (count + 1, self._clock())
            while len(self._seen) > _MOST_REMEMBERED:
                self._seen.popitem(last=False)

    def succeeded(self, *whom: str) -> None:
        """
        Forget the failures of these.
        """
        with self._lock:
            for key in whom:
                self._seen.pop(key, None)


class Users:
    """
    Creates users and logs them in. Methods block: call them from a worker thread.
    """

    def __init__(self, store: Store, settings: RegistrySettings) -> None:
        self._store = store
        self._ttl_s = settings.login_ttl_s
        self._limit = LoginLimit(settings.login_failures, settings.login_wait_s)
        self._hasher = PasswordHasher()
        # Checked when the name is unknown, so that the answer takes as long as with a known one.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def bootstrap(self, password: str | None) -> None:
        """
        Create the user `admin` when there are no users at all and a password is given.
        """
        with self._store.read() as session:
            if session.scalar(select(func.count()).select_from(User)):
                return
        if password is None:
            log.warning(
                "there are no users yet: set FUSTOR_REGISTRY_ADMIN_PASSWORD and start again to create the user 'admin'"
            )
            return
        self.create("admin", password, is_admin=True, actor="bootstrap")
        log.info("created the user 'admin'")

    def create(self, name: str, password: str, *, is_admin: bool, actor: str) -> dict[str, Any]:
        """
        Create a user.

        Raises:
            StateConflictError: The name is taken.
        """
        user = User(name=name, password_hash=self._hasher.hash(password), is_admin=is_admin, created_at=now())
        try:
            with self._store.write() as session:
                session.add(user)
                session.flush()
                audit.record(session, actor, "user.create", name, is_admin=is_admin)
        except IntegrityError as exc:
            raise StateConflictError(
                f"there is a user {name!r} already", hint="choose another name", context={"name": name}
            ) from exc
        return _as_dict(user)

    def list(self) -> list[dict[str, Any]]:
        """
        Return all users, by id.
        """
        with self._store.read() as session:
            return [_as_dict(user) for user in session.scalars(select(User).order_by(User.id))]

    def log_in(self, name: str, password: str, address: str) -> dict[str, str]:
        """
        Check a password and return a new login token with its end.

        Raises:
            Unauthorized: The name or the password is wrong; which one is not said.
            TooManyLogins: This name or address has to wait.
        """
        whom = (f"name:{name}", f"address:{address}")
        self._limit.check(*whom)
        with self._store.read() as session:
            user = session.scalar(select(User).where(User.name == name))
        right = self._matches(self._nobody if user is None else user.password_hash, password)
        if user is None or not right:
            self._limit.failed(*whom)
            with self._store.write() as session:
                audit.record(session, "anonymous", "login.fail", name, address=address)
            raise Unauthorized("the name or the password is wrong", hint="check both and try again")
        self._limit.succeeded(*whom)
        token = secrets.token_urlsafe(32)
        expires_at = now(self._ttl_s)
        with self._store.write() as session:
            session.execute(delete(LoginToken).where(LoginToken.expires_at < now()))
            session.add(LoginToken(token_hash=_hash(token), user_id=user.id, created_at=now(), expires_at=expires_at))
            audit.record(session, name, "login", name, address=address)
        return {"token": token, "expires_at": expires_at}

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    def who(self, token: str) -> LoggedIn:
        """
        Return whose login a token is.

        Raises:
            Unauthorized: It is unknown or has expired.
        """
        query = (
            select(User)
            .join(LoginToken, LoginToken.user_id == User.id)
            .where(LoginToken.token_hash == _hash(token), LoginToken.expires_at > now())
        )
        with self._store.read() as session:
            user = session.scalar(query)
        if user is None:
            raise Unauthorized("the login is unknown or has expired", hint="log in again at POST /api/v1/login")
        return LoggedIn(user.id, user.name, user.is_admin)


def _hash(token: str) -> str:
    # Tokens are long and random: a fast hash is as safe as a slow one.
    return hashlib.sha256(token.encode()).hexdigest()


def _as_dict(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "is_admin": user.is_admin, "created_at": user.created_at}
