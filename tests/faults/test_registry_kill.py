"""
The Registry killed with -9 while keys are made and revoked: nothing is half made, and the audit trail is complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.stack import Service, wait_for
from sqlalchemy import create_engine, text

from fustor_core.testing.postgres_server import DATABASE, PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

ADMIN = "the admin's password"
WORKERS = 8
KILLS = 5


@dataclass
class Done:
    """
    What the Registry said was done: keys made (by id), those revoked; and how many requests got no answer.
    """

    made: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    unknown: int = 0

    @property
    def count(self) -> int:
        return len(self.made) + len(self.revoked)


@pytest.fixture(params=[("sqlite", 1000), ("postgresql", 400)], ids=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """
    Where the Registry keeps its data, and how many changes are made there.
    """
    kind, changes = request.param
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'registry' / 'registry.db'}", changes
        return
    server = PostgresServer.start_new()
    yield f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}", changes
    server.close()


def change_until_cut_off(service: Service, head: dict[str, str], datastore: str, prefix: str, done: Done) -> None:
    """
    Make keys and revoke two of three, until a request is cut off. That one is not made again: what became of it is not known.
    """
    with httpx.Client(base_url=f"{service.url}/api/v1", headers=head, timeout=60) as api:
        for number in range(100_000):
            try:
                made = api.post("/keys", json={"name": f"{prefix}-{number}", "datastore_id": datastore})
                assert made.status_code == 201, made.text
                key_id = made.json()["id"]
                done.made[key_id] = made.json()["key"]
                if number % 3:
                    answer = api.delete(f"/keys/{key_id}")
                    assert answer.status_code == 204, answer.text
                    done.revoked.add(key_id)
            except httpx.TransportError:
                done.unknown += 1
                return


def rows(url: str, query: str) -> list[Any]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(query)))
    finally:
        engine.dispose()


@pytest.mark.timeout(900)
def test_killed_during_a_thousand_changes_nothing_is_half_made(database: tuple[str, int], tmp_path: Path) -> None:
    """
    Every change that was answered is there, and every one that is there has exactly one entry in the trail, whole.
    """
    url, changes = database
    service = Service(
        "registry",
        tmp_path / "registry",
        {"FUSTOR_REGISTRY_ADMIN_PASSWORD": ADMIN, "FUSTOR_REGISTRY_DATABASE_URL": url},
    )
    done = Done()
    try:
        service.start()
        api = f"{service.url}/api/v1"
        login = httpx.post(f"{api}/login", json={"name": "admin", "password": ADMIN}, timeout=60).json()
        head = {"Authorization": f"Bearer {login['token']}"}
        datastore = httpx.post(f"{api}/datastores", json={"name": "lab"}, headers=head, timeout=60).json()["id"]
        with ThreadPoolExecutor(WORKERS) as pool:
            for kill in range(1, KILLS + 1):
                workers = [
                    pool.submit(change_until_cut_off, service, head, datastore, f"k{kill}-{number}", done)
                    for number in range(WORKERS)
                ]
                goal = changes * kill // KILLS
                wait_for(
                    f"{goal} changes",
                    lambda goal=goal: done.count >= goal,
                    timeout_s=300,
                    every_s=0.002,  # type: ignore[misc]
                )
                service.kill()
                for worker in workers:
                    worker.result()
                assert done.unknown == kill * WORKERS, "the kill came between two requests"
                service.start()
        check(service, head, url, done)
    finally:
        service.kill()


def check(service: Service, head: dict[str, str], url: str, done: Done) -> None:
    """
    Compare what was answered, what is in the database, what the trail says, and what the service says of the keys.
    """
    keys = {row.id: row for row in rows(url, "SELECT * FROM api_keys")}
    assert done.made.keys() <= keys.keys()
    assert done.revoked <= {key_id for key_id, row in keys.items() if row.revoked_at is not None}
    unanswered = (
        len(keys) - len(done.made) + sum(row.revoked_at is not None for row in keys.values()) - len(done.revoked)
    )
    assert 0 <= unanswered <= done.unknown
    assert all(row.key_hash and row.scopes and row.datastore_id and row.created_by == "admin" for row in keys.values())

    trail = rows(url, "SELECT * FROM audit ORDER BY id")
    entries = Counter((entry.action, entry.target) for entry in trail if entry.action.startswith("key."))
    expected = Counter(("key.create", key_id) for key_id in keys)
    expected.update(("key.revoke", key_id) for key_id, row in keys.items() if row.revoked_at is not None)
    assert entries == expected, "a change without its entry, or an entry without its change"
    assert all(entry.actor == "admin" and entry.address == "127.0.0.1" and entry.after for entry in trail[3:])

    # What the API pages through is the whole of it.
    with httpx.Client(base_url=f"{service.url}/api/v1", headers=head, timeout=60) as api:
        listed: list[int] = []
        while page := api.get("/audit", params={"limit": 100, "before": listed[-1] if listed else 2**31 - 1}).json():
            listed += [entry["id"] for entry in page]
        assert listed == [entry.id for entry in reversed(trail)]
        for number, (key_id, key) in enumerate(done.made.items()):
            if number % 10 == 0:
                valid = api.post("/keys/verify", json={"key": key}).json()["valid"]
                assert valid == (keys[key_id].revoked_at is None)
    if url.startswith("sqlite"):
        assert rows(url, "PRAGMA integrity_check")[0][0] == "ok"
        assert rows(url, "PRAGMA foreign_key_check") == []
