"""
Counters of directories: what one event changes in them, summed up and written once per directory and ancestor.

`newest` is the newest modification among the entries, which cannot be counted down: it is an upper bound, and `exact` tells whether
an entry is known to have it. Taking the newest entry away only clears `exact`; whoever reads finds the value again then.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from fustor_fusion.views.fs.schema import NEVER

# Positions in the list of changes of a directory; 0..3 are the kinds.
BYTES: Final = 4
ROWS: Final = 5
UP: Final = 6  # newest time that came
DOWN: Final = 7  # newest time that went

_WRITE = """
    UPDATE fs_dirs SET
        dirs = dirs + ?1, files = files + ?2, others = others + ?3, symlinks = symlinks + ?4, bytes = bytes + ?5, rows = rows + ?6,
        exact = CASE WHEN ?8 >= max(newest, ?7) AND ?8 > ?17 THEN 0 WHEN ?7 >= newest THEN 1 ELSE exact END, newest = max(newest, ?7),
        t_dirs = t_dirs + ?9, t_files = t_files + ?10, t_others = t_others + ?11, t_symlinks = t_symlinks + ?12, t_bytes = t_bytes + ?13,
        t_exact = CASE WHEN ?15 >= max(t_newest, ?14) AND ?15 > ?17 THEN 0 WHEN ?14 >= t_newest THEN 1 ELSE t_exact END,
        t_newest = max(t_newest, ?14)
    WHERE id = ?16
"""


class Directory:
    """
    What the applier remembers of a directory. The objects of the ancestors hang on it.

    Attributes:
        rows: About how many rows it has, tombstones included.
    """

    __slots__ = ("depth", "id", "parent", "rows")

    def __init__(self, id_: int, parent: Directory | None, rows: int) -> None:
        self.id = id_
        self.parent = parent
        self.rows = rows
        self.depth: int = 0 if parent is None else parent.depth + 1


class Totals:
    """
    Collects changes of counters and writes them.
    """

    def __init__(self) -> None:
        self._changes: dict[int, list[int]] = {}
        self._directories: dict[int, Directory] = {}

    def of(self, directory: Directory) -> list[int]:
        """
        Give the list of changes of a directory, to be added to in place.
        """
        changes = self._changes.get(directory.id)
        if changes is None:
            changes = self._changes[directory.id] = [0, 0, 0, 0, 0, 0, NEVER, NEVER]
            self._directories[directory.id] = directory
        return changes

    def write(self, conn: sqlite3.Connection) -> None:
        """
        Write what was collected, to the directories and to all their ancestors, and forget it.
        """
        if not self._changes:
            return
        below: dict[int, list[int]] = {}
        directories = self._directories
        levels: dict[int, list[Directory]] = {}
        for directory in directories.values():
            levels.setdefault(directory.depth, []).append(directory)
        nothing = [0, 0, 0, 0, 0, 0, NEVER, NEVER]
        written: list[tuple[int, ...]] = []
        depth = max(levels)
        while depth >= 0:
            for directory in levels.get(depth, ()):
                own = self._changes.get(directory.id, nothing)
                a, b, c, d, size, rows, up, down = own
                under = below.get(directory.id)
                if under is None:
                    total = (a, b, c, d, size, up, down)
                else:
                    total = (
                        a + under[0],
                        b + under[1],
                        c + under[2],
                        d + under[3],
                        size + under[4],
                        up if up > under[5] else under[5],
                        down if down > under[6] else under[6],
                    )
                written.append((a, b, c, d, size, rows, up, down, *total, directory.id, NEVER))
                parent = directory.parent
                if parent is None or total == (0, 0, 0, 0, 0, NEVER, NEVER):
                    continue
                above = below.get(parent.id)
                if above is None:
                    below[parent.id] = list(total)
                    if parent.id not in directories:
                        directories[parent.id] = parent
                        levels.setdefault(depth - 1, []).append(parent)
                else:
                    for i in range(5):
                        above[i] += total[i]
                    if total[5] > above[5]:
                        above[5] = total[5]
                    if total[6] > above[6]:
                        above[6] = total[6]
            depth -= 1
        conn.executemany(_WRITE, written)
        self.clear()

    def clear(self) -> None:
        """
        Forget what was collected.
        """
        self._changes.clear()
        self._directories.clear()
