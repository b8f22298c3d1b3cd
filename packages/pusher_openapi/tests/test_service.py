"""
Services of many kinds: how endpoints are found, how the credential is shown, what answers mean.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from fustor_core.errors import (
    AuthenticationFailed,
    BatchRejected,
    ConfigError,
    ConnectionLost,
    ConsumerBusy,
    FustorError,
    PermissionMissing,
    SessionConflict,
    SessionSuperseded,
)
from fustor_core.models.config import ApiKeyCredential, PasswdCredential, PusherConfig
from fustor_core.models.event import EventBase, InsertEvent, UpdateEvent
from fustor_pusher_openapi import OpenApiPusher
from fustor_pusher_openapi.discovery import find_endpoints
from fustor_pusher_openapi.params import openapi_params

URL = "http://service.test/docs/openapi.json"


def named(*paths: str, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "paths": {path: {"post": {}, "get": {}} for path in paths}, **more}


@pytest.mark.parametrize(
    ("document", "batch"),
    [
        (named("/a", **{"x-fustor-ingest-batch-endpoint": "/a"}), "http://service.test/a"),
        (named("/a", info={"x-fustor-ingest-batch-endpoint": "/a"}), "http://service.test/a"),
        ({"paths": {"/b": {"post": {"x-fustor-ingest-batch-endpoint": True}}}}, "http://service.test/b"),
        (named("/ingestor-api/v1/events/"), "http://service.test/ingestor-api/v1/events/"),
        (named("/v2/ingest/batch", "/events"), "http://service.test/v2/ingest/batch"),
        (named("/events", servers=[{"url": "/api/v1"}]), "http://service.test/api/v1/events"),
        (named("/events", servers=[{"url": "https://other.test/x/"}]), "https://other.test/x/events"),
        (named(**{"x-fustor-ingest-batch-endpoint": "https://other.test/y"}), "https://other.test/y"),
    ],
)
def test_the_endpoint_for_pushes_is_found(document: dict[str, Any], batch: str) -> None:
    assert find_endpoints(document, URL, openapi_params({})).batch == batch


NAMES = {
    "batch": "x-fustor-ingest-batch-endpoint",
    "session": "x-fustor-open-session-endpoint",
    "heartbeat": "x-fustor-heartbeat-endpoint",
    "status": "x-fustor-status-endpoint",
}


@pytest.mark.parametrize("place", ["top", "info", "operation"])
def test_each_endpoint_is_found_by_its_name_before_any_well_known_path(place: str) -> None:
    """
    Whatever the paths are called, and although others have the names that are looked for without.
    """
    document = named(
        "/events", "/sessions", "/heartbeat", "/position", "/a/batch", "/a/session", "/a/heartbeat", "/a/status"
    )
    for role, name in NAMES.items():
        if place == "operation":
            document["paths"][f"/a/{role}"]["get" if role == "status" else "post"][name] = True
        else:
            (document if place == "top" else document.setdefault("info", {}))[name] = f"/a/{role}"
    found = find_endpoints(document, URL, openapi_params({}))
    assert {role: getattr(found, role) for role in NAMES} == {role: f"http://service.test/a/{role}" for role in NAMES}


def test_settings_count_before_the_document() -> None:
    found = find_endpoints(
        named("/events", "/sessions", "/heartbeat"), URL, openapi_params({"batch_endpoint": "/mine"})
    )
    assert found.batch == "http://service.test/mine"
    assert (found.session, found.heartbeat, found.status) == (
        "http://service.test/sessions",
        "http://service.test/heartbeat",
        None,
    )


@pytest.mark.parametrize("document", [{}, {"paths": []}, named("/users"), {"paths": {"/events": {"get": {}}}}])
def test_a_document_without_such_an_endpoint_is_told(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="names no endpoint that takes pushes") as caught:
        find_endpoints(document, URL, openapi_params({}))
    assert "x-fustor-ingest-batch-endpoint" in caught.value.hint


class Service:
    """
    Answers requests without a network, and keeps them.
    """

    def __init__(self) -> None:
        self.document: Any = named("/batch", "/sessions", "/heartbeat", **{"x-fustor-ingest-batch-endpoint": "/batch"})
        self.requests: list[httpx.Request] = []
        self.push_answer = httpx.Response(200, json={"snapshot_needed": True, "extra": 1})
        self.session_answer = httpx.Response(200, json={"session_id": 7, "heartbeat_interval": 3, "epoch": 2})
        self.fault: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.fault is not None:
            raise self.fault
        if request.url.path == "/openapi.json":
            return httpx.Response(200, json=self.document)
        return self.session_answer if request.url.path == "/sessions" else self.push_answer

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]


Make = Callable[..., OpenApiPusher]


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def make(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    made: list[OpenApiPusher] = []
    client = httpx.AsyncClient

    def open_client(**more: Any) -> httpx.AsyncClient:
        return client(**more, transport=httpx.MockTransport(service))

    monkeypatch.setattr("fustor_pusher_openapi.driver.httpx.AsyncClient", open_client)

    def make(credential: Any = None, **params: Any) -> OpenApiPusher:
        config = PusherConfig(
            driver="openapi", endpoint="http://service.test", credential=credential, driver_params=params
        )
        made.append(OpenApiPusher("p", config))
        return made[-1]

    yield make
    for pusher in made:
        await pusher.close()


EVENTS: list[EventBase] = [
    InsertEvent("shop", "orders", [(1, Decimal("9.90")), (2, None)], ["id", "total"], 5, key=["id"]),
    UpdateEvent("shop", "orders", [{"id": 1, "note": "x"}], index=6, key=["id"]),
]


async def test_the_envelope_says_everything_and_the_answer_comes_back(service: Service, make: Make) -> None:
    pusher = make()
    session = await pusher.create_session("t", agent_id="a")
    assert session == {"session_id": "7", "heartbeat_interval": 3, "epoch": 2, "snapshot_needed": False}
    answer = await pusher.push(EVENTS, session_id="7", task_id="t", source_type="message", epoch=2, seq=1, unknown=1)
    assert answer == {"snapshot_needed": True, "extra": 1}
    assert service.last.headers["session-id"] == "7"
    envelope = json.loads(service.last.content)
    assert {name: envelope[name] for name in ("session_id", "task_id", "source_type", "epoch", "seq")} == {
        "session_id": "7", "task_id": "t", "source_type": "message", "epoch": 2, "seq": 1,
    }  # fmt: skip
    assert "unknown" not in envelope
    first, second = envelope["events"]
    assert first == {
        "event_type": "insert", "event_schema": "shop", "table": "orders", "fields": ["id", "total"], "index": 5,
        "rows": [{"id": 1, "total": "9.90"}, {"id": 2, "total": None}], "key": ["id"], "ts": None, "columns": None,
        "ordinal": None,
    }  # fmt: skip
    assert (second["event_type"], second["rows"]) == ("update", [{"id": 1, "note": "x"}])


async def test_rows_may_go_as_arrays(service: Service, make: Make) -> None:
    pusher = make(rows="arrays")
    await pusher.create_session("t")
    await pusher.push(EVENTS[:1], session_id="7")
    assert json.loads(service.last.content)["events"][0]["rows"] == [[1, "9.90"], [2, None]]


async def test_a_service_without_sessions_is_served_too(service: Service, make: Make) -> None:
    service.document = named("/events")
    service.push_answer = httpx.Response(204)
    pusher = make()
    session = await pusher.create_session("t")
    session_id = session["session_id"]
    assert await pusher.push([], session_id=session_id) == {"snapshot_needed": False}
    assert await pusher.heartbeat(session_id=session_id, task_id="t") == {}
    assert await pusher.get_latest_committed_index(session_id=session_id, task_id="t") == -1
    before = len(service.requests)
    await pusher.close_session(session_id=session_id, task_id="t")
    assert len(service.requests) == before


async def test_the_position_of_a_service_that_keeps_one(service: Service, make: Make) -> None:
    service.document = named("/events", "/position")
    service.push_answer = httpx.Response(200, json={"index": 41})
    pusher = make()
    await pusher.create_session("t")
    assert await pusher.get_latest_committed_index(session_id="s", task_id="t") == 41
    assert dict(service.last.url.params) == {"session_id": "s", "task_id": "t"}


BASIC = "Basic " + base64.b64encode(b"u:p").decode()
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Token"},
}


@pytest.mark.parametrize(
    ("credential", "params", "scheme", "header", "value"),
    [
        (PasswdCredential(user="u", passwd="p"), {}, None, "Authorization", BASIC),
        (ApiKeyCredential(key="k"), {}, None, "X-API-Key", "k"),
        (ApiKeyCredential(key="k"), {}, "bearer", "Authorization", "Bearer k"),
        (ApiKeyCredential(key="k"), {}, "header", "X-Token", "k"),
        (ApiKeyCredential(key="k"), {"auth": "api-key", "api_key_header": "X-Own"}, "bearer", "X-Own", "k"),
        (ApiKeyCredential(key="k"), {"auth": "bearer"}, "header", "Authorization", "Bearer k"),
        (ApiKeyCredential(key="p", user="u"), {"auth": "basic"}, None, "Authorization", BASIC),
        (PasswdCredential(user="u", passwd="p"), {}, "basic", "Authorization", BASIC),
        (None, {"headers": {"X-Team": "7"}}, None, "X-Team", "7"),
        (ApiKeyCredential(key="k"), {"auth": "none"}, None, "X-API-Key", None),
    ],
)
async def test_the_credential_is_shown_as_the_service_wants_it(
    service: Service, make: Make, credential: Any, params: dict[str, Any], scheme: str | None, header: str, value: str
) -> None:
    if scheme is not None:
        service.document["components"] = {"securitySchemes": {"one": SCHEMES[scheme]}}
    pusher = make(credential, **params)
    await pusher.create_session("t")
    await pusher.push([], session_id="7")
    assert service.last.headers.get(header) == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BatchRejected), (401, AuthenticationFailed), (403, PermissionMissing), (404, ConnectionLost),
        (408, ConsumerBusy), (413, BatchRejected), (419, SessionSuperseded), (422, BatchRejected), (429, ConsumerBusy),
        (500, ConnectionLost), (502, ConnectionLost), (503, ConsumerBusy), (302, ConnectionLost),
    ],
)  # fmt: skip
async def test_what_answers_to_a_push_mean(service: Service, make: Make, status: int, kind: type[FustorError]) -> None:
    pusher = make(ApiKeyCredential(key="very-secret"))
    await pusher.create_session("t")
    service.push_answer = httpx.Response(status, text="why not", headers={"Retry-After": "2.5"})
    with pytest.raises(kind, match="why not") as caught:
        await pusher.push(EVENTS, session_id="7")
    assert caught.value.context["status"] == status
    assert "very-secret" not in repr(caught.value)
    if isinstance(caught.value, ConsumerBusy):
        assert caught.value.wait_s == 2.5


@pytest.mark.parametrize("place", [{"rejected": {"1": "too long"}}, {"context": {"rejected": {"1": "too long"}}}])
async def test_a_service_may_name_what_it_refuses(service: Service, make: Make, place: dict[str, Any]) -> None:
    pusher = make()
    await pusher.create_session("t")
    service.push_answer = httpx.Response(422, json=place)
    with pytest.raises(BatchRejected) as caught:
        await pusher.push(EVENTS, session_id="7")
    assert {at: str(why) for at, why in caught.value.rejected.items()} == {1: "too long"}


async def test_a_value_that_can_not_be_sent_is_blamed_on_its_event(service: Service, make: Make) -> None:
    pusher = make()
    await pusher.create_session("t")
    asked = len(service.requests)
    with pytest.raises(BatchRejected) as caught:
        await pusher.push([*EVENTS, InsertEvent("s", "t", [{"id": object()}])], session_id="7")
    assert list(caught.value.rejected) == [2]
    assert len(service.requests) == asked


@pytest.mark.parametrize(
    ("status", "kind"), [(404, ConfigError), (409, SessionConflict), (401, AuthenticationFailed), (500, ConnectionLost)]
)
async def test_what_answers_to_the_opening_of_a_session_mean(
    service: Service, make: Make, status: int, kind: type[FustorError]
) -> None:
    service.session_answer = httpx.Response(status)
    with pytest.raises(kind):
        await make().create_session("t")


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={}), httpx.Response(200, json=[])]
)
async def test_a_session_without_an_id_is_told(service: Service, make: Make, answer: httpx.Response) -> None:
    service.session_answer = answer
    with pytest.raises(ConfigError, match=r"http://service\.test/sessions"):
        await make().create_session("t")


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.ReadTimeout(""), httpx.ReadError("reset")]
)
async def test_a_network_that_fails_may_come_back(service: Service, make: Make, fault: Exception) -> None:
    service.fault = fault
    with pytest.raises(ConnectionLost, match=r"http://service\.test"):
        await make().create_session("t")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("ftp://x", "not an http"),
        ("nonsense", "not an http"),
        ("http://u:p@x", "must not carry"),
        ("http://[x", "not a URL"),
    ],
)
def test_an_endpoint_that_is_none_is_told(endpoint: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OpenApiPusher("p", PusherConfig(driver="openapi", endpoint=endpoint))


def test_unknown_settings_are_told() -> None:
    with pytest.raises(ConfigError, match=r"`driver_params\.bach_endpoint`") as caught:
        openapi_params({"bach_endpoint": "/x"})
    assert "batch_endpoint" in caught.value.hint


async def test_the_wizard_tests_the_connection(service: Service, make: Make) -> None:
    well, said = await OpenApiPusher.test_connection(endpoint="http://service.test")
    assert (well, said) == (
        True,
        "pushes go to http://service.test/batch; sessions http://service.test/sessions; heartbeats http://service.test/heartbeat",
    )
    service.document = named("/users")
    well, said = await OpenApiPusher.test_connection(endpoint="http://service.test")
    assert not well and "names no endpoint" in said
    (step,) = (await OpenApiPusher.get_wizard_steps())["steps"]
    assert step["validations"] == ["test_connection"]
