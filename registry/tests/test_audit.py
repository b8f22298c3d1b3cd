"""
The audit trail: one entry for each change, with what it was and became, from where; and no way to alter one.
"""

from __future__ import annotations

import pytest
from registry_bench import PASSWORD, Registry
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError


async def test_each_change_leaves_one_entry(registry: Registry) -> None:
    """
    Who, what, before and after, from where, under which request; a request that changes nothing leaves none.
    """
    ann = await registry.user("ann", "owner")
    lab = await registry.datastore("lab", ann)
    await registry.call("PATCH", f"/datastores/{lab}", ann, {"policy": {"session_timeout_s": 9}})
    await registry.call("PATCH", f"/datastores/{lab}", ann, {"policy": {"session_timeout_s": 9}})
    made = await registry.key(lab, "k", ann)
    await registry.call("PATCH", f"/keys/{made['id']}", ann, {"name": "k2"})
    await registry.call("PATCH", f"/keys/{made['id']}", ann, {"name": "k2"})
    for _ in range(2):
        await registry.call("DELETE", f"/keys/{made['id']}", {**ann, "X-Request-ID": "the-revocation"})
        await registry.call("PUT", f"/datastores/{lab}/members/admin", ann, {"role": "member"})
    await registry.call("DELETE", f"/datastores/{lab}/members/admin", ann)
    entries = (await registry.trail())[::-1]
    assert [(entry["actor"], entry["action"]) for entry in entries] == [
        ("system", "user.create"),
        ("admin", "login"),
        ("admin", "user.create"),
        ("ann", "login"),
        ("ann", "datastore.create"),
        ("ann", "datastore.update"),
        ("ann", "key.create"),
        ("ann", "key.update"),
        ("ann", "key.revoke"),
        ("ann", "member.set"),
        ("ann", "member.remove"),
    ]
    assert all(entry["at"] and entry["target"] for entry in entries)
    assert all(entry["address"] == "127.0.0.1" for entry in entries[1:])
    assert (entries[5]["before"], entries[5]["after"]) == ({"session_timeout_s": None}, {"session_timeout_s": 9.0})
    assert (entries[7]["before"], entries[7]["after"]) == ({"name": "k"}, {"name": "k2"})
    assert entries[8]["before"] == {"revoked_at": None} and entries[8]["request_id"] == "the-revocation"
    assert entries[8]["target"] == made["id"] and entries[8]["datastore_id"] == lab
    assert entries[10]["before"] == {"role": "member"} and entries[10]["after"] is None
    for secret in (PASSWORD, made["key"], "argon2", "password_hash", "key_hash"):
        assert secret not in str(entries)


async def test_filters_and_pages(registry: Registry) -> None:
    """
    Pages go backwards without a gap or a repeat; each filter narrows; owners read what belongs to their datastores.
    """
    ann = await registry.user("ann", "owner")
    lab = await registry.datastore("lab", ann)
    other = await registry.datastore("other")
    made = [await registry.key(lab, f"k{number}", ann) for number in range(5)]
    await registry.key(other)
    everything = await registry.trail(limit=1000)
    paged, before = [], None
    while page := await registry.trail(limit=2, **({} if before is None else {"before": before})):
        paged += page
        before = page[-1]["id"]
    assert paged == everything
    assert {entry["target"] for entry in await registry.trail(action="key", actor="ann")} == {k["id"] for k in made}
    assert await registry.trail(action="ke") == []
    assert [entry["target"] for entry in await registry.trail(target=made[0]["id"])] == [made[0]["id"]]
    middle = everything[3]["at"]
    until, since = await registry.trail(until=middle), await registry.trail(since=middle)
    assert since + until == everything and until
    hers = await registry.call("GET", "/audit", ann)
    assert {entry["datastore_id"] for entry in hers} == {lab} and len(hers) == 6


async def test_no_entry_can_be_altered_or_removed(registry: Registry) -> None:
    """
    The database itself refuses, whoever asks.
    """
    store = registry.app.state.parts.store
    before = await registry.trail()
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="append-only"), store.write() as session:
            session.execute(text(statement))
    assert await registry.trail() == before
