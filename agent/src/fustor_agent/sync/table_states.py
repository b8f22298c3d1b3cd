"""
How each table of a sync stands, and how far the snapshot under way is: what status shows, and nothing is decided by.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from fustor_agent.sync.expected import Expected
from fustor_agent.sync.snapshot import SnapshotRun


class TableStates:
    """
    The tables that were met so far.

    Attributes:
        states: By table: waiting, copying or live.
        faults: Tables that can't be read, with `reason` and `hint`.
        expected: How many rows the snapshot under way has and will have.
        snapshot_started_at: Of the snapshot under way, epoch seconds.
    """

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.faults: dict[str, dict[str, Any]] = {}
        self.expected = Expected()
        self.snapshot_started_at: float | None = None
        self._noted: SnapshotRun | None = None

    def changed(self, table: str) -> None:
        """
        Live rows of a table have come.
        """
        self.states.setdefault(table, "live")

    def untold(self, table: str) -> None:
        """
        A table is to be read again.
        """
        if table in self.states:
            self.states[table] = "waiting"

    def chunk_read(self, table: str, rows: int) -> None:
        """
        A snapshot has brought rows of a table.
        """
        self.states[table] = "copying"
        self.expected.read(table, rows)
        self.faults.pop(table, None)

    def read_ended(self, faults: Iterable[dict[str, Any]] = ()) -> None:
        """
        A reading of a snapshot has ended; with what is wrong with which table.
        """
        self.faults = {one["table"]: one for one in faults}

    def note(self, run: SnapshotRun | None) -> None:
        """
        Take note of which snapshot is under way now.
        """
        # By id: one may follow at once on another, and one that is gone on with after a failure is still the same.
        before, self._noted = self._noted, run
        is_same = run is not None and before is not None and run.snapshot_id == before.snapshot_id
        if before is not None and not is_same:
            self.snapshot_started_at = None
            is_complete = before.exhausted and not before.chunks
            self.expected.end(before.progress.rows if is_complete else None)
            self.states = dict.fromkeys(self.states, "live")
            self.faults = {}
        if run is not None and not is_same:
            self.snapshot_started_at = time.time()
            self.expected.begin(run.snapshot_id, is_whole=run.progress.tables is None and run.progress.where is None)
            if not run.progress.rows:
                self.states |= {name: "waiting" for name in self.states if _is_read(run, name)}


def _is_read(run: SnapshotRun, table: str) -> bool:
    tables = run.progress.tables
    return tables is None or any(name in (table, name.partition(".")[0] + f".{table}") for name in tables)
