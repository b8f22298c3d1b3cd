"""
What nobody feeds any more goes when the datastore's policy says so, whole, and never anything else.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ingest_bench import FakeRegistry, Fusion, running, users
from retention_bench import (
    STORES,
    Clock,
    cleared,
    counted_rows,
    counts,
    feed,
    file_rows,
    keep_for,
    opened,
    pass_days,
    told,
)

from fustor_fusion.applier import Command
from fustor_fusion.retention import COUNT_MOST_S, DAY_S
from fustor_fusion.settings import FusionSettings

BENCH = Path(__file__).parents[1] / "retention_bench.py"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fusion(settings: FusionSettings, registry: FakeRegistry, clock: Clock) -> Any:
    """
    A Fusion whose datastore keeps for two days what nobody feeds.
    """
    keep_for(registry, 2)
    async with running(settings, registry, clock=clock) as service:
        yield service


def settings_of(folder: Path, **more: Any) -> FusionSettings:
    """
    Settings under which nothing else is removed: counts of what is stored can be compared.
    """
    return FusionSettings.load(config_dir=folder, log_console=False, tombstone_min_age_s=1e9, **more)


@pytest.fixture
def settings(config_dir: Path) -> FusionSettings:
    return settings_of(config_dir)


def store_of(settings: FusionSettings) -> Path:
    return settings.config_dir / "fusion" / "1.db"


async def beat(fusion: Fusion, session: str) -> int:
    answer = await fusion.http.post("/ingestor-api/v1/sessions/heartbeat", headers={"session-id": session})
    return answer.status_code


async def rows_of(fusion: Fusion, task_id: str) -> dict[str, int]:
    tables = (await fusion.http.get("/views/tables")).json()["rows"]
    return {table["table"]: table["rows"] for table in tables if table["task_id"] == task_id}


WHOLE = {"users": 19, "files": 20, "numbered": 20, "unnumbered": 20}


async def test_what_nobody_feeds_goes_and_what_is_fed_stays(
    fusion: Fusion, settings: FusionSettings, clock: Clock
) -> None:
    """
    Not before its time, then everything of it at once: rows of every kind, tombstones, position, snapshots. A sync that lives keeps all.
    """
    alive = await feed(fusion, "alive")
    only_alive = counts(store_of(settings))
    await feed(fusion, "doomed")
    assert (await told(fusion, "doomed"))["kept_until"] is None, "it is fed"
    await pass_days(fusion, clock, 1.9)
    assert await rows_of(fusion, "doomed") == WHOLE
    assert await beat(fusion, alive) == 200
    left_s = ((await told(fusion, "doomed"))["kept_until"] - (await told(fusion, "alive"))["last_event_at"]) / 1e9
    assert left_s == pytest.approx(0.1 * DAY_S, abs=300)
    assert (await told(fusion, "alive"))["kept_until"] is None
    await pass_days(fusion, clock, 0.11, fed=("alive",))
    await cleared(fusion)
    doomed = await told(fusion, "doomed")
    assert doomed["removed_at"] > doomed["snapshot"]["ended_at"] and doomed["kept_until"] is None
    assert (doomed["epoch"], doomed["index"], doomed["rows"], doomed["connected"]) == (-1, -1, 0, False)
    assert doomed["snapshot"]["state"] == "cancelled"
    assert await rows_of(fusion, "doomed") == {} and await rows_of(fusion, "alive") == WHOLE
    assert counts(store_of(settings)) == only_alive, "nothing of it is left in the store"
    trees = (await fusion.http.get("/views/fs/trees")).json()["rows"]
    assert [tree["tree"] for tree in trees] == ["alive"]
    found = (await fusion.http.get("/views/fs/search", params={"q": "*.txt", "limit": 100})).json()["rows"]
    assert {entry["tree"] for entry in found} == {"alive"} and len(found) == 20
    assert "fustor_fusion_syncs_removed_total 1.0" in (await fusion.http.get("/metrics")).text
    log = (settings.config_dir / "fustor_fusion.log").read_text()
    [line] = [line for line in log.splitlines() if "nobody fed a sync" in line]
    assert '"doomed"' in line and "unfed_days" in line
    await pass_days(fusion, clock, 5, fed=("alive",))
    assert (await told(fusion, "doomed"))["removed_at"] == doomed["removed_at"], "it happens once"


async def test_who_comes_back_is_a_new_sync(fusion: Fusion, clock: Clock) -> None:
    """
    The old session and its pushes are refused, the position is not offered, a whole snapshot is asked for, and a snapshot that was begun
    before is not taken for one.
    """
    old = await feed(fusion, "doomed", epoch=5)
    await fusion.push(old, snapshot_sync_suggested=True, snapshot_tables=["db.users"], seq=4, epoch=5)
    begun: dict[str, Any] = {"source_type": "snapshot", "snapshot_id": "begun before", "epoch": 5}
    await fusion.push(old, users((7, "seven"), index=30), seq=5, **begun)
    await pass_days(fusion, clock, 2.1)
    assert await beat(fusion, old) == 404
    late = await fusion.send(old, users((1, "late"), index=31), seq=6, epoch=5)
    assert (late.status_code, late.json()["code"]) == (404, "request.not_found")
    session = await fusion.open("doomed")
    assert (session["epoch"], session["snapshot_needed"]) == (-1, True)
    assert "snapshot_request" not in session and "snapshot_id" not in session
    position = await fusion.http.get("/ingestor-api/v1/events/position", params={"session_id": session["session_id"]})
    assert position.json() == {"index": -1}
    assert (await told(fusion, "doomed"))["removed_at"] is None, "it is fed again"
    answer = await fusion.push(session["session_id"], users((8, "eight"), index=32), seq=1, **begun)
    assert answer["snapshot_cancelled"] and await rows_of(fusion, "doomed") == {}
    await feed(fusion, "doomed", epoch=6)
    assert await rows_of(fusion, "doomed") == WHOLE
    assert (await told(fusion, "doomed"))["epoch"] == 6
    assert "snapshot_needed" not in await fusion.push((await fusion.open("doomed"))["session_id"], seq=1, epoch=6)


async def test_it_comes_back_at_the_very_moment(fusion: Fusion, settings: FusionSettings, clock: Clock) -> None:
    """
    A session that opens just before keeps everything. One that opens just after, while nothing is cleared yet, brings rows of the same
    names, and only the old ones go.
    """
    await feed(fusion, "doomed", epoch=3)
    before = counts(store_of(settings))
    await pass_days(fusion, clock, 2 - 1 / 1440)
    session = await fusion.open("doomed")
    assert session["epoch"] == 3, "nothing was removed"
    clock.now += COUNT_MOST_S
    await pass_days(fusion, clock, 0.01)
    assert await rows_of(fusion, "doomed") == WHOLE

    datastore = opened(fusion)
    await pass_days(fusion, clock, 3, until=lambda: datastore.syncs.get("doomed").removed_at is not None)
    # In one go with the removal, before a slice could be cleared, for what that is worth: the next command comes before chores.
    await feed(fusion, "doomed", epoch=0)
    await cleared(fusion)
    assert await rows_of(fusion, "doomed") == WHOLE
    assert len(await fusion.rows(task="doomed")) == 19
    after = counts(store_of(settings))
    assert after == before


async def test_new_rows_beside_old_ones_that_are_being_cleared(
    settings: FusionSettings, registry: FakeRegistry, clock: Clock
) -> None:
    """
    Clearing goes on slice by slice between pushes of the same sync: no new row goes with the old ones, in no store.
    """
    keep_for(registry, 1)
    small = settings_of(settings.config_dir, snapshot_slice_rows=1)
    async with running(small, registry, clock=clock) as fusion:
        await feed(fusion, "doomed", epoch=9)
        before = counts(store_of(settings))
        datastore = opened(fusion)

        def remove(conn: Any) -> None:
            while datastore.syncs.get("doomed").removed_at is None:
                clock.now += COUNT_MOST_S
                datastore.retention.step(conn)

        await datastore.applier.submit(Command(remove))
        session = (await fusion.open("doomed"))["session_id"]
        for n in range(20):
            events = (
                users((n, f"new {n}"), index=n + 1),
                file_rows(f"d{n % 7}/doomed-{n}.txt", index=n + 1),
                counted_rows(n, index=n + 1, ordinal=0),
                counted_rows(n, index=n + 1),
            )
            await fusion.push(session, *events, seq=n)
        await cleared(fusion)
        assert {row["name"] for row in await fusion.rows(task="doomed")} == {f"new {n}" for n in range(20)}
        assert await rows_of(fusion, "doomed") == WHOLE | {"users": 20}
        tree = (await fusion.http.get("/views/fs/stats", params={"tree": "doomed", "path": ""})).json()
        assert (tree["files"], tree["bytes"]) == (20, 200)
        assert counts(store_of(settings)) == before


@pytest.mark.parametrize("cut", [0, 1, 9, 20])
async def test_killed_in_the_middle(settings: FusionSettings, registry: FakeRegistry, cut: int) -> None:
    """
    kill -9 while it is decided removes nothing; while it is cleared, the removal is finished after the restart. A sync beside it keeps all.
    """
    keep_for(registry, 1)
    async with running(settings, registry) as fusion:
        await feed(fusion, "other")
        only_other = counts(store_of(settings))
        doomed = await feed(fusion, "doomed")
        await fusion.http.delete("/ingestor-api/v1/sessions/", headers={"session-id": doomed})
        await opened(fusion).applier.submit(Command(opened(fusion)._keep_policy))
        both = counts(store_of(settings))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(BENCH), str(settings.config_dir), str(cut)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = counts(store_of(settings))
    assert (left == both) == (cut in {0, 1})
    async with running(settings, registry) as fusion:
        assert await rows_of(fusion, "other") == WHOLE
        assert await rows_of(fusion, "doomed") == (WHOLE if cut == 0 else {})
        assert ((await told(fusion, "doomed"))["removed_at"] is None) == (cut == 0)
        await cleared(fusion)
        assert counts(store_of(settings)) == (both if cut == 0 else only_other)
        assert await rows_of(fusion, "other") == WHOLE
    assert set(left) == set(STORES)


async def test_nothing_goes_without_a_policy_and_the_last_known_one_counts_without_the_registry(
    settings: FusionSettings, registry: FakeRegistry, clock: Clock
) -> None:
    """
    For ever by default. Once it was heard, the policy holds over a restart without the Registry and without any key that could tell it.
    """
    async with running(settings, registry, clock=clock) as fusion:
        session = await feed(fusion, "t")
        await fusion.http.delete("/ingestor-api/v1/sessions/", headers={"session-id": session})
        await pass_days(fusion, clock, 40)
        assert (await told(fusion, "t"))["kept_until"] is None
        assert await rows_of(fusion, "t") == WHOLE
    keep_for(registry, 60)
    async with running(settings, registry, clock=clock) as fusion:
        left_s = ((await told(fusion, "t"))["kept_until"] - (await told(fusion, "t"))["last_event_at"]) / 1e9
        assert left_s == pytest.approx(20 * DAY_S, abs=DAY_S), (
            "the time counts since nobody feeds it, not since the policy"
        )
        await opened(fusion).applier.submit(Command(opened(fusion)._keep_policy))
    (settings.config_dir / "fusion" / "keys.db").unlink()
    registry.away = True
    async with running(settings, registry, clock=clock) as fusion:
        await pass_days(fusion, clock, 19)
        assert opened(fusion).list_syncs()[0]["rows"] == sum(WHOLE.values())
        await pass_days(fusion, clock, 2)
        assert opened(fusion).list_syncs()[0]["rows"] == 0


async def test_only_time_in_which_it_could_be_fed_counts(
    settings: FusionSettings, registry: FakeRegistry, clock: Clock
) -> None:
    """
    Neither a Fusion that is off or held up nor a clock that jumps brings a removal nearer; and a restart does not put it off.
    """
    keep_for(registry, 2)
    async with running(settings, registry, clock=clock) as fusion:
        session = await feed(fusion, "t")
        await pass_days(fusion, clock, 1.5)
        unfed = opened(fusion).syncs.get("t").unfed_s
    clock.now += 30 * DAY_S
    async with running(settings, registry, clock=clock) as fusion:
        # Its session is still open, and has its whole time to be heard of; that tells neither that it is fed nor that it is not.
        assert opened(fusion).sessions.is_fed("t")
        assert opened(fusion).syncs.get("t").unfed_s == pytest.approx(unfed, abs=COUNT_MOST_S)
        clock.now += 30 * DAY_S
        await pass_days(fusion, clock, 0.4)
        assert await rows_of(fusion, "t") == WHOLE
        assert await beat(fusion, session) == 200
        await pass_days(fusion, clock, 1.9)
        assert await rows_of(fusion, "t") == WHOLE, "it was heard of, so the time began anew"
        await pass_days(fusion, clock, 0.2)
        assert await rows_of(fusion, "t") == {}


async def test_a_sign_of_life_is_on_disk_before_it_can_matter(
    settings: FusionSettings, registry: FakeRegistry, clock: Clock
) -> None:
    """
    A session that is heard of again after a long silence counts from then on, also when Fusion is killed a moment later.
    """
    keep_for(registry, 2)
    async with running(settings, registry, clock=clock) as fusion:
        session = await feed(fusion, "t")
        await pass_days(fusion, clock, 1.9)
        assert await beat(fusion, session) == 200
        await pass_days(fusion, clock, 0)
        with opened(fusion).store.read() as conn:
            assert conn.execute("SELECT unfed_s FROM sync").fetchone() == (0.0,)


async def test_a_busy_datastore_removes_too_and_pushes_go_on(fusion: Fusion, clock: Clock) -> None:
    """
    Live pushes that never leave the applier idle do not keep what nobody feeds for ever, and each is answered.
    """
    await feed(fusion, "doomed", size=500)
    busy = await feed(fusion, "busy")
    datastore = opened(fusion)
    applied = 0
    stop = asyncio.Event()

    async def push_on(lane: int) -> None:
        nonlocal applied
        while not stop.is_set():
            applied += 1
            await fusion.push(busy, users((lane, f"{applied}"), index=1000 + applied), seq=applied)

    lanes = [asyncio.create_task(push_on(lane)) for lane in range(100, 104)]
    try:
        await pass_days(
            fusion, clock, 2.1, fed=("busy",), until=lambda: datastore.syncs.get("doomed").removed_at is not None
        )
        assert await rows_of(fusion, "doomed") == {}
        async with asyncio.timeout(60):
            await cleared(fusion)
    finally:
        stop.set()
        await asyncio.gather(*lanes)
    assert await rows_of(fusion, "doomed") == {}
    assert (await rows_of(fusion, "busy"))["users"] == 19 + 4
    assert (await told(fusion, "busy"))["removed_at"] is None


async def test_a_view_that_is_broken_keeps_everything_from_going(fusion: Fusion, clock: Clock) -> None:
    """
    What such a view holds can't be let go of, and would be there again when it is mended.
    """
    await feed(fusion, "t")
    datastore = opened(fusion)
    await pass_days(fusion, clock, 1.99)
    datastore.view_errors["other"] = "it does not load"
    for _ in range(60):
        clock.now += COUNT_MOST_S
        await datastore.applier.submit(Command(datastore._chores))
    assert await rows_of(fusion, "t") == WHOLE
    datastore.view_errors.clear()
    await pass_days(fusion, clock, 0.1)
    assert await rows_of(fusion, "t") == {}


async def test_a_session_that_ends_between_two_slices_leaves_the_sync_as_it_is(
    settings: FusionSettings, registry: FakeRegistry
) -> None:
    """
    A snapshot push is cut off when its session is superseded; what the sync learnt meanwhile is not put back to what it was before.
    """
    small = settings_of(settings.config_dir, snapshot_slice_rows=1)
    async with running(small, registry) as fusion:
        await feed(fusion, "t")
        session = (await fusion.open("t"))["session_id"]
        datastore = opened(fusion)
        from fustor_core.models.envelope import Envelope
        from fustor_fusion.pushes import Push

        rows = [users((1, "a"), (2, "b"), index=50)]
        push = Push(datastore, Envelope(session, rows, source_type="snapshot", snapshot_id="s", seq=9), 0, lambda: 1)

        def cut_off(conn: Any) -> None:
            steps = push.steps(conn)
            assert [next(steps), next(steps)] == [0, 1]
            state = datastore.syncs.get("t")
            state.advance(0, 77)
            state.suggest(session, None, None)
            datastore.sessions.end_left(conn, "t")
            with pytest.raises(Exception, match="was closed"):
                next(steps)
            push.undo()

        await datastore.applier.submit(Command(cut_off))
        state = datastore.syncs.get("t")
        assert (state.checkpoint, state.wanted) == (77, True)
