"""
The audit trail: one entry for every change, in the transaction that makes it.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fustor_registry.models import NAME_LENGTH, AuditEntry
from fustor_registry.store import Store, now


def record(session: Session, actor: str, action: str, target: str, **details: Any) -> None:
    """
    Add an entry. `details` is plain data and never holds a secret.
    """
    session.add(
        AuditEntry(at=now(), actor=actor[:NAME_LENGTH], action=action, target=target[:200], details=json.dumps(details))
    )


def list_entries(store: Store, *, limit: int, before: int | None) -> list[dict[str, Any]]:
    """
    Return the newest entries, those with an id below `before` when it is given.
    """
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    with store.read() as session:
        return [
            {"id": e.id, "at": e.at, "actor": e.actor, "action": e.action, "target": e.target}
            | {"details": json.loads(e.details)}
            for e in session.scalars(query)
        ]
