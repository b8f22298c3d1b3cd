"""
The routes `/views/fs/*`, and the table that a tree also is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fs_store import Store, row

from fustor_common.http import status_of
from fustor_core.errors import FustorError, InvalidRequest
from fustor_fusion.views.base import RowFilter, RowQuery
from fustor_fusion.views.fs import FsView

ODD = ['it\'s "odd".txt', "new\nline", "100%_sure", "🎉 party", "back\\slash", "q?x=1&y#z", "[brackets]", "日本語.h5"]


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    router = FsView.router(lambda: store.view)
    assert router is not None
    app.include_router(router, prefix="/views")

    @app.exception_handler(FustorError)
    async def answer(_: Request, error: FustorError) -> JSONResponse:
        return JSONResponse(error.to_dict(), status_of(error))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/views/fs") as client:
        yield client


def fill(store: Store) -> None:
    rows = [row("", "dir"), row("docs", "dir", mtime=5), row("empty", "dir")]
    rows += [row(f"docs/{name}", size=i + 1, mtime=10 + i) for i, name in enumerate(ODD)]
    rows += [row("docs/deep", "dir"), row("docs/deep/er", "dir"), row("docs/deep/er/leaf.h5", size=100, mtime=50)]
    rows.append(row("link", "symlink", target="docs"))
    store.apply(rows)


async def get(client: httpx.AsyncClient, url: str, **params: Any) -> Any:
    answer = await client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_tree_lists_children_with_all_fields(store: Store, client: httpx.AsyncClient) -> None:
    """The root is listed with its children, sorted by name, every field there."""
    fill(store)
    top = await get(client, "/tree")
    assert (top["path"], top["name"], top["parent"], top["type"], top["tree"]) == ("", "tree", None, "dir", "sync")
    assert [e["name"] for e in top["children"]] == ["docs", "empty", "link"]
    assert top["children"][2] == {
        "path": "link", "name": "link", "parent": "", "type": "symlink", "size": 0, "mtime": 1, "ctime": 1,
        "mode": 33188, "uid": 1000, "gid": 1000, "inode": 7, "target": "docs", "tree": "sync",
    }  # fmt: skip
    assert top["next"] is None


async def test_odd_names_work_in_urls_and_patterns(store: Store, client: httpx.AsyncClient) -> None:
    """Names with quotes, newlines, emoji and wildcards are found by entry and by substring."""
    fill(store)
    for name in ODD:
        assert (await get(client, "/entry", path=f"docs/{name}"))["name"] == name
        assert (await get(client, "/entry", path=f"/data/tree/docs/{name}"))["name"] == name
        found = await get(client, "/search", q=name, mode="substring", **{"in": "name"})
        assert [e["name"] for e in found["rows"]] == [name]


@pytest.mark.parametrize("sort", ["name", "size", "mtime", "type"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_fit_together(store: Store, client: httpx.AsyncClient, sort: str, order: str) -> None:
    """Pages of any size give each entry once, in order, in listings and in sorted searches."""
    fill(store)
    whole = (await get(client, "/tree", path="docs", sort=sort, order=order))["children"]
    assert len(whole) == len(ODD) + 1
    by = [(e[sort], e["name"]) for e in whole]
    assert by == sorted(by, reverse=order == "desc")
    for url, key, q in (("/tree", "children", {"path": "docs"}), ("/search", "rows", {"q": "*", "path": "docs"})):
        everything = (await get(client, url, sort=sort, order=order, **q))[key]
        got: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await get(client, url, sort=sort, order=order, limit=2, **q, **cursor)
            got += page[key]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert got == everything


async def test_unsorted_search_pages_fit_together(store: Store, client: httpx.AsyncClient) -> None:
    """Following `next` gives every hit once, indexed or not."""
    fill(store)
    for indexed in (False, True):
        if indexed:
            store.wait_indexed()
        got: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await get(client, "/search", q="**", limit=3, **{"in": "path"}, **cursor)
            got += [e["path"] for e in page["rows"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert len(got) == len(set(got)) == len(ODD) + 6


async def test_depth_nests_and_pages_depth_first(store: Store, client: httpx.AsyncClient) -> None:
    """A deep listing nests children, and its pages give each entry once."""
    fill(store)
    whole = await get(client, "/tree", depth=10)

    def flat(children: list[Any]) -> list[str]:
        return [p for e in children for p in (e["path"], *flat(e.get("children", [])))]

    everything = flat(whole["children"])
    assert len(everything) == len(ODD) + 6
    assert everything[:2] == ["docs", "docs/" + min([*ODD, "deep"])]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(client, "/tree", depth=10, limit=2, **cursor)
        seen += [p for p in flat(page["children"]) if p not in seen]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == everything
    files = await get(client, "/tree", depth=10, type="file", min_size=100)
    assert flat(files["children"]) == ["docs", "docs/deep", "docs/deep/er", "docs/deep/er/leaf.h5"]


async def test_filters(store: Store, client: httpx.AsyncClient) -> None:
    """Type, size and time narrow listings and searches alike."""
    fill(store)
    for url, key, more in (("/tree", "children", {}), ("/search", "rows", {"q": "*"})):
        got = await get(client, url, path="docs", type="file", min_size=3, max_size=6, newer=12, older=15, **more)
        assert sorted(e["size"] for e in got[key]) == [4, 5]


async def test_stats_and_trees(store: Store, client: httpx.AsyncClient) -> None:
    """Statistics tell totals of everything below and of direct children; a finished snapshot makes a tree complete."""
    fill(store)
    stats = await get(client, "/stats", path="docs")
    assert stats == {
        "path": "docs", "tree": "sync", "files": len(ODD) + 1, "dirs": 2, "symlinks": 0, "others": 0,
        "bytes": sum(range(1, len(ODD) + 1)) + 100, "newest_mtime": 50,
        "own": {"files": len(ODD), "dirs": 1, "symlinks": 0, "others": 0, "bytes": sum(range(1, len(ODD) + 1))},
    }  # fmt: skip
    assert (await get(client, "/stats", path="empty"))["newest_mtime"] is None
    assert (await get(client, "/trees"))["rows"][0]["complete"] is False
    store.sweep(1, 0)
    assert (await get(client, "/trees"))["rows"] == [
        {
            "tree": "sync",
            "root": "file:///data/tree",
            "files": len(ODD) + 1,
            "dirs": 4,
            "bytes": stats["bytes"],
            "complete": True,
        }
    ]


async def test_mistakes_say_what_to_do(store: Store, client: httpx.AsyncClient) -> None:
    """Missing paths are 404, unusable parameters 400, each with a hint."""
    assert (await client.get("/tree")).status_code == 404
    fill(store)
    store.apply([row("other", "dir")], task="second", root="file:///data/second")
    for url, status in (
        ("/entry?path=docs/none&tree=sync", 404),
        ("/entry?path=/elsewhere", 404),
        ("/tree?tree=nobody", 404),
        ("/tree?path=docs", 400),  # two trees, which one?
        ("/stats?path=link&tree=sync", 400),
        ("/tree?tree=sync&cursor=rubbish", 400),
        ("/search?q=(&mode=regex", 400),
        ("/search?q=(a%2B)%2B$&mode=regex", 400),
        ("/search?q=", 400),
        ("/tree?tree=sync&type=null", 400),
        ("/tree?tree=sync&min_size=NULL", 400),
    ):
        answer = await client.get(url)
        assert answer.status_code == status, (url, answer.text)
        assert answer.json()["hint"], url
    assert (await get(client, "/tree", path="/data/second"))["tree"] == "second"
    assert {e["tree"] for e in (await get(client, "/search", q="o"))["rows"]} == {"sync", "second"}


def test_tree_is_a_table(store: Store) -> None:
    """Rows of a tree are read as a table: by key, with filters, sorted, page by page, also backwards."""
    fill(store)
    where = ("sync", "file:///data/tree", "files")
    assert store.view.query_rows("sync", "x", "files", RowQuery()) is None
    for order in (None, "size", "parent", "type"):
        for descending in (False, True):
            got: list[Any] = []
            cursor = None
            while True:
                page = store.view.query_rows(
                    *where, RowQuery(order=order, descending=descending, limit=3, cursor=cursor)
                )
                assert page is not None
                got += [r["path"] for r in page.rows if isinstance(r, dict)]
                cursor = page.next
                if cursor is None:
                    break
            assert len(got) == len(set(got)) == len(ODD) + 7, (order, descending)
            if order == "parent":
                assert got[-1] == "", "what has no parent comes last, either way"
            elif order is None:
                assert got[-1 if descending else 0] == ""
    big = store.view.query_rows(
        *where, RowQuery(where=(RowFilter("size", "ge", "100"), RowFilter("type", "in", "file,dir")))
    )
    assert big is not None and [r["path"] for r in big.rows if isinstance(r, dict)] == ["docs/deep/er/leaf.h5"]
    assert store.view.get_row(*where, ["docs/deep"])["type"] == "dir"  # type: ignore[index]
    assert store.view.get_row(*where, [""])["parent"] is None  # type: ignore[index]
    assert store.view.get_row(*where, ["none"]) is None
    with pytest.raises(InvalidRequest, match="no column"):
        store.view.query_rows(*where, RowQuery(order="nothing"))
    with store.read() as conn:
        (table,) = store.view.list_tables(conn)
    assert (table["rows"], table["key"], table["last_index"]) == (len(ODD) + 7, ["path"], 1)
    everything = store.view.query_rows(*where, RowQuery(limit=100))
    assert everything is not None
    sizes = [one["size"] for one in everything.rows if isinstance(one, dict) and one["type"] == "file"]
    assert table["bytes"] == sum(sizes) > 0, "how much its files are"
    assert abs(table["changed_at"] - time.time_ns()) < 60e9
