"""
The view against a plain model: whatever events come, listings, entries, totals and searches are what a dict of rows gives.
"""

from __future__ import annotations

import fnmatch
import tempfile
from pathlib import Path
from typing import Any

from fs_store import Store, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fustor_fusion.views.fs.listing import Listing, list_directory
from fustor_fusion.views.fs.patterns import parse
from fustor_fusion.views.fs.places import trees
from fustor_fusion.views.fs.search import Query, search
from fustor_fusion.views.fs.stats import directory_stats

NAMES = [
    "a",
    "b",
    "abc",
    "ABCd",
    "straße",
    "STRASSE",
    "x%y_z",
    "new\nline",
    "q'\"`",
    "日本語",
    "é",
    "🎉.h5",
    "abc.txt",
    "\\xff",
]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
types = st.sampled_from(["file", "file", "dir", "dir", "symlink", "other"])
rows = st.builds(
    lambda p, t, s, m: row(p, t, s if t == "file" else 0, m), paths, types, st.integers(0, 3), st.integers(1, 6)
)

live = st.tuples(st.just("insert"), st.integers(0, 8), st.integers(0, 1), st.lists(rows, min_size=1, max_size=8))
update = st.tuples(
    st.just("update"),
    st.integers(0, 8),
    st.integers(0, 1),
    st.lists(st.tuples(paths, st.integers(0, 9)), min_size=1, max_size=4),
)
delete = st.tuples(st.just("delete"), st.integers(0, 8), st.integers(0, 1), st.lists(paths, min_size=1, max_size=5))
snapshot = st.tuples(st.just("snapshot"), st.integers(0, 8), st.integers(0, 1), st.lists(rows, min_size=1, max_size=8))
sweep = st.tuples(st.just("sweep"), st.integers(0, 8), st.integers(0, 1), st.none())
broken = st.tuples(st.just("roll back"), st.integers(0, 8), st.integers(0, 1), st.lists(rows, min_size=1, max_size=8))
steps = st.lists(st.one_of(live, update, delete, snapshot, sweep, broken), min_size=1, max_size=14)


class Model:
    """
    Path to [version, run, row or None].
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}

    def put(self, path: str, version: tuple[int, int], run: int, new: tuple[Any, ...] | None) -> None:
        old = self.rows.get(path)
        if old is not None and old[0] > version:
            if run and new is not None:
                old[1] = run
            return
        self.rows[path] = [version, run or (old[1] if old else 0), new]

    def patch(self, path: str, version: tuple[int, int], size: int) -> None:
        old = self.rows.get(path)
        before = list(old[2]) if old is not None and old[2] is not None else None
        if before is None:
            parent, _, name = path.rpartition("/")
            before = [path, name, parent, "other", 0, 0, None, None, None, None, None, None]
        before[4] = size
        self.put(path, version, 0, tuple(before))

    def sweep(self, version: tuple[int, int], run: int) -> None:
        for held in self.rows.values():
            if held[2] is not None and held[1] != run and held[0] < version:
                held[0], held[2] = version, None

    def live(self) -> dict[str, tuple[Any, ...]]:
        return {path: held[2] for path, held in self.rows.items() if held[2] is not None}


def check(store: Store, model: Model, indexed: bool) -> None:
    live = model.live()
    with store.read() as conn:
        known = trees(conn)
        if not known:
            assert not live
            return
        tree = known[0]
        dirs = {""} | {p.rpartition("/")[0] for p in live} | {p for p, r in live.items() if r[3] == "dir"}
        dirs |= {d[:i] for d in dirs for i in range(len(d)) if d[i] == "/"}
        for d in dirs:
            inside = d + "/" if d else ""
            below = {p: r for p, r in live.items() if p.startswith(inside)}
            if d and not below and live.get(d, (0, 0, 0, ""))[3] != "dir":
                continue
            own = {p: r for p, r in below.items() if "/" not in p[len(inside) :]}
            stats = directory_stats(conn, tree, d)
            for counted, got in ((below, stats), (own, stats["own"])):
                for key, type_ in (("files", "file"), ("dirs", "dir"), ("symlinks", "symlink"), ("others", "other")):
                    assert got[key] == sum(r[3] == type_ for r in counted.values()), (d, key)
                assert got["bytes"] == sum(r[4] for r in counted.values() if r[3] == "file"), d
            assert stats["newest_mtime"] == max((r[5] for r in below.values()), default=None), d
            if d not in live and d and not below:
                continue
            listed = list_directory(conn, Listing(tree, d))["children"]
            ghosts = {
                p[: len(inside)] + p[len(inside) :].split("/")[0] for p in below if "/" in p[len(inside) :]
            } - live.keys()
            assert [e["path"] for e in listed] == sorted(own.keys() | ghosts), d
            for e in listed:
                if e["path"] in own:
                    r = own[e["path"]]
                    assert (e["type"], e["size"], e["mtime"], e["ctime"]) == (r[3], r[4], r[5], r[6])
        for q, mode, where, case in SEARCHES:
            pattern = parse(q, mode, where, case)
            found = search(conn, store.view.index, Query([tree], pattern, limit=10_000))["rows"]
            expected = sorted(p for p in live if brute(p, q, mode, where, case))
            assert sorted(e["path"] for e in found) == expected, (q, mode, where, case, indexed)


SEARCHES: list[tuple[str, Any, Any, bool]] = [
    ("abc", "auto", "auto", False),
    ("ABC", "auto", "auto", True),
    ("strasse", "auto", "auto", False),
    ("y_z", "auto", "auto", False),
    ("日本語", "auto", "auto", False),
    ("a", "auto", "auto", False),
    ("bc/", "auto", "auto", False),
    ("abc/straße", "auto", "auto", False),
    ("c/a", "auto", "auto", False),
    ("abc", "auto", "path", False),
    ("/abc", "auto", "auto", False),
    ("*.H5", "auto", "auto", False),
    ("abc?", "auto", "auto", False),
    ("[!a]*", "auto", "auto", False),
    ("a*", "auto", "auto", True),
    ("abc/**", "auto", "auto", False),
    ("**/abc*", "auto", "auto", False),
    ("*/abc.txt", "auto", "auto", False),
    ("^ABC", "regex", "name", False),
    ("b[c]d?$", "regex", "name", True),
    ("abc.*txt", "regex", "path", False),
]


def brute(path: str, q: str, mode: str, where: str, case: bool) -> bool:
    import re

    in_path = where == "path" or (where == "auto" and "/" in q)
    text = path if in_path else path.rpartition("/")[2]
    if mode == "regex":
        return re.search(q, text, 0 if case else re.IGNORECASE) is not None
    if not case:
        text, q = text.casefold(), q.casefold()
    if not any(c in q for c in "*?["):
        return q in text
    if not in_path:
        return fnmatch.fnmatchcase(text, q)
    return glob_path(text.split("/"), q.split("/"))


def glob_path(parts: list[str], globs: list[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        if len(globs) == 1:
            return len(parts) > 0
        return any(glob_path(parts[i:], globs[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], globs[0]) and glob_path(parts[1:], globs[1:])


class _Undone(Exception):
    pass


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(steps=steps, checkpoint=st.integers(0, 8))
def test_view_equals_model(steps: list[Any], checkpoint: int) -> None:
    """
    After any events, with any versions, in any order, the view answers like the model; also after tombstones were collected.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        try:
            model = Model()
            run = 1
            for op, index, epoch, what in steps:
                version = (epoch, index)
                if op in ("insert", "snapshot"):
                    store.apply(what, index=index, epoch=epoch, run=run if op == "snapshot" else None)
                    for r in what:
                        model.put(r[0], version, run if op == "snapshot" else 0, r)
                elif op == "update":
                    store.apply(what, op="update", index=index, epoch=epoch, fields=["path", "size"])
                    for path, size in what:
                        model.patch(path, version, size)
                elif op == "delete":
                    store.delete(*what, index=index, epoch=epoch)
                    for path in what:
                        model.put(path, version, 0, None)
                elif op == "sweep":
                    store.sweep(run, index, epoch)
                    model.sweep(version, run)
                    run += 1
                else:
                    try:
                        with store.transaction():
                            from fustor_core.models.envelope import WireEvent
                            from fustor_core.models.file_row import FILE_FIELDS
                            from fustor_fusion.views.base import Stream

                            event = WireEvent(
                                event_schema="file:///data/tree",
                                table="files",
                                fields=list(FILE_FIELDS),
                                rows=what,
                                index=index,
                            )
                            store.view.apply(store.conn, Stream("sync", epoch, None), event, listening=False)
                            raise _Undone
                    except _Undone:
                        pass
            check(store, model, False)
            store.wait_indexed()
            check(store, model, True)
            store.collect(checkpoint, epoch=1)
            check(store, model, True)
            everything = store.conn.execute("SELECT doc, name FROM fs_entries WHERE doc > 0").fetchall()
            docs = dict(store.conn.execute("SELECT id, names FROM fs_names").fetchall())
            assert sorted(everything) == sorted((d, n) for d, text in docs.items() for n in text.split("/"))
        finally:
            store.close()
