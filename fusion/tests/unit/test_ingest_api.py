"""
Sessions, pushes, snapshots and errors through the API, in process.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import msgspec
import pytest
import zstandard
from ingest_bench import FakeRegistry, Fusion, running, users

from fustor_core.models.envelope import MSGPACK, Envelope, WireEvent, encode_envelope
from fustor_fusion.settings import FusionSettings

EVENTS = "/ingestor-api/v1/events/"


def mark(index: int, table: str = "", schema: str = "") -> WireEvent:
    return WireEvent(index=index, table=table, event_schema=schema)


def at(event: WireEvent, schema: str, table: str) -> WireEvent:
    return msgspec.structs.replace(event, event_schema=schema, table=table)


async def test_a_pushed_row_is_answered_with_counts_and_read_back(fusion: Fusion) -> None:
    """A push answers what it applied and the checkpoint, and the row is there at once."""
    session = await fusion.open()
    assert session["epoch"] == -1
    assert session["snapshot_needed"] is True
    answer = await fusion.push(session["session_id"], users((1, "a"), (2, "b"), index=7), checkpoint=5, seq=1)
    assert answer == {"snapshot_needed": True, "index": 5, "applied": 2}
    assert await fusion.rows() == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    position = await fusion.http.get(EVENTS + "position", params={"session_id": session["session_id"]})
    assert position.json() == {"index": 5}


async def test_older_clients_json_with_rows_as_objects(fusion: Fusion) -> None:
    """An envelope with only session_id, events and source_type is taken, and the checkpoint is its largest index."""
    session = await fusion.open(agent_id=None)
    event = {"event_type": "insert", "event_schema": "db", "table": "users", "index": 9, "key": ["id"]}
    event["rows"] = [{"id": 1, "name": "a"}, {"name": "b", "id": 2}, {"id": 3}]
    body = {"session_id": session["session_id"], "events": [event], "source_type": "message"}
    answer = await fusion.http.post(EVENTS, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["index"] == 9
    assert {r["id"]: r.get("name") for r in await fusion.rows()} == {1: "a", 2: "b", 3: None}


async def test_newer_client_without_checkpoint_moves_none(fusion: Fusion) -> None:
    """A push that says its seq and no checkpoint does not move the checkpoint: others may be in flight."""
    session = await fusion.open()
    answer = await fusion.push(session["session_id"], users((1, "a"), index=50), seq=3)
    assert answer.get("index", -1) == -1


async def test_checkpoint_grows_within_an_epoch_and_starts_anew_with_the_next(fusion: Fusion) -> None:
    """The checkpoint never goes back within an epoch; a new epoch replaces it; an old epoch changes nothing."""
    sid = (await fusion.open())["session_id"]
    assert (await fusion.push(sid, checkpoint=10, seq=1))["index"] == 10
    assert (await fusion.push(sid, checkpoint=4, seq=2))["index"] == 10
    assert (await fusion.push(sid, checkpoint=2, seq=3, epoch=1))["index"] == 2
    assert (await fusion.push(sid, checkpoint=99, seq=4, epoch=0))["index"] == 2
    assert (await fusion.open())["epoch"] == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_compressed_bodies(fusion: Fusion, encoding: str) -> None:
    """zstd and gzip bodies are read, a broken one is refused, and a bomb is refused before it unfolds."""
    sid = (await fusion.open())["session_id"]
    pack = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    headers = {"Content-Type": MSGPACK, "Content-Encoding": encoding}
    body = encode_envelope(Envelope(sid, [users((1, "a"))]), MSGPACK)
    assert (await fusion.http.post(EVENTS, content=pack(body), headers=headers)).status_code == 200
    broken = await fusion.http.post(EVENTS, content=pack(body)[:-3], headers=headers)
    assert broken.status_code == 400, broken.text
    bomb = await fusion.http.post(EVENTS, content=pack(bytes(100 * 1024 * 1024)), headers=headers)
    assert bomb.status_code == 413, bomb.text
    assert fusion.app.state.datastores.opened()[0].applier.queued_bytes == 0


async def test_too_large_bodies_are_refused(settings: FusionSettings, registry: FakeRegistry) -> None:
    """A body past the limit answers 413, with and without a Content-Length, and takes no room."""
    settings.max_body_bytes = 10_000

    async def pieces() -> Any:
        for _ in range(5):
            yield b" " * 4_000

    async with running(settings, registry) as fusion:
        await fusion.open()
        assert (await fusion.http.post(EVENTS, content=b" " * 20_000)).status_code == 413
        answer = await fusion.http.post(EVENTS, content=pieces())
        assert answer.status_code == 413
        assert answer.json()["code"] == "request.too_large"
        assert fusion.app.state.datastores.opened()[0].applier.queued_bytes == 0


BAD: list[tuple[str, Any]] = [
    ("not json", b"{"),
    ("not an object", b"[]"),
    ("not utf-8", b'{"session_id": "\xff"}'),
    ("wrong type", {"events": 3}),
    ("unknown event type", {"events": [{"event_type": "upsert"}]}),
    ("unknown source type", {"source_type": "other"}),
    ("row too short", {"events": [{"table": "x", "fields": ["a", "b"], "rows": [[1, 2], [1]], "key": ["a"]}]}),
    ("row not an array", {"events": [{"table": "x", "fields": ["a"], "rows": [[1], 5], "key": ["a"]}]}),
    ("mixed rows", {"events": [{"table": "x", "rows": [{"a": 1}, [1]], "key": ["a"]}]}),
    ("no fields", {"events": [{"table": "x", "rows": [[1]], "key": ["a"]}]}),
    ("field twice", {"events": [{"table": "x", "fields": ["a", "a"], "rows": [[1, 2]], "key": ["a"]}]}),
    ("key not among fields", {"events": [{"table": "x", "fields": ["a"], "rows": [[1]], "key": ["b"]}]}),
    ("empty key", {"events": [{"table": "x", "fields": ["a"], "rows": [[1]], "key": []}]}),
    ("key is null", {"events": [{"table": "x", "fields": ["a"], "rows": [[None]], "key": ["a"]}]}),
    ("no table", {"events": [{"fields": ["a"], "rows": [[1]], "key": ["a"]}]}),
    ("index too large", {"events": [{"index": 2**63}]}),
    ("epoch negative", {"epoch": -5}),
    ("other sync", {"task_id": "other"}),
    ("other key", {"events": [{"table": "users", "event_schema": "db", "fields": ["id"], "rows": [[1]], "key": ["id"]},
                              {"table": "users", "event_schema": "db", "fields": ["a"], "rows": [[1]], "key": ["a"]}]}),
    ("update without key", {"events": [{"table": "good", "event_schema": "db", "fields": ["id"], "rows": [[1]], "key": ["id"]},
                                       {"event_type": "update", "table": "k", "fields": ["a"], "rows": [[1]]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "body"), BAD, ids=[w for w, _ in BAD])
async def test_bad_envelopes_store_nothing(fusion: Fusion, what: str, body: Any) -> None:
    """Malformed and impossible envelopes answer 400 in the one error shape, and no part of them is stored."""
    sid = (await fusion.open())["session_id"]
    content = body if isinstance(body, bytes) else json.dumps({"session_id": sid, **body}).encode()
    answer = await fusion.http.post(EVENTS, content=content)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "message", "hint", "context"}
    assert (await fusion.http.get("/views/tables")).json() == {"rows": [], "next": None}
    assert fusion.app.state.datastores.opened()[0].applier.queued_bytes == 0


async def test_unknown_media(fusion: Fusion) -> None:
    """An unknown content type or encoding answers 415."""
    for headers in ({"Content-Type": "text/xml"}, {"Content-Encoding": "br"}):
        answer = await fusion.http.post(EVENTS, content=b"{}", headers=headers)
        assert answer.status_code == 415
        assert answer.json()["hint"]


async def test_sessions_must_exist(fusion: Fusion) -> None:
    """A push without a session is 400, in an unknown or closed one 404 with a hint, and heartbeats likewise."""
    assert (await fusion.send("")).status_code == 400
    unknown = await fusion.send("nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "request.not_found")
    assert "open a session" in unknown.json()["hint"]
    sid = (await fusion.open())["session_id"]
    header = {"session-id": sid}
    beat = await fusion.http.post("/ingestor-api/v1/sessions/heartbeat", headers=header)
    assert beat.json() == {"snapshot_needed": True}
    listed = (await fusion.http.get("/ingestor-api/v1/sessions/")).json()
    assert [s["session_id"] for s in listed] == [sid]
    assert (await fusion.http.delete("/ingestor-api/v1/sessions/", headers=header)).status_code == 204
    assert (await fusion.send(sid)).status_code == 404
    assert (await fusion.http.post("/ingestor-api/v1/sessions/heartbeat")).status_code == 400


async def test_supersede_and_conflict(fusion: Fusion) -> None:
    """The same agent takes over its own session (419 for the old), another agent gets 409 until the timeout has passed."""
    first = (await fusion.open())["session_id"]
    second = (await fusion.open())["session_id"]
    old = await fusion.send(first)
    assert (old.status_code, old.json()["code"]) == (419, "session.superseded")
    other = await fusion.http.post("/ingestor-api/v1/sessions/", json={"task_id": "t", "agent_id": "b"})
    assert (other.status_code, other.json()["code"]) == (409, "session.conflict")
    assert other.json()["context"]["agent_id"] == "a"
    datastore = fusion.app.state.datastores.opened()[0]
    datastore.sessions.of("t").seen -= 31
    third = (await fusion.open(agent_id="b"))["session_id"]
    assert (await fusion.send(second)).status_code == 419
    assert (await fusion.send(third)).status_code == 200


async def test_sessions_and_snapshots_survive_a_restart(settings: FusionSettings, registry: FakeRegistry) -> None:
    """After a restart the session, the snapshot that was begun, the checkpoint and superseded sessions are as they were."""
    async with running(settings, registry) as fusion:
        old = (await fusion.open())["session_id"]
        sid = (await fusion.open())["session_id"]
        await fusion.push(sid, mark(3), source_type="snapshot", snapshot_id="s1", seq=1)
        await fusion.push(sid, users((1, "a"), index=9), checkpoint=8, seq=2)
    async with running(settings, registry) as fusion:
        assert (await fusion.push(sid, seq=3))["index"] == 8
        assert (await fusion.send(old)).status_code == 419
        opened = await fusion.open()
        assert (opened["snapshot_id"], opened["epoch"], opened["snapshot_needed"]) == ("s1", 0, True)


async def test_keys(fusion: Fusion, registry: FakeRegistry) -> None:
    """No key and a wrong key answer 401 with a hint, a key without the scope 403, an unknown key with the Registry away 503."""
    for key in (None, "wrong"):
        answer = await fusion.http.get("/views/tables", headers={"X-API-Key": key} if key else {"X-API-Key": ""})
        assert (answer.status_code, answer.json()["code"]) == (401, "request.unauthorized")
        assert "X-API-Key" in answer.json()["hint"]
    read_only = await fusion.http.post(EVENTS, headers={"X-API-Key": "key-read"}, content=b"{}")
    assert (read_only.status_code, read_only.json()["code"]) == (403, "request.forbidden")
    assert (await fusion.http.get("/ingestor-api/v1/syncs/", headers={"X-API-Key": "key-read"})).status_code == 200
    registry.away = True
    assert (await fusion.http.get("/views/tables", headers={"X-API-Key": "key-read"})).status_code == 200
    unknown = await fusion.http.get("/views/tables", headers={"X-API-Key": "new"})
    assert unknown.status_code == 503
    assert unknown.headers["Retry-After"]


async def test_each_key_sees_its_datastore_alone(fusion: Fusion) -> None:
    """Rows, sessions and syncs of one datastore are not there for the key of another."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a")))
    other = {"X-API-Key": "key-2"}
    assert (await fusion.http.get("/views/tables", headers=other)).json() == {"rows": [], "next": None}
    assert (await fusion.http.get("/ingestor-api/v1/syncs/", headers=other)).json() == []
    body = encode_envelope(Envelope(sid), MSGPACK)
    stolen = await fusion.http.post(EVENTS, content=body, headers={**other, "Content-Type": MSGPACK})
    assert stolen.status_code == 404


async def test_snapshot_from_asking_to_sweep(fusion: Fusion) -> None:
    """A snapshot is asked for until it ends; its end removes what it did not confirm and what did not change since it began."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "old"), (2, "gone"), (3, "newer"), index=5), checkpoint=5, seq=1)
    await fusion.push(sid, users((3, "newest"), index=12), seq=2)
    begin = await fusion.push(sid, mark(10), source_type="snapshot", snapshot_id="s", seq=3)
    assert begin["snapshot_needed"] is True
    answer = await fusion.push(
        sid, users((1, "old"), (4, "found"), index=11), source_type="snapshot", snapshot_id="s", seq=4
    )
    assert answer["applied"] == 2
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="s", is_snapshot_end=True, seq=5)
    assert "snapshot_needed" not in end
    assert {r["id"]: r["name"] for r in await fusion.rows()} == {1: "old", 3: "newest", 4: "found"}
    [sync] = (await fusion.http.get("/ingestor-api/v1/syncs/")).json()
    assert (sync["snapshot"]["state"], sync["snapshot"]["rows"], sync["rows"], sync["connected"]) == (
        "ended",
        2,
        3,
        True,
    )
    late = await fusion.push(sid, users((2, "gone"), index=5), source_type="snapshot", snapshot_id="s", seq=4)
    assert late["stale"] == 1
    assert len(await fusion.rows()) == 3


async def test_a_stale_snapshot_row_confirms_and_the_smallest_mark_counts(fusion: Fusion) -> None:
    """A row of a snapshot that is older than the stored one still counts as seen; a later, lower mark narrows the sweep."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), index=9), users((2, "b"), index=6), seq=1)
    await fusion.push(sid, mark(20), source_type="snapshot", snapshot_id="s", seq=2)
    await fusion.push(sid, users((1, "older"), index=8), source_type="snapshot", snapshot_id="s", seq=3)
    await fusion.push(sid, mark(5), source_type="snapshot", snapshot_id="s", seq=4)
    await fusion.push(sid, source_type="snapshot", snapshot_id="s", is_snapshot_end=True, seq=5)
    assert {r["id"]: r["name"] for r in await fusion.rows()} == {1: "a", 2: "b"}


async def test_a_new_snapshot_cancels_the_older_one(fusion: Fusion) -> None:
    """Pushes of a replaced snapshot are answered `snapshot_cancelled`, their rows are not stored, its end sweeps nothing."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), index=1), seq=1)
    await fusion.push(sid, mark(5), source_type="snapshot", snapshot_id="one", seq=2)
    await fusion.push(sid, mark(6), source_type="snapshot", snapshot_id="two", seq=3)
    late = await fusion.push(sid, users((9, "x"), index=7), source_type="snapshot", snapshot_id="one", seq=4)
    assert late["snapshot_cancelled"] is True
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="one", is_snapshot_end=True, seq=5)
    assert (end["snapshot_cancelled"], end["snapshot_needed"]) == (True, True)
    assert await fusion.rows() == [{"id": 1, "name": "a"}]
    assert (await fusion.open())["snapshot_id"] == "two"


async def test_marks_with_tables_narrow_the_sweep(fusion: Fusion) -> None:
    """A snapshot whose marks name tables sweeps only those, and does not count as a snapshot of everything."""
    sid = (await fusion.open())["session_id"]
    other = WireEvent("insert", "db", "orders", ["id"], [[1]], 1, ["id"])
    await fusion.push(sid, users((1, "a"), index=1), other, seq=1)
    await fusion.push(sid, mark(5, "users"), source_type="snapshot", snapshot_id="s", seq=2)
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="s", is_snapshot_end=True, seq=3)
    assert end["snapshot_needed"] is True
    assert await fusion.rows() == []
    assert await fusion.rows("orders") == [{"id": 1}]


async def test_an_end_without_a_beginning_removes_nothing(fusion: Fusion) -> None:
    """The end of a snapshot that began towards a store that is gone proves nothing: it is cancelled and asked for again."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), index=1), checkpoint=1, seq=1)
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="s", is_snapshot_end=True, seq=2)
    assert (end["snapshot_cancelled"], end["snapshot_needed"]) == (True, True)
    assert len(await fusion.rows()) == 1


async def test_a_gap_of_one_table_costs_a_snapshot_of_that_table(fusion: Fusion) -> None:
    """Fusion asks for the tables it was told of, several come together, and the end of that snapshot sweeps these tables alone."""
    sid = (await fusion.open())["session_id"]
    both = [mark(1), users((1, "a"), (2, "b"), index=1), at(users((1, "a"), (2, "b"), index=1), "db", "orders")]
    await fusion.push(sid, *both, source_type="snapshot", snapshot_id="a", seq=1)
    await fusion.push(sid, source_type="snapshot", snapshot_id="a", is_snapshot_end=True, seq=2)
    told = {"snapshot_sync_suggested": True}
    answer = await fusion.push(sid, seq=3, snapshot_tables=["db.users"], **told)
    assert answer["snapshot_request"] == {"tables": ["db.users"]}
    answer = await fusion.push(sid, seq=4, snapshot_tables=["db.gone"], **told)
    assert answer["snapshot_request"] == {"tables": ["db.gone", "db.users"]}
    assert (await fusion.open())["snapshot_request"] == {"tables": ["db.gone", "db.users"]}
    sid = (await fusion.open())["session_id"]
    begin = [mark(9, schema="db", table="users"), mark(9, schema="db", table="gone")]
    assert "snapshot_needed" not in await fusion.push(sid, *begin, source_type="snapshot", snapshot_id="b", seq=5)
    # Another one while it runs: after it.
    answer = await fusion.push(sid, seq=6, snapshot_tables=["db.users"], **told)
    assert answer["snapshot_request"] == {"tables": ["db.users"]}
    await fusion.push(sid, users((2, "b2"), index=9), source_type="snapshot", snapshot_id="b", seq=7)
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="b", is_snapshot_end=True, seq=8)
    assert end["snapshot_request"] == {"tables": ["db.users"]}
    assert await fusion.rows() == [{"id": 2, "name": "b2"}]
    assert len(await fusion.rows("orders")) == 2, "other tables are left alone"
    # Without tables it is everything again.
    answer = await fusion.push(sid, seq=9, **told)
    assert answer["snapshot_needed"] is True
    assert "snapshot_request" not in answer
    await fusion.push(sid, mark(10, schema="db", table="users"), source_type="snapshot", snapshot_id="c", seq=10)
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="c", is_snapshot_end=True, seq=11)
    assert end["snapshot_needed"] is True, "one table is not everything"


async def test_a_narrowed_sweep_knows_schemas(fusion: Fusion) -> None:
    """Tables of the same name in another schema are other tables."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), index=1), at(users((1, "a"), index=1), "other", "users"), seq=1)
    begin = mark(5, schema="other", table="users")
    await fusion.push(sid, begin, source_type="snapshot", snapshot_id="a", seq=2)
    await fusion.push(sid, source_type="snapshot", snapshot_id="a", is_snapshot_end=True, seq=3)
    assert len(await fusion.rows()) == 1
    assert await fusion.rows(schema="other") == []


async def test_suggested_snapshots(fusion: Fusion) -> None:
    """After `snapshot_sync_suggested` Fusion asks again until one that began after it runs."""
    sid = (await fusion.open())["session_id"]

    async def whole(name: str) -> dict[str, Any]:
        await fusion.push(sid, mark(1), source_type="snapshot", snapshot_id=name, seq=1)
        return await fusion.push(sid, source_type="snapshot", snapshot_id=name, is_snapshot_end=True, seq=2)

    assert "snapshot_needed" not in await whole("a")
    assert (await fusion.push(sid, snapshot_sync_suggested=True, seq=10))["snapshot_needed"] is True
    assert (await fusion.push(sid, seq=11))["snapshot_needed"] is True
    assert "snapshot_needed" not in await fusion.push(sid, mark(3), source_type="snapshot", snapshot_id="b", seq=20)
    # Sent before the snapshot began, arrived after: nothing new.
    assert "snapshot_needed" not in await fusion.push(sid, snapshot_sync_suggested=True, seq=12)
    assert (await fusion.push(sid, snapshot_sync_suggested=True, seq=30))["snapshot_needed"] is True
    end = await fusion.push(sid, source_type="snapshot", snapshot_id="b", is_snapshot_end=True, seq=31)
    assert end["snapshot_needed"] is True
    assert "snapshot_needed" not in await whole("c")


async def test_older_clients_snapshot_without_id(fusion: Fusion) -> None:
    """A snapshot without an id is one per session; what was there before its session and is not in it is removed."""
    sid = (await fusion.open(agent_id=None))["session_id"]
    await fusion.push(sid, users((1, "a"), (2, "b"), index=5))
    sid = (await fusion.open(agent_id=None))["session_id"]
    await fusion.push(sid, users((1, "a"), index=5), source_type="snapshot")
    await fusion.push(sid, users((3, "c"), index=7))
    end = await fusion.push(sid, source_type="snapshot", is_snapshot_end=True)
    assert "snapshot_needed" not in end
    assert {r["id"] for r in await fusion.rows()} == {1, 2, 3}  # 2 changed exactly at the checkpoint: it stays
    await fusion.push(sid, users((1, "a"), index=8), source_type="snapshot")
    [sync] = (await fusion.http.get("/ingestor-api/v1/syncs/")).json()
    assert sync["snapshot"]["state"] == "active"


async def test_many_at_once_are_each_answered(fusion: Fusion) -> None:
    """Live and snapshot pushes sent together are all stored, and each is answered for itself, also when some are refused."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, mark(0), source_type="snapshot", snapshot_id="s", seq=0)
    pushes: list[Any] = []
    for n in range(20):
        rows = [(n * 1000 + i, "s") for i in range(1000)]
        pushes.append(fusion.send(sid, users(*rows, index=1), source_type="snapshot", snapshot_id="s", seq=n))
        pushes.append(fusion.send(sid, users((100_000 + n, "l"), index=n), seq=100 + n))
        pushes.append(fusion.send(sid, WireEvent("update", "db", "nokey", ["a"], [[1]], n), seq=200 + n))
    answers = await asyncio.gather(*pushes)
    assert [a.status_code for a in answers] == [200, 200, 400] * 20
    [table] = (await fusion.http.get("/views/tables")).json()["rows"]
    assert table["rows"] == 20_020


async def test_a_full_queue_tells_senders_to_wait(settings: FusionSettings, registry: FakeRegistry) -> None:
    """When bodies that wait fill the queue, the next one answers 503 `request.overloaded` with Retry-After; later it is taken."""
    settings.queue_bytes = 2_000
    async with running(settings, registry) as fusion:
        sid = (await fusion.open())["session_id"]
        applier = fusion.app.state.datastores.opened()[0].applier
        applier.reserve(1_990)
        answer = await fusion.send(sid, users((1, "a")))
        assert (answer.status_code, answer.json()["code"]) == (503, "request.overloaded")
        assert answer.headers["Retry-After"]
        applier.release(1_990)
        await fusion.push(sid, users((1, "a")))


async def test_health_and_metrics(fusion: Fusion) -> None:
    """Metrics count pushes and rows; ready tells the state of store and views."""
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), index=2))
    await fusion.push(sid, users((1, "a"), index=1))
    text = (await fusion.http.get("/metrics")).text
    assert 'fustor_fusion_pushes_total{outcome="stored",source_type="message"} 2.0' in text
    assert "fustor_fusion_rows_applied_total 1.0" in text
    assert "fustor_fusion_rows_stale_total 1.0" in text
    assert "fustor_fusion_sessions 1.0" in text
    checks = (await fusion.http.get("/health/ready")).json()
    checks = checks.get("checks") or checks["context"]["checks"]
    assert checks["store"] == "ok"
