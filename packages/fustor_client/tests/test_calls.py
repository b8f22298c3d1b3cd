"""
The clients against a real HTTP server that answers as the test says.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fustor_client import AgentClient, AsyncFusionClient, AsyncRegistryClient, FusionClient, RegistryClient
from fustor_client.httpx_transport import HttpxTransport
from fustor_client.models import FileEntry, Page
from fustor_client.transport import StdlibTransport, Transport
from fustor_core import errors

Make = Callable[[str, float], Transport]
MAKERS: list[Make] = [StdlibTransport, HttpxTransport]


@pytest.fixture(params=MAKERS, ids=["stdlib", "httpx"])
def make(request: pytest.FixtureRequest) -> Make:
    maker: Make = request.param
    return maker


def fusion(url: str, make: Make, timeout_s: float = 10.0) -> FusionClient:
    return FusionClient(url, "the-key", transport=make(url, timeout_s))


def document(code: str, message: str = "it failed", hint: str = "mend it", **context: Any) -> bytes:
    return json.dumps({"code": code, "message": message, "hint": hint, "context": context}).encode()


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFoundError),
        (409, errors.StateConflictError),
        (413, errors.RequestTooLarge),
        (419, errors.SessionSuperseded),
        (422, errors.InvalidRequest),
        (429, errors.OverloadedError),
        (503, errors.OverloadedError),
        (500, errors.FustorError),
        (302, errors.FustorError),
    ],
)
def test_status_without_a_document_decides_the_class(
    service: Any, make: Make, status: int, cls: type[errors.FustorError]
) -> None:
    service.says(lambda request: request.reply(status, b"<html>proxy</html>"))
    with fusion(service.url, make) as client, pytest.raises(errors.FustorError) as caught:
        client.trees()
    assert type(caught.value) is cls
    assert caught.value.context["status"] == status
    assert caught.value.context["url"] == f"{service.url}/views/fs/trees"
    assert str(status) in caught.value.message


def test_code_of_the_document_wins_over_the_status(service: Any, make: Make) -> None:
    body = document("session.conflict", "held by another", "stop it", holder="agent-2")
    service.says(lambda request: request.reply(500, body))
    with fusion(service.url, make) as client, pytest.raises(errors.SessionConflict) as caught:
        client.trees()
    assert (caught.value.message, caught.value.hint) == ("held by another", "stop it")
    assert caught.value.context == {"holder": "agent-2", "status": 500, "url": f"{service.url}/views/fs/trees"}


def test_codes_and_shapes_of_newer_services_are_borne(service: Any, make: Make) -> None:
    """
    An unknown code, a hint that is no text, FastAPI's own document and a list: always an error that can be shown.
    """
    service.says(
        lambda request: request.reply(404, document("request.brand_new")),
        lambda request: request.reply(404, b'{"code": ["x"], "hint": 7, "context": 3}'),
        lambda request: request.reply(422, b'{"detail": [{"loc": ["query", "limit"], "msg": "too large"}]}'),
        lambda request: request.reply(400, b'["no", "object"]'),
        lambda request: request.reply(400, b'{"\xff": 1}'),
    )
    caught = []
    with fusion(service.url, make) as client:
        for _ in range(5):
            with pytest.raises(errors.FustorError) as one:
                client.trees()
            caught.append(one.value)
    assert caught[0].context["code"] == "request.brand_new"
    assert caught[1].hint == "7"
    assert "too large" in caught[2].message
    assert [type(one) for one in caught] == [
        errors.NotFoundError,
        errors.NotFoundError,
        errors.InvalidRequest,
        errors.InvalidRequest,
        errors.InvalidRequest,
    ]


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_retry_after_travels_with_the_error(service: Any, make: Make, header: str, wait_s: float | None) -> None:
    service.says(lambda request: request.reply(429, document("request.overloaded"), Retry_After=header))
    with fusion(service.url, make) as client, pytest.raises(errors.OverloadedError) as caught:
        client.trees()
    default = errors.OverloadedError("x").wait_s
    assert caught.value.wait_s == (default if wait_s is None else wait_s)


@pytest.mark.parametrize("body", [b"<html>welcome to the router</html>", b"", b'{"rows": 3}', b"null", b'{"\xff": 1}'])
def test_answer_that_is_not_ours_is_told_as_such(service: Any, make: Make, body: bytes) -> None:
    service.says(lambda request: request.reply(200, body))
    with fusion(service.url, make) as client, pytest.raises(errors.FustorError, match="can't be read") as caught:
        client.trees()
    assert "same version" in caught.value.hint


def test_answer_with_a_broken_encoding_is_a_lost_connection() -> None:
    """
    Bytes that are not what their header says come from a broken way, as a cut connection does.
    """

    async def run(url: str) -> None:
        async with AsyncFusionClient(url, "k") as client:
            await client.trees()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            for _ in range(2):
                peer, _address = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")

        thread = threading.Thread(target=serve)
        thread.start()
        with FusionClient(url, "k") as client, pytest.raises(errors.ConnectionLost):
            client.trees()
        with pytest.raises(errors.ConnectionLost):
            asyncio.run(run(url))
        thread.join()


def test_nobody_listens(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with fusion(url, make) as client:
        with pytest.raises(errors.ConnectionLost, match="does not answer") as caught:
            client.trees()
        with pytest.raises(errors.ConnectionLost):
            client.is_ready()
        with pytest.raises(errors.ConnectionLost):
            next(client.live())
    assert caught.value.context["url"] == url


def test_slow_answer_ends_after_the_timeout_and_is_not_asked_twice(service: Any, make: Make) -> None:
    """
    The second call goes over a kept connection; a timeout there is no closed connection and is not repeated.
    """
    gate = threading.Event()
    service.says(lambda request: request.reply(200, b'{"rows": []}'), lambda request: gate.wait(30) and None)
    with fusion(service.url, make, timeout_s=0.3) as client:
        client.trees()
        with pytest.raises(errors.ConnectionLost):
            client.trees()
    gate.set()
    assert len(service.requests) == 2


def _close_after_the_answer(request: Any) -> None:
    request.reply(200, b'{"rows": []}')
    request.close_connection = True  # without a word in the headers, as a restarted service does


def test_kept_connection_that_was_closed_is_made_anew_for_reads_only(service: Any) -> None:
    service.says(
        _close_after_the_answer, _close_after_the_answer, lambda request: request.reply(200, b'{"valid": true}')
    )
    transport = StdlibTransport(service.url, 10.0)
    with FusionClient(service.url, "k", transport=transport) as client:
        client.trees()
        assert client.trees() == []
    assert len(service.requests) == 2


def test_write_that_may_have_arrived_is_not_sent_again(service: Any) -> None:
    def drop(request: Any) -> None:
        request.close_connection = True  # read, and no answer: done or not, nobody knows

    service.says(lambda request: request.reply(200, b"{}"), drop)
    with AgentClient(service.url, transport=StdlibTransport(service.url, 10.0)) as agent:
        agent.put_config("syncs", "a/b", {"disabled": False})
        with pytest.raises(errors.ConnectionLost):
            agent.put_config("syncs", "a/b", {"disabled": True})
    assert [request.path for request in service.requests] == ["/api/configs/syncs/a%2Fb"] * 2


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8102", "ftp://x", "http://", "http://h:port", "http://h:99999", "http://[::1"]
)
def test_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="not the address"):
        StdlibTransport(url)


def test_key_travels_in_its_header_and_odd_ones_are_refused(service: Any) -> None:
    service.says(lambda request: request.reply(200, b'{"rows": []}'))
    with FusionClient(service.url, "from-a-file\n", transport=StdlibTransport(service.url)) as client:
        client.trees()
    assert service.requests[0].headers["X-API-Key"] == "from-a-file"
    for key in ("schlüssel", "two\nlines", "nul\0"):
        with pytest.raises(errors.Unauthorized):
            FusionClient(service.url, key)
        with pytest.raises(errors.Unauthorized):
            AsyncFusionClient(service.url, key)


def _page(request: Any) -> None:
    """
    Answer as Fusion does: pages of at most `limit` of 2,500 names, the cursor a number.
    """
    start, limit = int(request.query.get("cursor", ["0"])[0]), int(request.query["limit"][0])
    end = min(2500, start + limit)
    rows = [{"path": f"f{number}"} for number in range(start, end)]
    request.reply(200, json.dumps({"rows": rows, "next": str(end) if end < 2500 else None}).encode())


@pytest.mark.parametrize(("limit", "count", "calls"), [(None, 2500, 3), (1500, 1500, 2), (1000, 1000, 1), (1, 1, 1)])
async def test_search_all_pages_to_the_end_or_the_limit(
    service: Any, limit: int | None, count: int, calls: int
) -> None:
    service.says(_page)
    wanted = [f"f{number}" for number in range(count)]
    with fusion(service.url, StdlibTransport) as client:
        assert [row.path for row in client.search_all("f", limit=limit)] == wanted
    assert len(service.requests) == calls
    async with AsyncFusionClient(service.url, "k") as asynchronous:
        assert [row.path async for row in asynchronous.search_all("f", limit=limit)] == wanted


def test_parameters_travel_as_the_api_spells_them(service: Any) -> None:
    service.says(lambda request: request.reply(200, b'{"rows": [], "next": null}'))
    with fusion(service.url, StdlibTransport) as client:
        found = client.search("中 &\udcff", in_="path", case=True, path="a b", type=None, limit=7)
        client.rows("task/1", "s p", "t", where=["a:eq:1", "b:gt:2"])
    assert found == Page[FileEntry]([])
    first, second = service.requests
    assert first.path.startswith("/views/fs/search?") and "%FF" in first.path
    assert {name: values for name, values in first.query.items() if name != "q"} == {
        "in": ["path"],
        "case": ["true"],
        "path": ["a b"],
        "limit": ["7"],
    }
    assert second.path.startswith("/views/tables/task%2F1/s%20p/t/rows?")
    assert second.query["where"] == ["a:eq:1", "b:gt:2"]


def test_unknown_fields_are_ignored_and_missing_configurations_are_none(service: Any) -> None:
    service.says(
        lambda request: request.reply(200, b'{"syncs": [{"id": "s", "state": "MESSAGE_SYNC", "moods": [1]}]}'),
        lambda request: request.reply(404, document("request.not_found")),
    )
    with AgentClient(service.url, transport=StdlibTransport(service.url)) as agent:
        (sync,) = agent.instances().syncs
        assert (sync.id, sync.pushed_rows) == ("s", 0)
        assert agent.config("sources", "none") is None


async def test_login_is_remembered_by_both_clients(service: Any) -> None:
    def answer(request: Any) -> None:
        if request.path == "/api/v1/login":
            request.reply(200, b'{"token": "t0ken"}')
        else:
            assert request.headers["Authorization"] == "Bearer t0ken"
            request.reply(200, b'[{"id": 1, "name": "local"}]')

    service.says(answer)
    with RegistryClient(service.url, transport=StdlibTransport(service.url)) as registry:
        registry.login("admin", "pw")
        assert [one.name for one in registry.datastores()] == ["local"]
    async with AsyncRegistryClient(service.url) as asynchronous:
        await asynchronous.login("admin", "pw")
        assert [one.name for one in await asynchronous.datastores()] == ["local"]
    assert json.loads(service.requests[0].body) == {"name": "admin", "password": "pw"}
