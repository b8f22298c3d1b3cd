"""
The journal of sent changes: which paths were sent live after a position, so that a stream can be opened there again.

It keeps paths and no rows: what is sent again is a path's present state. It is bounded; a position older than what it
still holds (its floor) is lost.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode


class Journal:
    """
    The `journal` table of the index. The index's lock must be held.

    Args:
        db: The index's connection.
        floor: Positions below this one are lost.
        limit: How many paths are kept.
    """

    def __init__(self, db: sqlite3.Connection, floor: int, limit: int) -> None:
        self._db = db
        self._limit = limit
        self.floor = floor
        self._count = int(db.execute("SELECT coalesce(sum(n), 0) FROM journal").fetchone()[0])

    @contextlib.contextmanager
    def appending(self, sent: list[tuple[int, list[str]]]) -> Iterator[None]:
        """
        Record events that are about to be sent; the caller commits its transaction within.
        """
        floor, count = self.floor, self._count
        try:
            if sent:
                self._append(sent)
            yield
        except BaseException:
            self.floor, self._count = floor, count
            raise

    def _append(self, sent: list[tuple[int, list[str]]]) -> None:
        self._db.executemany(
            "INSERT INTO journal VALUES(?,?,?)", [(index, len(paths), _encode(paths)) for index, paths in sent]
        )
        self._count += sum(len(paths) for _, paths in sent)
        if self._count > self._limit:
            self._trim()

    def _trim(self) -> None:
        aim = self._limit - self._limit // 8
        last = self.floor
        for index, n in self._db.execute("SELECT idx, n FROM journal ORDER BY idx"):
            if self._count <= aim:
                break
            self._count -= n
            last = index
        self._db.execute("DELETE FROM journal WHERE idx<=?", (last,))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES('floor',?)", (str(last),))
        self.floor = last

    def between(self, position: int, last: int) -> Iterator[list[str]]:
        """
        Yield the paths of each event after a position and up to another, oldest first.

        The lock need not be held in between: each step is a query of its own.
        """
        while True:
            found = self._db.execute(
                "SELECT idx, paths FROM journal WHERE idx>? AND idx<=? ORDER BY idx LIMIT 1", (position, last)
            ).fetchone()
            if found is None:
                return
            position = found[0]
            yield _decode(found[1])

    def forget(self, floor: int) -> None:
        """
        Begin anew at a position: the table was emptied.
        """
        self.floor = floor
        self._count = 0
