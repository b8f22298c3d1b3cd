"""
What is left to do at sources that are gone: on disk, so that it is not forgotten when the agent stops.

Entries are kept as they stood in the configuration, references unresolved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fustor_agent.database import AgentDatabase
from fustor_core.errors import NotFoundError

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cleanup:
    """
    A source that is gone, and that something may be left at.

    Attributes:
        id: Its number.
        source_id, entry: The source as it was configured. May hold secrets in clear: mask before showing.
        ts: Since when, epoch seconds.
        asks: It is not done before a person says so.
        tries: How often it was tried.
        reason, hint: Why it is not done, and what to do.
    """

    id: int
    source_id: str
    ts: float
    entry: Entry
    asks: bool
    tries: int
    reason: str
    hint: str


class Cleanups:
    """
    The sources that were applied last, and those of former ones that are not cleaned up yet.
    """

    def __init__(self, db: AgentDatabase) -> None:
        self._db = db

    def applied(self) -> dict[str, Entry]:
        """
        Return the sources of the configuration that was applied last.
        """
        rows = self._db.rows("SELECT source_id, entry FROM applied_sources")
        return {str(id_): json.loads(str(entry)) for id_, entry in rows}

    def apply(self, sources: Mapping[str, Entry], left: Mapping[str, tuple[Entry, bool, str, str]]) -> None:
        """
        Remember the sources that are applied now, and those to clean up after: entry, whether a person has to be asked, reason, hint.
        """
        with self._db.transaction() as db:
            db.execute("DELETE FROM applied_sources")
            db.executemany(
                "INSERT INTO applied_sources VALUES (?, ?)",
                [(id_, json.dumps(entry, default=str)) for id_, entry in sources.items()],
            )
            db.executemany(
                "INSERT INTO cleanups (source_id, ts, entry, asks, tries, reason, hint) VALUES (?, ?, ?, ?, 0, ?, ?)",
                [
                    (id_, time.time(), json.dumps(entry, default=str), asks, reason, hint)
                    for id_, (entry, asks, reason, hint) in left.items()
                ],
            )

    def pending(self) -> list[Cleanup]:
        """
        Return what is left to do, oldest first.
        """
        return self._read("ORDER BY id")

    def get(self, cleanup_id: int) -> Cleanup:
        """
        Return one.

        Raises:
            NotFoundError: There is no such clean-up (any more).
        """
        for cleanup in self._read("WHERE id = ?", cleanup_id):
            return cleanup
        raise NotFoundError(
            f"there is no clean-up {cleanup_id}",
            hint="`GET /api/configs/cleanups` lists what is left to do",
            context={"id": cleanup_id},
        )

    def failed(self, cleanup_id: int, reason: str, hint: str) -> None:
        """
        Note that a try has failed.
        """
        with self._db.transaction() as db:
            db.execute(
                "UPDATE cleanups SET tries = tries + 1, asks = 0, reason = ?, hint = ? WHERE id = ?",
                (reason, hint, cleanup_id),
            )

    def done(self, cleanup_id: int) -> None:
        """
        Nothing is left, or a person sees to it.
        """
        with self._db.transaction() as db:
            db.execute("DELETE FROM cleanups WHERE id = ?", (cleanup_id,))

    def _read(self, rest: str, *values: object) -> list[Cleanup]:
        rows: list[Any] = self._db.rows(
            f"SELECT id, source_id, ts, entry, asks, tries, reason, hint FROM cleanups {rest}", *values
        )
        return [Cleanup(row[0], row[1], row[2], json.loads(row[3]), bool(row[4]), *row[5:]) for row in rows]
