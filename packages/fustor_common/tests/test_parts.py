"""
The shared parts, each by itself.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient

from fustor_common import atomicfile
from fustor_common.app import Stopping, create_service_app
from fustor_common.direct import answer_directly
from fustor_common.http import error_response, status_of
from fustor_common.logging import close_logging, setup_logging
from fustor_common.path_parts import name_part
from fustor_common.settings import ServiceSettings, local_url
from fustor_core import errors
from fustor_core.errors import ConfigError, FustorError


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path))
    return ServiceSettings.load(log_console=False)


def test_settings_come_from_the_environment_and_arguments_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path / "x"))
    assert ServiceSettings.load().config_dir == tmp_path / "x"
    assert ServiceSettings.load(config_dir=tmp_path, log_level="debug").log_file == tmp_path / "fustor_service.log"
    with pytest.raises(ConfigError, match="PORT"):
        ServiceSettings.load(port=70000)
    assert (local_url("0.0.0.0", 1), local_url("::", 1)) == ("http://127.0.0.1:1", "http://[::1]:1")


def test_logging_set_up_twice_writes_each_line_once(settings: ServiceSettings) -> None:
    assert setup_logging(settings)
    try:
        assert not setup_logging(settings)
        logging.getLogger("uvicorn.error").warning("once %s", 1, extra={"rows": 3, "auth_token": "t0p"})
    finally:
        close_logging()
    lines = [json.loads(line) for line in settings.log_file.read_text().splitlines()]
    assert [(x["event"], x["rows"], x["auth_token"], x["level"]) for x in lines] == [("once 1", 3, "***", "warning")]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    atomicfile.write_text(path, "old")
    assert path.stat().st_mode & 0o777 == 0o600

    def fail(*_args: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk gone"):
        atomicfile.write_text(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("x"), 400),
        (errors.RequestTooLarge("x"), 413),
        (errors.Unauthorized("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFoundError("x"), 404),
        (errors.SessionConflict("x"), 409),
        (errors.SessionSuperseded("x"), 419),
        (errors.StorageFull("x", wait_s=2.5), 503),
        (errors.ConsumerBusy("x"), 503),
        (errors.BatchRejected("x", rejected={1: "bad"}), 422),
        (FustorError("x"), 500),
    ],
)
def test_each_error_has_its_status(error: FustorError, status: int) -> None:
    assert status_of(error) == status
    answer = error_response(error)
    assert set(json.loads(bytes(answer.body))) == {"code", "message", "hint", "context"}
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_errors_health_and_request_ids_of_an_app(settings: ServiceSettings) -> None:
    """An invalid request, a lost route and a failed check are answered in the one shape, under a request id."""
    app: FastAPI = create_service_app(settings, title="T", version="1")

    @app.get("/number")
    def number(n: int) -> int:
        return n

    @app.post("/name")
    def name(given: dict[str, str]) -> int:
        if given["name"] == "\ud801":
            raise errors.NotFoundError("there is nobody of that name", context=given)
        return len(given["name"].encode())

    problem: list[str] = []
    app.state.health.add("disk", lambda: problem[0] if problem else None)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://t") as client:
        assert (await client.get("/health/ready")).status_code == 503  # not started yet
        async with app.router.lifespan_context(app):
            assert (await client.get("/health/ready")).status_code == 200
            problem.append("no space")
            ready = await client.get("/health/ready")
            assert ready.status_code == 503 and ready.json()["context"]["checks"]["disk"] == "no space"
            for url, status in (("/number?n=x", 400), ("/none", 404)):
                answer = await client.get(url, headers={"X-Request-ID": "mine"})
                assert answer.status_code == status and answer.headers["x-request-id"] == "mine"
                assert set(answer.json()) == {"code", "message", "hint", "context"}
            for text, status in (("\\ud800", 400), ("\\ud801", 404)):  # halves of characters, as JSON can name them
                answer = await client.post(
                    "/name", content=f'{{"name": "{text}"}}', headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == status and answer.json()["message"] and answer.content.isascii()
            first, second = [(await client.get("/health/live")).headers["x-request-id"] for _ in range(2)]
            assert first != second


async def test_a_path_that_is_answered_directly_is_answered_like_any_other(settings: ServiceSettings) -> None:
    """
    Its errors are those of a route and carry the request's id; other methods and paths go the usual way.
    """
    app: FastAPI = create_service_app(settings, title="T", version="1")

    async def take(request: Request) -> Response:
        text = (await request.body()).decode()
        if text == "known":
            raise errors.NotFoundError("there is nobody of that name")
        if text == "unknown":
            raise RuntimeError("nobody foresaw it")
        return Response(text.upper())

    async def usual(request: Request) -> Response:
        return Response("usual")

    app.add_api_route("/take", usual, methods=["GET", "POST"])
    app.add_api_route("/take/more", usual, methods=["POST"])
    answer_directly(app, "POST", "/take", take)
    headers = {"X-Request-ID": "mine"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://t", headers=headers) as client:
        for text, status, body in (
            ("a", 200, b"A"),
            ("known", 404, b"nobody of that name"),
            ("unknown", 500, b'"request_id":"mine"'),
        ):
            answer = await client.post("/take", content=text)
            assert (answer.status_code, answer.headers["x-request-id"]) == (status, "mine") and body in answer.content
        assert (await client.get("/take")).text == (await client.post("/take/more")).text == "usual"


async def test_only_what_it_is_named_for_fits_into_a_part_of_a_path(settings: ServiceSettings) -> None:
    """A path that is no number is another route's: its methods are told from those of both."""
    name_part("few", "[0-9]{1,3}")
    app: FastAPI = create_service_app(settings, title="T", version="1")
    app.add_api_route("/things/{n:few}", lambda n: n, methods=["GET"])
    app.add_api_route("/things/all", lambda: "all", methods=["DELETE"])
    async with AsyncClient(transport=ASGITransport(app), base_url="http://t") as client:
        assert (await client.get("/things/12")).json() == "12"
        assert (await client.get("/things/1234")).status_code == 404
        refused = await client.get("/things/all")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "DELETE")
    assert "/things/{n}" in app.openapi()["paths"]


async def test_an_endless_stream_ends_when_the_service_stops() -> None:
    stopping = Stopping()

    async def ticks():  # type: ignore[no-untyped-def]
        n = 0
        while True:
            yield n
            n += 1
            if n == 3:
                stopping.set()

    # The item that was ready when the stop came is still delivered.
    assert [n async for n in stopping.until(ticks())] == [0, 1, 2, 3]
