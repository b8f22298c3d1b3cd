"""
Applying: bad rows, odd values, the index file, and plans of the queries that must be quick.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from fs_store import ROOT, Store, row

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.fs import apply as apply_module
from fustor_fusion.views.fs.listing import Listing, list_directory
from fustor_fusion.views.fs.patterns import parse
from fustor_fusion.views.fs.places import find_entry, trees
from fustor_fusion.views.fs.search import Query, search
from fustor_fusion.views.fs.stats import directory_stats


def found(store: Store, q: str, **more: Any) -> list[str]:
    with store.read() as conn:
        answer = search(conn, store.view.index, Query(trees(conn), parse(q), **more))
    return sorted(e["path"] for e in answer["rows"])


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/abs", None, None),
        ("a//b", None, None),
        ("a/", None, None),
        ("nul\0", None, None),
        ("f", 4, "big"),
        ("f", 4, 2**70),
        ("f", 5, 1.5),
        ("f", 3, "door"),
        ("f", 11, [1]),
    ],
)
def test_bad_row_is_refused_whole(store: Store, path: str, field: int | None, value: Any) -> None:
    """A row that can't be stored refuses its event with the reason, changes nothing, and what follows is applied."""
    bad = list(row(path))
    if field is not None:
        bad[field] = value
    with pytest.raises(InvalidRequest) as raised:
        store.apply([row("good/one"), row("good/two"), bad])
    assert raised.value.hint
    assert store.conn.execute("SELECT count(*) FROM fs_entries").fetchone() == (0,)
    store.apply([row("good/one")])
    assert found(store, "one") == ["good/one"]


def test_large_inodes_nulls_and_dict_rows(store: Store) -> None:
    """An inode of 64 bits survives, nulls are taken, dict rows may each have their own columns."""
    store.apply([row("a", inode=2**64 - 1), row("b", inode=None, uid=None, mtime=None)])  # type: ignore[arg-type]
    store.apply([{"path": "a", "size": 5}, {"path": "b", "mtime": 9, "type": "dir"}], op="update", index=2)
    with store.read() as conn:
        tree = trees(conn)[0]
        a, b = find_entry(conn, tree, "a"), find_entry(conn, tree, "b")
    assert (a["inode"], a["size"], a["type"]) == (2**64 - 1, 5, "file")
    assert (b["inode"], b["mtime"], b["type"]) == (None, 9, "dir")


def test_changes_are_told_to_listeners(store: Store) -> None:
    """With someone listening, each applied row is told once, with its key, and stale ones are not."""
    applied = store.apply([row("d", "dir"), row("d/f")], index=5, listening=True)
    assert [(c["op"], c["key"], c["row"]["type"]) for c in applied.changes] == [
        ("insert", ["d"], "dir"),
        ("insert", ["d/f"], "file"),
    ]
    applied = store.delete("d/f", index=6, listening=True)
    assert [(c["op"], c["key"], c["schema"]) for c in applied.changes] == [("delete", ["d/f"], ROOT)]
    applied = store.apply([row("d/f")], index=5, listening=True)
    assert (applied.changes, applied.applied, applied.stale) == ([], 0, 1)


def test_directory_without_own_row_is_reachable_until_empty(store: Store) -> None:
    """A deleted directory is listed while something lives in it, and not any longer."""
    store.apply([row("d", "dir"), row("d/f")])
    store.delete("d", index=2)
    with store.read() as conn:
        assert [e["path"] for e in list_directory(conn, Listing(trees(conn)[0]))["children"]] == ["d"]
    store.delete("d/f", index=3)
    with store.read() as conn:
        assert list_directory(conn, Listing(trees(conn)[0]))["children"] == []
    assert store.collect(3) >= 1
    store.collect(3)
    assert store.conn.execute("SELECT count(*) FROM fs_entries WHERE name <> ''").fetchone() == (0,)


def test_very_deep_trees(store: Store) -> None:
    """A tree deeper than Python's recursion limit is applied, counted and searched."""
    path = "/".join(["d"] * 1500)
    store.apply([row(f"{path}/leaf", size=3)])
    with store.read() as conn:
        assert directory_stats(conn, trees(conn)[0], "")["bytes"] == 3
    assert found(store, "leaf") == [f"{path}/leaf"]


def test_large_directory_by_many_events(store: Store) -> None:
    """A directory that arrives in many events, then changes by single rows, keeps right counters."""
    for i in range(0, 5000, 500):
        store.apply([row(f"big/f{n}", size=1, mtime=n) for n in range(i, i + 500)], index=i)
    store.delete("big/f4999", index=6000)
    with store.read() as conn:
        stats = directory_stats(conn, trees(conn)[0], "big")
    assert (stats["files"], stats["bytes"], stats["newest_mtime"]) == (4999, 4999, 4998)


@pytest.mark.parametrize("harm", ["deleted", "overwritten"])
def test_index_is_rebuilt_by_itself(store: Store, harm: str) -> None:
    """A lost or damaged index file changes no answer, and is made again."""
    store.apply([row(f"d/name{i}") for i in range(100)])
    store.wait_indexed()
    assert found(store, "name42") == ["d/name42"]
    store.view.close()
    for file in store.folder.glob("test.search.db*"):
        if harm == "deleted":
            file.unlink()
        else:
            file.write_bytes(b"not a database at all" * 1000)
    store.view = type(store.view)(store)
    store.wait_indexed()
    assert found(store, "name42") == ["d/name42"]


def test_hits_come_from_the_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once indexed, a substring is looked up, not searched for in all names; and what is not indexed yet is found."""
    store.apply([row(f"d{i}/name{i}") for i in range(600)])
    store.wait_indexed()
    statements: list[str] = []
    with store.read() as conn:
        conn.set_trace_callback(statements.append)
        answer = search(conn, store.view.index, Query(trees(conn), parse("name77")))
        conn.set_trace_callback(None)
    assert [e["name"] for e in answer["rows"]] == ["name77"]
    assert any(re.search(r"n\.id IN \(\d+(, ?\d+){0,20}\)", s) for s in statements), statements
    store.apply([row("late/name77b")], index=2)
    assert found(store, "name77") == ["d77/name77", "late/name77b"]


def test_quick_queries_read_no_whole_table(store: Store) -> None:
    """Listing, entry, statistics and the applier's own statements all go by an index."""
    store.apply([row(f"d{i}/name{j}") for i in range(20) for j in range(20)])
    statements: list[str] = []
    with store.read() as conn:
        tree = trees(conn)[0]
        conn.set_trace_callback(statements.append)
        list_directory(conn, Listing(tree, "d1", limit=5))
        list_directory(conn, Listing(tree, "d1", depth=3, limit=5))
        find_entry(conn, tree, "d1/name1")
        directory_stats(conn, tree, "d1")
        conn.set_trace_callback(None)
        plans = [
            (s, p[3])
            for s in statements
            if s.lstrip().startswith("SELECT")
            for p in conn.execute(f"EXPLAIN QUERY PLAN {s}")
        ]
    for sql in (apply_module._ALL, apply_module._NAMED, apply_module._BY_NAME, apply_module._UPDATE):
        values = (1,) * sql.count("?")
        plans += [(sql, p[3]) for p in store.conn.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    bad = [p for p in plans if re.match(r"SCAN (fs_|e\b|d\b|g\b)", p[1]) or "TEMP B-TREE" in p[1]]
    assert plans and not bad, bad
