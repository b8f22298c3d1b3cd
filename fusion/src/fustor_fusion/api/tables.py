"""
Tables of all views: list, rows, one row, export.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, cast, get_args
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from fustor_core.errors import InvalidRequest, NotFoundError
from fustor_fusion.api.access import ReadStore
from fustor_fusion.datastore import Datastore
from fustor_fusion.views.base import FilterOp, RowFilter, RowPage, RowQuery

router = APIRouter(prefix="/views/tables", tags=["views"])
EXPORT_ROWS = 1_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_OPS = get_args(FilterOp)

Name = tuple[str, str, str]


def _name(request: Request) -> Name:
    """
    Return (task, schema, table) from the path as it was sent: an encoded `/` in a schema is no separator.
    """
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    parts = [unquote(part) for part in raw.decode("ascii", "surrogateescape").partition("?")[0].split("/")]
    task_id, schema, table = parts[-4:-1]
    return task_id, schema, table


def _no_table(name: Name) -> NotFoundError:
    task_id, schema, table = name
    return NotFoundError(
        f"there is no table {table!r} in schema {schema!r} of sync {task_id!r}",
        hint="GET /views/tables lists the tables; encode the schema for the URL",
        context={"task_id": task_id, "schema": schema, "table": table},
    )


def _filters(where: list[str]) -> tuple[RowFilter, ...]:
    filters = []
    for text in where:
        column, first, rest = text.partition(":")
        op, second, value = rest.partition(":")
        if not first or op not in _OPS or (not second and op != "isnull"):
            raise InvalidRequest(
                f"the filter {text!r} can't be read", hint=f"write column:op:value, op one of {', '.join(_OPS)}"
            )
        filters.append(RowFilter(column, cast("FilterOp", op), value))
    return tuple(filters)


def _page(datastore: Datastore, name: Name, query: RowQuery) -> RowPage:
    for view in datastore.views:
        page = view.query_rows(*name, query)
        if page is not None:
            return page
    raise _no_table(name)


@router.get("", summary="List the tables")
def list_tables(datastore: ReadStore) -> dict[str, Any]:
    return {"rows": datastore.list_tables()}


@router.get("/{task_id}/{name:path}/rows", summary="Rows of a table", response_class=Response)
def rows(
    request: Request,
    datastore: ReadStore,
    where: Annotated[list[str] | None, Query(description="column:op:value; repeatable")] = None,
    order: Annotated[str | None, Query(description="column, or -column for largest first")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    cursor: str | None = None,
    format: Literal["json", "csv", "jsonl"] = "json",  # noqa: A002 - its name in the API
) -> Response:
    """
    JSON answers a page; CSV and JSON Lines stream every row (in pages, so what changes meanwhile may or may not be in it).
    """
    name = _name(request)
    query = RowQuery(
        where=_filters(where or []),
        order=None if order is None else order.removeprefix("-"),
        descending=order is not None and order.startswith("-"),
        limit=limit if format == "json" else EXPORT_ROWS,
        cursor=cursor,
    )
    page = _page(datastore, name, query)
    if format == "json":
        return Response(_encode({"rows": page.rows, "next": page.next}), media_type="application/json")
    write, media = (_csv, "text/csv; charset=utf-8") if format == "csv" else (_jsonl, "application/x-ndjson")
    return StreamingResponse(_export(datastore, name, query, page, write), media_type=media)


def _export(
    datastore: Datastore, name: Name, query: RowQuery, page: RowPage, write: Callable[[RowPage, list[str], bool], bytes]
) -> Iterator[bytes]:
    columns = page.columns
    yield write(page, columns, True)
    while page.next is not None:
        page = _page(datastore, name, replace(query, cursor=page.next))
        yield write(page, columns, False)


def _jsonl(page: RowPage, columns: list[str], first: bool) -> bytes:
    return b"".join(_encode(row) + b"\n" for row in page.rows)


def _csv(page: RowPage, columns: list[str], first: bool) -> bytes:
    lines = [",".join(_quoted(c) for c in columns)] if first else []
    for row in page.rows:
        values: dict[str, Any] = _decode(row) if isinstance(row, msgspec.Raw) else row
        lines.append(",".join(_cell(values.get(c)) for c in columns))
    return "".join(line + "\r\n" for line in lines).encode()


def _cell(value: Any) -> str:
    """
    NULL is an empty cell and an empty text is "", so that both can be told apart.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    return _quoted(_encode(value).decode())


def _quoted(text: str) -> str:
    if text and not any(c in text for c in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


@router.get("/{task_id}/{name:path}/row", summary="One row by key", response_class=Response)
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
