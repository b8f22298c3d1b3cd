"""
The Registry's API in one process, over its real database.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from fustor_registry.app import create_app
from fustor_registry.models import Base
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store
from fustor_registry.users import LoginLimit, TooManyLogins

PASSWORD = "a long password"


@pytest.fixture(autouse=True)
def config_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path))
    yield tmp_path


@asynccontextmanager
async def registry(**settings: Any) -> AsyncIterator[AsyncClient]:
    app = create_app(RegistrySettings.load(**{"admin_password": PASSWORD, "log_console": False} | settings))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://registry") as client,
    ):
        yield client


async def log_in(client: AsyncClient, name: str = "admin", password: str = PASSWORD) -> dict[str, str]:
    answer = await client.post("/api/v1/login", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def make_key(client: AsyncClient, head: dict[str, str], name: str = "lab") -> dict[str, Any]:
    store = (await client.post("/api/v1/datastores", json={"name": name}, headers=head)).json()
    answer = await client.post("/api/v1/keys", json={"name": "k", "datastore_id": store["id"]}, headers=head)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def look_for_secrets(root: Path, key: str) -> None:
    for file in root.iterdir():
        data = file.read_bytes()
        for secret in (key, key[12:], PASSWORD):
            assert secret.encode() not in data, file
    db = sqlite3.connect(root / "registry.db")
    (stored,) = db.execute("SELECT key_hash FROM api_keys").fetchone()
    db.close()
    assert stored == hashlib.sha256(key.encode()).hexdigest()


async def verify(client: AsyncClient, key: str) -> dict[str, Any]:
    answer = await client.post("/api/v1/keys/verify", json={"key": key})
    assert answer.status_code == 200
    result: dict[str, Any] = answer.json()
    return result


async def test_a_key_works_until_it_is_revoked() -> None:
    async with registry() as client:
        head = await log_in(client)
        made = await make_key(client, head)
        assert re.fullmatch(r"fk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made["key"])
        good = await verify(client, made["key"])
        assert good["valid"] and good["datastore_name"] == "lab" and good["scopes"] == ["ingest", "read"]
        assert (await client.delete(f"/api/v1/keys/{made['id']}", headers=head)).status_code == 204
        assert (await verify(client, made["key"]))["valid"] is False
        listed = (await client.get("/api/v1/keys", headers=head)).json()
        assert listed[0]["revoked_at"] and "key" not in listed[0] and listed[0]["prefix"] == made["key"][:11]
        # The name is free again.
        again = {"name": "k", "datastore_id": made["datastore_id"]}
        assert (await client.post("/api/v1/keys", json=again, headers=head)).status_code == 201


@pytest.mark.parametrize(
    "change", [lambda k: k[:-1] + ("A" if k[-1] != "A" else "B"), lambda k: "", lambda k: "x" * 40]
)
async def test_a_key_that_differs_in_anything_is_not_valid(change: Any) -> None:
    async with registry() as client:
        made = await make_key(client, await log_in(client))
        assert (await verify(client, change(made["key"])))["valid"] is False


async def test_users_and_keys_outlive_a_restart_and_no_secret_is_on_disk(config_root: Path) -> None:
    async with registry() as client:
        made = await make_key(client, await log_in(client))
    async with registry(admin_password="another password") as client:
        await log_in(client)  # the first password: bootstrap happens once
        assert (await verify(client, made["key"]))["valid"] is True
    look_for_secrets(config_root, made["key"])


async def test_each_change_leaves_an_audit_entry() -> None:
    async with registry() as client:
        head = await log_in(client)
        made = await make_key(client, head)
        await client.delete(f"/api/v1/keys/{made['id']}", headers=head)
        await client.post("/api/v1/users", json={"name": "ann", "password": "12345678"}, headers=head)
        entries = (await client.get("/api/v1/audit", headers=head)).json()
        assert [(e["actor"], e["action"]) for e in reversed(entries)] == [
            ("bootstrap", "user.create"),
            ("admin", "login"),
            ("admin", "datastore.create"),
            ("admin", "key.create"),
            ("admin", "key.revoke"),
            ("admin", "user.create"),
        ]
        assert all(e["at"] and e["target"] for e in entries)
        older = (await client.get(f"/api/v1/audit?limit=2&before={entries[0]['id']}", headers=head)).json()
        assert older == entries[1:3]


async def test_only_an_admin_manages_users_and_any_user_manages_datastores() -> None:
    async with registry() as client:
        head = await log_in(client)
        await client.post("/api/v1/users", json={"name": "ann", "password": "12345678"}, headers=head)
        ann = await log_in(client, "ann", "12345678")
        for call in (client.get("/api/v1/users", headers=ann), client.get("/api/v1/audit", headers=ann)):
            answer = await call
            assert answer.status_code == 403 and answer.json()["hint"]
        assert (await client.post("/api/v1/datastores", json={"name": "hers"}, headers=ann)).status_code == 201
        assert [u["name"] for u in (await client.get("/api/v1/users", headers=head)).json()] == ["admin", "ann"]


async def test_bad_requests_are_answered_in_the_one_shape() -> None:
    async with registry() as client:
        head = await log_in(client)
        made = await make_key(client, head)
        cases = [
            (await client.get("/api/v1/keys"), 401, "request.unauthorized"),
            (await client.get("/api/v1/keys", headers={"Authorization": "Bearer no"}), 401, "request.unauthorized"),
            (
                await client.post("/api/v1/datastores", json={"name": "lab"}, headers=head),
                409,
                "request.state_conflict",
            ),
            (
                await client.post("/api/v1/users", json={"name": "admin", "password": "12345678"}, headers=head),
                409,
                "request.state_conflict",
            ),
            (
                await client.post(
                    "/api/v1/keys", json={"name": "k", "datastore_id": made["datastore_id"]}, headers=head
                ),
                409,
                "request.state_conflict",
            ),
            (
                await client.post("/api/v1/keys", json={"name": "k", "datastore_id": "none"}, headers=head),
                404,
                "request.not_found",
            ),
            (await client.delete("/api/v1/keys/none", headers=head), 404, "request.not_found"),
            (await client.post("/api/v1/datastores", json={"name": ""}, headers=head), 400, "request.invalid"),
            (await client.post("/api/v1/datastores", json={"name": "../x"}, headers=head), 400, "request.invalid"),
            (
                await client.post("/api/v1/users", json={"name": "b", "password": "seven77"}, headers=head),
                400,
                "request.invalid",
            ),
            (await client.post("/api/v1/datastores", content=b"{", headers=head), 400, "request.invalid"),
            (await client.get("/nowhere"), 404, "request.not_found"),
        ]
        for answer, status, code in cases:
            body = answer.json()
            assert (answer.status_code, body["code"]) == (status, code), answer.text
            assert set(body) == {"code", "message", "hint", "context"} and body["hint"], body
            assert "seven77" not in answer.text


async def test_failed_logins_tell_nothing_and_have_to_wait() -> None:
    async with registry(login_failures=3) as client:
        said = []
        for name in ("admin", "nobody", "admin"):
            answer = await client.post("/api/v1/login", json={"name": name, "password": "wrong"})
            said.append((answer.status_code, answer.json()))
        assert said[0] == said[1] == said[2] and said[0][0] == 401
        answer = await client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0


def test_a_login_may_be_tried_again_after_the_wait() -> None:
    clock = [0.0]
    limit = LoginLimit(2, 30, clock=lambda: clock[0])
    limit.failed("a")
    limit.check("a")
    limit.failed("a")
    with pytest.raises(TooManyLogins):
        limit.check("a")
    limit.check("b")
    clock[0] = 31
    limit.check("a")


async def test_an_expired_login_is_refused(config_root: Path) -> None:
    async with registry() as client:
        head = await log_in(client)
        db = sqlite3.connect(config_root / "registry.db")
        db.execute("UPDATE login_tokens SET expires_at = '2000-01-01T00:00:00.000000+00:00'")
        db.commit()
        db.close()
        assert (await client.get("/api/v1/keys", headers=head)).status_code == 401


async def test_health_and_metrics_answer() -> None:
    async with registry() as client:
        ready = await client.get("/health/ready")
        assert ready.status_code == 200 and ready.json()["checks"]["database"] == "ok"
        assert (await client.get("/health/live")).status_code == 200
        assert "process_" in (await client.get("/metrics")).text


def test_migrations_from_empty_give_the_tables_of_the_models(config_root: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = Store(f"sqlite:///{config_root / 'registry.db'}")
    store.migrate()
    store.migrate()  # again: nothing to do
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    store.close()
