"""
What is asked of tables, as it stands on the wire; and long answers, piece by piece.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fustor_client import AsyncFusionClient, FusionClient
from fustor_client.httpx_transport import HttpxTransport
from fustor_client.models import RowCount, RowPage
from fustor_client.transport import StdlibTransport
from fustor_core import errors

TABLE = ("task", "db/x", "t")


@pytest.mark.parametrize("make", [StdlibTransport, HttpxTransport])
def test_conditions_and_orders_are_written_so_that_every_name_can_be_meant(service: Any, make: Any) -> None:
    page = b'{"rows": [{"a": 1}], "next": "n", "scanned": 9, "partial": true}'
    service.says(
        lambda request: request.reply(200, page),
        lambda request: request.reply(200, b'{"count": 3, "next": null, "scanned": 7}'),
    )
    with FusionClient(service.url, "k", transport=make(service.url, 10.0)) as client:
        where = ["a:eq:1", ("x:y", "in", [1, "b"]), ("n", "gt", 2.5)]
        assert client.rows(*TABLE, where=where, order=("-x", "desc"), limit=5) == RowPage([{"a": 1}], "n", 9, True)
        assert client.count_rows(*TABLE, where=[("a", "eq", "b")], cursor="c") == RowCount(3, None, 7)
    rows, count = service.requests
    assert rows.path.startswith("/views/tables/task/db%2Fx/t/rows?")
    assert rows.query == {
        "where": ["a:eq:1", '["x:y","in","[1,\\"b\\"]"]', '["n","gt","2.5"]'],
        "order": ['["-x","desc"]'],
        "limit": ["5"],
    }
    assert count.path.startswith("/views/tables/task/db%2Fx/t/count?")
    assert count.query == {"where": ['["a","eq","b"]'], "cursor": ["c"]}


@pytest.mark.parametrize("make", [StdlibTransport, HttpxTransport])
def test_a_file_comes_in_pieces_and_one_that_breaks_off_is_an_error(service: Any, make: Any) -> None:
    def whole(request: Any) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b'2\r\n"a\r\n4\r\n\n"\r\n\r\n0\r\n\r\n')

    def broken(request: Any) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"3\r\nabc\r\n")
        request.close_connection = True

    service.says(whole, broken, lambda request: request.reply(404, b'{"code": "request.not_found", "message": "gone"}'))
    with FusionClient(service.url, "k", transport=make(service.url, 10.0)) as client:
        assert b"".join(client.export_rows(*TABLE, "csv", safe=True)) == b'"a\n"\r\n'
        assert service.requests[0].query == {"format": ["csv"], "safe": ["true"]}
        with pytest.raises(errors.ConnectionLost):
            list(client.export_rows(*TABLE, "jsonl"))
        with pytest.raises(errors.NotFoundError):
            list(client.export_rows(*TABLE, "jsonl"))


def test_the_asynchronous_client_asks_the_same(service: Any) -> None:
    async def ask() -> None:
        async with AsyncFusionClient(service.url, "k") as client:
            assert (await client.rows(*TABLE, where=[("a", "eq", 1)])).rows == []
            assert (await client.table(*TABLE)).rows == 4
            assert (await client.tables_page(q="x", sort="rows", order="desc")).next is None
            assert (await client.count_rows(*TABLE)).count == 1
            assert b"".join([piece async for piece in client.export_rows(*TABLE, "csv")]) == b"a\r\n"

    service.says(
        lambda request: request.reply(200, b'{"rows": [], "next": null}'),
        lambda request: request.reply(200, b'{"task_id": "t", "schema": "s", "table": "x", "rows": 4}'),
        lambda request: request.reply(200, b'{"rows": [], "next": null}'),
        lambda request: request.reply(200, b'{"count": 1}'),
        lambda request: request.reply(200, b"a\r\n"),
    )
    asyncio.run(ask())
    assert service.requests[0].query == {"where": ['["a","eq","1"]']}
    assert service.requests[1].path == "/views/tables/task/db%2Fx/t/info"
    assert service.requests[2].query == {"q": ["x"], "sort": ["rows"], "order": ["desc"]}


def test_the_live_tail_of_one_table_is_asked_for_by_all_its_names(service: Any) -> None:
    service.says(lambda request: request.stream(b'event: lost\ndata: {"count": 2}\n\n'))
    with FusionClient(service.url, "k") as client:
        told = next(client.live(table="t", task_id="task", schema="db/x"))
    assert told.count == 2  # type: ignore[union-attr]
    assert service.requests[0].query == {"table": ["t"], "task_id": ["task"], "schema": ["db/x"]}
