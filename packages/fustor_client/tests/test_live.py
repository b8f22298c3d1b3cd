"""
The live stream: what it yields, when it connects again, and what it tells of a gap.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from fustor_client import AsyncFusionClient, FusionClient
from fustor_client.live import ChangeReader, Reconnect
from fustor_client.log_stream import LogReader
from fustor_client.models import Change, Lost
from fustor_client.transport import StdlibTransport
from fustor_core import errors

Told = Change | Lost
Take = Callable[[str, int], Any]


def event(number: int) -> bytes:
    return f"event: change\ndata: {json.dumps({'op': 'insert', 'key': [str(number)], 'index': number})}\n\n".encode()


def quick() -> Reconnect:
    return Reconnect(first_s=0.01, most_s=0.05)


async def take_sync(url: str, count: int) -> list[Told]:
    with FusionClient(url, "k", transport=StdlibTransport(url)) as client:
        stream: Iterator[Told] = client.live(table="files", path="a b", reconnect=quick())
        return list(islice(stream, count))


async def take_httpx(url: str, count: int) -> list[Told]:
    with FusionClient(url, "k") as client:
        return list(islice(client.live(table="files", path="a b", reconnect=quick()), count))


async def take_async(url: str, count: int) -> list[Told]:
    got: list[Told] = []
    async with AsyncFusionClient(url, "k") as client:
        stream: AsyncIterator[Told] = client.live(table="files", path="a b", reconnect=quick())
        async for told in stream:
            got.append(told)
            if len(got) == count:
                break
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    return got


@pytest.fixture(params=[take_sync, take_httpx, take_async], ids=["stdlib", "httpx", "async"])
def take(request: pytest.FixtureRequest) -> Take:
    taker: Take = request.param
    return taker


def indexes(got: list[Told]) -> list[int | None]:
    return [told.index if isinstance(told, Change) else told.count for told in got]


async def test_changes_come_whole_whatever_the_chunks(service: Any, take: Take) -> None:
    """
    Comments, kinds of events from the future and changes cut in the middle of a line.
    """
    whole = b": hello\n\n" + event(1) + b"event: mood\ndata: {}\n\n" + b'event: lost\ndata: {"count": 7}\n\n' + event(2)
    service.says(lambda request: request.stream(*(whole[at : at + 5] for at in range(0, len(whole), 5))))
    got = await take(service.url, 3)
    assert indexes(got) == [1, 7, 2]
    assert service.requests[0].query == {"table": ["files"], "path": ["a b"]}
    assert service.requests[0].headers["X-API-Key"] == "k"


async def test_broken_stream_is_made_anew_and_its_gap_told_once(service: Any, take: Take) -> None:
    """
    However many tries the new connection takes, the gap is one. A stream may end cut off, refused for the load, or well.
    """

    def drop(request: Any) -> None:
        request.close_connection = True

    service.says(
        lambda request: request.stream(event(1), b"event: change\nda"),
        drop,
        lambda request: request.reply(503, b"", Retry_After="0"),
        drop,
        lambda request: request.stream(event(2)),
        lambda request: request.stream(event(3)),
    )
    assert indexes(await take(service.url, 5)) == [1, None, 2, None, 3]
    assert len(service.requests) == 6


async def test_refused_key_ends_the_stream_also_later(service: Any, take: Take) -> None:
    service.says(
        lambda request: request.stream(event(1)),
        lambda request: request.reply(401, b'{"code": "request.unauthorized", "message": "revoked", "hint": "h"}'),
    )
    with pytest.raises(errors.Unauthorized, match="revoked"):
        await take(service.url, 3)


async def test_first_connection_that_fails_is_told_at_once(service: Any, take: Take) -> None:
    service.says(lambda request: request.reply(503, b""))
    with pytest.raises(errors.OverloadedError):
        await take(service.url, 1)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "lines", [["event: change", "data: {"], ["event: lost", "data: {}"], ["event: lost", 'data: "x"']]
)
def test_event_that_can_not_be_read_is_an_error(lines: list[str]) -> None:
    reader = ChangeReader("http://x/views/live")
    for line in lines:
        assert reader.feed(line) is None
    with pytest.raises(errors.FustorError, match="can't be read"):
        reader.feed("")


def test_lines_of_the_log_are_those_of_events_of_that_kind() -> None:
    reader = LogReader("http://x/api/logs/follow")
    told = [reader.feed(line) for line in (": hello", "", "event: mood", 'data: {"level": "GOOD"}', "")]
    assert told == [None] * 5
    assert [reader.feed(line) for line in ("event: line", 'data: {"level": "INFO",', 'data: "message": "m"}')] == [
        None
    ] * 3
    line = reader.feed("")
    assert line is not None and (line.level, line.message) == ("INFO", "m")
    reader.feed("event: line")
    reader.feed("data: {")
    with pytest.raises(errors.FustorError, match="can't be read"):
        reader.feed("")


def test_waits_double_up_to_the_most_and_start_over() -> None:
    waits = Reconnect(first_s=0.2, most_s=5.0)
    for number in range(10):
        most = min(5.0, 0.2 * 2**number)
        assert 0.7 * most <= waits.wait_s(None) <= most
    assert waits.wait_s(errors.OverloadedError("busy", wait_s=30.0)) >= 21
    waits.reset()
    assert waits.wait_s(None) <= 0.2
