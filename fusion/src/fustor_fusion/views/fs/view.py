"""
The view itself: what ingest and the routes see of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, ClassVar, Self

from fastapi import APIRouter

from fustor_core.models.envelope import WireEvent
from fustor_core.models.file_row import FILES_TABLE
from fustor_fusion.views.base import Applied, Database, RowPage, RowQuery, Stream, StreamInfo, View
from fustor_fusion.views.fs import discarded, routes, rows, stats, sweep
from fustor_fusion.views.fs.apply import Applier
from fustor_fusion.views.fs.index import SearchIndex
from fustor_fusion.views.fs.places import Tree, trees
from fustor_fusion.views.fs.schema import create_tables


class FsView(View):
    """
    File trees: every table named `files`. Routes below `/views/fs`.

    Concurrency: `apply`, `sweep`, `collect_garbage`, `discard`, `clear_discarded`, `rolled_back` and `committed` only on the applier thread; the index
    has a thread of its own, from the first commit to `close`.
    """

    name: ClassVar[str] = "fs"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.index = SearchIndex(database)
        self._applier = Applier()
        self._started = False

    def create(self, conn: sqlite3.Connection) -> None:
        create_tables(conn)

    def claims(self, event: WireEvent) -> bool:
        return event.table == FILES_TABLE

    def apply(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, *, listening: bool) -> Applied:
        return self._applier.apply(conn, stream, event, listening)

    def sweep(self, conn: sqlite3.Connection, stream: Stream, start_index: int, tables: list[str] | None) -> int:
        return sweep.sweep(conn, self._applier, stream, start_index, tables)

    def collect_garbage(self, conn: sqlite3.Connection, task_id: str, epoch: int, checkpoint: int, limit: int) -> int:
        return sweep.collect_garbage(conn, self._applier, task_id, epoch, checkpoint, limit)

    def discard(self, conn: sqlite3.Connection, task_id: str) -> None:
        discarded.discard(conn, task_id)
        self._applier.reset()  # the id of a tree of it may be that of another one some day

    def clear_discarded(self, conn: sqlite3.Connection, limit: int) -> int:
        return discarded.clear(conn, limit)

    def list_tables(self, conn: sqlite3.Connection) -> list[dict[str, Any]]:
        return stats.table_rows(conn)

    def list_streams(self, conn: sqlite3.Connection) -> list[StreamInfo]:
        return [StreamInfo(tree.task, tree.root, FILES_TABLE, tree.last_index, "tree") for tree in trees(conn)]

    def query_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowPage | None:
        with self.database.read() as conn:
            tree = _find(conn, task_id, schema, table)
            return None if tree is None else rows.query_rows(conn, tree, query)

    def get_row(self, task_id: str, schema: str, table: str, key: list[Any]) -> dict[str, Any] | None:
        with self.database.read() as conn:
            tree = _find(conn, task_id, schema, table)
            if tree is None or len(key) != 1 or not isinstance(key[0], str):
                return None
            return rows.get_row(conn, tree, key[0])

    def rolled_back(self) -> None:
        """
        Forget what is remembered of changes that did not become durable.
        """
        self._applier.reset()

    def committed(self) -> None:
        if self._started:
            self.index.wake()
        else:
            self._started = True
            self.index.start()

    def close(self) -> None:
        self.index.close()

    @classmethod
    def router(cls, resolve: Callable[..., Self]) -> APIRouter | None:
        return routes.build_router(resolve)


def _find(conn: sqlite3.Connection, task_id: str, schema: str, table: str) -> Tree | None:
    if table != FILES_TABLE:
        return None
    return next((tree for tree in trees(conn) if (tree.task, tree.root) == (task_id, schema)), None)
