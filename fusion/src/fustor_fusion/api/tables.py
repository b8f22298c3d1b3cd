"""
Tables of all views: list, one table, rows, how many, one row, export.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_args
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from fustor_common.openapi import error_answers
from fustor_core.errors import InvalidRequest, NotFoundError
from fustor_fusion.api.access import ReadStore
from fustor_fusion.api.table_export import MEDIA, Format, Writer
from fustor_fusion.api.wire_schema import content_of
from fustor_fusion.datastore import Datastore
from fustor_fusion.scan_threads import ScanThreads
from fustor_fusion.streams import Coverage, Sorting, coverage_of
from fustor_fusion.views.base import FilterOp, RowFilter, RowPage, RowQuery, RowSeries, View

router = APIRouter(prefix="/views/tables", tags=["views"], responses=error_answers(400, 401, 403, 404, 503))
EXPORT_ROWS: Final = 1_000
EXPORT_STEP_S: Final = 0.5
_encode = msgspec.json.Encoder().encode
_OPS = get_args(FilterOp)

T = TypeVar("T")
Name = tuple[str, str, str]


class Table(msgspec.Struct):
    """
    One table.

    Attributes:
        task_id: The sync that brings it.
        rows: How many there are; of a large table as counted a moment ago.
        bytes: About how much they are, from a sample; of a file tree, how much its files are.
        key: Names of the key's columns; null: it has none.
        columns: Column to its JSON-Schema type; null where that is not known.
        last_index: The newest position that rows came with.
        changed_at: When rows of it changed last, nanoseconds since the epoch, to the second; null: not since that is noted.
        coverage: complete; copying: a snapshot of it is under way; gap: changes went missing and another snapshot is asked for; partial: no
            snapshot has ended yet.
    """

    task_id: str
    schema: str
    table: str
    rows: int
    key: list[str] | None
    columns: dict[str, Any]
    last_index: int
    bytes: int | None = None
    changed_at: int | None = None
    coverage: Coverage = "complete"


class Tables(msgspec.Struct):
    """
    The tables of the datastore, or a page of them.
    """

    rows: list[Table]
    next: str | None


class Rows(msgspec.Struct):
    """
    A page of rows.

    Attributes:
        rows: As objects. With `partial` they may be few, or none.
        next: The cursor of what follows; null: that was all.
        scanned: How many rows were looked at for this answer.
        partial: The time for one answer was up before the page was full: go on with `next`.
    """

    rows: list[dict[str, Any]]
    next: str | None
    scanned: int
    partial: bool


class Count(msgspec.Struct):
    """
    How many rows there are.

    Attributes:
        count: Of those looked at for this answer, the ones that fit.
        next: The cursor to count on with; null: that was all.
        scanned: How many rows were looked at.
    """

    count: int
    next: str | None
    scanned: int


def _name(request: Request) -> Name:
    """
    Return (task, schema, table) from the path as it was sent: an encoded `/` in a schema is no separator.
    """
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    parts = [unquote(part) for part in raw.decode("ascii", "surrogateescape").partition("?")[0].split("/")]
    names = parts[parts.index("tables") + 1 : -1]
    if len(names) != 3:
        raise NotFoundError(
            f"{'/'.join(names)!r} names no table",
            hint="the path is /views/tables/SYNC/SCHEMA/TABLE/rows; encode a `/` within a name as %2F",
            context={"names": names},
        )
    task_id, schema, table = names
    return task_id, schema, table


_PATH: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "task_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "Id of the sync",
        },
        {
            "name": "name",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "`schema/table`; a `/` within one of the two is written %2F",
        },
    ]
}
Where = Annotated[
    list[str] | None,
    Query(
        description=f"`column:op:value`, or the same as a JSON array of three texts; repeatable, all have to hold. op: {', '.join(_OPS)}. "
        "Numbers, decimals of any length and times compare as such; `contains` and `like` do not tell a from A; `in` takes a,b,c or a JSON array",
        examples=[["total:gt:100", "name:contains:smith", '["note", "isnull", "true"]']],
    ),
]
Order = Annotated[
    str | None,
    Query(
        description='`column`, or `-column` for largest first, or a JSON array `["column", "desc"]`; rows without a value come last, '
        "those with the same one by key. Without it: in the order in which the keys are kept",
        examples=["-total"],
    ),
]


def _no_table(name: Name) -> NotFoundError:
    task_id, schema, table = name
    return NotFoundError(
        f"there is no table {table!r} in schema {schema!r} of sync {task_id!r}",
        hint="GET /views/tables lists the tables; encode the schema for the URL",
        context={"task_id": task_id, "schema": schema, "table": table},
    )


def _listed(text: str, most: int) -> list[str] | None:
    """
    Return a parameter that is a JSON array of texts; None when it is none.
    """
    if text.startswith("["):
        try:
            parts = msgspec.json.decode(text, type=list[str])
        except msgspec.DecodeError:
            return None
        return parts if 0 < len(parts) <= most else None
    return None


def read_filters(where: list[str]) -> tuple[RowFilter, ...]:
    """
    Read filters of a request.

    Raises:
        InvalidRequest: One of them can't be read; says which.
    """
    filters = []
    for at, text in enumerate(where):
        parts = _listed(text, 3)
        if parts is None:
            column, first, rest = text.partition(":")
            op, second, value = rest.partition(":")
            parts = [column, op, *([value] if second else [])] if first else [text]
        if len(parts) < 2 or parts[1] not in _OPS or (len(parts) < 3 and parts[1] != "isnull"):
            raise InvalidRequest(
                f"the filter {text!r} can't be read",
                hint=f"write column:op:value, op one of {', '.join(_OPS)}",
                context={"where": text, "at": at},
            )
        filters.append(RowFilter(parts[0], cast("FilterOp", parts[1]), parts[2] if len(parts) > 2 else ""))
    return tuple(filters)


def read_order(order: str | None) -> tuple[str | None, bool]:
    """
    Read an order of a request: the column, and whether the largest come first.

    Raises:
        InvalidRequest: It can't be read.
    """
    if order is None:
        return None, False
    parts = _listed(order, 2)
    if parts is None:
        return order.removeprefix("-"), order.startswith("-")
    way = parts[1] if len(parts) > 1 else "asc"
    if way not in ("asc", "desc"):
        raise InvalidRequest(
            f"the order {order!r} can't be read",
            hint='write column, -column, or ["column", "desc"]',
            context={"order": order},
        )
    return parts[0], way == "desc"


def _of_view(datastore: Datastore, name: Name, ask: Callable[[View], T | None]) -> T:
    for view in datastore.views:
        answer = ask(view)
        if answer is not None:
            return answer
    raise _no_table(name)


def _page(datastore: Datastore, name: Name, query: RowQuery) -> RowPage:
    return _of_view(datastore, name, lambda view: view.query_rows(*name, query))


def _describe(datastore: Datastore, name: Name) -> dict[str, Any]:
    with datastore.store.read() as conn:
        found = _of_view(datastore, name, lambda view: view.describe_table(conn, *name))
    return _with_coverage(datastore, found)


def _with_coverage(datastore: Datastore, table: dict[str, Any]) -> dict[str, Any]:
    return {**table, "coverage": coverage_of(datastore, table["task_id"], table["schema"], table["table"])}


TABLES: Final = Sorting[dict[str, Any]](
    {
        "name": lambda row: row["table"],
        "task": lambda row: row["task_id"],
        "rows": lambda row: row["rows"],
        "bytes": lambda row: row.get("bytes"),
        "columns": lambda row: len(row["columns"] or ()),
        "changed": lambda row: row.get("changed_at"),
    },
    lambda row: (row["task_id"], row["schema"], row["table"]),
)


@router.get("", summary="List the tables", response_class=Response, responses={200: content_of(Tables)})
def list_tables(
    datastore: ReadStore,
    q: Annotated[
        str | None, Query(description="Only tables whose sync, schema or name holds this text, in any case")
    ] = None,
    sort: Literal["name", "task", "rows", "bytes", "columns", "changed"] = "task",
    order: Literal["asc", "desc"] = "asc",
    limit: Annotated[int | None, Query(ge=1, le=10_000, description="Without it: all")] = None,
    cursor: str | None = None,
) -> Response:
    wanted = None if q is None else q.casefold()
    found = [
        table
        for table in datastore.list_tables()
        if wanted is None
        or any(wanted in text.casefold() for text in (table["task_id"], table["schema"], table["table"]))
    ]
    most = max(1, len(found)) if limit is None else limit
    page, following = TABLES.page(found, sort, descending=order == "desc", limit=most, cursor=cursor)
    described = [_with_coverage(datastore, table) for table in page]
    return Response(_encode({"rows": described, "next": following}), media_type="application/json")


@router.get(
    "/{task_id}/{name:path}/info",
    summary="One table",
    response_class=Response,
    responses={200: content_of(Table)},
    openapi_extra=_PATH,
)
def info(request: Request, datastore: ReadStore) -> Response:
    return Response(_encode(_describe(datastore, _name(request))), media_type="application/json")


@router.get(
    "/{task_id}/{name:path}/rows",
    summary="Rows of a table",
    response_class=Response,
    responses={200: content_of(Rows)},
    openapi_extra=_PATH,
)
async def rows(
    request: Request,
    datastore: ReadStore,
    where: Where = None,
    order: Order = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    cursor: str | None = None,
    format: Literal["json", "csv", "jsonl"] = "json",  # noqa: A002 - its name in the API
    safe: Annotated[
        bool,
        Query(description="In a CSV: put an apostrophe before texts that a spreadsheet would take for a formula"),
    ] = False,
) -> Response:
    """
    JSON answers a page; CSV and JSON Lines stream every row (in pages, so what changes meanwhile may or may not be in it; in an order after one
    look-through).

    Filters, and an order other than that of the keys, look through the table: one answer takes `FUSTOR_FUSION_ROWS_BUDGET_S` for it at most. When
    that was not enough it says `partial` and goes on with `next`; an order has no rows before all of them were looked at.
    """
    name = _name(request)
    column, descending = read_order(order)
    query = RowQuery(
        where=read_filters(where or []),
        order=column,
        descending=descending,
        limit=limit,
        cursor=cursor,
        budget_s=request.app.state.settings.rows_budget_s,
    )
    threads: ScanThreads = request.app.state.scan_threads
    if format != "json":
        return await _export(datastore, name, query, format, threads, safe=safe)
    ask = partial(_page, datastore, name, query)
    page = await (threads.run(ask) if query.where or query.order is not None else run_in_threadpool(ask))
    answer = {"rows": page.rows, "next": page.next, "scanned": page.scanned, "partial": page.is_partial}
    return Response(_encode(answer), media_type="application/json")


async def _export(
    datastore: Datastore, name: Name, query: RowQuery, form: Format, threads: ScanThreads, *, safe: bool
) -> Response:
    query = replace(query, limit=EXPORT_ROWS, budget_s=EXPORT_STEP_S)
    types = (await run_in_threadpool(_describe, datastore, name))["columns"]
    if query.order is not None and query.cursor is None:
        series = await threads.run(partial(_series, datastore, name, query))
        if series is not None:
            return _export_series(series, Writer(form, series.columns, types, safe=safe), form, threads)
    # What is wrong with the request is told before the answer begins.
    first = await threads.run(partial(_page, datastore, name, query))
    writer = Writer(form, first.columns, types, safe=safe)

    def following(cursor: str) -> tuple[bytes, str | None]:
        page = _page(datastore, name, replace(query, cursor=cursor))
        return writer.page(page), page.next

    async def pieces() -> AsyncIterator[bytes]:
        yield writer.head(form) + await threads.run(partial(writer.page, first))
        cursor = first.next
        first.rows.clear()
        while cursor is not None:
            text, cursor = await threads.run(partial(following, cursor))
            if text:
                yield text

    return StreamingResponse(pieces(), media_type=MEDIA[form])


def _series(datastore: Datastore, name: Name, query: RowQuery) -> RowSeries | None:
    begun = (view.sort_rows(*name, query) for view in datastore.views)
    return next((series for series in begun if series is not None), None)


def _export_series(series: RowSeries, writer: Writer, form: Format, threads: ScanThreads) -> Response:
    """
    Each page of an order looks through the table, so a file of many rows does so once for all of them.
    """

    def go_on() -> bytes | None:
        page = series.read(EXPORT_ROWS, EXPORT_STEP_S)
        return None if page is None else writer.page(page)

    async def pieces() -> AsyncIterator[bytes]:
        try:
            if head := writer.head(form):
                yield head
            while (text := await threads.run(go_on)) is not None:
                if text:
                    yield text
        finally:
            series.close()

    return StreamingResponse(pieces(), media_type=MEDIA[form])


@router.get(
    "/{task_id}/{name:path}/count",
    summary="How many rows fit",
    response_class=Response,
    responses={200: content_of(Count)},
    openapi_extra=_PATH,
)
async def count(request: Request, datastore: ReadStore, where: Where = None, cursor: str | None = None) -> Response:
    """
    Counts for `FUSTOR_FUSION_ROWS_BUDGET_S` at most; with `next` one counts on, and adds up.
    """
    name = _name(request)
    query = RowQuery(where=read_filters(where or []), cursor=cursor, budget_s=request.app.state.settings.rows_budget_s)
    threads: ScanThreads = request.app.state.scan_threads
    found = await threads.run(lambda: _of_view(datastore, name, lambda view: view.count_rows(*name, query)))
    answer = {"count": found.count, "next": found.next, "scanned": found.scanned}
    return Response(_encode(answer), media_type="application/json")


@router.get("/{task_id}/{name:path}/row", summary="One row by key", response_class=Response, openapi_extra=_PATH)
def row(request: Request, datastore: ReadStore, key: str) -> Response:
    """
    `key` is a JSON array of the key's values, or the one value.
    """
    name = _name(request)
    for candidate in _keys(key):
        for view in datastore.views:
            found = view.get_row(*name, candidate)
            if found is not None:
                return Response(_encode(found), media_type="application/json")
    raise NotFoundError(
        f"there is no row with key {key!r} in table {name[2]!r}",
        hint='pass the key\'s values as a JSON array, such as [1, "a"]',
        context={"task_id": name[0], "schema": name[1], "table": name[2], "key": key},
    )


def _keys(text: str) -> Iterator[list[Any]]:
    """
    Yield what a key parameter may mean, likeliest first.
    """
    try:
        value = json.loads(text)
    except ValueError:
        yield [text]
        return
    yield value if isinstance(value, list) else [value]
    if not isinstance(value, str):
        yield [text]
