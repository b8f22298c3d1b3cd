"""
What flows into a datastore, and how fresh its streams are: counted as it comes, told as it is now, and kept over a restart.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from ingest_bench import FakeRegistry, Fusion, running, users
from retention_bench import Clock

from fustor_core.models.envelope import WireEvent
from fustor_fusion.flow import KEPT_S, Meter
from fustor_fusion.settings import FusionSettings


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fusion(settings: FusionSettings, registry: FakeRegistry, clock: Clock) -> Any:
    async with running(settings, registry, clock=clock) as service:
        yield service


def event(table: str, *rows: Any, ts: float | None = None, index: int = 1) -> WireEvent:
    return WireEvent("insert", "db", table, ["id"], [list(row) for row in rows], index, ["id"], ts)


async def get(fusion: Fusion, path: str, **params: Any) -> Any:
    answer = await fusion.http.get(f"/views/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def walk(fusion: Fusion, path: str, **params: Any) -> list[Any]:
    rows: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await get(fusion, path, **params, **cursor)
        rows += page["rows"]
        if page["next"] is None:
            return rows
        cursor = {"cursor": page["next"]}


async def state_of(fusion: Fusion, task_id: str) -> Any:
    (found,) = [sync for sync in (await get(fusion, "flow/syncs"))["rows"] if sync["task_id"] == task_id]
    return found


def test_a_meter_counts_the_last_seconds_and_forgets_older_ones() -> None:
    now = 1000.0
    meter = Meter(lambda: now)
    meter.add(30, 300)
    now = 1005.0
    meter.add(20, 200)
    assert meter.rates() == (5.0, 50.0)
    assert sum(meter.history()) == 30, "the second that is under way is not among them"
    now = 1011.5
    assert meter.rates() == (20 / 10.5, 200 / 10.5)
    now = 1000.0 + KEPT_S + 100
    assert meter.rates() == (0.0, 0.0)
    assert meter.history() == [0] * (KEPT_S - 1)
    meter.add(1, 1)
    assert meter.rates()[0] > 0


async def test_what_came_is_told_with_its_rates_and_its_lag(fusion: Fusion) -> None:
    """
    Of the sync, of its agent, and of all.
    """
    session = (await fusion.open("orders", "till"))["session_id"]
    sent = time.time() - 2
    await fusion.push(session, event("a", (1,), (2,), ts=sent - 50), event("b", (3,), ts=sent), checkpoint=1)
    summary = await get(fusion, "flow")
    sync = await state_of(fusion, "orders")
    (agent,) = (await get(fusion, "flow/agents"))["rows"]
    for told in (summary, sync, agent):
        assert told["rows_per_s"] > 0 and told["bytes_per_s"] > 0
        assert 2 <= told["lag_s"] < 40, "the newest row counts, not an older one beside it"
    assert (summary["syncs"], summary["agents"], summary["by_state"]) == (1, 1, {"waiting": 1})
    assert (agent["agent_id"], agent["syncs"], agent["worst"][0]["task_id"]) == ("till", 1, "orders")
    assert sync["last_row_at"] <= time.time_ns() and sync["stale_since"] is None


async def test_the_states_of_a_sync(fusion: Fusion, clock: Clock) -> None:
    """
    From waiting to live, silent, and live again; stopped when its session ends.
    """
    session = (await fusion.open("t"))["session_id"]
    assert (await state_of(fusion, "t"))["state"] == "waiting"
    mark = WireEvent("insert", "db", "users", index=0)
    await fusion.push(session, mark, users((1, "x")), source_type="snapshot", snapshot_id="s", seq=1)
    copying = await state_of(fusion, "t")
    assert copying["state"] == "copying" and copying["snapshot"]["rows"] == 1
    await fusion.push(
        session, WireEvent("insert", index=0), source_type="snapshot", snapshot_id="whole", seq=2, is_snapshot_end=True
    )
    assert (await state_of(fusion, "t"))["state"] == "live"
    clock.now += 1000
    silent = await state_of(fusion, "t")
    assert silent["state"] == "silent" and silent["stale_since"] == silent["last_heartbeat_at"]
    await fusion.http.post("/ingestor-api/v1/sessions/heartbeat", headers={"session-id": session})
    assert (await state_of(fusion, "t"))["state"] == "live"
    await fusion.http.delete("/ingestor-api/v1/sessions/", headers={"session-id": session})
    stopped = await state_of(fusion, "t")
    assert stopped["state"] == "stopped" and stopped["stale_since"] is not None


async def test_streams_say_what_is_missing(fusion: Fusion) -> None:
    """
    Partial until a snapshot of everything has ended, copying meanwhile, complete then, and a gap in the tables that lost something.
    """

    async def coverage() -> dict[str, str]:
        return {stream["table"]: stream["coverage"] for stream in await walk(fusion, "streams")}

    session = (await fusion.open("t"))["session_id"]
    await fusion.push(session, event("a", (1,)), event("b", (1,)), checkpoint=1, seq=1)
    assert await coverage() == {"a": "partial", "b": "partial"}
    start = WireEvent("insert", index=0)
    await fusion.push(session, start, source_type="snapshot", snapshot_id="s", seq=2)
    assert await coverage() == {"a": "copying", "b": "copying"}
    rows = [event("a", (1,)), event("b", (1,))]
    await fusion.push(session, *rows, source_type="snapshot", snapshot_id="s", seq=3, is_snapshot_end=True)
    assert await coverage() == {"a": "complete", "b": "complete"}
    await fusion.push(session, snapshot_sync_suggested=True, snapshot_tables=["db.b"], checkpoint=2, seq=4)
    assert await coverage() == {"a": "complete", "b": "gap"}
    assert (await state_of(fusion, "t"))["gap"]


async def test_rows_of_snapshots_are_no_change(fusion: Fusion) -> None:
    session = (await fusion.open("t"))["session_id"]
    await fusion.push(session, WireEvent("insert", index=0), event("a", (1,)), source_type="snapshot", snapshot_id="s")
    (stream,) = await walk(fusion, "streams")
    assert stream["last_change_at"] is None
    await fusion.push(session, event("a", (2,)), checkpoint=1)
    (stream,) = await walk(fusion, "streams")
    assert stream["last_change_at"] is not None


async def test_when_a_table_last_changed_outlives_a_restart(settings: FusionSettings, registry: FakeRegistry) -> None:
    async with running(settings, registry) as fusion:
        session = (await fusion.open("t"))["session_id"]
        await fusion.push(session, event("a", (1,), ts=time.time() - 3), checkpoint=1)
        (before,) = await walk(fusion, "streams")
    async with running(settings, registry) as fusion:
        (after,) = await walk(fusion, "streams")
    assert after["last_change_at"] == before["last_change_at"]
    assert after["lag_s"] == before["lag_s"] >= 3


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["state", "name", "task", "coverage", "last_change", "lag", "index"])
async def test_pages_of_streams_fit_together(fusion: Fusion, sort: str, order: str) -> None:
    """
    Each comes once, in order, what has no value last whichever way.
    """
    for at in range(3):
        session = (await fusion.open(f"t{at}", f"agent{at}"))["session_id"]
        told = None if at == 1 else time.time() - at
        for table in ("b", "a", "c"):
            await fusion.push(session, event(table, (1,), ts=told, index=at), checkpoint=1)
    whole = (await get(fusion, "streams", sort=sort, order=order))["rows"]
    paged = await walk(fusion, "streams", sort=sort, order=order, limit=2)
    assert paged == whole
    assert len({(row["task_id"], row["table"]) for row in paged}) == 9
    if sort == "lag":
        assert [row["task_id"] for row in paged[-3:]] == ["t1"] * 3, "unknown comes last"
    if sort == "name":
        names = [row["table"] for row in paged]
        assert names == sorted(names, reverse=order == "desc")


async def test_streams_are_found_by_a_part_of_their_names_and_by_whose_they_are(fusion: Fusion) -> None:
    for at in range(2):
        session = (await fusion.open(f"t{at}", f"agent{at}"))["session_id"]
        await fusion.push(session, event("Orders", (1,)), event("people", (1,)), checkpoint=1)

    async def found(**params: Any) -> set[str]:
        return {f"{row['task_id']}.{row['table']}" for row in await walk(fusion, "streams", **params)}

    assert await found(q="orD") == {"t0.Orders", "t1.Orders"}
    assert await found(task="t1") == {"t1.Orders", "t1.people"}
    assert await found(agent="agent0", q="people") == {"t0.people"}
    assert await found(q="nothing") == set()
    assert await found(state="live") == set()


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "WyJuYW1lIixmYWxzZSwxLCJ0IiwiZGIiLCJhIl0"])
async def test_a_cursor_of_something_else_is_refused(fusion: Fusion, cursor: str) -> None:
    """
    Also one whose value can't be compared with the names here.
    """
    session = (await fusion.open("t"))["session_id"]
    await fusion.push(session, event("a", (1,)), checkpoint=1)
    answer = await fusion.http.get("/views/streams", params={"sort": "name", "cursor": cursor})
    assert answer.status_code == 400, answer.text
    assert answer.json()["hint"]


async def test_two_hundred_syncs_of_many_agents_come_in_pages(fusion: Fusion) -> None:
    """
    An agent is summed up, whatever number of syncs it has, and tells but a few of them.
    """
    for at in range(200):
        await fusion.open(f"t{at:03}", f"agent{at % 8}")
    assert (await get(fusion, "flow"))["by_state"] == {"waiting": 200}
    agents = await walk(fusion, "flow/agents", limit=3)
    assert [(agent["syncs"], len(agent["worst"])) for agent in agents] == [(25, 5)] * 8
    syncs = await walk(fusion, "flow/syncs", limit=30)
    assert sorted(sync["task_id"] for sync in syncs) == [f"t{at:03}" for at in range(200)]
    assert len(await walk(fusion, "flow/syncs", agent="agent3")) == 25


async def test_the_datastore_of_a_key(fusion: Fusion) -> None:
    assert await get(fusion, "datastore") == {
        "datastore_id": "1", "datastore_name": "one", "key_id": "1", "scopes": ["ingest", "read"],
    }  # fmt: skip
