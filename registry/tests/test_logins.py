"""
Logins: tokens and their rotation, cookies, passwords, and waiting after wrong ones.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from registry_bench import PASSWORD, Registry, bearer, running

from fustor_registry.guesses import GuessLimit, TooManyLogins
from fustor_registry.models import AccessToken, Login
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store

LONG_AGO = "2000-01-01T00:00:00.000000+00:00"


def expire(registry: Registry, table: type[AccessToken] | type[Login]) -> None:
    with registry.app.state.parts.store.write() as session:
        session.query(table).update({"expires_at": LONG_AGO})


async def refresh(registry: Registry, token: str, status: int = 200) -> Any:
    return await registry.call("POST", "/refresh", None, {"refresh_token": token}, status=status)


async def test_refresh_rotates_both_tokens(registry: Registry) -> None:
    """
    A refresh token gets a new pair; the access token before it ends, and the new one works.
    """
    first = await registry.tokens()
    second = await refresh(registry, first["refresh_token"])
    assert second["token"] != first["token"] and second["refresh_token"] != first["refresh_token"]
    assert second["login_expires_at"] == first["login_expires_at"]
    await registry.call("GET", "/users/me", bearer(first["token"]), status=401)
    assert (await registry.call("GET", "/users/me", bearer(second["token"])))["name"] == "admin"


async def test_a_refresh_token_that_comes_again_ends_the_whole_login(registry: Registry) -> None:
    """
    Reuse means theft: all tokens of that login end, those of other logins go on, and the trail tells.
    """
    other = await registry.tokens()
    first = await registry.tokens()
    second = await refresh(registry, first["refresh_token"])
    third = await refresh(registry, second["refresh_token"])
    await refresh(registry, first["refresh_token"], 401)
    await registry.call("GET", "/users/me", bearer(third["token"]), status=401)
    await refresh(registry, third["refresh_token"], 401)
    await registry.call("GET", "/users/me", bearer(other["token"]))
    assert len(await registry.trail(action="login.reuse")) == 1


async def test_a_refresh_token_used_twice_at_once_is_good_at_most_once(registry: Registry) -> None:
    """
    Two uses at the same moment: one of them gets tokens, and the login ends.
    """
    first = await registry.tokens()
    answers = await asyncio.gather(
        *(registry.http.post("/api/v1/refresh", json={"refresh_token": first["refresh_token"]}) for _ in range(4))
    )
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert [answer.status_code for answer in answers if answer.status_code != 200] == [401] * 3
    await registry.call("GET", "/users/me", bearer(good[0]["token"]), status=401)


async def test_an_access_token_ends_before_its_login_and_both_end(registry: Registry) -> None:
    """
    An expired access token is refused and may be refreshed; when the login has expired nothing helps but a new one.
    """
    tokens = await registry.tokens()
    expire(registry, AccessToken)
    await registry.call("GET", "/users/me", bearer(tokens["token"]), status=401)
    tokens = await refresh(registry, tokens["refresh_token"])
    expire(registry, Login)
    await registry.call("GET", "/users/me", bearer(tokens["token"]), status=401)
    await refresh(registry, tokens["refresh_token"], 401)
    await refresh(registry, "fr_unknown", 401)


async def test_logout_ends_the_login_that_asks_or_the_one_that_is_named(registry: Registry) -> None:
    """
    A user sees their open logins and ends any of them, and nobody else's.
    """
    ann = await registry.user("ann", "member")
    here, there = await registry.login("ann"), await registry.login("ann")
    listed = await registry.call("GET", "/users/me/logins", here)
    assert [one["current"] for one in listed].count(True) == 1 and len(listed) == 3
    assert all(one["address"] and one["client"].startswith("python-httpx") for one in listed)
    mine = next(one["id"] for one in listed if one["current"])
    await registry.call("DELETE", f"/users/me/logins/{mine}", registry.admin, status=404)
    await registry.call("DELETE", f"/users/me/logins/{mine}", there)
    await registry.call("GET", "/users/me", here, status=401)
    await registry.call("POST", "/logout", there)
    await registry.call("GET", "/users/me", there, status=401)
    await registry.call("GET", "/users/me", ann)


async def test_pages_get_cookies_that_no_script_reads_and_only_their_own_changes_count() -> None:
    """
    Cookies are HttpOnly, strict and not in the body; a change with them needs the page's own origin.
    """
    async with running() as registry:
        body = {"name": "admin", "password": PASSWORD, "cookies": True}
        answer = await registry.http.post("/api/v1/login", json=body)
        assert answer.json()["token"] is None and answer.json()["refresh_token"] is None
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        assert all("HttpOnly" in one and "SameSite=strict" in one and "Secure" not in one for one in cookies)
        assert "Path=/api/v1/refresh" in next(one for one in cookies if one.startswith("fustor_registry_refresh"))
        assert (await registry.call("GET", "/users/me"))["name"] == "admin"
        new = {"name": "lab"}
        await registry.call("POST", "/datastores", None, new, status=403)
        await registry.call("POST", "/datastores", {"Origin": "http://evil"}, new, status=403)
        await registry.call("POST", "/datastores", {"Sec-Fetch-Site": "cross-site"}, new, status=403)
        own = {"Origin": "http://registry"}
        await registry.call("POST", "/datastores", own, new, status=201)
        await registry.call("POST", "/refresh", None, None, status=403)
        before = registry.http.cookies["fustor_registry_access"]
        await registry.call("POST", "/refresh", own)
        assert registry.http.cookies["fustor_registry_access"] != before
        await registry.call("POST", "/logout", {"Sec-Fetch-Site": "same-origin"})
        assert not list(registry.http.cookies.jar)
        await registry.call("GET", "/users/me", status=401)
        registry.http.cookies.clear()
    async with running(cookie_secure="always") as registry:
        answer = await registry.http.post("/api/v1/login", json=body)
        assert all("Secure" in one for one in answer.headers.get_list("set-cookie"))


async def test_a_changed_password_ends_the_other_logins(registry: Registry) -> None:
    """
    The old password is asked for; afterwards only the new one works, and only the login that changed it goes on.
    """
    ann = await registry.user("ann", "member")
    other = await registry.login("ann")
    new = {"old_password": PASSWORD, "new_password": "quite another one"}
    await registry.call("POST", "/users/me/password", ann, {**new, "old_password": "wrong one"}, status=403)
    await registry.call("POST", "/users/me/password", ann, {**new, "new_password": PASSWORD}, status=409)
    await registry.call("POST", "/users/me/password", ann, {**new, "new_password": "short"}, status=400)
    await registry.call("POST", "/users/me/password", ann, new)
    await registry.call("GET", "/users/me", ann)
    await registry.call("GET", "/users/me", other, status=401)
    await registry.call("POST", "/login", None, {"name": "ann", "password": PASSWORD}, status=401)
    await registry.login("ann", "quite another one")


async def test_a_reset_password_has_to_be_changed_first(registry: Registry) -> None:
    """
    A reset by an admin logs the user out; with the new password they may only look who they are and change it.
    """
    ann = await registry.user("ann", "owner")
    ann_id = (await registry.call("GET", "/users/me", ann))["id"]
    await registry.call("POST", f"/users/{ann_id}/password", registry.admin, {"password": "for the first login"})
    await registry.call("GET", "/users/me", ann, status=401)
    own = (await registry.call("GET", "/users/me", registry.admin))["id"]
    await registry.call("POST", f"/users/{own}/password", registry.admin, {"password": PASSWORD}, status=409)
    ann = await registry.login("ann", "for the first login")
    assert (await registry.call("GET", "/users/me", ann))["must_change_password"] is True
    refused = await registry.call("GET", "/datastores", ann, status=403)
    assert "password" in refused["hint"]
    # Not by a name that is masked as a secret's.
    assert refused["context"] == {"user": "ann", "needed": "POST /api/v1/users/me/password"}
    change = {"old_password": "for the first login", "new_password": PASSWORD}
    await registry.call("POST", "/users/me/password", ann, change)
    await registry.call("GET", "/datastores", ann)


async def test_a_disabled_or_removed_user_is_out_at_once(registry: Registry) -> None:
    """
    Neither tokens nor the password work, and one admin always stays.
    """
    ann = await registry.user("ann", "admin")
    me = (await registry.call("GET", "/users/me", ann))["id"]
    admin = (await registry.call("GET", "/users/me", registry.admin))["id"]
    await registry.call("PATCH", f"/users/{me}", registry.admin, {"disabled": True})
    await registry.call("GET", "/users/me", ann, status=401)
    await registry.call("POST", "/login", None, {"name": "ann", "password": PASSWORD}, status=403)
    for method, body in (("PATCH", {"disabled": True}), ("PATCH", {"role": "owner"}), ("DELETE", None)):
        await registry.call(method, f"/users/{admin}", registry.admin, body, status=409)
    await registry.call("PATCH", f"/users/{me}", registry.admin, {"disabled": False})
    ann = await registry.login("ann")
    await registry.call("DELETE", f"/users/{me}", registry.admin)
    await registry.call("GET", "/users/me", ann, status=401)
    await registry.call("POST", "/login", None, {"name": "ann", "password": PASSWORD}, status=401)


async def test_wrong_passwords_tell_nothing_and_have_to_wait(config_root: Path) -> None:
    """
    A known and an unknown name are answered alike, also in that both have to wait; a restart does not forget; an admin lets in again.
    """
    async with running(login_failures=3) as registry:
        await registry.user("ann", "member")
        said = []
        for name in ("ann", "nobody") * 3:
            answer = await registry.http.post("/api/v1/login", json={"name": name, "password": "wrong"})
            said.append((answer.status_code, answer.json()))
        assert all(one == said[0] for one in said) and said[0][0] == 401
        for name in ("ann", "nobody"):
            answer = await registry.http.post("/api/v1/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
        fails = await registry.trail(action="login.fail")
        assert [one["target"] for one in fails].count("ann") == 3
        assert not any("nobody" in str(one) for one in fails)
        assert fails[1]["details"] == {"locked": True}
    async with running(login_failures=3) as registry:
        await registry.call("POST", "/login", None, {"name": "ann", "password": PASSWORD}, status=429)
        (ann,) = [one for one in await registry.call("GET", "/users", registry.admin) if one["name"] == "ann"]
        await registry.call("POST", f"/users/{ann['id']}/password", registry.admin, {"password": PASSWORD})
        await registry.login("ann")


async def test_tries_at_the_same_moment_are_counted_each(registry: Registry) -> None:
    """
    Twenty wrong passwords at once: no more than the limit are looked at.
    """
    answers = await asyncio.gather(
        *(registry.http.post("/api/v1/login", json={"name": "admin", "password": "wrong"}) for _ in range(20))
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) == 5 and statuses.count(429) == 15


@pytest.fixture
def limit(tmp_path: Path) -> Any:
    store = Store(f"sqlite:///{tmp_path / 'guesses.db'}")
    store.migrate()
    clock = [1e9]
    settings = RegistrySettings.load(
        login_failures=2, login_failures_of_address=4, login_wait_s=30, login_wait_most_s=100
    )
    yield GuessLimit(store, settings, clock=lambda: clock[0]), clock, store
    store.close()


def test_the_wait_doubles_up_to_a_limit_and_ends(limit: Any) -> None:
    """
    After the limit each further failure doubles the wait; a success, or a day, forgets.
    """
    guesses, clock, store = limit
    waits = []
    for _ in range(5):
        while True:
            try:
                guesses.begin("ann", "here")
                break
            except TooManyLogins as exc:
                waits.append(exc.wait_s)
                clock[0] += exc.wait_s
    assert waits == [30, 60, 100]
    with pytest.raises(TooManyLogins):
        guesses.begin("ann", "here")
    clock[0] += 86_401
    guesses.begin("ann", "here")
    guesses.begin("ann", "here")
    with store.write() as session:
        guesses.succeeded(session, "ann", "here")
    guesses.begin("ann", "here")


def test_an_address_waits_for_many_names_but_not_for_right_passwords(limit: Any) -> None:
    """
    Guessing many names from one address has to wait; those who get in do not use the address up.
    """
    guesses, _clock, store = limit
    for number in range(20):
        guesses.begin(f"good{number}", "office")
        with store.write() as session:
            guesses.succeeded(session, f"good{number}", "office")
    for number in range(4):
        guesses.begin(f"bad{number}", "office")
    with pytest.raises(TooManyLogins):
        guesses.begin("another", "office")
    guesses.begin("another", "elsewhere")
