"""
A datastore's database for tests of the view: a real file, a writer, read-only readers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fustor_core.models.envelope import WireEvent
from fustor_core.models.file_row import FILE_FIELDS
from fustor_fusion.views.base import Applied, Stream
from fustor_fusion.views.fs import FsView

ROOT = "file:///data/tree"


class Store:
    def __init__(self, folder: Path) -> None:
        self.datastore_id = "test"
        self.folder = folder
        self.path = folder / "test.db"
        self.conn = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.conn.execute("PRAGMA journal_mode = WAL")
        self.conn.execute("PRAGMA synchronous = FULL")
        self.view = FsView(self)
        with self.transaction():
            self.view.create(self.conn)
        self._readers: list[sqlite3.Connection] = []

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        if self._readers:
            conn = self._readers.pop()
        else:
            conn = sqlite3.connect(
                f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        try:
            yield conn
        finally:
            self._readers.append(conn)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.conn.execute("ROLLBACK")
            raise
        self.conn.execute("COMMIT")

    def apply(
        self,
        rows: Sequence[Any],
        *,
        op: Any = "insert",
        index: int = 1,
        epoch: int = 0,
        run: int | None = None,
        task: str = "sync",
        root: str = ROOT,
        fields: Sequence[str] | None = None,
        listening: bool = False,
    ) -> Applied:
        if fields is None:
            fields = [] if rows and isinstance(rows[0], dict) else FILE_FIELDS
        event = WireEvent(
            event_type=op, event_schema=root, table="files", fields=list(fields), rows=list(rows), index=index
        )
        with self.transaction():
            applied = self.view.apply(self.conn, Stream(task, epoch, run), event, listening=listening)
        self.view.committed()
        return applied

    def delete(self, *paths: str, index: int, **more: Any) -> Applied:
        return self.apply([(path,) for path in paths], op="delete", index=index, fields=["path"], **more)

    def sweep(self, run: int, start: int, epoch: int = 0, task: str = "sync") -> int:
        with self.transaction():
            removed = self.view.sweep(self.conn, Stream(task, epoch, run), start, None)
        self.view.committed()
        return removed

    def collect(self, checkpoint: int, epoch: int = 0, limit: int = 100_000, task: str = "sync") -> int:
        with self.transaction():
            return self.view.collect_garbage(self.conn, task, epoch, checkpoint, limit)

    def wait_indexed(self) -> None:
        self.view.index.start()
        last = self.conn.execute("SELECT coalesce(max(id), 0) FROM fs_names").fetchone()[0]
        assert self.view.index.wait_indexed(last, 30), "the index did not catch up"

    def close(self) -> None:
        self.view.close()
        self.conn.close()
        for conn in self._readers:
            conn.close()


def row(path: str, type_: str = "file", size: int = 0, mtime: int = 1, **more: Any) -> tuple[Any, ...]:
    parent, _, name = path.rpartition("/")
    values = {"ctime": mtime, "mode": 33188, "uid": 1000, "gid": 1000, "inode": 7, "target": None} | more
    return (path, name or "tree", parent if path else None, type_, size, mtime, *values.values())
