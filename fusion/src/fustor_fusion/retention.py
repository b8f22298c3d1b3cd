"""
How long what nobody feeds any more is kept, as the datastore's policy says, and its removal.

Counted is the time in which a sync could have been fed and was not: Fusion ran, and no session of it was alive. So neither a Fusion
that was off or held up nor a clock that jumps brings a removal nearer.

A removal has two parts. In one transaction everything of the sync disappears from the views, its position and snapshots are void and
what is left of its session ends: whoever comes back after it is a new sync, and is asked for everything. What that left behind in the
store is cleared in slices between other work. Both are in the database alone, so a kill at any moment is gone on from.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from fustor_common.logging import get_logger
from fustor_fusion.sessions import Sessions
from fustor_fusion.snapshots import SyncBook, SyncState
from fustor_fusion.views.base import View

log = get_logger(__name__)

DAY_S: Final = 86_400.0
COUNT_EVERY_S: Final = 1.0
SAVE_EVERY_S: Final = 60.0  # what a kill may take from the time that was counted
COUNT_MOST_S: Final = 60.0  # between two looks: when it was longer, Fusion was held up, and nobody could feed it


class Retention:
    """
    The retention of one datastore. Applier thread only, but for `keep_days` and `kept_until`.

    Args:
        datastore_id: For the log.
        syncs: The syncs of the datastore.
        sessions: Their sessions.
        views: What holds their rows.
        slice_rows: Tells how many rows may be cleared at once.
        removed: Told of each sync whose data was removed.
        clock: Monotonic seconds.

    Attributes:
        keep_days: How long what is stored of a sync without a live session is kept; None: for ever.
    """

    def __init__(
        self,
        datastore_id: str,
        syncs: SyncBook,
        sessions: Sessions,
        views: Sequence[View],
        *,
        slice_rows: Callable[[], int],
        removed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keep_days: int | None = None
        self._datastore_id = datastore_id
        self._syncs = syncs
        self._sessions = sessions
        self._views = views
        self._slice_rows = slice_rows
        self._removed = removed
        self._clock = clock
        self._counted_at = self._saved_at = clock()
        self._may_be_left = True  # by a process that was killed

    def step(self, conn: sqlite3.Connection) -> int:
        """
        Do a little of what is to be done, inside the transaction under way.

        Returns:
            How many rows it changed; 0 = nothing is to be done now.
        """
        if self._may_be_left:
            cleared = self._clear(conn)
            if cleared:
                return cleared
            self._may_be_left = False
        now = self._clock()
        if now - self._counted_at < COUNT_EVERY_S:
            return 0
        self._count(conn, now)
        for sync in self._syncs.all():
            if self._is_due(sync):
                self._remove(conn, sync)
                return 1
        return 0

    def rolled_back(self) -> None:
        """
        The last transaction did not become durable. Time in which nothing could be stored does not count.
        """
        self._counted_at = self._clock()
        self._may_be_left = True

    def kept_until(self, sync: SyncState) -> int | None:
        """
        Return when what is stored of a sync goes if nobody feeds it until then, nanoseconds since the epoch; None: it does not go. Any
        thread.
        """
        left = self._left_s(sync)
        if left is None or self._sessions.is_fed(sync.task_id):
            return None
        return time.time_ns() + int(max(0.0, left) * 1e9)

    def _left_s(self, sync: SyncState) -> float | None:
        if self.keep_days is None or sync.removed_at is not None:
            return None
        return self.keep_days * DAY_S - sync.unfed_s

    def _is_due(self, sync: SyncState) -> bool:
        left = self._left_s(sync)
        return left is not None and left <= 0 and not self._sessions.is_fed(sync.task_id)

    def _count(self, conn: sqlite3.Connection, now: float) -> None:
        passed, self._counted_at = min(now - self._counted_at, COUNT_MOST_S), now
        is_saved = now - self._saved_at >= SAVE_EVERY_S
        if is_saved:
            self._saved_at = now
        for sync in self._syncs.all():
            if self._sessions.is_heard(sync.task_id):
                if sync.unfed_s:
                    sync.unfed_s = 0.0
                    self._syncs.save(conn, sync)
            elif sync.removed_at is None and not self._sessions.is_fed(sync.task_id):
                sync.unfed_s += passed
                if is_saved:
                    self._syncs.save(conn, sync)

    def _remove(self, conn: sqlite3.Connection, sync: SyncState) -> None:
        unfed_s = sync.unfed_s
        for view in self._views:
            view.discard(conn, sync.task_id)
        self._sessions.end_left(conn, sync.task_id)
        sync.begin_anew()
        sync.removed_at = time.time_ns()
        self._syncs.save(conn, sync, *sync.snapshots.values())
        self._may_be_left = True
        self._removed()
        log.warning(
            "nobody fed a sync for as long as its data is kept: what was stored of it is removed",
            datastore=self._datastore_id,
            sync=sync.task_id,
            agent=sync.agent_id,
            unfed_days=round(unfed_s / DAY_S, 2),
            retention_days=self.keep_days,
        )

    def _clear(self, conn: sqlite3.Connection) -> int:
        most = self._slice_rows()
        return next((cleared for view in self._views if (cleared := view.clear_discarded(conn, most))), 0)
