"""
The audit trail: one entry for every change, in the transaction that makes it. The database refuses to alter or remove one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fustor_common.logging import request_id
from fustor_core.errors import Forbidden
from fustor_registry import roles
from fustor_registry.models import NAME_LENGTH, AuditEntry
from fustor_registry.roles import Caller
from fustor_registry.store import Store, now


def record(
    session: Session,
    caller: Caller,
    action: str,
    target: str,
    *,
    datastore_id: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **details: Any,
) -> None:
    """
    Add an entry. Everything in it is plain data and never a secret.

    Args:
        action: What was done, such as `key.create`.
        target: What it was done to.
        datastore_id: Whose owners may read the entry.
        before, after: What it was and what it became; of a change only what differs.
        details: What else is worth knowing.
    """
    if before is not None and after is not None:
        before, after = (
            {name: value for name, value in one.items() if other.get(name) != value}
            for one, other in ((before, after), (after, before))
        )
    session.add(
        AuditEntry(
            at=now(),
            actor=caller.name[:NAME_LENGTH],
            action=action,
            target=target[:200],
            details=json.dumps(details),
            datastore_id=datastore_id,
            before=None if before is None else json.dumps(before),
            after=None if after is None else json.dumps(after),
            address=caller.address[:100],
            request_id=request_id.get(),
        )
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Which entries are wanted; None = any.

    Args:
        action: A whole action, or its first part (`key` for all that was done to keys).
        since, until: Times as the trail has them; `until` is not included.
        before: Only entries with a smaller id: the page after the one that ended there.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    datastore_id: str | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None


def list_entries(store: Store, caller: Caller, wanted: Filter, *, limit: int) -> list[dict[str, Any]]:
    """
    Return the newest entries that the caller may read: all for an admin, those of their datastores for an owner.

    Raises:
        Forbidden: The caller owns no datastore.
        NotFoundError: The datastore asked for is none that the caller may see.
    """
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    for column, value in (
        (AuditEntry.actor, wanted.actor),
        (AuditEntry.target, wanted.target),
        (AuditEntry.datastore_id, wanted.datastore_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.action is not None:
        below = AuditEntry.action.startswith(wanted.action + ".", autoescape=True)
        query = query.where(or_(AuditEntry.action == wanted.action, below))
    if wanted.since is not None:
        query = query.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEntry.at < wanted.until)
    if wanted.before is not None:
        query = query.where(AuditEntry.id < wanted.before)
    with store.read() as session:
        if not caller.is_admin:
            roles.need_user(caller, "read the audit trail")
            if wanted.datastore_id is not None:
                roles.need(session, caller, wanted.datastore_id, "owner")
            mine = list(session.scalars(roles.owned(caller)))
            if not mine:
                raise Forbidden(
                    "only an admin, or an owner of a datastore, may read the audit trail", hint="ask an admin"
                )
            query = query.where(AuditEntry.datastore_id.in_(mine))
        return [_as_dict(entry) for entry in session.scalars(query)]


def _as_dict(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "datastore_id": entry.datastore_id,
        "before": None if entry.before is None else json.loads(entry.before),
        "after": None if entry.after is None else json.loads(entry.after),
        "address": entry.address,
        "request_id": entry.request_id,
        "details": json.loads(entry.details),
    }
