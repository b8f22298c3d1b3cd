"""
Every state the configuration was in, so that each can be shown and gone back to.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fustor_agent.database import AgentDatabase
from fustor_core.errors import NotFoundError

KEEP = 1000


@dataclass(frozen=True, slots=True)
class Revision:
    """
    One text of the configuration file.

    Attributes:
        id: Grows with time.
        ts: When it was recorded, epoch seconds.
        reason: What brought it about.
        text: The whole file. May hold secrets in clear: mask before showing.
    """

    id: int
    ts: float
    reason: str
    text: str

    def head(self) -> dict[str, Any]:
        """
        Return what can be shown of it in a list.
        """
        return {"id": self.id, "ts": self.ts, "reason": self.reason}


class Revisions:
    """
    The last revisions (`KEEP` of them), in the agent's database.
    """

    def __init__(self, db: AgentDatabase) -> None:
        self._db = db

    def record(self, text: str, reason: str) -> int:
        """
        Record a text, unless it is the newest already; return the id of its revision.
        """
        newest = self.newest()
        if newest is not None and newest.text == text:
            return newest.id
        with self._db.transaction() as db:
            made = db.execute(
                "INSERT INTO revisions (ts, reason, text) VALUES (?, ?, ?)", (time.time(), reason, text)
            ).lastrowid
            assert made is not None
            db.execute("DELETE FROM revisions WHERE id <= ?", (made - KEEP,))
        return made

    def newest(self) -> Revision | None:
        """
        Return the newest; None when nothing was recorded yet.
        """
        return next(iter(self._read("ORDER BY id DESC LIMIT 1")), None)

    def newest_id(self) -> int | None:
        """
        Return the number of the newest; None when nothing was recorded yet.
        """
        found = self._db.rows("SELECT max(id) FROM revisions")[0][0]
        return found if isinstance(found, int) else None

    def latest(self, limit: int = 100) -> list[Revision]:
        """
        Return the newest, newest first.
        """
        return self._read("ORDER BY id DESC LIMIT ?", limit)

    def get(self, revision_id: int) -> Revision:
        """
        Return one.

        Raises:
            NotFoundError: There is no such revision (any more).
        """
        for revision in self._read("WHERE id = ?", revision_id):
            return revision
        raise NotFoundError(
            f"no revision {revision_id} of the configuration",
            hint="`GET /api/configs/revisions` lists them",
            context={"id": revision_id},
        )

    def before(self, revision_id: int) -> Revision | None:
        """
        Return the one that a revision came after; None when that is not there (any more).
        """
        return next(iter(self._read("WHERE id < ? ORDER BY id DESC LIMIT 1", revision_id)), None)

    def _read(self, rest: str, *values: object) -> list[Revision]:
        rows: list[Any] = self._db.rows(f"SELECT id, ts, reason, text FROM revisions {rest}", *values)
        return [Revision(*row) for row in rows]
