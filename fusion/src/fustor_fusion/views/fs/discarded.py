"""
Trees that are let go of: out of sight in one statement, their entries cleared a few at a time.

A tree keeps its id until its last entry has gone, so that no new tree gets it; its sync becomes `NOBODY`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

NOBODY: Final = ""  # no sync has an empty id


def discard(conn: sqlite3.Connection, task_id: str) -> None:
    """
    Let go of all trees of a sync. The applier must not remember their ids any longer.
    """
    conn.execute("UPDATE fs_trees SET task = ?, root = CAST(id AS TEXT) WHERE task = ?", (NOBODY, task_id))


def clear(conn: sqlite3.Connection, limit: int) -> int:
    """
    Remove up to `limit` entries and directories of trees that were let go of, and a tree itself at last; return how many. 0 = none is
    left.
    """
    found = conn.execute("SELECT id FROM fs_trees WHERE task = ? LIMIT 1", (NOBODY,)).fetchone()
    if found is None:
        return 0
    (tree,) = found
    cleared = 0
    while cleared < limit:
        directory = conn.execute("SELECT id FROM fs_dirs WHERE tree = ? LIMIT 1", (tree,)).fetchone()
        # The root's own entry stands in a made-up directory.
        d = -tree if directory is None else directory[0]
        entries = _clear_entries(conn, d, limit - cleared)
        cleared += entries
        if entries:
            continue
        if directory is None:
            conn.execute("DELETE FROM fs_trees WHERE id = ?", (tree,))
            return cleared + 1
        conn.execute("DELETE FROM fs_dirs WHERE id = ?", directory)
        cleared += 1
    return cleared


def _clear_entries(conn: sqlite3.Connection, directory: int, limit: int) -> int:
    entries = conn.execute("SELECT name, doc FROM fs_entries WHERE dir = ? LIMIT ?", (directory, limit)).fetchall()
    conn.executemany("DELETE FROM fs_entries WHERE dir = ? AND name = ?", [(directory, name) for name, _ in entries])
    # A document has names of this directory alone.
    conn.executemany("DELETE FROM fs_names WHERE id = ?", [(doc,) for doc in {doc for _, doc in entries if doc}])
    return len(entries)
