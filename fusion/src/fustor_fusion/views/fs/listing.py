"""
Listing a directory: its children a page at a time, nested to a depth.

The cursor says where the last page ended, not how many rows it had, so that pages fit together while the tree changes.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_fusion.cursors import decode_cursor, encode_cursor
from fustor_fusion.views.fs.filters import SORTED_BY, Filters, Order, Sort
from fustor_fusion.views.fs.places import (
    ENTRY,
    INHABITED,
    Tree,
    find_entry,
    one_state,
    to_entry,
)
from fustor_fusion.views.fs.schema import GHOST, TYPE_OF_KIND

_SHOWN: Final = f"""
    (e.kind >= 0 OR (e.kind = {GHOST} AND EXISTS (SELECT 1 FROM fs_dirs g WHERE g.tree = ? AND g.path = ? || e.name AND {INHABITED})))
"""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What to list.

    Attributes:
        path: The directory, relative to the root.
        depth: Levels below it, at least 1.
        limit: Most entries in the answer, the directory itself not counted.
    """

    tree: Tree
    path: str = ""
    depth: int = 1
    limit: int = 1000
    cursor: str | None = None
    sort: Sort = "name"
    order: Order = "asc"
    filters: Filters = field(default_factory=Filters)


def list_directory(conn: sqlite3.Connection, listing: Listing) -> dict[str, Any]:
    """
    Return the entry of a directory with `children`, and `next`.

    With a depth above 1, entries come in depth-first order by name; directories that the filters leave out are still shown when something
    in them is; a page that begins inside of directories shows these again.

    Raises:
        NotFoundError: There is nothing at the path.
        InvalidRequest: The cursor can't be read, or the sort does not fit the depth.
    """
    with one_state(conn):
        top = find_entry(conn, listing.tree, listing.path)
        if listing.depth == 1:
            children, following = _one_level(conn, listing)
        elif listing.sort != "name" or listing.order != "asc":
            raise InvalidRequest(
                f"with `depth` {listing.depth}, entries come depth-first by name and can't be sorted by {listing.sort!r} {listing.order}",
                hint="leave `sort` and `order` out, or ask for `depth=1`",
            )
        else:
            children, following = _Walk(conn, listing).run()
    top["children"] = children
    top["next"] = following
    return top


def count_rows(conn: sqlite3.Connection, tree: Tree, path: str) -> int:
    """
    Return about how many rows a directory has: what a listing may cost.
    """
    found = conn.execute("SELECT rows FROM fs_dirs WHERE tree = ? AND path = ?", (tree.id, path)).fetchone()
    return 0 if found is None else int(found[0])


def _one_level(conn: sqlite3.Connection, listing: Listing) -> tuple[list[dict[str, Any]], str | None]:
    tree, path = listing.tree, listing.path
    column = SORTED_BY[listing.sort]
    conditions, values = listing.filters.sql()
    beyond, way = (">", "ASC") if listing.order == "asc" else ("<", "DESC")
    if listing.cursor:
        if listing.sort == "name":
            conditions += f" AND e.name {beyond} ?"
            values += decode_cursor(listing.cursor, str)
        else:
            conditions += f" AND ({column}, e.name) {beyond} (?, ?)"
            values += decode_cursor(listing.cursor, int, str)
    by = f"e.name {way}" if listing.sort == "name" else f"{column} {way}, e.name {way}"
    rows = conn.execute(
        f"""SELECT {ENTRY} FROM fs_dirs d CROSS JOIN fs_entries e ON e.dir = d.id
        WHERE d.tree = ? AND d.path = ? AND {_SHOWN}{conditions} ORDER BY {by} LIMIT ?""",
        (tree.id, path, tree.id, path + "/" if path else "", *values, listing.limit + 1),
    ).fetchall()
    following = None
    if len(rows) > listing.limit:
        rows.pop()
        last = rows[-1]
        if listing.sort == "name":
            following = encode_cursor(last[0])
        else:
            place = {"size": last[2], "mtime": last[3], "type": max(0, last[1])}[listing.sort]
            following = encode_cursor(place, last[0])
    return [to_entry(tree, path, row) for row in rows], following


@dataclass(slots=True)
class _Level:
    """
    A directory that the walk is in.

    Attributes:
        children: Where its entries go.
        shown: Its own entry, when it is not part of the answer yet.
        above: The children its own entry goes to.
        after: Name to go on after.
        rows: Entries read ahead.
        resume: Names to go down by, on the way to where the page before ended.
    """

    path: str
    children: list[dict[str, Any]]
    shown: dict[str, Any] | None = None
    above: list[dict[str, Any]] | None = None
    after: str | None = None
    rows: list[Any] = field(default_factory=list)
    ended: bool = False
    resume: list[str] = field(default_factory=list)


class _Walk:
    def __init__(self, conn: sqlite3.Connection, listing: Listing) -> None:
        self.conn = conn
        self.listing = listing
        tree = listing.tree
        # A directory of a type that is not wanted may hold something that is.
        self._query = f"""SELECT {ENTRY} FROM fs_dirs d CROSS JOIN fs_entries e ON e.dir = d.id
            WHERE d.tree = {tree.id} AND d.path = ?1 AND e.name > ?2 AND (e.kind >= 0 OR (e.kind = {GHOST} AND EXISTS
            (SELECT 1 FROM fs_dirs g WHERE g.tree = {tree.id} AND g.path = ?3 || e.name AND {INHABITED}))) ORDER BY e.name LIMIT ?4"""

    def run(self) -> tuple[list[dict[str, Any]], str | None]:
        """
        Walk until the page is full.
        """
        listing = self.listing
        children: list[dict[str, Any]] = []
        resume = decode_cursor(listing.cursor, str)[0].split("/") if listing.cursor else []
        stack = [_Level(listing.path, children, resume=resume)]
        taken = 0
        last = ""
        while stack:
            level = stack[-1]
            row = self._next(level)
            if row is None:
                stack.pop()
                continue
            again = len(level.resume) > 0  # shown on a page before
            path = f"{level.path}/{row[0]}" if level.path else row[0]
            entry = to_entry(listing.tree, level.path, row)
            wanted = not again and listing.filters.take(entry)
            if wanted:
                if taken == listing.limit:
                    return children, encode_cursor(last)
                for ancestor in stack:
                    if ancestor.shown is not None and ancestor.above is not None:
                        ancestor.above.append(ancestor.shown)
                        ancestor.shown = None
                level.children.append(entry)
                taken += 1
                last = path[len(listing.path) + 1 :] if listing.path else path
            if TYPE_OF_KIND[row[1]] == "dir" and len(stack) < listing.depth:
                entry["children"] = []
                down = _Level(path, entry["children"], resume=level.resume[1:] if again else [])
                if not wanted:
                    down.shown, down.above = entry, level.children
                stack.append(down)
            level.resume = []
        return children, None

    def _next(self, level: _Level) -> Any:
        if level.resume and level.after is None:
            # The entry the page before ended at, or in; when it is gone by now, what comes after it.
            name = level.resume[0]
            found = self._read(level, name, 1, exactly=True)
            level.after = name
            if found:
                return found[0]
            level.resume = []
        if not level.rows and not level.ended:
            level.rows = self._read(level, level.after or "", min(_AT_ONCE, self.listing.limit + 1))
            level.ended = len(level.rows) < min(_AT_ONCE, self.listing.limit + 1)
            level.rows.reverse()
        if not level.rows:
            return None
        row = level.rows.pop()
        level.after = row[0]
        return row

    def _read(self, level: _Level, name: str, limit: int, exactly: bool = False) -> list[Any]:
        query = self._query.replace("e.name > ?2", "e.name = ?2") if exactly else self._query
        prefix = level.path + "/" if level.path else ""
        return self.conn.execute(query, (level.path, name, prefix, limit)).fetchall()
