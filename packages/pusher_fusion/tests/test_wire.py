"""
What goes over the wire when all is well.
"""

from __future__ import annotations

import asyncio
import socket
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from fustor_core.errors import BatchRejected, ConfigError
from fustor_core.models.config import PasswdCredential, PusherConfig
from fustor_core.models.event import DeleteEvent, InsertEvent, progress_mark
from fustor_pusher_fusion import FusionPusher
from fustor_pusher_fusion.params import base_url, is_loopback


async def test_a_push_carries_events_and_control_values_and_returns_what_fusion_said(
    fusion: Any, make_pusher: Any
) -> None:
    events = [
        InsertEvent("db", "t", [{"id": 1, "price": Decimal("1.50")}], index=5, key=["id"]),
        DeleteEvent("db", "t", [{"id": 2}], index=6, key=["id"]),
        progress_mark(9),
    ]
    answer = await make_pusher().push(
        events, session_id="s1", task_id="t", agent_id="a", epoch=2, checkpoint=4, seq=1, source_type="message"
    )
    assert answer == {"snapshot_needed": False, "snapshot_cancelled": True, "index": 7, "applied": 2, "stale": 0}
    sent = fusion.envelope()
    assert fusion.requests[-1].path == "/ingestor-api/v1/events/"
    assert fusion.requests[-1].headers["X-API-Key"] == "fk_secret_key"
    assert fusion.requests[-1].content_type == "application/msgpack"
    assert (sent.session_id, sent.task_id, sent.epoch, sent.checkpoint, sent.seq) == ("s1", "t", 2, 4, 1)
    assert [e.rows for e in sent.events] == [[[1, "1.50"]], [[2]], []]
    assert [e.index for e in sent.events] == [5, 6, 9]


async def test_session_calls_speak_as_the_reference_says(fusion: Any, make_pusher: Any) -> None:
    pusher = make_pusher()
    opened = await pusher.create_session("sync-1", agent_id="agent-1")
    assert opened == {"session_id": "s1", "heartbeat_interval": 5.0, "epoch": 3, "snapshot_needed": True}
    assert b'"task_id":"sync-1"' in fusion.bodies[0] and b'"agent_id":"agent-1"' in fusion.bodies[0]
    beat = await pusher.heartbeat(session_id="s1", task_id="sync-1")
    assert beat["snapshot_needed"] is True and beat["snapshot_request"] == {"tables": ["files"]}
    assert fusion.requests[-1].headers["session-id"] == "s1"
    assert await pusher.get_latest_committed_index(session_id="s1", task_id="sync-1") == 41
    assert fusion.requests[-1].query["session_id"] == "s1"
    await pusher.close_session(session_id="s1", task_id="sync-1")
    assert (fusion.requests[-1].method, fusion.requests[-1].headers["session-id"]) == ("DELETE", "s1")


@pytest.mark.parametrize("rows", [1, 100, 6000])
async def test_zstd_only_when_asked_for_and_worthwhile(fusion: Any, make_pusher: Any, rows: int) -> None:
    event = InsertEvent("db", "t", [{"id": n, "text": "some text"} for n in range(rows)], key=["id"])
    await make_pusher().push([event], session_id="s1")
    assert "Content-Encoding" not in fusion.requests[-1].headers, "auto means off to this same machine"
    await make_pusher(compression="zstd", compress_over_bytes=1000).push([event], session_id="s1")
    assert (fusion.requests[-1].headers.get("Content-Encoding") == "zstd") == (rows > 1)
    assert len(fusion.envelope().events[0].rows) == rows


async def test_a_live_push_does_not_wait_for_slow_snapshot_pushes(fusion: Any, make_pusher: Any) -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if fusion.envelope(fusion.requests.index(request)).source_type == "snapshot":
            await release.wait()
        return web.json_response({"snapshot_needed": False})

    fusion.answer = answer
    pusher = make_pusher()
    slow = [asyncio.create_task(pusher.push([], session_id="s", source_type="snapshot")) for _ in range(150)]
    async with asyncio.timeout(20):
        await pusher.push([progress_mark(1)], session_id="s", source_type="message")
        assert not any(task.done() for task in slow)
        release.set()
        await asyncio.gather(*slow)


async def test_pushes_one_after_another_use_one_connection_without_nagle(
    fusion: Any, make_pusher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = make_pusher()
    for n in range(5):
        await pusher.push([progress_mark(n)], session_id="s")
    assert len(fusion.connections) == 1
    kept = [entry[0] for entries in pusher._client._pool.connector._conns.values() for entry in entries]
    sock = kept[0].transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_value_that_cannot_travel_names_its_event_and_sends_nothing(fusion: Any, make_pusher: Any) -> None:
    events = [
        InsertEvent("db", "t", [{"id": 1}]),
        InsertEvent("db", "t", [{"id": object()}]),
        InsertEvent("db", "t", [{"id": "lone surrogate \udcff"}]),
    ]
    with pytest.raises(BatchRejected) as caught:
        await make_pusher().push(events, session_id="s")
    assert sorted(caught.value.rejected) == [1, 2]
    assert fusion.requests == []


async def test_connection_test_tells_what_is_wrong(fusion: Any) -> None:
    key = {"key": "fk_secret_key"}
    ok, said = await FusionPusher.test_connection(endpoint=fusion.url, credential=key)
    assert ok and "1 syncs" in said
    fusion.says(401, {"code": "request.unauthorized", "message": "unknown key", "hint": "", "context": {}})
    ok, said = await FusionPusher.test_connection(endpoint=fusion.url, credential=key)
    assert not ok and "API key" in said and "fk_secret_key" not in said
    fusion.says(200, "<html>router</html>")
    ok, said = await FusionPusher.test_connection(endpoint=fusion.url, credential=key)
    assert not ok and "does not answer like a Fusion" in said
    ok, said = await FusionPusher.test_connection(endpoint=fusion.url)
    assert not ok and "no API key" in said


async def test_wizard_steps_name_address_key_and_batch_size() -> None:
    steps = (await FusionPusher.get_wizard_steps())["steps"]
    assert steps[0]["validations"] == ["test_connection"]
    assert steps[0]["schema"]["properties"]["credential"]["properties"]["key"]["format"] == "password"
    assert steps[1]["schema"]["properties"]["batch_size"]["default"] == 5000


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:8102", "http://h:8102"),
        ("http://h:8102/", "http://h:8102"),
        ("http://h:8102/ingestor-api/v1/events/", "http://h:8102"),
        ("https://h/fusion/", "https://h/fusion"),
    ],
)
def test_endpoints_are_taken_as_people_write_them(endpoint: str, url: str) -> None:
    assert base_url(endpoint) == url


@pytest.mark.parametrize("endpoint", ["h:8102", "ftp://h", "http://user:pw@h", "http://h:port", "http://"])
def test_a_wrong_endpoint_is_refused_with_a_hint(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_url(endpoint)
    assert caught.value.hint


def test_loopback_is_recognised() -> None:
    assert [is_loopback(f"http://{h}:1") for h in ("localhost", "127.0.0.9", "[::1]", "fusion", "10.0.0.1")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "change",
    [{"driver_params": {"compresion": "off"}}, {"driver_params": {"timeout_s": 0}}, {"credential": None},
     {"credential": PasswdCredential(user="u")}, {"credential": {"key": "line\nbreak"}}, {"credential": {"key": " "}}],
)  # fmt: skip
def test_bad_configuration_is_said_at_once(change: dict[str, Any]) -> None:
    given = {"driver": "fusion", "endpoint": "http://h:1", "credential": {"key": "k"}, **change}
    with pytest.raises(ConfigError) as caught:
        FusionPusher("p1", PusherConfig.model_validate(given))
    assert caught.value.hint and "p1" in str(caught.value) and "break" not in str(caught.value)
