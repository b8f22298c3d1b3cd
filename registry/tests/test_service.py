"""
What holds for the whole service: restarts, secrets on disk, the one shape of errors, health.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from registry_bench import PASSWORD, Registry, running


def look_for_secrets(root: Path, *secrets: str) -> None:
    for file in root.iterdir():
        data = file.read_bytes()
        for secret in secrets:
            assert secret.encode() not in data, file


async def test_users_and_keys_outlive_a_restart_and_no_secret_is_on_disk(config_root: Path) -> None:
    """
    The admin is created once, keys and passwords still work after a restart, and only hashes are kept.
    """
    async with running() as registry:
        made = await registry.key(await registry.datastore("lab"))
        tokens = await registry.tokens()
    async with running(admin_password="another password") as registry:
        await registry.login("admin", PASSWORD)
        assert (await registry.verify(made["key"]))["valid"] is True
    look_for_secrets(config_root, made["key"], made["key"][12:], PASSWORD, tokens["token"], tokens["refresh_token"])
    db = sqlite3.connect(config_root / "registry.db")
    (stored,) = db.execute("SELECT key_hash FROM api_keys").fetchone()
    (password,) = db.execute("SELECT password_hash FROM users").fetchone()
    db.close()
    assert stored == hashlib.sha256(made["key"].encode()).hexdigest()
    assert password.startswith("$argon2id$")


async def test_bad_requests_are_answered_in_the_one_shape(registry: Registry) -> None:
    """
    Every kind of refusal has code, message, hint and context, the right status, and no secret.
    """
    head = registry.admin
    made = await registry.key(await registry.datastore("lab"))
    key = {"name": "k", "datastore_id": made["datastore_id"]}
    cases: list[tuple[str, str, Any, Any, int, str]] = [
        ("GET", "/keys", None, None, 401, "request.unauthorized"),
        ("GET", "/keys", {"Authorization": "Bearer no"}, None, 401, "request.unauthorized"),
        ("POST", "/datastores", head, {"name": "lab"}, 409, "request.state_conflict"),
        ("POST", "/users", head, {"name": "admin", "password": "12345678"}, 409, "request.state_conflict"),
        ("POST", "/keys", head, key, 409, "request.state_conflict"),
        ("POST", "/keys", head, {**key, "datastore_id": "none"}, 404, "request.not_found"),
        ("POST", "/keys", head, {**key, "datastore_id": "a\0b"}, 400, "request.invalid"),
        ("POST", "/keys", head, {**key, "scopes": ["write"]}, 400, "request.invalid"),
        ("DELETE", "/keys/none", head, None, 404, "request.not_found"),
        ("GET", "/keys/%00", head, None, 400, "request.invalid"),
        ("POST", "/datastores", head, {"name": ""}, 400, "request.invalid"),
        ("POST", "/datastores", head, {"name": "../x"}, 400, "request.invalid"),
        ("POST", "/datastores", head, {"name": "x", "description": "\0"}, 400, "request.invalid"),
        ("POST", "/users", head, {"name": "b", "password": "seven77"}, 400, "request.invalid"),
        ("POST", "/login", None, {"name": "\0", "password": "seven77"}, 401, "request.unauthorized"),
        ("GET", "/nowhere", None, None, 404, "request.not_found"),
        ("GET", "/audit?since=2030-01-01", head, None, 400, "request.invalid"),
        ("GET", "/audit?since=0001-01-01T00:00:00%2B05:00", head, None, 400, "request.invalid"),
        ("GET", "/audit?since=0.5", head, None, 400, "request.invalid"),
        ("POST", "/login", None, {"name": "admin", "password": PASSWORD, "cookies": 0}, 400, "request.invalid"),
        ("GET", "/audit?actor=%00", head, None, 400, "request.invalid"),
    ]
    for method, path, who, body, status, code in cases:
        answer = await registry.call(method, path, who, body, status=status)
        assert answer["code"] == code, (path, answer)
        assert set(answer) == {"code", "message", "hint", "context"} and answer["hint"], answer
        assert "seven77" not in str(answer)
    refused = await registry.http.put("/api/v1/users/1", headers=head)
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, PATCH")
    for method in ("GET", "PATCH", "DELETE"):
        refused = await registry.http.request(method, "/api/v1/keys/verify", headers=head)
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST"), "it is no key"
    broken = await registry.http.post("/api/v1/datastores", content=b"{", headers=head)
    assert (broken.status_code, broken.json()["code"]) == (400, "request.invalid")


async def test_health_and_metrics_answer() -> None:
    """
    The service says that it is ready, and serves metrics, without a login.
    """
    async with running() as registry:
        ready = await registry.http.get("/health/ready")
        assert ready.status_code == 200 and ready.json()["checks"]["database"] == "ok"
        assert (await registry.http.get("/health/live")).status_code == 200
        assert "process_" in (await registry.http.get("/metrics")).text
