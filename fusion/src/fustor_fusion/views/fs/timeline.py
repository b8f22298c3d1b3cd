"""
When what lies below a directory was last modified: a histogram of the times of its entries, directories themselves left out.

There is no index by time: entries are read, up to a number of them in a request, and a cursor goes on from there; whoever asks sums the
answers up. The reading is done in steps of a few thousand rows, each one statement, so that no lock and no interpreter is held for long.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_fusion.cursors import decode_cursor, encode_cursor
from fustor_fusion.views.fs.places import Tree, find_entry
from fustor_fusion.views.fs.schema import DIR

MOST_BUCKETS: Final = 500
STEP_ROWS: Final = 20_000
_DIRS_AT_ONCE: Final = 2_000

# The bucket of an entry; -1 = before the first, `count` = after the last.
_BUCKET: Final = "CASE WHEN mtime < :since THEN -1 WHEN mtime >= :until THEN :count ELSE (mtime - :since) / :width END"
_COUNTED: Final = f"SELECT {_BUCKET} AS bucket, count(*), CAST(total(size) AS INTEGER) FROM {{rows}} GROUP BY bucket"
_OF_DIRS: Final = _COUNTED.format(
    rows=f"""(SELECT e.mtime AS mtime, e.size AS size, e.name AS name FROM fs_dirs d CROSS JOIN fs_entries e ON e.dir = d.id
    WHERE d.tree = :tree AND d.path >= :first AND d.path <= :last AND {{below}} AND e.kind > {DIR})"""
)
_OF_ONE: Final = _COUNTED.format(
    rows=f"""(SELECT mtime, size, name FROM (SELECT mtime, size, name, kind FROM fs_entries WHERE dir = :dir AND name > :after
    ORDER BY name LIMIT :step) WHERE kind > {DIR})"""
)
_LAST_OF_STEP: Final = (
    "SELECT max(name), count(*) FROM (SELECT name FROM fs_entries WHERE dir = ? AND name > ? ORDER BY name LIMIT ?)"
)


@dataclass(frozen=True, slots=True)
class Span:
    """
    The time that is looked at, in equal parts.

    Attributes:
        since: Nanoseconds since the epoch.
        until: The end, which is not part of it.
        buckets: How many parts.
    """

    since: int
    until: int
    buckets: int

    @property
    def width(self) -> int:
        """
        Of a part, nanoseconds.
        """
        return -(-(self.until - self.since) // self.buckets)


class _Counts:
    def __init__(self, span: Span) -> None:
        self.span = span
        self.counts = [0] * span.buckets
        self.bytes = [0] * span.buckets
        self.before = self.after = self.counted = 0

    def add(self, found: list[Any]) -> None:
        for bucket, count, size in found:
            self.counted += count
            if bucket < 0:
                self.before += count
            elif bucket >= self.span.buckets:
                self.after += count
            else:
                self.counts[bucket] += count
                self.bytes[bucket] += size


def timeline(
    conn: sqlite3.Connection, tree: Tree, path: str, span: Span, *, limit: int, cursor: str | None
) -> dict[str, Any]:
    """
    Return the histogram of a part of what lies below a directory, or of all.

    Args:
        limit: Reading ends, and a cursor is given, after about so many entries.

    Raises:
        NotFoundError: There is nothing at the path.
        InvalidRequest: It is not a directory, or the span can't be cut into parts.
    """
    if not 0 < span.until - span.since < 2**63 or span.width < 1:
        raise InvalidRequest(
            f"`until` {span.until} must be after `since` {span.since}", hint="both are nanoseconds since 1970"
        )
    if span.since < -(2**63):
        raise InvalidRequest(
            f"`since` would be {span.since}, which is before the first time there is",
            hint="ask for a later `until`, or give `since` too: nanoseconds since 1970, of 64 bits",
        )
    if path and find_entry(conn, tree, path)["type"] != "dir":
        raise InvalidRequest(f"{path!r} is not a directory", hint="ask for the directory it is in")
    counts = _Counts(span)
    following = _read(conn, tree, path, counts, limit, cursor)
    return {
        "path": path,
        "tree": tree.task,
        "since": span.since,
        "until": span.until,
        "width": span.width,
        "counts": counts.counts,
        "bytes": counts.bytes,
        "before": counts.before,
        "after": counts.after,
        "counted": counts.counted,
        "entries": _entries(conn, tree, path),
        "next": following,
    }


def _entries(conn: sqlite3.Connection, tree: Tree, path: str) -> int:
    found = conn.execute(
        "SELECT t_files + t_symlinks + t_others FROM fs_dirs WHERE tree = ? AND path = ?", (tree.id, path)
    ).fetchone()
    return 0 if found is None else int(found[0])


def _read(
    conn: sqlite3.Connection, tree: Tree, path: str, counts: _Counts, limit: int, cursor: str | None
) -> str | None:
    """
    Read on from a cursor: the directory that was under way, and the name in it; return where it ended.
    """
    # `"/"` and `"0"` are neighbours: what begins with `path/` lies between the two.
    below = "(d.path = :top OR (d.path > :top || '/' AND d.path < :top || '0'))" if path else "1"
    at, name, is_done = decode_cursor(cursor, str, str, bool) if cursor is not None else ("", "", False)
    bounds = {
        "since": counts.span.since,
        "until": counts.span.until,
        "width": counts.span.width,
        "count": counts.span.buckets,
        "tree": tree.id,
        "top": path,
    }
    read = 0
    beyond = ">" if is_done else ">="
    while True:
        dirs = conn.execute(
            f"SELECT d.id, d.path, d.rows FROM fs_dirs d WHERE d.tree = :tree AND d.path {beyond} :at AND {below} ORDER BY d.path LIMIT :most",
            {**bounds, "at": at, "most": _DIRS_AT_ONCE},
        ).fetchall()
        beyond = ">"
        group: list[Any] = []
        held = 0
        for directory in dirs:
            id_, place, rows = directory
            if place != at:
                name = ""  # the directory that was under way is gone
            if rows > STEP_ROWS or name:
                read += _flush(conn, counts, bounds, below, group, held)
                group, held = [], 0
                came, name = _one(conn, counts, bounds, id_, name, limit - read)
                read += came
                if name:
                    return encode_cursor(place, name, False)
            else:
                group.append(directory)
                held += rows
                if held >= STEP_ROWS:
                    read += _flush(conn, counts, bounds, below, group, held)
                    group, held = [], 0
            at = place
            if read >= limit:
                break
        read += _flush(conn, counts, bounds, below, group, held)
        if len(dirs) < _DIRS_AT_ONCE and (not dirs or at == dirs[-1][1]):
            return None
        if read >= limit:
            return encode_cursor(at, "", True)


def _flush(
    conn: sqlite3.Connection, counts: _Counts, bounds: dict[str, Any], below: str, group: list[Any], held: int
) -> int:
    if not group:
        return 0
    counts.add(
        conn.execute(_OF_DIRS.format(below=below), {**bounds, "first": group[0][1], "last": group[-1][1]}).fetchall()
    )
    return held


def _one(
    conn: sqlite3.Connection, counts: _Counts, bounds: dict[str, Any], directory: int, name: str, left: int
) -> tuple[int, str]:
    """
    Count a large directory in steps, from behind a name; return how many rows were read, and the name it came to ("" = all of it).
    """
    read = 0
    while True:
        last, count = conn.execute(_LAST_OF_STEP, (directory, name, STEP_ROWS)).fetchone()
        if not count:
            return read, ""
        counts.add(conn.execute(_OF_ONE, {**bounds, "dir": directory, "after": name, "step": STEP_ROWS}).fetchall())
        read += count
        if count < STEP_ROWS:
            return read, ""
        name = last
        if read >= left:
            return read, name
