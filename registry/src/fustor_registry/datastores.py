"""
Datastores: what Fusion keeps apart.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fustor_core.errors import StateConflictError
from fustor_registry import audit
from fustor_registry.models import Datastore
from fustor_registry.store import Store, now


class Datastores:
    """
    Creates and lists datastores. Methods block: call them from a worker thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, description: str, *, actor: str) -> dict[str, Any]:
        """
        Create a datastore. Its id is lower-case hex, safe as the name of a file.

        Raises:
            StateConflictError: The name is taken.
        """
        datastore = Datastore(id=secrets.token_hex(6), name=name, description=description, created_at=now())
        try:
            with self._store.write() as session:
                session.add(datastore)
                session.flush()
                audit.record(session, actor, "datastore.create", name, id=datastore.id)
        except IntegrityError as exc:
            raise StateConflictError(
                f"there is a datastore {name!r} already",
                hint="use it (GET /api/v1/datastores), or choose another name",
                context={"name": name},
            ) from exc
        return _as_dict(datastore)

    def list(self) -> list[dict[str, Any]]:
        """
        Return all datastores, oldest first.
        """
        with self._store.read() as session:
            rows = session.scalars(select(Datastore).order_by(Datastore.created_at, Datastore.id))
            return [_as_dict(row) for row in rows]


def _as_dict(row: Datastore) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "description": row.description, "created_at": row.created_at}
