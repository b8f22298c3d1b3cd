"""
The routes `/views/fs/*`.

What reads a handful of pages runs right on the event loop, which is quicker than handing it to a thread and back; what may read much
(searches, large or deep listings) runs in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response

from fustor_fusion.views.fs.filters import FileType, Filters, Order, Sort
from fustor_fusion.views.fs.listing import Listing, count_rows, list_directory
from fustor_fusion.views.fs.patterns import Mode, Where, parse
from fustor_fusion.views.fs.places import find_entry, find_one, find_place
from fustor_fusion.views.fs.search import Query as SearchQuery
from fustor_fusion.views.fs.search import search
from fustor_fusion.views.fs.sizes import largest_parts
from fustor_fusion.views.fs.stats import directory_stats, tree_rows
from fustor_fusion.views.fs.timeline import MOST_BUCKETS, Span, timeline
from fustor_fusion.views.query_string import Params, describe_query, read_query

if TYPE_CHECKING:
    from fustor_fusion.views.fs.view import FsView

_SHORT_ROWS: Final = 2000  # a directory with no more rows is listed at once, about 2 ms
_MOST: Final = 10_000
_INT64: Final = 2**63 - 1
_MOST_READ: Final = 200_000
_MONTH_NS: Final = 30 * 24 * 3600 * 10**9

_encoder = msgspec.json.Encoder()

Number = Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=_MOST, description="Most entries in the answer")]
TreeName = Annotated[str | None, msgspec.Meta(description="Id of the sync that sends the tree")]
TreePath = Annotated[str, msgspec.Meta(description="Below the root, or absolute on the source's machine")]
Cursor = Annotated[str | None, msgspec.Meta(description="`next` of the answer before")]


class _Place(Params, kw_only=True):
    tree: TreeName = None
    path: TreePath = ""


class _Entry(Params, kw_only=True):
    path: TreePath
    tree: TreeName = None


class _Filtered(_Place, kw_only=True):
    type: FileType | None = None
    min_size: Annotated[Number | None, msgspec.Meta(description="Bytes")] = None
    max_size: Annotated[Number | None, msgspec.Meta(description="Bytes")] = None
    newer: Annotated[Number | None, msgspec.Meta(description="Modified after, nanoseconds since 1970")] = None
    older: Annotated[Number | None, msgspec.Meta(description="Modified before, nanoseconds since 1970")] = None

    def filters(self) -> Filters:
        return Filters(self.type, self.min_size, self.max_size, self.newer, self.older)


class _Listing(_Filtered, kw_only=True):
    depth: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Levels below the directory")] = 1
    limit: Limit = 1000
    cursor: Cursor = None
    sort: Sort = "name"
    order: Order = "asc"


class _Search(_Filtered, kw_only=True):
    q: Annotated[str, msgspec.Meta(description="What to look for")]
    mode: Mode = "auto"
    where: Where = msgspec.field(default="auto", name="in")
    sort: Sort | None = None
    order: Order = "asc"
    limit: Limit = 100
    cursor: Cursor = None
    case: bool = False


class _Sizes(_Place, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Most parts in the answer")] = 100


class _Timeline(_Place, kw_only=True):
    since: Annotated[Number | None, msgspec.Meta(description="Nanoseconds since 1970; 30 days before `until`")] = None
    until: Annotated[Number | None, msgspec.Meta(description="Nanoseconds since 1970; now")] = None
    buckets: Annotated[int, msgspec.Meta(ge=1, le=MOST_BUCKETS, description="How many parts of equal length")] = 30
    limit: Annotated[
        int,
        msgspec.Meta(ge=1, le=_MOST_READ, description="After about so many entries the answer ends, and has a cursor"),
    ] = _MOST_READ
    cursor: Cursor = None

    def span(self) -> Span:
        until = time.time_ns() if self.until is None else self.until
        return Span(until - _MONTH_NS if self.since is None else self.since, until, self.buckets)


_SIZES_EXAMPLE: Final = {
    "path": "docs",
    "tree": "files",
    "bytes": 502000,
    "files": 2,
    "rows": [
        {"name": "big.bin", "path": "docs/big.bin", "type": "file", "bytes": 500000, "files": 1},
        {"name": "old", "path": "docs/old", "type": "dir", "bytes": 2000, "files": 1},
    ],
    "rest": {"entries": 0, "bytes": 0},
}
_TIMELINE_EXAMPLE: Final = {
    "path": "",
    "tree": "files",
    "since": 1766000000000000000,
    "until": 1766000180000000000,
    "width": 60000000000,
    "counts": [0, 2, 1],
    "bytes": [0, 502000, 120],
    "before": 40,
    "after": 0,
    "counted": 43,
    "entries": 43,
    "next": None,
}


def _content_of(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": example}}}}


def build_router(resolve: Callable[..., FsView]) -> APIRouter:
    """
    Build the routes; `resolve` gives the view of the caller's datastore.
    """
    router = APIRouter(prefix="/fs", tags=["fs"])
    view_of = Depends(resolve)

    @router.get("/trees")
    async def get_trees(view: Any = view_of) -> Response:
        with view.database.read() as conn:
            return _answer({"rows": tree_rows(conn)})

    @router.get("/tree", openapi_extra=describe_query(_Listing))
    async def get_tree(request: Request, view: Any = view_of) -> Response:
        asked = read_query(request, _Listing)

        def work() -> Response:
            with view.database.read() as conn:
                return _answer(list_directory(conn, listing))

        with view.database.read() as conn:
            chosen, path = find_one(conn, asked.tree, asked.path)
            listing = Listing(
                chosen, path, asked.depth, asked.limit, asked.cursor, asked.sort, asked.order, asked.filters()
            )
            if asked.depth == 1 and count_rows(conn, chosen, path) <= _SHORT_ROWS:
                return _answer(list_directory(conn, listing))
        return await run_sync(work)

    @router.get("/entry", openapi_extra=describe_query(_Entry))
    async def get_entry(request: Request, view: Any = view_of) -> Response:
        asked = read_query(request, _Entry)
        with view.database.read() as conn:
            chosen, path = find_one(conn, asked.tree, asked.path)
            return _answer(find_entry(conn, chosen, path))

    @router.get("/stats", openapi_extra=describe_query(_Place))
    async def get_stats(request: Request, view: Any = view_of) -> Response:
        asked = read_query(request, _Place)
        with view.database.read() as conn:
            chosen, path = find_one(conn, asked.tree, asked.path)
            return _answer(directory_stats(conn, chosen, path))

    @router.get(
        "/sizes",
        summary="What takes the space in a directory: its largest parts",
        openapi_extra=describe_query(_Sizes),
        responses=_content_of(_SIZES_EXAMPLE),
    )
    async def get_sizes(request: Request, view: Any = view_of) -> Response:
        """
        A directory counts with everything below it. `rest` is what the parts that are not told come to. Costs what the direct children do.
        """
        asked = read_query(request, _Sizes)

        def work() -> Response:
            with view.database.read() as conn:
                chosen, path = find_one(conn, asked.tree, asked.path)
                return _answer(largest_parts(conn, chosen, path, asked.limit))

        return await run_sync(work)

    @router.get(
        "/timeline",
        summary="When what is below a directory was last modified: a histogram",
        openapi_extra=describe_query(_Timeline),
        responses=_content_of(_TIMELINE_EXAMPLE),
    )
    async def get_timeline(request: Request, view: Any = view_of) -> Response:
        """
        Directories are not counted. Where `next` is not null only a part was read: ask again with it as `cursor` and the same `since`,
        `until` and `buckets`, and sum the counts up; `counted` of `entries` says how far it is.
        """
        asked = read_query(request, _Timeline)
        span = asked.span()

        def work() -> Response:
            with view.database.read() as conn:
                chosen, path = find_one(conn, asked.tree, asked.path)
                return _answer(timeline(conn, chosen, path, span, limit=asked.limit, cursor=asked.cursor))

        return await run_sync(work)

    @router.get("/search", openapi_extra=describe_query(_Search))
    async def get_search(request: Request, view: Any = view_of) -> Response:
        asked = read_query(request, _Search)
        pattern = parse(asked.q, asked.mode, asked.where, asked.case)

        def work() -> Response:
            with view.database.read() as conn:
                chosen, below = find_place(conn, asked.tree, asked.path)
                query = SearchQuery(
                    chosen, pattern, below, asked.filters(), asked.sort, asked.order, asked.limit, asked.cursor
                )
                return _answer(search(conn, view.index, query))

        return await run_sync(work)

    return router


def _answer(content: Any) -> Response:
    return Response(_encoder.encode(content), media_type="application/json")
