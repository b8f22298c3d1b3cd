"""
Fusion goes by what the Registry says of a key and of its datastore.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from ingest_bench import FakeRegistry, Fusion, running, users

from fustor_core.models.envelope import Envelope
from fustor_fusion.keys import Grant, KeyCache, Policy, RegistryAway
from fustor_fusion.quota import Quota, QuotaExceeded, Usage
from fustor_fusion.settings import FusionSettings


def now(plus_s: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=plus_s)


def set_policy(registry: FakeRegistry, **policy: Any) -> None:
    """
    Change the policy of datastore 1; a key that has no time to live is asked for again at once.
    """
    registry.keys["key-1"] = Grant(True, 1, 1, "one", ["ingest", "read"], 0.0, policy=Policy(**policy))


async def follow(fusion: Fusion, policy: Policy) -> None:
    """
    Make requests until the datastore goes by a policy: the cache refreshes beside them.
    """
    for _ in range(100):
        await fusion.http.get("/ingestor-api/v1/syncs/")
        if fusion.app.state.keys.policy_of("1") == policy:
            await fusion.http.get("/ingestor-api/v1/syncs/")
            return
    raise AssertionError("the policy did not arrive")


async def open_session(fusion: Fusion, task_id: str, agent_id: str = "a") -> httpx.Response:
    return await fusion.http.post("/ingestor-api/v1/sessions/", json={"task_id": task_id, "agent_id": agent_id})


async def test_an_admin_key_has_every_scope(fusion: Fusion, registry: FakeRegistry) -> None:
    """The scope admin reads and ingests."""
    registry.keys["key-admin"] = Grant(True, 9, 1, "one", ["admin"], 5.0)
    fusion.http.headers["X-API-Key"] = "key-admin"
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a")))
    assert len(await fusion.rows()) == 1


async def test_an_expired_key_is_refused_also_while_the_registry_is_away(
    settings: FusionSettings, registry: FakeRegistry
) -> None:
    """A key that the Registry once confirmed goes on without it, but not past its end."""
    clock = [0.0]
    registry.keys["short"] = Grant(True, 7, 1, "one", ["read"], 5.0, expires_at=now(3600))
    registry.keys["over"] = Grant(True, 8, 1, "one", ["read"], 5.0, expires_at=now(-1))
    cache = KeyCache(registry.ask, settings.config_dir / "fusion" / "keys.db", 1e9, clock=lambda: clock[0])
    cache.load()
    assert (await cache.verify("short")).key_id == 7
    with pytest.raises(Exception, match="has expired"):
        await cache.verify("over")
    again = KeyCache(registry.ask, settings.config_dir / "fusion" / "keys.db", 1e9, clock=lambda: clock[0])
    again.load()
    registry.away = True
    clock[0] = 100.0
    assert (await again.verify("short")).expires_at == registry.keys["short"].expires_at
    with pytest.raises(Exception, match="has expired"):
        await again.verify("over")
    with pytest.raises(RegistryAway):
        await registry.ask("short")
    await cache.close()
    await again.close()


async def test_one_session_at_a_time_when_the_policy_says_so(fusion: Fusion, registry: FakeRegistry) -> None:
    """A second sync is refused while the first one's session is alive, and takes over when it is not."""
    set_policy(registry, allow_concurrent_sessions=False)
    first = (await open_session(fusion, "one")).json()
    refused = await open_session(fusion, "two")
    assert (refused.status_code, refused.json()["code"]) == (409, "session.conflict")
    assert "'one'" in refused.json()["message"] and "concurrent" in refused.json()["hint"]
    assert (await open_session(fusion, "one")).status_code == 200
    fusion.app.state.datastores.opened()[0].sessions.of("one").seen -= 31
    assert (await open_session(fusion, "two")).status_code == 200
    header = {"session-id": first["session_id"]}
    assert (await fusion.http.post("/ingestor-api/v1/sessions/heartbeat", headers=header)).status_code == 419
    set_policy(registry)
    await follow(fusion, Policy())
    assert (await open_session(fusion, "one")).status_code == 200
    assert len((await fusion.http.get("/ingestor-api/v1/sessions/")).json()) == 2


async def test_the_session_timeout_of_the_policy_is_what_agents_are_told(
    fusion: Fusion, registry: FakeRegistry
) -> None:
    """The timeout changes for new sessions; one that was told a longer time keeps it."""
    set_policy(registry, session_timeout_s=300)
    told = (await open_session(fusion, "t")).json()
    assert (told["session_timeout"], told["heartbeat_interval"]) == (300, 100)
    session = fusion.app.state.datastores.opened()[0].sessions.of("t")
    set_policy(registry, session_timeout_s=6)
    await follow(fusion, Policy(session_timeout_s=6))
    session.seen -= 31
    assert (await open_session(fusion, "t", "b")).status_code == 409
    session.seen -= 300
    assert (await open_session(fusion, "t", "b")).json()["session_timeout"] == 6
    set_policy(registry)
    await follow(fusion, Policy())
    assert (await open_session(fusion, "t", "b")).json()["session_timeout"] == 30


async def test_a_policy_is_known_after_a_restart_without_the_registry(
    settings: FusionSettings, registry: FakeRegistry
) -> None:
    """What was said of a datastore is kept with the keys."""
    set_policy(registry, allow_concurrent_sessions=False)
    async with running(settings, registry) as fusion:
        await open_session(fusion, "one")
    registry.away = True
    async with running(settings, registry) as fusion:
        assert (await open_session(fusion, "two")).status_code == 409


@pytest.mark.parametrize("quota", ["max_rows", "max_bytes"])
async def test_a_datastore_over_its_quota_takes_deletions_alone(
    fusion: Fusion, registry: FakeRegistry, quota: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Senders are told to wait with a clear error; deletions and progress pass; a larger quota lets in again."""
    monkeypatch.setattr("fustor_fusion.quota.MEASURE_EVERY_S", 0.0)
    monkeypatch.setattr("fustor_fusion.quota.MEASURE_SHARE", 1e9)
    set_policy(registry)
    sid = (await fusion.open())["session_id"]
    await fusion.push(sid, users((1, "a"), (2, "b"), index=1), seq=1)
    set_policy(registry, **{quota: 1})
    await follow(fusion, Policy(**{quota: 1}))
    answer = await fusion.send(sid, users((3, "c"), index=2), seq=2)
    assert (answer.status_code, answer.json()["code"]) == (503, "request.quota_exceeded")
    assert int(answer.headers["retry-after"]) > 1
    assert answer.json()["context"]["quota"] == quota.removeprefix("max_")
    assert fusion.app.state.datastores.opened()[0].applier.queued_bytes == 0
    snapshot = await fusion.send(sid, users((3, "c"), index=2), source_type="snapshot", snapshot_id="s", seq=2)
    assert snapshot.status_code == 503
    await fusion.push(sid, seq=2, checkpoint=1)
    await fusion.push(sid, users((1,), index=3, kind="delete", fields=("id",)), seq=3)
    if quota == "max_rows":
        await fusion.push(sid, users((2, "b2"), index=4), seq=4)
    set_policy(registry, **{quota: 10**9})
    await follow(fusion, Policy(**{quota: 10**9}))
    await fusion.push(sid, users((3, "c"), index=5), seq=5)


async def test_a_slow_count_is_made_less_often() -> None:
    """Counting takes no more than its share of the time; without a limit nothing is counted."""
    clock, counted = [0.0], []

    def measure(rows: bool) -> Usage:
        counted.append(rows)
        clock[0] += 2.0
        return Usage(10 if rows else None, 100)

    quota = Quota(measure, clock=lambda: clock[0])
    push = Envelope("s", [users((1, "a"))])
    await quota.check(push)
    assert counted == []
    quota.limit(10, None)
    await quota.check(push)
    clock[0] += 39
    await quota.check(push)
    assert counted == [True]
    clock[0] += 2
    await quota.check(push)
    assert counted == [True, True]
    quota.limit(None, 99)
    with pytest.raises(QuotaExceeded, match="100 bytes"):
        await quota.check(push)
    assert counted == [True, True, False]
