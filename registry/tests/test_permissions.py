"""
Every endpoint with every role, every key, without a login, and with what belongs to another datastore: nothing leaks.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness.routes import served
from registry_bench import PASSWORD, Headers, Registry

from fustor_registry.app import create_app
from fustor_registry.models import ApiKey
from fustor_registry.settings import RegistrySettings

NAMES = itertools.count()
SECRETS = ("very-private-name", "described-in-private", "private-key-name", "private-agent", "private-member")
"""
What no answer to a stranger may hold.
"""
CALLERS = ("none", "admin", "owner", "member", "reader", "other", "k_ingest", "k_read", "k_admin", "k_other")
STRANGERS = ("none", "other", "k_other")
# Needs no login, by design.
PUBLIC = {
    ("POST", "/api/v1/login"),
    ("POST", "/api/v1/refresh"),
    ("POST", "/api/v1/keys/verify"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
}


@dataclass
class Place:
    """
    A datastore with everything in it, and everyone who might come by.
    """

    registry: Registry
    datastore: str = ""
    victim: int = 0
    headers: dict[str, Headers] = field(default_factory=dict)

    @classmethod
    async def build(cls, registry: Registry) -> Place:
        place = cls(registry)
        who = place.headers
        who["none"], who["admin"] = {}, registry.admin
        for name, role in (("owner", "owner"), ("member", "member"), ("reader", "read-only"), ("other", "owner")):
            who[name] = await registry.user(name, role)
        await registry.user("private-member", "member")
        users = await registry.call("GET", "/users", registry.admin)
        place.victim = next(user["id"] for user in users if user["name"] == "private-member")
        body = {"name": SECRETS[0], "description": SECRETS[1]}
        place.datastore = (await registry.call("POST", "/datastores", who["owner"], body))["id"]
        elsewhere = await registry.datastore("elsewhere", who["other"])
        for name, role in (("member", "member"), ("reader", "read-only")):
            await registry.call("PUT", f"/datastores/{place.datastore}/members/{name}", who["owner"], {"role": role})
        for name, datastore, scope in (
            ("k_ingest", place.datastore, "ingest"),
            ("k_read", place.datastore, "read"),
            ("k_admin", place.datastore, "admin"),
            ("k_other", elsewhere, "admin"),
        ):
            maker = who["other" if name == "k_other" else "owner"]
            made = await registry.key(datastore, f"{name}-key", maker, scopes=[scope])
            who[name] = {"X-API-Key": made["key"]}
        return place

    async def a_key(self, scope: str = "ingest") -> str:
        name = f"{SECRETS[2]}-{next(NAMES)}"
        made = await self.registry.key(self.datastore, name, self.headers["owner"], scopes=[scope])
        return str(made["id"])

    async def an_admin_key(self) -> str:
        return await self.a_key("admin")

    async def a_member(self) -> str:
        path = f"/datastores/{self.datastore}/members/{SECRETS[4]}"
        await self.registry.call("PUT", path, self.headers["admin"], {"role": "member"})
        return SECRETS[4]

    async def an_agent(self) -> str:
        body = {"agent_id": SECRETS[3], "version": "1", "host": "h"}
        await self.registry.call("POST", "/agents/heartbeat", self.headers["k_ingest"], body)
        return SECRETS[3]

    async def a_user(self) -> str:
        body = {"name": f"u{next(NAMES)}", "password": PASSWORD}
        return str((await self.registry.call("POST", "/users", self.headers["admin"], body))["id"])


Target = Callable[[Place], Awaitable[str]]


@dataclass(frozen=True)
class Row:
    """
    One call, and what each of `CALLERS` gets for it.
    """

    method: str
    path: str
    statuses: str
    body: Any = None
    target: Target | None = None
    fresh_name: bool = False

    @property
    def expected(self) -> dict[str, int]:
        return dict(zip(CALLERS, map(int, self.statuses.split()), strict=True))


ADMINS = "401 {} 403 403 403 403 401 401 401 401"
MATRIX = [
    # method, path                       none admin owner member reader other  ingest read admin other's admin
    Row("GET", "/users/me", "401 200 200 200 200 200 401 401 401 401"),
    Row("GET", "/users/me/logins", "401 200 200 200 200 200 401 401 401 401"),
    Row("DELETE", "/users/me/logins/none", "401 404 404 404 404 404 401 401 401 401"),
    Row(
        "POST",
        "/users/me/password",
        "401 409 409 409 409 409 401 401 401 401",
        {"old_password": PASSWORD, "new_password": PASSWORD},
    ),
    Row("GET", "/users", ADMINS.format(200)),
    Row("POST", "/users", ADMINS.format(201), {"password": PASSWORD}, fresh_name=True),
    Row("GET", "/users/{victim}", ADMINS.format(200)),
    Row("PATCH", "/users/{victim}", ADMINS.format(200), {"role": "member"}),
    Row("POST", "/users/{target}/password", ADMINS.format(204), {"password": PASSWORD}, Place.a_user),
    Row("DELETE", "/users/{target}", ADMINS.format(204), None, Place.a_user),
    Row("GET", "/datastores", "401 200 200 200 200 200 403 403 200 200"),
    Row("POST", "/datastores", "401 201 201 403 403 201 401 401 401 401", {}, fresh_name=True),
    Row("GET", "/datastores/{ds}", "401 200 200 200 200 404 403 403 200 404"),
    Row("PATCH", "/datastores/{ds}", "401 200 200 403 403 404 403 403 200 404", {"description": SECRETS[1]}),
    Row("PATCH", "/datastores/{ds}", "401 200 200 403 403 404 403 403 200 404", {"policy": {"session_timeout_s": 9}}),
    Row("PATCH", "/datastores/{ds}", "401 200 200 403 403 404 403 403 200 404", {"policy": {"max_rows": None}}),
    Row("DELETE", "/datastores/{ds}", "401 409 409 403 403 404 401 401 401 401"),
    Row("GET", "/datastores/{ds}/members", "401 200 200 200 200 404 401 401 401 401"),
    Row(
        "PUT", "/datastores/{ds}/members/other-not-there", "401 404 404 403 403 404 401 401 401 401", {"role": "member"}
    ),
    Row("PUT", "/datastores/{ds}/members/reader", "401 200 200 403 403 404 401 401 401 401", {"role": "read-only"}),
    Row("DELETE", "/datastores/{ds}/members/{target}", "401 204 204 403 403 404 401 401 401 401", None, Place.a_member),
    Row("GET", "/keys", "401 200 200 200 200 200 403 403 200 200"),
    Row("GET", "/keys?datastore_id={ds}", "401 200 200 200 200 200 403 403 200 200"),
    Row(
        "POST",
        "/keys",
        "401 201 201 201 403 404 403 403 201 404",
        {"datastore_id": "{ds}", "scopes": ["ingest", "read"]},
        fresh_name=True,
    ),
    Row(
        "POST",
        "/keys",
        "401 201 201 403 403 404 403 403 403 404",
        {"datastore_id": "{ds}", "scopes": ["admin"]},
        fresh_name=True,
    ),
    Row("GET", "/keys/{target}", "401 200 200 200 200 404 403 403 200 404", None, Place.a_key),
    Row("PATCH", "/keys/{target}", "401 200 200 403 403 404 403 403 200 404", {"expires_in_s": 99}, Place.a_key),
    Row("POST", "/keys/{target}/rotate", "401 201 201 403 403 404 403 403 201 404", {"overlap_s": 9}, Place.a_key),
    Row("DELETE", "/keys/{target}", "401 204 204 403 403 404 403 403 204 404", None, Place.a_key),
    Row("PATCH", "/keys/{target}", "401 200 200 403 403 404 403 403 403 404", {"expires_in_s": 99}, Place.an_admin_key),
    Row("POST", "/keys/{target}/rotate", "401 201 201 403 403 404 403 403 403 404", {}, Place.an_admin_key),
    Row("DELETE", "/keys/{target}", "401 204 204 403 403 404 403 403 403 404", None, Place.an_admin_key),
    Row(
        "POST",
        "/agents/heartbeat",
        "401 401 401 401 401 401 200 403 200 200",
        {"agent_id": "a", "version": "1", "host": "h", "syncs": [{"id": "s", "state": "x"}]},
    ),
    Row("GET", "/agents", "401 200 200 200 200 200 403 403 200 200", None, Place.an_agent),
    Row("GET", "/agents?datastore_id={ds}", "401 200 200 200 200 200 403 403 200 200", None, Place.an_agent),
    Row("DELETE", "/datastores/{ds}/agents/{target}", "401 204 204 403 403 404 403 403 204 404", None, Place.an_agent),
    Row("GET", "/audit", "401 200 200 403 403 200 401 401 401 401"),
    Row("GET", "/audit?datastore_id={ds}", "401 200 200 403 403 404 401 401 401 401"),
    Row("POST", "/logout", "401 204 204 204 204 204 401 401 401 401"),
]


def test_the_matrix_has_every_route() -> None:
    """
    A route that nobody thought of is found: each that needs a login is in the matrix.
    """

    def shape(path: str) -> str:
        path = path.partition("?")[0].replace("other-not-there", "{}").replace("members/reader", "members/{}")
        return "/".join("{}" if part.startswith("{") or part == "none" else part for part in path.split("/"))

    guarded = served(create_app(RegistrySettings.load())) - PUBLIC
    assert {(method, shape(path)) for method, path in guarded} == {
        (row.method, shape("/api/v1" + row.path)) for row in MATRIX
    }


async def ask(place: Place, row: Row, caller: str, target: str, datastore: str) -> Any:
    path = row.path.replace("{ds}", datastore).replace("{target}", target).replace("{victim}", str(place.victim))
    body = row.body
    if isinstance(body, dict):
        body = {name: datastore if value == "{ds}" else value for name, value in body.items()}
        if row.fresh_name:
            body["name"] = f"n{next(NAMES)}"
    return await place.registry.http.request(row.method, f"/api/v1{path}", headers=place.headers[caller], json=body)


@pytest.mark.timeout(600)
async def test_every_endpoint_with_every_caller(registry: Registry) -> None:
    """
    Each gets what the matrix says; a stranger gets the same answer for what is there as for what is not, and never a name.
    """
    place = await Place.build(registry)
    wrong = []
    for row in MATRIX:
        for caller in CALLERS:
            target = await row.target(place) if row.target is not None else ""
            answer = await ask(place, row, caller, target, place.datastore)
            expected = row.expected[caller]
            if answer.status_code != expected:
                wrong.append(f"{row.method} {row.path} {row.body} as {caller}: {answer.status_code}, not {expected}")
            if caller not in STRANGERS:
                continue
            told = answer.text.replace(target or "-", "ID").replace(place.datastore, "ID")
            if row.path != "/users/me":
                assert not any(secret in told for secret in SECRETS), (row, caller, told)
            if answer.status_code == 404:
                absent = await ask(place, row, caller, "f" * 8, "f" * 12)
                assert absent.status_code == 404
                assert absent.text.replace("f" * 12, "ID").replace("f" * 8, "ID") == told
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
async def test_what_has_ended_opens_nothing(registry: Registry) -> None:
    """
    A key that was revoked or has expired, a login that has ended, a user who is disabled: 401 everywhere. Who has to change their password
    can do that, look who they are, and log out.
    """
    place = await Place.build(registry)
    keys = {name: await registry.key(place.datastore, name, scopes=["admin"]) for name in ("revoked", "expired")}
    await registry.call("DELETE", f"/keys/{keys['revoked']['id']}", registry.admin)
    with registry.app.state.parts.store.write() as session:
        session.query(ApiKey).filter_by(id=keys["expired"]["id"]).update(
            {"expires_at": "2000-01-01T00:00:00.000000+00:00"}
        )
    ended = {name: {"X-API-Key": key["key"]} for name, key in keys.items()}
    ended["logged out"] = await registry.login()
    await registry.call("POST", "/logout", ended["logged out"])
    ended["disabled"] = await registry.user("disabled", "admin")
    users = {user["name"]: user["id"] for user in await registry.call("GET", "/users", registry.admin)}
    await registry.call("PATCH", f"/users/{users['disabled']}", registry.admin, {"disabled": True})
    body = {"name": "new", "password": PASSWORD, "role": "admin", "must_change_password": True}
    await registry.call("POST", "/users", registry.admin, body)
    new = place.headers["new"] = await registry.login("new")
    place.headers |= ended
    wrong = []
    for row in MATRIX:
        for caller in (*ended, "new"):
            if caller == "new" and (row.path.startswith("/users/me") or row.path in {"/logout", "/agents/heartbeat"}):
                continue
            answer = await ask(place, row, caller, "9" * 8, place.datastore)
            if answer.status_code != (403 if caller == "new" else 401):
                wrong.append(f"{row.method} {row.path} as {caller}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
    await registry.call("GET", "/users/me", new)


async def test_a_role_caps_every_membership_and_quotas_are_the_admins(registry: Registry) -> None:
    """
    Nobody is more in a datastore than their role; lowering the role takes effect at once; owners can't raise their own quotas.
    """
    ann = await registry.user("ann", "owner")
    lab = await registry.datastore("lab", ann)
    bob = await registry.user("bob", "read-only")
    member = f"/datastores/{lab}/members/bob"
    await registry.call("PUT", member, ann, {"role": "member"}, status=409)
    users = {user["name"]: user["id"] for user in await registry.call("GET", "/users", registry.admin)}
    await registry.call("PATCH", f"/users/{users['bob']}", registry.admin, {"role": "member"})
    await registry.call("PUT", member, ann, {"role": "member"})
    made = await registry.key(lab, "bobs", bob)
    await registry.call("PATCH", f"/users/{users['bob']}", registry.admin, {"role": "read-only"})
    await registry.call("DELETE", f"/keys/{made['id']}", bob, status=403)
    for policy in ({"max_rows": 5}, {"max_bytes": 5}):
        await registry.call("PATCH", f"/datastores/{lab}", ann, {"policy": policy}, status=403)
        await registry.call("POST", "/datastores", ann, {"name": "more", "policy": policy}, status=403)
    await registry.call("PATCH", f"/datastores/{lab}", registry.admin, {"policy": {"max_rows": 5}})
    await registry.call("PATCH", f"/datastores/{lab}", ann, {"policy": {"max_rows": None}}, status=403)
    shown = await registry.call("PATCH", f"/datastores/{lab}", ann, {"policy": {"max_rows": 5, "retention_days": 3}})
    assert (shown["policy"]["max_rows"], shown["policy"]["retention_days"]) == (5, 3)
    await registry.call("PATCH", f"/users/{users['ann']}", registry.admin, {"role": "member"})
    await registry.call("PATCH", f"/datastores/{lab}", ann, {"name": "x"}, status=403)
    await registry.call("GET", "/audit", ann, status=403)


async def test_a_member_changes_only_keys_of_their_own(registry: Registry) -> None:
    """
    A member rotates and revokes what they made, and the new key after a rotation is still theirs.
    """
    lab = await registry.datastore("lab")
    ann = await registry.user("ann", "member")
    await registry.call("PUT", f"/datastores/{lab}/members/ann", registry.admin, {"role": "member"})
    mine, theirs = await registry.key(lab, "mine", ann), await registry.key(lab, "theirs")
    await registry.call("DELETE", f"/keys/{theirs['id']}", ann, status=403)
    rotated = await registry.call("POST", f"/keys/{mine['id']}/rotate", ann)
    await registry.call("DELETE", f"/keys/{rotated['id']}", ann)
