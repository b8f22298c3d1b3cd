"""
API keys: `fk_<8 hex digits>_<43 characters>`. The digits are public and name the key; the rest is 256 random bits.

Only the SHA-256 of the whole key is kept, so nobody can read a key back, and a fast hash is safe because nobody can guess one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fustor_core.errors import NotFoundError, StateConflictError
from fustor_registry import audit
from fustor_registry.models import ApiKey, Datastore
from fustor_registry.store import Store, now

_SHAPE = re.compile(r"fk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_NO_HASH = "0" * 64


class Keys:
    """
    Creates, lists, revokes and checks API keys. Methods block: call them from a worker thread.
    """

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        self._store = store
        self._ttl_s = ttl_s

    def create(self, name: str, datastore_id: str, scopes: list[str], *, actor: str) -> dict[str, Any]:
        """
        Create a key and return it; this is the only time that it is shown.

        Raises:
            NotFoundError: There is no such datastore.
            StateConflictError: The datastore has a key of that name that is not revoked.
        """
        key_id = secrets.token_hex(4)
        key = f"fk_{key_id}_{secrets.token_urlsafe(32)}"
        row = ApiKey(
            id=key_id,
            name=name,
            datastore_id=datastore_id,
            scopes=",".join(sorted(set(scopes))),
            key_hash=_hash(key),
            created_at=now(),
        )
        try:
            with self._store.write() as session:
                if session.get(Datastore, datastore_id) is None:
                    raise NotFoundError(
                        f"there is no datastore with the id {datastore_id!r}",
                        hint="GET /api/v1/datastores lists them",
                        context={"datastore_id": datastore_id},
                    )
                session.add(row)
                session.flush()
                audit.record(session, actor, "key.create", key_id, name=name, datastore_id=datastore_id, scopes=scopes)
        except IntegrityError as exc:
            raise StateConflictError(
                f"this datastore has a key {name!r} already",
                hint="choose another name, or revoke that key first",
                context={"name": name, "datastore_id": datastore_id},
            ) from exc
        return {**_as_dict(row), "key": key}

    def list(self) -> list[dict[str, Any]]:
        """
        Return all keys, revoked ones too, oldest first.
        """
        with self._store.read() as session:
            return [_as_dict(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id))]

    def revoke(self, key_id: str, *, actor: str) -> None:
        """
        Revoke a key; a key that is revoked already stays so.

        Raises:
            NotFoundError: There is no such key.
        """
        with self._store.write() as session:
            row = session.get(ApiKey, key_id)
            if row is None:
                raise NotFoundError(
                    f"there is no key with the id {key_id!r}",
                    hint="GET /api/v1/keys lists them",
                    context={"id": key_id},
                )
            if row.revoked_at is None:
                row.revoked_at = now()
                audit.record(session, actor, "key.revoke", key_id, name=row.name)

    def verify(self, key: str) -> dict[str, Any]:
        """
        Tell whether a key is good, and for what. Compares in constant time.
        """
        shape = _SHAPE.fullmatch(key)
        query = (
            select(ApiKey.id, ApiKey.key_hash, ApiKey.datastore_id, ApiKey.scopes, ApiKey.revoked_at, Datastore.name)
            .join(Datastore, Datastore.id == ApiKey.datastore_id)
            .where(ApiKey.id == (shape.group(1) if shape else ""))
        )
        with self._store.read() as session:
            row = session.execute(query).first()
        same = hmac.compare_digest(_hash(key), row.key_hash if row else _NO_HASH)
        if row is None or not same or row.revoked_at is not None:
            answer: dict[str, Any] = {"valid": False, "key_id": None, "datastore_id": None, "datastore_name": None}
            return answer | {"scopes": [], "ttl_s": self._ttl_s}
        return {
            "valid": True,
            "key_id": row.id,
            "datastore_id": row.datastore_id,
            "datastore_name": row.name,
            "scopes": row.scopes.split(","),
            "ttl_s": self._ttl_s,
        }


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _as_dict(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "datastore_id": row.datastore_id,
        "scopes": row.scopes.split(","),
        "prefix": f"fk_{row.id}",
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    }
