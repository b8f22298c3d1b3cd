"""
Agents that were seen: each tells of itself now and then with an API key of the datastore that it feeds.
"""

from __future__ import annotations

import builtins
import json
from typing import Any, Final

from sqlalchemy import func, select

from fustor_core.errors import NotFoundError, StateConflictError
from fustor_registry import audit, roles
from fustor_registry.keys import GoodKey
from fustor_registry.models import Agent
from fustor_registry.roles import Caller
from fustor_registry.store import Store, now

MOST_AGENTS: Final = 1000
"""
Of one datastore: who has a key can't fill the disk with names.
"""


class Agents:
    """
    Keeps what agents tell. Methods block: call them from a worker thread.

    Args:
        interval_s: How often agents are told to report.
    """

    def __init__(self, store: Store, *, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s

    def report(
        self, key: GoodKey, caller: Caller, agent_id: str, *, version: str, host: str, syncs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """
        Write down that an agent lives; answer when it is to report again. Only its first report is a matter for the audit trail.

        Raises:
            NotFoundError: The datastore was removed meanwhile.
            StateConflictError: The datastore has too many agents.
        """
        told = {
            "version": version,
            "host": host,
            "address": caller.address[:100],
            "syncs": json.dumps(syncs),
            "key_id": key.id,
            "last_seen_at": now(),
        }
        with self._store.write() as session:
            # Locked: two first reports of one agent at once take turns.
            roles.need(session, caller, key.datastore_id, "read-only", change=True)
            agent = session.get(Agent, (key.datastore_id, agent_id))
            if agent is None:
                here = select(func.count()).select_from(Agent).where(Agent.datastore_id == key.datastore_id)
                if (session.scalar(here) or 0) >= MOST_AGENTS:
                    raise StateConflictError(
                        f"the datastore has {MOST_AGENTS} agents already",
                        hint="forget those that are gone: DELETE /api/v1/datastores/{id}/agents/{agent}",
                    )
                agent = Agent(datastore_id=key.datastore_id, agent_id=agent_id, first_seen_at=now(), **told)
                session.add(agent)
                after = {"agent_id": agent_id, "version": version, "host": host}
                audit.record(session, caller, "agent.seen", agent_id, datastore_id=key.datastore_id, after=after)
            else:
                for name, value in told.items():
                    setattr(agent, name, value)
        return {"interval_s": self._interval_s}

    def list(self, caller: Caller, *, datastore_id: str | None = None) -> builtins.list[dict[str, Any]]:
        """
        Return the agents of the datastores that the caller may see, the one last heard of first.
        """
        query = select(Agent).where(roles.visible(caller, Agent.datastore_id))
        if datastore_id is not None:
            query = query.where(Agent.datastore_id == datastore_id)
        late = now(-3 * self._interval_s)
        with self._store.read() as session:
            rows = session.scalars(query.order_by(Agent.last_seen_at.desc(), Agent.agent_id))
            return [{**_as_dict(row), "alive": row.last_seen_at > late} for row in rows]

    def forget(self, datastore_id: str, agent_id: str, *, caller: Caller) -> None:
        """
        Forget an agent that is gone; one that lives comes back with its next report.

        Raises:
            NotFoundError: There is no such datastore for the caller, or no such agent.
            Forbidden: The caller does not own the datastore.
        """
        with self._store.write() as session:
            roles.need(session, caller, datastore_id, "owner", change=True)
            agent = session.get(Agent, (datastore_id, agent_id))
            if agent is None:
                raise NotFoundError(f"there is no agent {agent_id!r}", hint="GET /api/v1/agents lists them")
            before = {"agent_id": agent_id, "version": agent.version, "host": agent.host}
            session.delete(agent)
            audit.record(session, caller, "agent.forget", agent_id, datastore_id=datastore_id, before=before)


def _as_dict(row: Agent) -> dict[str, Any]:
    return {
        "agent_id": row.agent_id,
        "datastore_id": row.datastore_id,
        "version": row.version,
        "host": row.host,
        "address": row.address,
        "syncs": json.loads(row.syncs),
        "key_id": row.key_id,
        "first_seen_at": row.first_seen_at,
        "last_seen_at": row.last_seen_at,
    }
