"""
How many rows a snapshot will have, about, and how many were read: so that people see how far it is. Nothing else depends on it.
"""

from __future__ import annotations


class Expected:
    """
    What is expected of the snapshot under way: what the driver has said, else what the whole snapshot before it had.

    Attributes:
        snapshot_id: Of which snapshot the driver was asked; None = of none yet.
        rows: Rows expected in all; None = not known.
    """

    def __init__(self) -> None:
        self.snapshot_id: str | None = None
        self.rows: int | None = None
        self._of_table: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._before: int | None = None
        self._is_whole = False

    def begin(self, snapshot_id: str, *, is_whole: bool) -> None:
        """
        A snapshot begins, or is gone on with.

        Args:
            snapshot_id: Its id.
            is_whole: Whether it is of everything.
        """
        if snapshot_id != self.snapshot_id:
            self.rows = self._before if is_whole else None
            self._of_table = {}
        self._read = {}
        self._is_whole = is_whole

    def told(self, snapshot_id: str, rows: dict[str, int] | None) -> None:
        """
        The driver has said about how many rows each table has, by `schema.table`.
        """
        self.snapshot_id = snapshot_id
        if not rows:
            return
        self.rows = sum(rows.values())
        self._of_table = {}
        for name, count in rows.items():
            table = name.partition(".")[2] or name
            self._of_table[table] = self._of_table.get(table, 0) + count

    def read(self, table: str, rows: int) -> None:
        """
        Rows of a table were read.
        """
        self._read[table] = self._read.get(table, 0) + rows

    def end(self, rows: int | None = None) -> None:
        """
        The snapshot has ended; with how many rows, when it was complete.
        """
        if rows is not None and self._is_whole:
            self._before = rows
        self.snapshot_id, self.rows = None, None
        self._of_table, self._read = {}, {}

    def of_table(self, table: str) -> tuple[int | None, int | None]:
        """
        Return how many rows of a table were read, and how many it will have; None = not known.
        """
        return self._read.get(table), self._of_table.get(table)
