"""
The routes `/views/fs/*`.

What reads a handful of pages runs right on the event loop, which is quicker than handing it to a thread and back; what may read much
(searches, large or deep listings) runs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Response

from fustor_fusion.views.fs.filters import FileType, Filters, Order, Sort
from fustor_fusion.views.fs.listing import Listing, count_rows, list_directory
from fustor_fusion.views.fs.patterns import Mode, Where, parse
from fustor_fusion.views.fs.places import find_entry, find_one, find_place
from fustor_fusion.views.fs.search import Query as SearchQuery
from fustor_fusion.views.fs.search import search
from fustor_fusion.views.fs.stats import directory_stats, tree_rows

if TYPE_CHECKING:
    from fustor_fusion.views.fs.view import FsView

_SHORT_ROWS: Final = 2000  # a directory with no more rows is listed at once, about 2 ms
_MOST: Final = 10_000
_INT64: Final = 2**63 - 1

_encoder = msgspec.json.Encoder()

Number = Annotated[int | None, Query(ge=-_INT64, le=_INT64)]
TreeName = Annotated[str | None, Query(description="Id of the sync that sends the tree")]
Cursor = Annotated[str | None, Query(description="`next` of the answer before")]


def _filters(
    type: Annotated[FileType | None, Query()] = None,  # noqa: A002  # the name in the query
    min_size: Number = None,
    max_size: Number = None,
    newer: Number = None,
    older: Number = None,
) -> Filters:
    return Filters(type, min_size, max_size, newer, older)


def build_router(resolve: Callable[..., FsView]) -> APIRouter:
    """
    Build the routes; `resolve` gives the view of the caller's datastore.
    """
    router = APIRouter(prefix="/fs", tags=["fs"])
    view_of = Depends(resolve)
    filters_of = Depends(_filters)

    @router.get("/trees")
    async def get_trees(view: Any = view_of) -> Response:
        with view.database.read() as conn:
            return _answer({"rows": tree_rows(conn)})

    @router.get("/tree")
    async def get_tree(
        view: Any = view_of,
        tree: TreeName = None,
        path: str = "",
        depth: Annotated[int, Query(ge=1, le=1000)] = 1,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 1000,
        cursor: Cursor = None,
        sort: Sort = "name",
        order: Order = "asc",
        filters: Any = filters_of,
    ) -> Response:
        def work() -> Response:
            with view.database.read() as conn:
                return _answer(list_directory(conn, listing))

        with view.database.read() as conn:
            chosen, path = find_one(conn, tree, path)
            listing = Listing(chosen, path, depth, limit, cursor, sort, order, filters)
            if depth == 1 and count_rows(conn, chosen, path) <= _SHORT_ROWS:
                return _answer(list_directory(conn, listing))
        return await run_sync(work)

    @router.get("/entry")
    async def get_entry(path: str, view: Any = view_of, tree: TreeName = None) -> Response:
        with view.database.read() as conn:
            chosen, path = find_one(conn, tree, path)
            return _answer(find_entry(conn, chosen, path))

    @router.get("/stats")
    async def get_stats(view: Any = view_of, tree: TreeName = None, path: str = "") -> Response:
        with view.database.read() as conn:
            chosen, path = find_one(conn, tree, path)
            return _answer(directory_stats(conn, chosen, path))

    @router.get("/search")
    async def get_search(
        q: str,
        view: Any = view_of,
        mode: Mode = "auto",
        where: Annotated[Where, Query(alias="in")] = "auto",
        tree: TreeName = None,
        path: str = "",
        sort: Sort | None = None,
        order: Order = "asc",
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
        cursor: Cursor = None,
        case: bool = False,
        filters: Any = filters_of,
    ) -> Response:
        pattern = parse(q, mode, where, case)

        def work() -> Response:
            with view.database.read() as conn:
                chosen, below = find_place(conn, tree, path)
                return _answer(
                    search(conn, view.index, SearchQuery(chosen, pattern, below, filters, sort, order, limit, cursor))
                )

        return await run_sync(work)

    return router


def _answer(content: Any) -> Response:
    return Response(_encoder.encode(content), media_type="application/json")
