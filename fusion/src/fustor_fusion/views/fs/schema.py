"""
What the view keeps in the datastore's database.

| table | one row per | note |
|---|---|---|
| `fs_state` | database | `generation` counts the applied events: memory that differs from it was rolled back |
| `fs_trees` | (sync, root) | `changed_at`: when its entries changed last; NULL in a store from before that was noted |
| `fs_dirs` | directory | long paths are stored once; counters of direct children (`files`...) and of all below (`t_files`...) |
| `fs_entries` | entry | clustered by (dir, name): a listing reads neighbours |
| `fs_names` | up to `NAMES_PER_DOC` names of one directory | the document that search reads |

Invariants:
    - An entry with `doc` > 0 has its name in that document and in no other. Names without a live row may stand there too.
    - Ids of directories and documents are never used twice.
    - A directory with rows below it has a row in `fs_dirs` and in `fs_entries`; the latter is a GHOST as long as the source did
      not send it (or deleted it): not counted, and shown only while something lives below it.
    - The root's own row stands in the made-up directory `-tree`, under the empty name.
"""

from __future__ import annotations

import sqlite3
import uuid
from typing import Final

# The kinds sort like the names of the types do.
DIR: Final = 0
FILE: Final = 1
OTHER: Final = 2
SYMLINK: Final = 3
DELETED: Final = -1
GHOST: Final = -2

KIND_OF_TYPE: Final = {"dir": DIR, "file": FILE, "other": OTHER, "symlink": SYMLINK}
TYPE_OF_KIND: Final = {DIR: "dir", FILE: "file", OTHER: "other", SYMLINK: "symlink", GHOST: "dir"}

NAMES_PER_DOC: Final = 64
NEVER: Final = -(2**63)  # newest time of a directory that had no entry yet

_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS fs_state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        marker TEXT NOT NULL,
        generation INTEGER NOT NULL,
        next_dir INTEGER NOT NULL,
        next_doc INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE IF NOT EXISTS fs_trees (
        id INTEGER PRIMARY KEY,
        task TEXT NOT NULL,
        root TEXT NOT NULL,
        complete INTEGER NOT NULL DEFAULT 0,
        last_index INTEGER NOT NULL DEFAULT -1,
        changed_at INTEGER,
        UNIQUE (task, root)
    ) STRICT
    """,
    f"""
    CREATE TABLE IF NOT EXISTS fs_dirs (
        id INTEGER PRIMARY KEY,
        tree INTEGER NOT NULL,
        parent INTEGER NOT NULL,
        path TEXT NOT NULL,
        folded TEXT,
        rows INTEGER NOT NULL DEFAULT 0,
        dirs INTEGER NOT NULL DEFAULT 0,
        files INTEGER NOT NULL DEFAULT 0,
        others INTEGER NOT NULL DEFAULT 0,
        symlinks INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        newest INTEGER NOT NULL DEFAULT ({NEVER}),
        exact INTEGER NOT NULL DEFAULT 1,
        t_dirs INTEGER NOT NULL DEFAULT 0,
        t_files INTEGER NOT NULL DEFAULT 0,
        t_others INTEGER NOT NULL DEFAULT 0,
        t_symlinks INTEGER NOT NULL DEFAULT 0,
        t_bytes INTEGER NOT NULL DEFAULT 0,
        t_newest INTEGER NOT NULL DEFAULT ({NEVER}),
        t_exact INTEGER NOT NULL DEFAULT 1,
        UNIQUE (tree, path)
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS fs_dirs_parent ON fs_dirs (parent)",
    """
    CREATE TABLE IF NOT EXISTS fs_entries (
        dir INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime INTEGER NOT NULL,
        ctime INTEGER,
        mode INTEGER,
        uid INTEGER,
        gid INTEGER,
        inode INTEGER,
        target TEXT,
        epoch INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        run INTEGER NOT NULL,
        doc INTEGER NOT NULL,
        PRIMARY KEY (dir, name)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS fs_tombstones ON fs_entries (dir) WHERE kind < 0",
    """
    CREATE TABLE IF NOT EXISTS fs_names (
        id INTEGER PRIMARY KEY,
        dir INTEGER NOT NULL,
        names TEXT NOT NULL,
        folded TEXT
    ) STRICT
    """,
)


def create_tables(conn: sqlite3.Connection) -> None:
    """
    Create what is missing.
    """
    for statement in _TABLES:
        conn.execute(statement)
    if "changed_at" not in {row[1] for row in conn.execute("PRAGMA table_info(fs_trees)")}:
        conn.execute("ALTER TABLE fs_trees ADD COLUMN changed_at INTEGER")
    conn.execute("INSERT OR IGNORE INTO fs_state VALUES (1, ?, 0, 1, 1)", (uuid.uuid4().hex,))


def fold(text: str) -> str:
    """
    Make case not matter. Works letter by letter: what is part of a text stays part of it when both are folded.
    """
    return text.casefold()


def folded_or_none(text: str) -> str | None:
    """
    Fold `text`; None when that changes nothing, so that the common case is stored once.
    """
    folded = text.casefold()
    return None if folded == text else folded
