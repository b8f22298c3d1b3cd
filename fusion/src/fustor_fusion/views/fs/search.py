"""
Search: candidates from the index and from the tail that is not indexed yet, each tested, then looked up.

A document holds names of one directory, so both a name and its path can be tested on it. Hits come in the order of documents, a page at a
time and without collecting them; only `sort` looks at all hits, and keeps no more than a page of them.
"""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_fusion.cursors import decode_cursor, encode_cursor
from fustor_fusion.views.fs.filters import Filters, Order, Sort
from fustor_fusion.views.fs.index import Hints, SearchIndex
from fustor_fusion.views.fs.patterns import Pattern
from fustor_fusion.views.fs.places import ENTRY, Tree, one_state, to_entry

_DOCS_AT_ONCE: Final = 256
_MOST_DIRS: Final = 2000  # more directories than this match a path: reading all documents is quicker
_MOST_DOCS: Final = 50_000
_REGEX_BUDGET_S: Final = 10.0

_NAMES: Final = "coalesce(n.folded, n.names)"
_PATH: Final = "coalesce(d.folded, d.path)"
_DOCS: Final = "SELECT n.id, n.dir, n.names, d.path, d.tree FROM fs_names n CROSS JOIN fs_dirs d ON d.id = n.dir"


@dataclass(frozen=True, slots=True)
class Query:
    """
    A search.

    Attributes:
        trees: Where to look.
        below: Only below this directory; "" = everywhere.
        sort: None = as they come.
    """

    trees: list[Tree]
    pattern: Pattern
    below: str = ""
    filters: Filters = field(default_factory=Filters)
    sort: Sort | None = None
    order: Order = "asc"
    limit: int = 100
    cursor: str | None = None


def search(conn: sqlite3.Connection, index: SearchIndex, query: Query) -> dict[str, Any]:
    """
    Return a page of entries that match.

    Raises:
        InvalidRequest: The cursor can't be read, or a regular expression takes too long.
    """
    try:
        with index.hints() as hints:
            return _search(conn, hints, query)
    except sqlite3.DatabaseError as e:
        # Without the index everything is read: slower, and right. If the store itself is at fault, it fails again.
        index.report_damage(e)
        return _search(conn, None, query)


def _search(conn: sqlite3.Connection, hints: Hints | None, query: Query) -> dict[str, Any]:
    with one_state(conn):
        return _sorted_page(conn, hints, query) if query.sort else _page(conn, hints, query)


def _page(conn: sqlite3.Connection, hints: Hints | None, query: Query) -> dict[str, Any]:
    after: list[Any] = decode_cursor(query.cursor, int, str) if query.cursor else [0, ""]
    rows: list[dict[str, Any]] = []
    place = after
    for doc, name, entry in _hits(conn, hints, query, after[0], after[1]):
        if len(rows) == query.limit:
            return {"rows": rows, "next": encode_cursor(*place)}
        rows.append(entry)
        place = [doc, name]
    return {"rows": rows, "next": None}


def _sorted_page(conn: sqlite3.Connection, hints: Hints | None, query: Query) -> dict[str, Any]:
    column = query.sort
    assert column is not None
    after: tuple[Any, ...] | None = None
    if query.cursor:
        value = str if column in ("name", "type") else int
        after = tuple(decode_cursor(query.cursor, value, str, str))
    descending = query.order == "desc"

    def key(entry: dict[str, Any]) -> tuple[Any, ...]:
        return entry[column], entry["path"], entry["tree"]

    hits = (entry for _, _, entry in _hits(conn, hints, query, 0, ""))
    if after is not None:
        passed = after
        hits = (e for e in hits if (key(e) < passed if descending else key(e) > passed))
    pick = heapq.nlargest if descending else heapq.nsmallest
    rows = pick(query.limit + 1, hits, key=key)
    if len(rows) <= query.limit:
        return {"rows": rows, "next": None}
    del rows[query.limit :]
    return {"rows": rows, "next": encode_cursor(*key(rows[-1]))}


def _hits(
    conn: sqlite3.Connection, hints: Hints | None, query: Query, doc: int, name: str
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """
    Give hits after the name `name` of document `doc`, in order.
    """
    test, in_path = query.pattern.test, query.pattern.in_path
    trees = {tree.id: tree for tree in query.trees}
    below, inside = query.below, query.below + "/"
    conditions, values = query.filters.sql()
    look_up = (
        f"SELECT {ENTRY} FROM fs_entries e WHERE e.dir = ? AND e.name = ? AND e.doc = ? AND e.kind >= 0{conditions}"
    )
    deadline = time.monotonic() + _REGEX_BUDGET_S if query.pattern.slow else None
    for id_, d, text, path, tree_id in _documents(conn, hints, query.pattern, max(0, doc - 1)):
        tree = trees.get(tree_id)
        if tree is None or (below and path != below and not path.startswith(inside)):
            continue
        if deadline is not None and time.monotonic() > deadline:
            raise InvalidRequest(
                f"the regular expression was still at work after {_REGEX_BUDGET_S:.0f} s",
                hint="narrow it with `path=`, or have it hold a longer literal text",
            )
        names = text.split("/")
        if id_ == doc and name in names:
            del names[: names.index(name) + 1]
        if in_path:
            prefix = path + "/" if path else ""
            names = [n for n in names if test(prefix + n)]
        else:
            names = [n for n in names if test(n)]
        for found in names:
            row = conn.execute(look_up, (d, found, id_, *values)).fetchone()
            if row is not None:
                yield id_, found, to_entry(tree, path, row)


def _documents(conn: sqlite3.Connection, hints: Hints | None, pattern: Pattern, after: int) -> Iterator[Any]:
    """
    Give the documents with an id above `after` that may hold hits, in order of their ids.
    """
    condition, values = _condition(pattern)
    tail = after
    if hints is not None:
        names = _trigrams(*pattern.names)
        if names:
            for ids in _indexed_names(hints, names, after):
                yield from _fetch(conn, ids, condition, values)
            tail = max(after, hints.names_upto)
        elif len(pattern.path) >= 3 and not pattern.names:
            found = _documents_of_path(conn, hints, pattern.path, after)
            if found is not None:
                for i in range(0, len(found), _DOCS_AT_ONCE):
                    yield from _fetch(conn, found[i : i + _DOCS_AT_ONCE], condition, values)
                tail = max(after, hints.names_upto)
    # Not all at once: the page may be full before.
    while True:
        docs = conn.execute(
            f"{_DOCS} WHERE n.id > ?{condition} ORDER BY n.id LIMIT ?", (tail, *values, _DOCS_AT_ONCE)
        ).fetchall()
        yield from docs
        if len(docs) < _DOCS_AT_ONCE:
            return
        tail = docs[-1][0]


def _condition(pattern: Pattern) -> tuple[str, list[Any]]:
    condition = "".join(f" AND instr({_NAMES}, ?)" for _ in pattern.names)
    values: list[Any] = list(pattern.names)
    if pattern.path:
        head, slash, tail = pattern.path.rpartition("/")
        if slash:
            # Held by the directory's path, or over the `/` between it and the name.
            ends = f"substr({_PATH}, -length(?)) = ?" if head else "length(d.path) > 0"
            starts = f"instr({_NAMES}, ?)" if tail else "0"
            condition += f" AND (instr({_PATH} || '/', ?) OR ({ends} AND {starts}))"
            values += [pattern.path, *([head, head] if head else []), *([tail] if tail else [])]
        else:
            condition += f" AND (instr({_PATH}, ?) OR instr({_NAMES}, ?))"
            values += [pattern.path, pattern.path]
    return condition, values


def _trigrams(*texts: str) -> str:
    """
    Return the index query for documents that may hold all `texts`; "" when they are too short for it.
    """
    found = dict.fromkeys(text[i : i + 3] for text in texts for i in range(len(text) - 2))
    return " AND ".join('"' + t.replace('"', '""') + '"' for t in found)


def _indexed_names(hints: Hints, match: str, after: int) -> Iterator[list[int]]:
    query = "SELECT rowid FROM names WHERE names MATCH ? AND rowid > ? ORDER BY rowid LIMIT ?"
    while True:
        ids = [row[0] for row in hints.conn.execute(query, (match, after, _DOCS_AT_ONCE))]
        if ids:
            yield ids
        if len(ids) < _DOCS_AT_ONCE:
            return
        after = ids[-1]


def _documents_of_path(conn: sqlite3.Connection, hints: Hints, text: str, after: int) -> list[int] | None:
    """
    Return ids of indexed documents of paths that may hold `text`; None when reading all is better.
    """
    tail = text.rpartition("/")[2]
    found: set[int] = set()
    if tail:
        names = _trigrams(tail)
        if not names:
            return None
        found.update(
            row[0]
            for row in hints.conn.execute(
                "SELECT rowid FROM names WHERE names MATCH ? AND rowid > ? LIMIT ?", (names, after, _MOST_DOCS)
            )
        )
    query = "SELECT rowid FROM dirs WHERE dirs MATCH ? LIMIT ?"
    dirs = [row[0] for row in hints.conn.execute(query, (_trigrams(text), _MOST_DIRS))]
    if len(dirs) == _MOST_DIRS:
        return None
    dirs += [
        row[0]
        for row in conn.execute(
            f"SELECT d.id FROM fs_dirs d WHERE d.id > ? AND instr({_PATH} || '/', ?)", (hints.dirs_upto, text)
        )
    ]
    for d in dirs:
        of_dir = "SELECT DISTINCT doc FROM fs_entries WHERE dir = ? AND doc > ? AND doc <= ?"
        found.update(row[0] for row in conn.execute(of_dir, (d, after, hints.names_upto)))
        if len(found) >= _MOST_DOCS:
            return None
    return sorted(found)


def _fetch(conn: sqlite3.Connection, ids: list[int], condition: str, values: list[Any]) -> Iterator[Any]:
    marks = ",".join("?" * len(ids))
    return iter(conn.execute(f"{_DOCS} WHERE n.id IN ({marks}){condition} ORDER BY n.id", (*ids, *values)).fetchall())
