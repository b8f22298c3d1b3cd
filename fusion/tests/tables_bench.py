"""
A tables view on a database of its own, which several test files share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fustor_core.models.envelope import WireEvent
from fustor_fusion.views.base import Stream
from fustor_fusion.views.tables import TablesView

NAME = ("t", "db", "things")


class ViewStore:
    """
    What a view needs of a store, with the view on it.

    Args:
        folder: Where its file goes.
        is_durable: Whether readers see a state of their own while it is written; without it, it is quicker.
    """

    datastore_id = "1"

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        self.folder = folder
        self.path = folder / "rows.db"
        self.writer = sqlite3.connect(self.path, isolation_level=None)
        self.writer.execute(f"PRAGMA journal_mode = {'WAL' if is_durable else 'MEMORY'}")
        self.writer.execute(f"PRAGMA synchronous = {'NORMAL' if is_durable else 'OFF'}")
        self.view = TablesView(self)
        self.view.create(self.writer)
        self.index = 0

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        conn = sqlite3.connect(self.path, isolation_level=None)
        try:
            yield conn
        finally:
            conn.close()

    def apply(self, event: WireEvent) -> None:
        """
        Take an event, as a push brings it.
        """
        self.view.apply(self.writer, Stream("t", 1, None), event, listening=False)
