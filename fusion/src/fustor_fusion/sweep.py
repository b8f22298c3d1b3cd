"""
What is removed: rows that a complete snapshot did not confirm, and tombstones that nothing can need any more.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Final

from fustor_fusion.snapshots import Snapshot, SyncBook
from fustor_fusion.views.base import Stream, View

GARBAGE_STEP: Final = 1_000


def sweep_snapshot(conn: sqlite3.Connection, views: Sequence[View], snapshot: Snapshot) -> int:
    """
    Remove what a complete snapshot did not confirm and no change since its beginning touched.

    Returns:
        How many rows were removed.
    """
    # Invariant 3: only here, and only for a snapshot that ended in good order.
    stream = Stream(snapshot.task_id, snapshot.epoch, snapshot.run)
    removed = sum(view.sweep(conn, stream, snapshot.start_index, snapshot.tables) for view in views)
    snapshot.swept = removed
    return removed


class GarbageCollector:
    """
    Forgets tombstones, a few at a time, when the applier is idle.

    A checkpoint must be `min_age_s` old before deletions below it are forgotten: a copy of an old push that still
    travels would bring the row back.
    """

    def __init__(self, min_age_s: float) -> None:
        self._min_age_s = min_age_s
        self._seen: dict[str, tuple[float, int, int]] = {}
        self._done: dict[str, tuple[int, int]] = {}

    def step(self, conn: sqlite3.Connection, views: Sequence[View], book: SyncBook) -> bool:
        """
        Forget a few tombstones inside the transaction under way.

        Returns:
            Whether there may be more to do at once.
        """
        now = time.monotonic()
        for sync in book.all():
            task = sync.task_id
            if not sync.quiet or sync.checkpoint < 0:
                self._seen.pop(task, None)
                self._done.pop(task, None)
                continue
            seen = self._seen.setdefault(task, (now, sync.epoch, sync.checkpoint))
            since, epoch, checkpoint = seen
            if now - since < self._min_age_s or self._done.get(task) == (epoch, checkpoint):
                if self._done.get(task) == (epoch, checkpoint) and (epoch, checkpoint) != (sync.epoch, sync.checkpoint):
                    self._seen[task] = (now, sync.epoch, sync.checkpoint)
                continue
            forgotten = sum(view.collect_garbage(conn, task, epoch, checkpoint, GARBAGE_STEP) for view in views)
            if forgotten:
                return True
            self._done[task] = (epoch, checkpoint)
        return False
