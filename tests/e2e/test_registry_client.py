"""
The clients of the Registry against a real one: every call, synchronous and asynchronous; and a real Fusion that goes by it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.stack import Service, wait_for

from fustor_client import AsyncRegistryClient, FusionClient, RegistryClient
from fustor_client.models import AgentSync, Policy
from fustor_client.transport import StdlibTransport
from fustor_core.errors import Forbidden, FustorError, NotFoundError, SessionConflict, StateConflictError, Unauthorized

ADMIN = "the admin's password"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("registry")
    made = Service("registry", folder, {"FUSTOR_REGISTRY_ADMIN_PASSWORD": ADMIN, "FUSTOR_REGISTRY_VERIFY_TTL_S": "1"})
    made.start()
    yield made
    made.kill()


class InTurn:
    """
    The asynchronous client, its calls run one by one: one test then serves both clients.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncRegistryClient(url, api_key)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **more: Any) -> Any:
            answer = method(*args, **more)
            return self._runner.run(_collect(answer) if inspect.isasyncgen(answer) else answer)

        return call

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


async def _collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def blocking(url: str, api_key: str | None = None) -> Any:
    return RegistryClient(url, api_key, transport=StdlibTransport(url))


@pytest.mark.parametrize("make", [blocking, RegistryClient, InTurn], ids=["stdlib", "httpx", "async"])
def test_every_call_of_the_client(service: Service, make: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    """
    Each method does what it says against the real service, and its answer has its type.
    """
    mark = request.node.callspec.id
    with make(service.url) as admin, make(service.url) as ann:
        assert admin.is_ready()
        login = admin.login("admin", ADMIN)
        assert login.user.role == "admin" and login.refresh_token and login.login_expires_at
        user = admin.create_user(f"ann-{mark}", "for the first login", role="owner", must_change_password=True)
        assert admin.user(user.id) == user and user in admin.users()

        ann.login(user.name, "for the first login")
        with pytest.raises(Forbidden, match="change it"):
            ann.datastores()
        ann.change_password("for the first login", "ann's own password")
        assert ann.me().must_change_password is False
        (own,) = ann.my_logins()
        assert own.current

        lab = ann.create_datastore(f"lab-{mark}", description="the lab", policy=Policy(session_timeout_s=60))
        assert ann.datastores() == [lab] == [ann.datastore(lab.id)]
        assert lab.policy == Policy(True, 60, None, None, None)
        changed = ann.change_datastore(lab.id, policy=Policy(allow_concurrent_sessions=False))
        assert changed.policy == Policy(False, 60, None, None, None)
        assert admin.change_datastore(lab.id, policy=Policy(max_rows=9, session_timeout_s=None)).policy.max_rows == 9
        with pytest.raises(Forbidden, match="max_rows"):
            ann.change_datastore(lab.id, policy=Policy(max_rows=None))
        bob = admin.create_user(f"bob-{mark}", "bob's password")
        assert ann.set_member(lab.id, bob.name, "member").role == "member"
        assert {member.user: member.role for member in ann.members(lab.id)} == {user.name: "owner", bob.name: "member"}
        ann.remove_member(lab.id, bob.name)

        key = ann.create_key("agent", lab.id, scopes=["ingest"], expires_in_s=3600)
        assert key.expires_at and admin.verify_key(key.key).policy == changed.policy.__class__(
            False, None, None, 9, None
        )
        assert ann.change_key(key.id, name="the agent").name == "the agent"
        assert ann.change_key(key.id, expires_in_s=None).expires_at is None
        new = ann.rotate_key(key.id, overlap_s=60)
        assert ann.key(key.id).replaced_by == new.id and new.name == "the agent"
        assert ann.report_agent(new.key, "a1", version="1", host="h", syncs=[AgentSync("s", "RUNNING")]).interval_s > 0
        (agent,) = ann.agents(datastore_id=lab.id)
        assert agent.alive and agent.syncs == [AgentSync("s", "RUNNING")]
        ann.forget_agent(lab.id, "a1")
        managing = ann.create_key("manager", lab.id, scopes=["admin"])
        with make(service.url, managing.key) as manager:
            assert [one.id for one in manager.datastores()] == [lab.id]
            manager.revoke_key(key.id)
        assert {one.id for one in ann.keys(datastore_id=lab.id, working=True)} == {new.id, managing.id}
        listed = ann.keys()
        assert key.id in {one.id for one in listed}

        trail = list(ann.audit_all(limit=3))
        assert [entry.action for entry in trail][-2:] == ["datastore.update", "datastore.create"]
        assert ann.audit(action="key.revoke", target=key.id)[0].actor == f"key:{managing.id}"
        with pytest.raises(StateConflictError):
            ann.remove_datastore(lab.id)
        ann.remove_datastore(lab.id, revoke_keys=True)
        with pytest.raises(NotFoundError):
            ann.datastore(lab.id)

        admin.reset_password(user.id, "another password")
        with pytest.raises(Unauthorized):
            ann.me()
        ann.login(user.name, "another password")
        other = ann.login(user.name, "another password")
        ended = next(one.id for one in ann.my_logins() if not one.current)
        ann.end_login(ended)
        ann.logout()
        with pytest.raises(Unauthorized):
            ann.me()
        assert other.token
        assert admin.change_user(bob.id, role="read-only", disabled=True).disabled
        for gone in (user, bob):
            admin.remove_user(gone.id)


@pytest.mark.parametrize("make", [blocking, InTurn], ids=["sync", "async"])
def test_a_login_is_refreshed_when_its_access_token_has_ended(tmp_path: Path, make: Callable[..., Any]) -> None:
    """
    A client goes on over the end of its access token, also when several of its calls find that out at once.
    """
    service = Service("registry", tmp_path, {"FUSTOR_REGISTRY_ADMIN_PASSWORD": ADMIN})
    service.start()
    try:
        with make(service.url) as client:
            client.login("admin", ADMIN)
            inner = client if make is blocking else client._client
            before = inner._headers["Authorization"]
            inner._headers["Authorization"] = "Bearer fa_that_has_ended"
            if make is blocking:
                assert client.me().name == "admin"
            else:

                async def at_once() -> list[Any]:
                    return await asyncio.gather(*(inner.me() for _ in range(5)))

                assert [user.name for user in client._runner.run(at_once())] == ["admin"] * 5
            assert inner._headers["Authorization"] not in {before, "Bearer fa_that_has_ended"}
            assert len(client.my_logins()) == 1
    finally:
        service.kill()


def test_fusion_follows_the_registry_within_seconds(service: Service, tmp_path: Path) -> None:
    """
    A revoked key, one that has ended, a scope and a policy: Fusion goes by them within the time it may remember.
    """
    fusion = Service("fusion", tmp_path, {"FUSTOR_FUSION_REGISTRY_URL": service.url})
    fusion.start()
    try:
        with blocking(service.url) as registry:
            registry.login("admin", ADMIN)
            lab = registry.create_datastore("followed", policy=Policy(allow_concurrent_sessions=False))
            ingest = registry.create_key("ingest", lab.id, scopes=["ingest"]).key
            manager = registry.create_key("manager", lab.id, scopes=["admin"]).key
            short = registry.create_key("short", lab.id, scopes=["read"], expires_in_s=4).key
            revoked = registry.create_key("revoked", lab.id, scopes=["read"])

            def tables(key: str) -> FustorError | None:
                try:
                    with FusionClient(fusion.url, key, transport=StdlibTransport(fusion.url)) as client:
                        client.tables()
                except FustorError as exc:
                    return exc
                return None

            def session(task: str) -> httpx.Response:
                sent = {"task_id": task, "agent_id": "a"}
                head = {"X-API-Key": ingest}
                return httpx.post(f"{fusion.url}/ingestor-api/v1/sessions/", json=sent, headers=head, timeout=30)

            assert tables(manager) is None and tables(revoked.key) is None
            assert isinstance(tables(ingest), Forbidden)
            told: list[str] = []

            def follow() -> None:
                head = {"X-API-Key": revoked.key}
                with httpx.stream("GET", f"{fusion.url}/views/live", headers=head, timeout=180) as answer:
                    told.extend(answer.iter_lines())

            follower = threading.Thread(target=follow)
            follower.start()
            wait_for(
                "somebody follows", lambda: "fustor_fusion_live_readers 1" in httpx.get(f"{fusion.url}/metrics").text
            )
            registry.revoke_key(revoked.id)
            for key in (revoked.key, short):
                wait_for("the key is refused", lambda key=key: isinstance(tables(key), Unauthorized))  # type: ignore[misc]
            follower.join(180)
            assert told[-3] == "event: refused", "a stream that was open when its key was revoked ends, and says why"
            assert json.loads(told[-2].removeprefix("data: "))["code"] == Unauthorized.code
            assert session("one").status_code == 200
            assert session("two").json()["code"] == SessionConflict.code
            registry.change_datastore(lab.id, policy=Policy(allow_concurrent_sessions=True, session_timeout_s=99))
            wait_for("the policy is followed", lambda: session("two").status_code == 200)
            assert session("two").json()["session_timeout"] == 99
    finally:
        fusion.kill()
