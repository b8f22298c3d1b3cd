"""
API keys: `fk_<8 hex digits>_<43 characters>`. The digits are public and name the key; the rest is 256 random bits.

Only the SHA-256 of the whole key is kept, so nobody can read a key back, and a fast hash is safe because nobody can guess one.
"""

from __future__ import annotations

import builtins
import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fustor_core.errors import Forbidden, NotFoundError, OverloadedError, StateConflictError, Unauthorized
from fustor_registry import audit, roles
from fustor_registry.datastores import policy_of
from fustor_registry.models import ApiKey, Datastore
from fustor_registry.roles import RANK, Caller
from fustor_registry.store import Store, now

log = logging.getLogger(__name__)

_SHAPE = re.compile(r"fk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_NO_HASH = "0" * 64
LAST_USE_EVERY_S: Final = 60.0
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class GoodKey:
    """
    A key that works, and the datastore that it opens.
    """

    id: str
    scopes: tuple[str, ...]
    expires_at: str | None
    datastore_id: str
    datastore_name: str
    policy: dict[str, Any]


class Keys:
    """
    Creates, lists, rotates, revokes and checks API keys. Methods block: call them from a worker thread.

    Args:
        ttl_s: How long whoever asked may rely on the check of a key.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, *, ttl_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._noting = threading.Lock()

    def create(
        self,
        name: str,
        datastore_id: str,
        scopes: builtins.list[str],
        *,
        caller: Caller,
        expires_in_s: int | None = None,
    ) -> dict[str, Any]:
        """
        Create a key and return it; this is the only time that it is shown.

        Raises:
            NotFoundError: There is no such datastore for the caller.
            Forbidden: The caller may not make keys there, or not of these scopes.
            StateConflictError: The datastore has a key of that name in use.
        """
        with _name_is_free(name, datastore_id), self._store.write() as session:
            roles.need(session, caller, datastore_id, "member", change=True)
            if "admin" in scopes:
                roles.need_user(caller, "make a key with the scope 'admin'")
                roles.need(session, caller, datastore_id, "owner")
            row, key = _new(name, datastore_id, ",".join(sorted(set(scopes))), caller)
            row.expires_at = None if expires_in_s is None else now(expires_in_s)
            session.add(row)
            session.flush()
            audit.record(session, caller, "key.create", row.id, datastore_id=datastore_id, after=as_dict(row))
        return {**as_dict(row), "key": key}

    def list(
        self, caller: Caller, *, datastore_id: str | None = None, working: bool = False
    ) -> builtins.list[dict[str, Any]]:
        """
        Return the keys of the datastores that the caller may see, oldest first.

        Args:
            datastore_id: Those of this datastore alone.
            working: Not those that are revoked or have expired.
        """
        query = select(ApiKey).where(roles.visible(caller, ApiKey.datastore_id))
        if datastore_id is not None:
            query = query.where(ApiKey.datastore_id == datastore_id)
        if working:
            query = query.where(ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now()))
        with self._store.read() as session:
            return [as_dict(row) for row in session.scalars(query.order_by(ApiKey.created_at, ApiKey.id))]

    def get(self, key_id: str, *, caller: Caller) -> dict[str, Any]:
        """
        Return one key, without its secret part.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        with self._store.read() as session:
            return as_dict(_need(session, caller, key_id))

    def change(self, key_id: str, changes: dict[str, Any], *, caller: Caller) -> dict[str, Any]:
        """
        Change the `name`, or with `expires_in_s` when it ends (None: never).

        Raises:
            NotFoundError, Forbidden: As `revoke`.
            StateConflictError: The key does not work any more, or the name is taken.
        """
        with _name_is_free(changes.get("name"), None), self._store.write() as session:
            row = _need_change(session, caller, key_id)
            _need_working(row)
            before = as_dict(row)
            if "name" in changes:
                row.name = changes["name"]
            if "expires_in_s" in changes:
                seconds = changes["expires_in_s"]
                row.expires_at = None if seconds is None else now(seconds)
            after = as_dict(row)
            if after != before:
                session.flush()
                audit.record(
                    session, caller, "key.update", row.id, datastore_id=row.datastore_id, before=before, after=after
                )
        return after

    def rotate(self, key_id: str, *, overlap_s: int, caller: Caller) -> dict[str, Any]:
        """
        Make a new key in place of one, which goes on for `overlap_s` seconds, so that its users can change over.

        Returns:
            The new key, of the same name, scopes and datastore; it ends when the old one was to end.

        Raises:
            NotFoundError, Forbidden: As `revoke`.
            StateConflictError: The old key does not work any more, or was rotated before.
        """
        with self._store.write() as session:
            old = _need_change(session, caller, key_id)
            _need_working(old)
            if old.replaced_by is not None:
                raise StateConflictError(
                    f"the key {key_id!r} was rotated before", hint=f"rotate {old.replaced_by!r}, which replaced it"
                )
            before = as_dict(old)
            row, key = _new(old.name, old.datastore_id, old.scopes, caller)
            row.created_by, row.created_by_id = old.created_by, old.created_by_id
            row.expires_at = old.expires_at
            old.replaced_by = row.id
            old.expires_at = min(now(overlap_s), old.expires_at or "9")
            session.flush()  # the old one gives its name away first
            session.add(row)
            session.flush()
            audit.record(
                session,
                caller,
                "key.rotate",
                old.id,
                datastore_id=old.datastore_id,
                before=before,
                after=as_dict(old),
                created=as_dict(row),
            )
        return {**as_dict(row), "key": key}

    def revoke(self, key_id: str, *, caller: Caller) -> None:
        """
        Revoke a key; a key that is revoked already stays so.

        Raises:
            NotFoundError: There is no such key that the caller may see.
            Forbidden: The caller neither owns the datastore nor made the key.
        """
        with self._store.write() as session:
            row = _need_change(session, caller, key_id)
            if row.revoked_at is None:
                before = as_dict(row)
                row.revoked_at = now()
                audit.record(
                    session,
                    caller,
                    "key.revoke",
                    key_id,
                    datastore_id=row.datastore_id,
                    before=before,
                    after=as_dict(row),
                )

    def verify(self, key: str) -> dict[str, Any]:
        """
        Tell whether a key works, and for what. Compares in constant time.
        """
        good = self.look_up(key)
        if good is None:
            return {
                "valid": False,
                "key_id": None,
                "datastore_id": None,
                "datastore_name": None,
                "scopes": [],
                "ttl_s": self._ttl_s,
                "expires_at": None,
                "policy": None,
            }
        return {
            "valid": True,
            "key_id": good.id,
            "datastore_id": good.datastore_id,
            "datastore_name": good.datastore_name,
            "scopes": list(good.scopes),
            "ttl_s": self._ttl_s,
            "expires_at": good.expires_at,
            "policy": good.policy,
        }

    def look_up(self, key: str) -> GoodKey | None:
        """
        Return what a key opens, and note that it was used; None when it does not work.
        """
        shape = _SHAPE.fullmatch(key)
        query = (
            select(ApiKey, Datastore)
            .join(Datastore, Datastore.id == ApiKey.datastore_id)
            .where(ApiKey.id == (shape.group(1) if shape else ""))
        )
        with self._store.read() as session:
            found = session.execute(query).first()
        row, datastore = found or (None, None)
        same = hmac.compare_digest(_hash(key), row.key_hash if row else _NO_HASH)
        if row is None or datastore is None or not same or not row.works:
            return None
        self._note_use(row.id)
        return GoodKey(
            row.id, tuple(row.scopes.split(",")), row.expires_at, datastore.id, datastore.name, policy_of(datastore)
        )

    def caller_of(self, key: str, address: str, scope: str) -> tuple[Caller, GoodKey]:
        """
        Return who makes a request with a key.

        Raises:
            Unauthorized: The key does not work.
            Forbidden: It lacks the scope; `admin` has all.
        """
        good = self.look_up(key)
        if good is None:
            raise Unauthorized(
                "the API key is not valid: it is unknown, has expired or was revoked",
                hint="send a key that works in the header X-API-Key; GET /api/v1/keys lists them",
            )
        if scope not in good.scopes and "admin" not in good.scopes:
            raise Forbidden(
                f"the API key lacks the scope {scope!r}",
                hint=f"make a key with the scope {scope!r}",
                context={"key_id": good.id, "scopes": list(good.scopes), "needed": scope},
            )
        return Caller(f"key:{good.id}", address, datastore_id=good.datastore_id), good

    def _note_use(self, key_id: str) -> None:
        """
        Write down that a key is in use, now and then: a check of a key must not wait for the disk each time.
        """
        at = self._clock()
        with self._noting:
            if at - self._noted.get(key_id, -LAST_USE_EVERY_S) < LAST_USE_EVERY_S:
                return
            self._noted[key_id] = at
            self._noted.move_to_end(key_id)
            if len(self._noted) > _REMEMBERED:
                self._noted.popitem(last=False)
        try:
            with self._store.write() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now()))
        except OverloadedError as exc:
            log.warning("the last use of a key could not be written", extra={"key_id": key_id, "error": exc.message})


def _new(name: str, datastore_id: str, scopes: str, caller: Caller) -> tuple[ApiKey, str]:
    key_id = secrets.token_hex(4)
    key = f"fk_{key_id}_{secrets.token_urlsafe(32)}"
    row = ApiKey(
        id=key_id,
        name=name,
        datastore_id=datastore_id,
        scopes=scopes,
        key_hash=_hash(key),
        created_at=now(),
        created_by=caller.name,
        created_by_id=caller.user_id,
    )
    return row, key


def _need(session: Session, caller: Caller, key_id: str, *, change: bool = False) -> ApiKey:
    row = session.get(ApiKey, key_id, with_for_update=change)
    if row is None or not roles.role_in(session, caller, row.datastore_id):
        raise NotFoundError(
            f"there is no key with the id {key_id!r}",
            hint="GET /api/v1/keys lists those that you may see",
            context={"id": key_id},
        )
    return row


def _need_change(session: Session, caller: Caller, key_id: str) -> ApiKey:
    """
    Return a key that the caller may change: an owner any that they could make, a member those that they made.
    """
    row = _need(session, caller, key_id, change=True)
    rank = roles.role_in(session, caller, row.datastore_id)
    if "admin" in row.scopes.split(",") and f"key:{row.id}" != caller.name:
        roles.need_user(caller, "change another key with the scope 'admin'")
    made_it = caller.user_id is not None and row.created_by_id == caller.user_id
    if rank >= RANK["owner"] or (rank >= RANK["member"] and made_it):
        return row
    raise Forbidden(
        "only an owner of the datastore, or the member who made a key, may change it",
        hint="ask an owner of the datastore, or an admin",
        context={"id": key_id, "datastore_id": row.datastore_id},
    )


def _need_working(row: ApiKey) -> None:
    if not row.works:
        how = "was revoked" if row.revoked_at is not None else "has expired"
        raise StateConflictError(f"the key {row.id!r} {how}", hint="create a new key", context={"id": row.id})


@contextmanager
def _name_is_free(name: str | None, datastore_id: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise StateConflictError(
            f"this datastore has a key {name!r} already",
            hint="choose another name, or revoke that key first",
            context={"name": name, **({} if datastore_id is None else {"datastore_id": datastore_id})},
        ) from exc


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def as_dict(row: ApiKey) -> dict[str, Any]:
    """
    Return a key as the API shows one, without its secret part.
    """
    return {
        "id": row.id,
        "name": row.name,
        "datastore_id": row.datastore_id,
        "scopes": row.scopes.split(","),
        "prefix": f"fk_{row.id}",
        "created_at": row.created_at,
        "created_by": row.created_by,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "replaced_by": row.replaced_by,
        "revoked_at": row.revoked_at,
    }
