"""
From what a request says (`tree`, `path`) to a tree and a path in it; and single entries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fustor_core.errors import InvalidRequest, NotFoundError
from fustor_fusion.views.fs.apply import root_name
from fustor_fusion.views.fs.discarded import NOBODY
from fustor_fusion.views.fs.schema import GHOST, TYPE_OF_KIND

ENTRY: Final = "e.name, e.kind, e.size, e.mtime, e.ctime, e.mode, e.uid, e.gid, e.inode, e.target"
# Shown though the source did not send it: something lives below.
INHABITED: Final = "t_dirs + t_files + t_others + t_symlinks > 0"


@dataclass(frozen=True, slots=True)
class Tree:
    """
    One tree: the files of one root that one sync sends.
    """

    id: int
    task: str
    root: str
    complete: bool
    last_index: int
    changed_at: int | None

    @property
    def root_path(self) -> str:
        """
        The absolute path of the root, without a `/` at its end.
        """
        return unquote(urlsplit(self.root).path).rstrip("/") if "://" in self.root else self.root.rstrip("/")


@contextmanager
def one_state(conn: sqlite3.Connection) -> Iterator[None]:
    """
    Let all reads inside see the same state of the store.
    """
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


def trees(conn: sqlite3.Connection) -> list[Tree]:
    """
    Return all trees, the oldest first.
    """
    found = conn.execute(
        "SELECT id, task, root, complete, last_index, changed_at FROM fs_trees WHERE task <> ? ORDER BY id", (NOBODY,)
    )
    return [Tree(r[0], r[1], r[2], bool(r[3]), r[4], r[5]) for r in found]


def find_place(conn: sqlite3.Connection, tree: str | None, path: str) -> tuple[list[Tree], str]:
    """
    Return the trees that a request may mean, and the path in each of them.

    Raises:
        NotFoundError: There is no such tree, or none that holds an absolute path.
    """
    known = trees(conn)
    chosen = known if tree is None else [t for t in known if t.task == tree]
    if not chosen:
        raise NotFoundError(
            f"there is no tree {tree!r}" if tree is not None else "there is no tree yet",
            hint="`GET /views/fs/trees` lists them; a tree appears with the first files of its sync",
            context={"trees": [t.task for t in known]},
        )
    if path.startswith("/"):
        held: list[tuple[int, Tree, str]] = []
        for t in chosen:
            top = t.root_path
            if path == top or path.startswith(top + "/"):
                held.append((len(top), t, path[len(top) + 1 :]))
        if not held:
            raise NotFoundError(
                f"no tree holds {path!r}",
                hint="give a path below the root of a tree, or one that is relative to the root",
                context={"roots": [t.root for t in chosen]},
            )
        longest = max(h[0] for h in held)
        best = [h for h in held if h[0] == longest]
        return [h[1] for h in best], best[0][2].rstrip("/")
    path = path.rstrip("/")
    return chosen, "" if path == "." else path.removeprefix("./")


def find_one(conn: sqlite3.Connection, tree: str | None, path: str) -> tuple[Tree, str]:
    """
    Return the one tree that a request means, and the path in it.

    Raises:
        NotFoundError: There is no such tree.
        InvalidRequest: It could be any of several.
    """
    chosen, path = find_place(conn, tree, path)
    if len(chosen) > 1:
        raise InvalidRequest(
            "there are several trees: " + ", ".join(f"{t.task!r} ({t.root})" for t in chosen),
            hint="pick one with `tree=`, or give an absolute path",
            context={"trees": [{"tree": t.task, "root": t.root} for t in chosen]},
        )
    return chosen[0], path


def to_entry(tree: Tree, parent: str | None, row: Any) -> dict[str, Any]:
    """
    Make the answer's object of the columns `ENTRY`. `parent` is the path of its directory; None for the root.
    """
    name, kind, size, mtime, ctime, mode, uid, gid, inode, target = row
    if inode is not None and inode < 0:
        inode += 2**64
    if parent is None:
        path, name = "", root_name(tree.root)
    else:
        path = f"{parent}/{name}" if parent else name
    return {
        "path": path,
        "name": name,
        "parent": parent,
        "type": TYPE_OF_KIND[kind],
        "size": size,
        "mtime": mtime,
        "ctime": ctime,
        "mode": mode,
        "uid": uid,
        "gid": gid,
        "inode": inode,
        "target": target,
        "tree": tree.task,
    }


def find_entry(conn: sqlite3.Connection, tree: Tree, path: str) -> dict[str, Any]:
    """
    Return the entry at a path.

    Raises:
        NotFoundError: There is none.
    """
    if path:
        parent, _, name = path.rpartition("/")
        row = conn.execute(
            f"SELECT {ENTRY} FROM fs_dirs d JOIN fs_entries e ON e.dir = d.id WHERE d.tree = ? AND d.path = ? AND e.name = ?",
            (tree.id, parent, name),
        ).fetchone()
        if row is not None and (row[1] >= 0 or (row[1] == GHOST and is_inhabited(conn, tree, path))):
            return to_entry(tree, parent, row)
        raise NotFoundError(
            f"there is no {path!r} in {tree.root}",
            hint="look at its directory with `GET /views/fs/tree`",
            context={"path": path},
        )
    row = conn.execute(f"SELECT {ENTRY} FROM fs_entries e WHERE e.dir = ? AND e.name = ''", (-tree.id,)).fetchone()
    return to_entry(tree, None, row or ("", GHOST, 0, 0, None, None, None, None, None, None))


def is_inhabited(conn: sqlite3.Connection, tree: Tree, path: str) -> bool:
    """
    Tell whether anything lives below a directory.
    """
    query = f"SELECT 1 FROM fs_dirs WHERE tree = ? AND path = ? AND {INHABITED}"
    return conn.execute(query, (tree.id, path)).fetchone() is not None
