"""
API keys: what they open, how they end, and how one replaces another.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from registry_bench import Registry

from fustor_registry.keys import Keys
from fustor_registry.models import ApiKey

POLICY = {
    "allow_concurrent_sessions": False,
    "session_timeout_s": 60.0,
    "retention_days": None,
    "max_rows": 1000,
    "max_bytes": None,
}


def let_pass(registry: Registry, key_id: str) -> None:
    with registry.app.state.parts.store.write() as session:
        session.query(ApiKey).filter_by(id=key_id).update({"expires_at": "2000-01-01T00:00:00.000000+00:00"})


async def test_a_key_works_until_it_is_revoked(registry: Registry) -> None:
    """
    The check tells datastore, scopes and policy; after the revocation nothing, and the name is free.
    """
    lab = await registry.datastore("lab")
    await registry.call("PATCH", f"/datastores/{lab}", registry.admin, {"policy": POLICY})
    made = await registry.key(lab)
    assert re.fullmatch(r"fk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made["key"])
    good = await registry.verify(made["key"])
    assert good["valid"] and good["datastore_name"] == "lab" and good["scopes"] == ["ingest", "read"]
    assert good["policy"] == POLICY
    await registry.call("DELETE", f"/keys/{made['id']}", registry.admin)
    await registry.call("DELETE", f"/keys/{made['id']}", registry.admin)  # again: stays so
    bad = await registry.verify(made["key"])
    assert bad["valid"] is False and bad["policy"] is None and bad["scopes"] == []
    (listed,) = await registry.call("GET", "/keys", registry.admin)
    assert listed["revoked_at"] and "key" not in listed and listed["prefix"] == made["key"][:11]
    assert await registry.call("GET", "/keys?working=true", registry.admin) == []
    await registry.key(lab)


@pytest.mark.parametrize(
    "change", [lambda k: k[:-1] + ("A" if k[-1] != "A" else "B"), lambda k: "", lambda k: "x" * 40, lambda k: k + "\0"]
)
async def test_a_key_that_differs_in_anything_is_not_valid(registry: Registry, change: Any) -> None:
    """
    No part of a key is enough.
    """
    made = await registry.key(await registry.datastore("lab"))
    assert (await registry.verify(change(made["key"])))["valid"] is False


async def test_an_expired_key_is_not_valid_and_can_not_be_changed(registry: Registry) -> None:
    """
    A key with an end tells it, and after it is as good as revoked.
    """
    lab = await registry.datastore("lab")
    made = await registry.key(lab, expires_in_s=3600)
    assert (await registry.verify(made["key"]))["expires_at"] == made["expires_at"] > made["created_at"]
    path = f"/keys/{made['id']}"
    longer = await registry.call("PATCH", path, registry.admin, {"expires_in_s": 7200})
    assert longer["expires_at"] > made["expires_at"]
    assert (await registry.call("PATCH", path, registry.admin, {"expires_in_s": None}))["expires_at"] is None
    let_pass(registry, made["id"])
    assert (await registry.verify(made["key"]))["valid"] is False
    await registry.call("PATCH", path, registry.admin, {"expires_in_s": None}, status=409)
    await registry.call("POST", f"{path}/rotate", registry.admin, status=409)


async def test_a_rotated_key_works_beside_the_new_one_for_a_while(registry: Registry) -> None:
    """
    Old and new both work during the overlap; then only the new one, which keeps name, scopes and end.
    """
    lab = await registry.datastore("lab")
    old = await registry.key(lab, scopes=["read"], expires_in_s=500_000)
    new = await registry.call("POST", f"/keys/{old['id']}/rotate", registry.admin, {"overlap_s": 60})
    assert (new["name"], new["scopes"], new["expires_at"]) == (old["name"], ["read"], old["expires_at"])
    assert (await registry.verify(old["key"]))["valid"] and (await registry.verify(new["key"]))["valid"]
    await registry.call("POST", f"/keys/{old['id']}/rotate", registry.admin, status=409)
    shown = await registry.call("GET", f"/keys/{old['id']}", registry.admin)
    assert shown["replaced_by"] == new["id"] and shown["expires_at"] < old["expires_at"]
    let_pass(registry, old["id"])
    assert not (await registry.verify(old["key"]))["valid"] and (await registry.verify(new["key"]))["valid"]
    (entry,) = await registry.trail(action="key.rotate")
    assert entry["target"] == old["id"] and entry["details"]["created"]["id"] == new["id"]
    none = await registry.call("POST", f"/keys/{new['id']}/rotate", registry.admin, {"overlap_s": 0})
    assert not (await registry.verify(new["key"]))["valid"] and (await registry.verify(none["key"]))["valid"]


async def test_the_last_use_is_noted_now_and_then(registry: Registry) -> None:
    """
    The first check of a key notes its use, the next ones within a minute do not write again.
    """
    clock = [0.0]
    keys = Keys(registry.app.state.parts.store, ttl_s=5, clock=lambda: clock[0])
    made = await registry.key(await registry.datastore("lab"))
    path = f"/keys/{made['id']}"
    assert (await registry.call("GET", path, registry.admin))["last_used_at"] is None
    seen = []
    for clock[0] in (0, 59, 61):
        assert keys.verify(made["key"])["valid"]
        seen.append((await registry.call("GET", path, registry.admin))["last_used_at"])
    assert seen[0] is not None and seen[0] == seen[1] < seen[2]


async def test_a_removed_datastore_takes_its_keys_along(registry: Registry) -> None:
    """
    Removing asks first when keys work; afterwards they do not, and the trail tells which they were.
    """
    lab = await registry.datastore("lab")
    made = await registry.key(lab)
    refused = await registry.call("DELETE", f"/datastores/{lab}", registry.admin, status=409)
    assert refused["context"]["keys"] == [made["id"]]
    await registry.call("DELETE", f"/datastores/{lab}?revoke_keys=true", registry.admin)
    assert (await registry.verify(made["key"]))["valid"] is False
    await registry.call("GET", f"/datastores/{lab}", registry.admin, status=404)
    (entry,) = await registry.trail(action="datastore.remove")
    assert entry["details"]["revoked_keys"] == [made["id"]] and entry["before"]["name"] == "lab"
    assert await registry.datastore("lab") != lab


async def test_agents_report_with_a_key_and_are_listed(registry: Registry) -> None:
    """
    A report keeps version, host and syncs; only the first one is in the trail; a forgotten agent comes back.
    """
    lab = await registry.datastore("lab")
    key = {"X-API-Key": (await registry.key(lab, scopes=["ingest"]))["key"]}
    body = {"agent_id": "a1", "version": "0.1.0", "host": "lab-1", "syncs": [{"id": "files", "state": "STARTING"}]}
    for state in ("STARTING", "MESSAGE_SYNC"):
        body["syncs"] = [{"id": "files", "state": state}]
        assert (await registry.call("POST", "/agents/heartbeat", key, body))["interval_s"] > 0
    (agent,) = await registry.call("GET", f"/agents?datastore_id={lab}", registry.admin)
    assert agent["alive"] and agent["syncs"] == [{"id": "files", "state": "MESSAGE_SYNC"}]
    assert (agent["version"], agent["host"], agent["datastore_id"]) == ("0.1.0", "lab-1", lab)
    assert agent["first_seen_at"] < agent["last_seen_at"]
    await registry.call("DELETE", f"/datastores/{lab}/agents/a1", registry.admin)
    assert await registry.call("GET", "/agents", registry.admin) == []
    await registry.call("POST", "/agents/heartbeat", key, body)
    assert [entry["action"] for entry in await registry.trail(action="agent")] == [
        "agent.seen",
        "agent.forget",
        "agent.seen",
    ]
