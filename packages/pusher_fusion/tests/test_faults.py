"""
Every way in which Fusion, or what stands between, can fail: which error the agent sees.
"""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from fustor_core import errors
from fustor_core.models.event import progress_mark


def told(code: str, **context: Any) -> dict[str, Any]:
    return {"code": code, "message": "what happened", "hint": "what to do", "context": context}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, told("request.invalid"), errors.BatchRejected),
        (422, {"detail": [{"msg": "field required"}]}, errors.BatchRejected),
        (401, told("request.unauthorized"), errors.AuthenticationFailed),
        (403, told("request.forbidden"), errors.PermissionMissing),
        (404, told("request.not_found"), errors.SessionSuperseded),
        (409, told("session.conflict"), errors.SessionConflict),
        (413, told("request.too_large"), errors.BatchRejected),
        (413, "<html>nginx</html>", errors.BatchRejected),
        (419, told("session.superseded"), errors.SessionSuperseded),
        (429, told("request.overloaded"), errors.ConsumerBusy),
        (503, told("request.storage_full"), errors.ConsumerBusy),
        (503, "<html>starting</html>", errors.ConsumerBusy),
        (500, "Internal Server Error", errors.ConnectionLost),
        (502, "<html>bad gateway</html>", errors.ConnectionLost),
        (400, "<html>proxy says no</html>", errors.ConnectionLost),
        (404, "<html>not here</html>", errors.ConnectionLost),
        (302, "<html>log in</html>", errors.ConnectionLost),
        (200, "<html>welcome</html>", errors.ConnectionLost),
        (200, [1, 2], errors.ConnectionLost),
        (200, {"snapshot_needed": "perhaps"}, errors.ConnectionLost),
    ],
)
async def test_each_answer_to_a_push_becomes_the_error_that_says_what_to_do(
    fusion: Any, make_pusher: Any, status: int, body: Any, error: type[errors.FustorError]
) -> None:
    fusion.says(status, body)
    with pytest.raises(error) as caught:
        await make_pusher().push([progress_mark(1)], session_id="s")
    assert type(caught.value) is error
    assert caught.value.hint and fusion.url in caught.value.message
    assert "fk_secret_key" not in repr(caught.value.to_dict())


async def test_rejected_events_are_passed_on_by_their_place(fusion: Any, make_pusher: Any) -> None:
    fusion.says(400, told("batch.rejected", rejected={"2": "no key"}))
    with pytest.raises(errors.BatchRejected) as caught:
        await make_pusher().push([progress_mark(1)], session_id="s")
    assert caught.value.rejected == {2: "no key"}
    assert "what happened" in caught.value.message and caught.value.hint == "what to do"


@pytest.mark.parametrize("asked", ["2.5", "0"])
async def test_retry_after_in_seconds_is_passed_on(fusion: Any, make_pusher: Any, asked: str) -> None:
    fusion.says(503, told("request.overloaded"), **{"Retry-After": asked})
    with pytest.raises(errors.ConsumerBusy) as caught:
        await make_pusher().push([], session_id="s")
    assert caught.value.wait_s == float(asked)


async def test_retry_after_as_a_date_or_as_nonsense_does_no_harm(fusion: Any, make_pusher: Any) -> None:
    fusion.says(503, told("request.overloaded"), **{"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    with pytest.raises(errors.ConsumerBusy) as caught:
        await make_pusher().push([], session_id="s")
    assert caught.value.wait_s is not None and 50 < caught.value.wait_s <= 100
    fusion.says(503, told("request.overloaded"), **{"Retry-After": "soon"})
    with pytest.raises(errors.ConsumerBusy) as caught:
        await make_pusher().push([], session_id="s")
    assert caught.value.wait_s is None


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "<html>a web server</html>"), (200, "<html>a router</html>"), (307, "x"), (200, {"no": "session"}), (400, told("request.invalid"))],
)  # fmt: skip
async def test_a_wrong_endpoint_is_said_when_the_session_is_opened(
    fusion: Any, make_pusher: Any, status: int, body: Any
) -> None:
    fusion.says(status, body, Location="https://elsewhere.example/")
    with pytest.raises(errors.ConfigError) as caught:
        await make_pusher().create_session("t")
    assert caught.value.hint
    assert len(fusion.requests) == 1, "a redirect is not followed: the key stays with the configured host"


async def test_dropped_connections_are_tried_once_more_at_once_and_then_lost(fusion: Any, make_pusher: Any) -> None:
    drops = 1

    async def drop(request: web.Request) -> web.StreamResponse:
        nonlocal drops
        if drops:
            drops -= 1
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.json_response({"snapshot_needed": True})

    fusion.answer = drop
    pusher = make_pusher()
    assert (await pusher.push([progress_mark(1)], session_id="s"))["snapshot_needed"] is True
    drops = 100
    with pytest.raises(errors.ConnectionLost):
        await pusher.push([progress_mark(2)], session_id="s")
    assert len(fusion.requests) == 4


async def test_an_answer_cut_short_is_not_taken_for_an_acknowledgement(fusion: Any, make_pusher: Any) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"snapshot_needed": false')
        assert request.transport is not None
        request.transport.abort()
        return response

    fusion.answer = cut
    with pytest.raises(errors.ConnectionLost):
        await make_pusher().push([progress_mark(1)], session_id="s")


async def test_a_slow_answer_ends_as_a_lost_connection(fusion: Any, make_pusher: Any) -> None:
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    fusion.answer = hang
    with pytest.raises(errors.ConnectionLost, match="no answer"):
        await make_pusher(timeout_s=0.2).push([progress_mark(1)], session_id="s")


async def test_nobody_listening_is_a_lost_connection_with_a_hint(make_pusher: Any) -> None:
    probe = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    with pytest.raises(errors.ConnectionLost, match="can't connect") as caught:
        await make_pusher(f"http://127.0.0.1:{port}").create_session("t")
    assert "Fusion runs" in caught.value.hint


async def test_garbage_instead_of_http_is_a_lost_connection(make_pusher: Any) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 4)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        with pytest.raises(errors.ConnectionLost):
            await make_pusher(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}").create_session("t")


async def test_a_missing_certificate_file_is_a_configuration_error(make_pusher: Any) -> None:
    with pytest.raises(errors.ConfigError, match="ca_file"):
        await make_pusher("https://127.0.0.1:1", ca_file="/nowhere/ca.pem").create_session("t")


async def test_the_key_is_in_no_log_line_and_no_repr(
    fusion: Any, make_pusher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pusher = make_pusher()
    fusion.says(500, "boom")
    with pytest.raises(errors.ConnectionLost):
        await pusher.push([], session_id="s")
    assert "fk_secret_key" not in caplog.text + repr(pusher) + repr(pusher.config) + pusher.config.model_dump_json()
