"""
Statistics of directories and trees, read off the counters that `totals` keeps.
"""

from __future__ import annotations

import heapq
import sqlite3
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_core.models.file_row import FILE_COLUMNS, FILE_KEY, FILES_TABLE
from fustor_fusion.views.fs.places import INHABITED, Tree, find_entry, one_state, trees

_COUNTERS: Final = "files, dirs, symlinks, others, bytes, t_files, t_dirs, t_symlinks, t_others, t_bytes, id, newest, exact, t_newest, t_exact"


def directory_stats(conn: sqlite3.Connection, tree: Tree, path: str) -> dict[str, Any]:
    """
    Return the totals of everything below a directory, and of its direct children.

    Raises:
        NotFoundError: There is nothing at the path.
        InvalidRequest: It is not a directory.
    """
    with one_state(conn):
        row = conn.execute(f"SELECT {_COUNTERS} FROM fs_dirs WHERE tree = ? AND path = ?", (tree.id, path)).fetchone()
        if row is None or not any(row[5:9]):
            entry = find_entry(conn, tree, path)
            if entry["type"] != "dir":
                raise InvalidRequest(
                    f"{path!r} is a {entry['type']}, and statistics are of directories",
                    hint="`GET /views/fs/entry` tells about a single file",
                    context={"path": path},
                )
        own: tuple[int, ...] = (0,) * 5 if row is None else row[:5]
        total: tuple[int, ...] = (0,) * 5 if row is None else row[5:10]
        newest = None if row is None or not any(row[5:9]) else _newest(conn, row[10], row[13], bool(row[14]))
    return {
        "path": path,
        "tree": tree.task,
        **_named(total),
        "newest_mtime": newest,
        "own": _named(own),
    }


def _named(counters: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(("files", "dirs", "symlinks", "others", "bytes"), counters, strict=True))


def _newest(conn: sqlite3.Connection, directory: int, bound: int, exact: bool) -> int | None:
    """
    Find the newest time below a directory: the best bound first, until one is known to be reached.
    """
    heap: list[tuple[int, int, bool]] = [(-bound, directory, exact)]
    while heap:
        bound, directory, exact = heapq.heappop(heap)
        if exact:
            return -bound
        own = conn.execute("SELECT max(mtime) FROM fs_entries WHERE dir = ? AND kind >= 0", (directory,)).fetchone()[0]
        if own is not None:
            heapq.heappush(heap, (-own, directory, True))
        below = f"SELECT t_newest, id, t_exact FROM fs_dirs WHERE parent = ? AND {INHABITED}"
        for newest, id_, reached in conn.execute(below, (directory,)):
            heapq.heappush(heap, (-newest, id_, bool(reached)))
    return None


def tree_rows(conn: sqlite3.Connection) -> list[dict[str, Any]]:
    """
    Describe the trees, for `GET /views/fs/trees`. The root itself is not counted.
    """
    rows = []
    for tree in trees(conn):
        found = conn.execute(
            "SELECT t_files, t_dirs, t_bytes FROM fs_dirs WHERE tree = ? AND path = ''", (tree.id,)
        ).fetchone()
        files, dirs, size = found or (0, 0, 0)
        rows.append(
            {
                "tree": tree.task,
                "root": tree.root,
                "files": files,
                "dirs": dirs,
                "bytes": size,
                "complete": tree.complete,
            }
        )
    return rows


def table_rows(conn: sqlite3.Connection) -> list[dict[str, Any]]:
    """
    Describe the trees as tables, for `GET /views/tables`.
    """
    rows = []
    for tree in trees(conn):
        found = conn.execute(
            "SELECT t_files + t_dirs + t_others + t_symlinks, t_bytes FROM fs_dirs WHERE tree = ? AND path = ''",
            (tree.id,),
        ).fetchone()
        root = conn.execute(
            "SELECT count(*) FROM fs_entries WHERE dir = ? AND name = '' AND kind >= 0", (-tree.id,)
        ).fetchone()
        rows.append(
            {
                "task_id": tree.task,
                "schema": tree.root,
                "table": FILES_TABLE,
                "rows": (found[0] if found else 0) + root[0],
                "key": list(FILE_KEY),
                "columns": FILE_COLUMNS,
                "last_index": tree.last_index,
                "bytes": found[1] if found else 0,
                "changed_at": tree.changed_at,
            }
        )
    return rows
