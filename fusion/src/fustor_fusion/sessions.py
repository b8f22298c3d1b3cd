"""
Sessions: which agent may push for a sync. One live session per sync.

Opened, closed and superseded on the applier thread, so that a push is always clearly before or after; kept in the
database, so that an agent goes on in its session after a restart of Fusion. Heartbeats stay in memory.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from fustor_core.errors import NotFoundError, SessionConflict, SessionSuperseded

KEEP_ENDED_S: Final = 86_400


@dataclass(slots=True)
class Session:
    """
    One session. Times in nanoseconds since the epoch; `seen` is monotonic seconds; `timeout_s` is what its agent was told; `heard`: it gave
    a sign of life since Fusion was started.
    """

    session_id: str
    task_id: str
    agent_id: str | None
    state: Literal["live", "superseded", "closed"]
    client: str
    created_at: int
    last_seen: int
    seen: float
    timeout_s: float = 0.0
    heard: bool = False

    def to_dict(self) -> dict[str, Any]:
        """
        Return it in the shape of `GET /ingestor-api/v1/sessions/`.
        """
        return {
            "session_id": self.session_id,
            "task_id": self.task_id,
            "agent_id": self.agent_id,
            "created_at": self.created_at,
            "last_seen": self.last_seen,
            "client": self.client,
        }


class Sessions:
    """
    The sessions of one datastore.

    Args:
        timeout_s: After how long without a sign of life another agent may take over.
        clock: Monotonic seconds.

    Attributes:
        one_at_a_time: Whether the datastore takes one live session of all syncs together, as its policy may say.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self.one_at_a_time = False
        self._sessions: dict[str, Session] = {}

    def load(self, conn: sqlite3.Connection) -> None:
        """
        Read the sessions. Those alive get a full timeout: nobody could send a heartbeat while Fusion was away.
        """
        now = self._clock()
        known = {k: (s.seen, s.timeout_s, s.heard) for k, s in self._sessions.items()}
        columns = "session_id, task_id, agent_id, state, client, created_at, last_seen"
        self._sessions = {
            row[0]: Session(*(*row, *known.get(row[0], (now, 0.0, False))))
            for row in conn.execute(f"SELECT {columns} FROM session")
        }

    def live(self) -> list[Session]:
        """
        Return the live sessions, oldest first.
        """
        return sorted((s for s in list(self._sessions.values()) if s.state == "live"), key=lambda s: s.created_at)

    def newest(self) -> dict[str, Session]:
        """
        Return the session of each sync: the live one, else the one that was heard of last.
        """
        found: dict[str, Session] = {}
        for session in list(self._sessions.values()):
            other = found.get(session.task_id)
            if other is None or _rank(session) > _rank(other):
                found[session.task_id] = session
        return found

    def of(self, task_id: str) -> Session | None:
        """
        Return the live session of a sync.
        """
        return next((s for s in list(self._sessions.values()) if s.task_id == task_id and s.state == "live"), None)

    def is_fresh(self, session: Session) -> bool:
        """
        Tell whether a session gave a sign of life within the timeout.
        """
        # An agent that was told a longer timeout sends its heartbeats accordingly.
        return self._clock() - session.seen < max(self.timeout_s, session.timeout_s)

    def is_fed(self, task_id: str) -> bool:
        """
        Tell whether a sync has a session that is alive, as far as is known: see `load`.
        """
        session = self.of(task_id)
        return session is not None and self.is_fresh(session)

    def is_heard(self, task_id: str) -> bool:
        """
        Tell whether a sync has a session that is alive and was heard of since Fusion was started.
        """
        session = self.of(task_id)
        return session is not None and session.heard and self.is_fresh(session)

    def need(self, session_id: str) -> Session:
        """
        Return a live session and note the sign of life.

        Raises:
            NotFoundError: It is unknown or was closed.
            SessionSuperseded: Another session took over.
        """
        session = self._sessions.get(session_id)
        if session is None or session.state == "closed":
            raise NotFoundError(
                f"no session {session_id!r}" if session is None else f"the session {session_id!r} was closed",
                hint="open a session with POST /ingestor-api/v1/sessions/ and use its session_id",
                context={"session_id": session_id},
            )
        if session.state == "superseded":
            raise SessionSuperseded(
                f"the session {session_id!r} of sync {session.task_id!r} was superseded by a newer one",
                context={"session_id": session_id, "task_id": session.task_id},
            )
        session.seen = self._clock()
        session.heard = True
        session.last_seen = time.time_ns()
        return session

    def open(self, conn: sqlite3.Connection, task_id: str, agent_id: str | None, client: str) -> Session:
        """
        Open a session inside the transaction under way; the agent's older one is superseded.

        Raises:
            SessionConflict: Another agent holds the sync and is alive; or another sync does, and one at a time is the policy.
        """
        others = [s for s in self.live() if s.task_id != task_id] if self.one_at_a_time else []
        for other in others:
            if self.is_fresh(other):
                raise SessionConflict(
                    f"the datastore takes one session at a time, and sync {other.task_id!r} of agent {other.agent_id!r} has it",
                    hint="stop that sync, or allow concurrent sessions in the datastore's policy at the Registry",
                    context={"task_id": other.task_id, "agent_id": other.agent_id, "last_seen": other.last_seen},
                )
        holder = self.of(task_id)
        if holder is not None and holder.agent_id != agent_id and self.is_fresh(holder):
            raise SessionConflict(
                f"sync {task_id!r} is held by agent {holder.agent_id!r} (client {holder.client})",
                hint=f"stop the other agent, give this sync another id, or wait {self.timeout_s:g} s after its last heartbeat",
                context={"task_id": task_id, "agent_id": holder.agent_id, "last_seen": holder.last_seen},
            )
        now = time.time_ns()
        for old in [*others, *([] if holder is None else [holder])]:
            conn.execute(
                "UPDATE session SET state = 'superseded', last_seen = ? WHERE session_id = ?", (now, old.session_id)
            )
            old.state = "superseded"
        session = Session(
            secrets.token_hex(16),
            task_id,
            agent_id,
            "live",
            client,
            now,
            now,
            self._clock(),
            self.timeout_s,
            heard=True,
        )
        conn.execute(
            "INSERT INTO session(session_id, task_id, agent_id, state, client, created_at, last_seen)"
            " VALUES (?, ?, ?, 'live', ?, ?, ?)",
            (session.session_id, task_id, agent_id, client, now, now),
        )
        self._sessions[session.session_id] = session
        return session

    def close(self, conn: sqlite3.Connection, session_id: str) -> None:
        """
        End a session inside the transaction under way.

        Raises:
            NotFoundError, SessionSuperseded: As `need`.
        """
        self._end(conn, self.need(session_id))

    def end_left(self, conn: sqlite3.Connection, task_id: str) -> None:
        """
        End the session that a sync has left behind, if any, inside the transaction under way: its agent has to open another one.
        """
        session = self.of(task_id)
        if session is not None:
            self._end(conn, session)

    @staticmethod
    def _end(conn: sqlite3.Connection, session: Session) -> None:
        conn.execute(
            "UPDATE session SET state = 'closed', last_seen = ? WHERE session_id = ?",
            (session.last_seen, session.session_id),
        )
        session.state = "closed"

    def forget_ended(self, conn: sqlite3.Connection) -> None:
        """
        Forget sessions that ended over a day ago, inside the transaction under way.
        """
        before = time.time_ns() - KEEP_ENDED_S * 1_000_000_000
        gone = [k for k, s in self._sessions.items() if s.state != "live" and s.last_seen < before]
        for session_id in gone:
            conn.execute("DELETE FROM session WHERE session_id = ?", (session_id,))
            del self._sessions[session_id]

    def save_seen(self, conn: sqlite3.Connection) -> None:
        """
        Write when each live session was last seen, inside the transaction under way.
        """
        conn.executemany(
            "UPDATE session SET last_seen = ? WHERE session_id = ?", [(s.last_seen, s.session_id) for s in self.live()]
        )


def _rank(session: Session) -> tuple[bool, int]:
    return session.state == "live", session.last_seen
