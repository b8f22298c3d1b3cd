"""
What takes the space in a directory, and when what is in it was modified: against a plain count of the same entries.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from fs_store import Store, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fustor_core.errors import InvalidRequest, NotFoundError
from fustor_fusion.views.fs import timeline as module
from fustor_fusion.views.fs.places import trees
from fustor_fusion.views.fs.sizes import largest_parts
from fustor_fusion.views.fs.timeline import Span, timeline

FILES = {
    "top.txt": (3, 10),
    "a/one": (100, 20),
    "a/two": (50, 30),
    "a/deep/er/leaf": (7, 1000),
    "ab/near": (900, 40),
    "a!/nearer": (5, 50),
    "a0/nearest": (6, 60),
}


def fill(store: Store, files: dict[str, tuple[int, int]] = FILES) -> None:
    dirs = {path[:at] for path in files for at in range(len(path)) if path[at] == "/"}
    rows = [row("", "dir"), *(row(path, "dir", mtime=1) for path in sorted(dirs))]
    store.apply([*rows, *(row(path, size=size, mtime=mtime) for path, (size, mtime) in files.items())])


def parts(store: Store, path: str = "", limit: int = 100) -> dict[str, Any]:
    with store.read() as conn:
        return largest_parts(conn, trees(conn)[0], path, limit)


def whole(store: Store, span: Span, path: str = "", limit: int = 200_000) -> tuple[dict[str, Any], int]:
    """
    Follow the cursors to the end and sum up, as one who asks would; also return how many requests that took.
    """
    total: dict[str, Any] = {}
    cursor, asked = None, 0
    while True:
        with store.read() as conn:
            answer = timeline(conn, trees(conn)[0], path, span, limit=limit, cursor=cursor)
        asked += 1
        for name in ("counts", "bytes"):
            before = total.get(name, [0] * span.buckets)
            total[name] = [x + y for x, y in zip(before, answer[name], strict=True)]
        for name in ("before", "after", "counted"):
            total[name] = total.get(name, 0) + answer[name]
        total["entries"] = answer["entries"]
        cursor = answer["next"]
        if cursor is None:
            return total, asked


def expected(files: dict[str, tuple[int, int]], span: Span, path: str = "") -> dict[str, Any]:
    counts, sizes = [0] * span.buckets, [0] * span.buckets
    before = after = 0
    below = [found for name, found in files.items() if not path or name.startswith(f"{path}/")]
    for size, mtime in below:
        if mtime < span.since:
            before += 1
        elif mtime >= span.until:
            after += 1
        else:
            counts[(mtime - span.since) // span.width] += 1
            sizes[(mtime - span.since) // span.width] += size
    return {
        "counts": counts, "bytes": sizes, "before": before, "after": after, "counted": len(below), "entries": len(below),
    }  # fmt: skip


def test_a_directory_counts_with_all_that_is_below_it(store: Store) -> None:
    """
    The largest comes first, and what is not told is summed up.
    """
    fill(store)
    told = parts(store)
    assert [(p["name"], p["type"], p["bytes"], p["files"]) for p in told["rows"]] == [
        ("ab", "dir", 900, 1), ("a", "dir", 157, 3), ("a0", "dir", 6, 1), ("a!", "dir", 5, 1), ("top.txt", "file", 3, 1),
    ]  # fmt: skip
    assert (told["bytes"], told["files"], told["rest"]) == (1071, 7, {"entries": 0, "bytes": 0})
    few = parts(store, limit=2)
    assert [p["name"] for p in few["rows"]] == ["ab", "a"]
    assert few["rest"] == {"entries": 3, "bytes": 14}
    assert [(p["path"], p["bytes"]) for p in parts(store, "a")["rows"]] == [
        ("a/one", 100),
        ("a/two", 50),
        ("a/deep", 7),
    ]


def test_what_is_deleted_takes_no_space(store: Store) -> None:
    """
    Neither a file nor a directory of which nothing is left is told.
    """
    fill(store)
    store.delete("ab/near", "ab", "a/one", index=2)
    assert next((p["name"], p["bytes"]) for p in parts(store)["rows"]) == ("a", 57)
    assert "ab" not in {p["name"] for p in parts(store)["rows"]}


def test_only_directories_have_parts_and_times(store: Store) -> None:
    fill(store)
    with pytest.raises(InvalidRequest):
        parts(store, "top.txt")
    with pytest.raises(NotFoundError):
        parts(store, "missing")
    with pytest.raises(InvalidRequest):
        whole(store, Span(0, 10, 2), "top.txt")
    with pytest.raises(NotFoundError):
        whole(store, Span(0, 10, 2), "missing")
    for since, until in ((5, 5), (6, 5), (-(2**63) + 1, 2**63 - 1), (-(2**63) - 1, -(2**63) + 9)):
        with pytest.raises(InvalidRequest):
            whole(store, Span(since, until, 3))


@pytest.mark.parametrize("path", ["", "a", "ab", "a/deep"])
def test_the_time_line_counts_what_is_below_and_nothing_beside_it(store: Store, path: str) -> None:
    """
    Directories whose names begin alike, or sort between a name and its `/`, are not taken for one another.
    """
    fill(store)
    for span in (Span(0, 100, 10), Span(25, 45, 3), Span(-50, 2000, 7)):
        assert whole(store, span, path)[0] == expected(FILES, span, path)


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_the_parts_of_a_count_fit_together(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int, limit: int
) -> None:
    """
    However little is read at once, within large directories and between small ones, each entry is counted once.
    """
    monkeypatch.setattr(module, "STEP_ROWS", step)
    monkeypatch.setattr(module, "_DIRS_AT_ONCE", 2)
    fill(store)
    span = Span(0, 100, 4)
    total, asked = whole(store, span, limit=limit)
    assert total == expected(FILES, span)
    assert asked > 3 if limit == 1 else asked >= 1


def test_a_directory_that_goes_while_it_is_counted_hides_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The cursor names a place in a directory; when that is gone, the next one is counted from its beginning.
    """
    monkeypatch.setattr(module, "STEP_ROWS", 1)
    fill(store, {"a/x": (1, 1), "a/y": (1, 1), "b/a": (1, 1), "b/b": (1, 1)})
    span = Span(0, 10, 1)
    with store.read() as conn:
        first = timeline(conn, trees(conn)[0], "", span, limit=4, cursor=None)
    assert first["next"] is not None and 0 < first["counted"] < 4
    store.delete("a/x", "a/y", "a", index=2)
    store.collect(10)
    with store.read() as conn:
        rest = timeline(conn, trees(conn)[0], "", span, limit=1000, cursor=first["next"])
    assert rest["next"] is None
    assert rest["counted"] == 2


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    buckets=st.integers(1, 20),
    since=st.integers(-100, 100),
    length=st.integers(1, 300),
    limit=st.integers(1, 50),
)
def test_any_span_of_any_tree(
    tmp_path_factory: pytest.TempPathFactory, seed: int, buckets: int, since: int, length: int, limit: int
) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "a b", "a.", "é", "a-", "0", "a/b", "a/c", "b/a/a"]
    files = {f"{chance.choice(names)}/f{at}": (chance.randrange(1000), chance.randrange(-150, 250)) for at in range(40)}
    store = Store(tmp_path_factory.mktemp("any"))
    try:
        fill(store, files)
        span = Span(since, since + length, buckets)
        for path in ("", "a"):
            assert whole(store, span, path, limit=limit)[0] == expected(files, span, path)
    finally:
        store.close()
