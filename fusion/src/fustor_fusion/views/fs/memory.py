"""
What the applier remembers between events: ids of trees and directories, and the next free ids.

All of it can be read again from the database, and is, when the database is not where memory thinks (a push was rolled back).
"""

from __future__ import annotations

import sqlite3
from itertools import islice
from typing import Final

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.fs.schema import GHOST, folded_or_none
from fustor_fusion.views.fs.totals import Directory

MOST_DIRECTORIES: Final = 8192  # remembered at a time; a few MB

_GHOST = f"""
    INSERT INTO fs_entries (dir, name, kind, size, mtime, epoch, idx, run, doc) VALUES (?, ?, {GHOST}, 0, 0, -1, -1, 0, 0)
    ON CONFLICT (dir, name) DO UPDATE SET kind = {GHOST} WHERE kind = -1
"""


class Memory:
    """
    Ids of trees and directories, made when missing. Belongs to the applier thread.
    """

    def __init__(self) -> None:
        self._generation = -1
        self.next_dir = 0
        self.next_doc = 0
        self._trees: dict[tuple[str, str], int] = {}
        self._directories: dict[tuple[int, str], Directory] = {}
        self._ghosts: list[tuple[int, str]] = []

    def forget(self) -> None:
        """
        Trust nothing remembered.
        """
        self._generation = -1
        self._trees.clear()
        self._directories.clear()
        self._ghosts.clear()

    def forget_directories(self) -> None:
        """
        Look directories up again: some were removed.
        """
        self._directories.clear()

    def begin(self, conn: sqlite3.Connection) -> None:
        """
        Start the work on one event: see whether what is remembered is what the database holds.
        """
        generation, next_dir, next_doc = conn.execute("SELECT generation, next_dir, next_doc FROM fs_state").fetchone()
        if generation != self._generation:
            self.forget()
            self._generation, self.next_dir, self.next_doc = generation, next_dir, next_doc
        directories = self._directories
        if len(directories) > MOST_DIRECTORIES:
            for key in list(islice(directories, len(directories) // 2)):
                del directories[key]

    def end(self, conn: sqlite3.Connection) -> None:
        """
        End the work on one event.
        """
        self._generation += 1
        conn.execute(
            "UPDATE fs_state SET generation = ?, next_dir = ?, next_doc = ?",
            (self._generation, self.next_dir, self.next_doc),
        )

    def tree(self, conn: sqlite3.Connection, task: str, root: str) -> int:
        """
        Return the id of a tree.
        """
        tree = self._trees.get((task, root))
        if tree is None:
            found = conn.execute("SELECT id FROM fs_trees WHERE task = ? AND root = ?", (task, root)).fetchone()
            if found is None:
                found = conn.execute(
                    "INSERT INTO fs_trees (task, root) VALUES (?, ?) RETURNING id", (task, root)
                ).fetchone()
            tree = self._trees[task, root] = int(found[0])
        return tree

    def directory(self, conn: sqlite3.Connection, tree: int, path: str) -> tuple[Directory, bool]:
        """
        Return a directory, and whether it was made just now (and so has no entries).

        Raises:
            InvalidRequest: No directory can have that path.
        """
        directory = self._directories.get((tree, path))
        if directory is not None:
            return directory, False
        if path and (path[0] == "/" or path[-1] == "/" or "//" in path or "\0" in path):
            raise InvalidRequest(
                f"{path!r} cannot be the path of a directory",
                hint="paths are relative to the root, with single `/` between names and none at either end",
            )
        # Up to the nearest ancestor that is remembered, then down again. Not by recursion: trees may be thousands deep.
        missing = [path]
        parent: Directory | None = None
        while missing[-1]:
            above = missing[-1].rpartition("/")[0]
            parent = self._directories.get((tree, above))
            if parent is not None:
                break
            missing.append(above)
        fresh = False
        for at in reversed(missing):
            found = conn.execute("SELECT id, rows FROM fs_dirs WHERE tree = ? AND path = ?", (tree, at)).fetchone()
            fresh = found is None
            if found is not None:
                directory = Directory(found[0], parent, found[1])
            else:
                directory = Directory(self.next_dir, parent, 0)
                self.next_dir += 1
                conn.execute(
                    "INSERT INTO fs_dirs (id, tree, parent, path, folded) VALUES (?, ?, ?, ?, ?)",
                    (directory.id, tree, 0 if parent is None else parent.id, at, folded_or_none(at)),
                )
                # Written later: the directory's own row may be among those that wait to be written.
                self._ghosts.append((-tree, "") if parent is None else (parent.id, at.rpartition("/")[2]))
            self._directories[tree, at] = parent = directory
        assert directory is not None
        return directory, fresh

    def owes_ghosts(self, parent: int) -> bool:
        """
        Tell whether entries of that directory still wait to be made by `write_ghosts`.
        """
        return any(ghost[0] == parent for ghost in self._ghosts)

    def write_ghosts(self, conn: sqlite3.Connection) -> None:
        """
        Give each directory that was made an entry in its parent, unless it has one.
        """
        if self._ghosts:
            conn.executemany(_GHOST, self._ghosts)
            self._ghosts.clear()
