"""
Removing many rows at once: what a snapshot did not confirm, and tombstones that nobody needs any more.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from fustor_core.models.file_row import FILES_TABLE
from fustor_fusion.views.base import Stream, is_among
from fustor_fusion.views.fs.apply import Applier, uncount
from fustor_fusion.views.fs.schema import DELETED, DIR, GHOST, folded_or_none
from fustor_fusion.views.fs.totals import Totals

_AT_ONCE: Final = 20_000
_GONE: Final = f"""
    UPDATE fs_entries SET kind = CASE WHEN ? OR EXISTS (SELECT 1 FROM fs_dirs WHERE tree = ? AND path = ?) THEN {GHOST} ELSE {DELETED} END, size = 0, mtime = 0, ctime = NULL, mode = NULL, uid = NULL, gid = NULL, inode = NULL,
        target = NULL, epoch = ?, idx = ? WHERE dir = ? AND name = ?
"""
_UNCONFIRMED: Final = """
    SELECT d.path, e.dir, e.name, e.kind, e.size, e.mtime FROM fs_dirs d CROSS JOIN fs_entries e ON e.dir = d.id
    WHERE d.tree = ? AND d.path >= ? AND e.kind >= 0 AND e.run <> ? AND (e.epoch, e.idx) < (?, ?) ORDER BY d.path LIMIT ?
"""
_OLD: Final = """
    SELECT d.tree, d.path, e.dir, e.name, e.kind, e.doc FROM fs_entries e CROSS JOIN fs_dirs d ON d.id = e.dir
    WHERE e.kind < 0 AND d.tree IN (SELECT id FROM fs_trees WHERE task = ?) AND (e.epoch, e.idx) <= (?, ?)
    ORDER BY d.path DESC LIMIT ?
"""


def sweep(
    conn: sqlite3.Connection, applier: Applier, stream: Stream, start_index: int, tables: list[str] | None
) -> int:
    """
    Remove what run `stream.run` did not confirm and what is older than (epoch, start_index). Leaves tombstones of that version: an older
    row that comes late is stale.

    The rows of the sync are read once, in C (about 0.1 s per million); only what is removed costs more.
    """
    memory = applier.memory
    memory.begin(conn)
    removed = 0
    now = time.time_ns()
    run = stream.run or 0
    version = (stream.epoch, start_index)
    for tree, root in conn.execute("SELECT id, root FROM fs_trees WHERE task = ?", (stream.task_id,)).fetchall():
        if not is_among(tables, root, FILES_TABLE):
            continue
        before = removed
        removed += conn.execute(
            f"""UPDATE fs_entries SET kind = {GHOST}, epoch = ?, idx = ?
            WHERE dir = ? AND name = '' AND kind >= 0 AND run <> ? AND (epoch, idx) < (?, ?)""",
            (*version, -tree, run, *version),
        ).rowcount
        after = ""
        while True:
            found = conn.execute(_UNCONFIRMED, (tree, after, run, *version, _AT_ONCE)).fetchall()
            totals = Totals()
            for path, _dir, _name, kind, size, mtime in found:
                uncount(totals.of(memory.directory(conn, tree, path)[0]), kind, size, mtime)
            conn.executemany(
                _GONE, [(f[3] == DIR, tree, f"{f[0]}/{f[2]}" if f[0] else f[2], *version, f[1], f[2]) for f in found]
            )
            totals.write(conn)
            removed += len(found)
            if len(found) < _AT_ONCE:
                break
            after = found[-1][0]
        conn.execute(
            "UPDATE fs_trees SET complete = 1, changed_at = CASE WHEN ? THEN ? ELSE changed_at END WHERE id = ?",
            (removed > before, now, tree),
        )
    memory.end(conn)
    return removed


def collect_garbage(
    conn: sqlite3.Connection, applier: Applier, task_id: str, epoch: int, checkpoint: int, limit: int
) -> int:
    """
    Forget up to `limit` tombstones, the deepest first, and directories that have become empty and are not shown.
    """
    found = conn.execute(_OLD, (task_id, epoch, checkpoint, limit)).fetchall()
    if not found:
        return 0
    applier.memory.begin(conn)
    forgotten: list[tuple[int, str]] = []
    names_of_doc: dict[int, set[str]] = {}
    for tree, path, d, name, kind, doc in found:
        if kind == GHOST and not _remove_directory(conn, tree, f"{path}/{name}" if path else name):
            continue
        conn.execute("DELETE FROM fs_entries WHERE dir = ? AND name = ?", (d, name))
        forgotten.append((d, name))
        if doc:
            names_of_doc.setdefault(doc, set()).add(name)
    for doc, names in names_of_doc.items():
        _drop_names(conn, doc, names)
    conn.executemany("UPDATE fs_dirs SET rows = max(0, rows - 1) WHERE id = ?", [(d,) for d, _ in forgotten])
    applier.memory.forget_directories()
    applier.memory.end(conn)
    return len(forgotten)


def _remove_directory(conn: sqlite3.Connection, tree: int, path: str) -> bool:
    found = conn.execute("SELECT id FROM fs_dirs WHERE tree = ? AND path = ?", (tree, path)).fetchone()
    if found is None:
        return True
    (d,) = found
    # Anything at all in it, tombstones too, keeps it: those still need its id.
    if conn.execute("SELECT 1 FROM fs_entries WHERE dir = ? LIMIT 1", (d,)).fetchone():
        return False
    if conn.execute("SELECT 1 FROM fs_dirs WHERE parent = ? LIMIT 1", (d,)).fetchone():
        return False
    conn.execute("DELETE FROM fs_dirs WHERE id = ?", (d,))
    return True


def _drop_names(conn: sqlite3.Connection, doc: int, gone: set[str]) -> None:
    found = conn.execute("SELECT names FROM fs_names WHERE id = ?", (doc,)).fetchone()
    left = [name for name in found[0].split("/") if name not in gone]
    if left:
        text = "/".join(left)
        conn.execute("UPDATE fs_names SET names = ?, folded = ? WHERE id = ?", (text, folded_or_none(text), doc))
    else:
        conn.execute("DELETE FROM fs_names WHERE id = ?", (doc,))
