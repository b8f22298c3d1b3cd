"""
What takes the space in a directory: its largest parts, and what all others come to. Read off the counters of directories, so the cost is that
of the direct children, whatever lies below them.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.fs.places import INHABITED, Tree, find_entry, one_state
from fustor_fusion.views.fs.schema import DIR, GHOST, TYPE_OF_KIND

_DIRS: Final = f"""
    SELECT substr(d.path, ?2) AS name, {DIR} AS kind, d.t_bytes AS bytes, d.t_files AS files
    FROM fs_dirs d JOIN fs_entries e ON e.dir = ?1 AND e.name = substr(d.path, ?2)
    WHERE d.parent = ?1 AND (e.kind = {DIR} OR (e.kind = {GHOST} AND {INHABITED})) ORDER BY d.t_bytes DESC, name LIMIT ?3
"""
_OTHERS: Final = f"""
    SELECT name, kind, size, CASE kind WHEN {DIR} THEN 0 ELSE 1 END FROM fs_entries WHERE dir = ? AND kind > {DIR}
    ORDER BY size DESC, name LIMIT ?
"""


def largest_parts(conn: sqlite3.Connection, tree: Tree, path: str, limit: int) -> dict[str, Any]:
    """
    Return the largest children of a directory, the largest first: a directory counts with everything below it.

    Raises:
        NotFoundError: There is nothing at the path.
        InvalidRequest: It is not a directory.
    """
    with one_state(conn):
        row = conn.execute(
            "SELECT id, t_bytes, t_files + t_symlinks + t_others, dirs + files + symlinks + others FROM fs_dirs WHERE tree = ? AND path = ?",
            (tree.id, path),
        ).fetchone()
        if row is None:
            entry = find_entry(conn, tree, path)
            if entry["type"] != "dir":
                raise InvalidRequest(
                    f"{path!r} is a {entry['type']}, and has no parts",
                    hint="`GET /views/fs/entry` tells about a single file",
                    context={"path": path},
                )
            found: list[Any] = []
            size = files = entries = 0
        else:
            directory, size, files, entries = row
            found = conn.execute(_DIRS, (directory, len(path) + 2 if path else 1, limit)).fetchall()
            found += conn.execute(_OTHERS, (directory, limit)).fetchall()
    found.sort(key=lambda part: (-part[2], part[0]))
    del found[limit:]
    parts = [
        {
            "name": name,
            "path": f"{path}/{name}" if path else name,
            "type": TYPE_OF_KIND[kind],
            "bytes": own,
            "files": below,
        }
        for name, kind, own, below in found
    ]
    return {
        "path": path,
        "tree": tree.task,
        "bytes": size,
        "files": files,
        "rows": parts,
        "rest": {
            "entries": max(0, entries - len(parts)),
            "bytes": max(0, size - sum(part["bytes"] for part in parts)),
        },
    }
