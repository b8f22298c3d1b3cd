"""
The drivers' routes: what is installed, the wizard and its actions, and that credentials go through and stay nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from fustor_agent.app import create_app
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import PermissionMissing, Unauthorized
from fustor_core.models.event import EventBase, InsertEvent
from fustor_core.outcome import Outcome
from fustor_core.params import DatabaseParams

SECRETS = ("admin-secret", "user-secret", "key-secret")


@pytest.fixture
def asked(make_catalog: Any, drivers: Any) -> list[tuple[str, dict[str, Any]]]:
    """
    Give the agent two more drivers that note what they are asked.
    """
    calls: list[tuple[str, dict[str, Any]]] = []
    quiet, keeping = drivers["sources"].get("quiet"), drivers["pushers"].get("keeping")

    class Talking(quiet):  # type: ignore[misc,valid-type]
        """
        A source that repeats what it should not.
        """

        outcome: ClassVar[Any] = None

        @classmethod
        async def test_connection(cls, **given: Any) -> tuple[bool, str]:
            calls.append(("test_connection", given))
            return True, f"signed in with {given['admin_creds']}"

        @classmethod
        async def check_privileges(cls, **given: Any) -> tuple[bool, str]:
            calls.append(("check_privileges", given))
            raise PermissionMissing(f"{given['credential']['passwd']} lacks SELECT", hint="GRANT SELECT")

        @classmethod
        async def check_runtime_params(cls, **given: Any) -> tuple[bool, str]:
            raise RuntimeError(f"boom with {given['credential']['passwd']}")

        @classmethod
        async def create_agent_user(cls, **given: Any) -> tuple[bool, str]:
            calls.append(("create_agent_user", given))
            return True, "made the user 'fustor' with the password made-up"

        @classmethod
        async def get_available_fields(cls, **given: Any) -> dict[str, Any]:
            calls.append(("get_available_fields", given))
            return {"type": "object", "properties": {"db.t.id": {"type": "integer"}}}

        @classmethod
        async def get_wizard_steps(cls) -> dict[str, Any]:
            return {"steps": [{"step_id": "where", "title": "Where", "schema": {}, "validations": []}]}

    class Listing(quiet):  # type: ignore[misc,valid-type]
        """
        A source that lists its tables.
        """

        params_model = DatabaseParams

        @classmethod
        async def get_available_tables(cls, **given: Any) -> list[dict[str, Any]] | None:
            calls.append(("get_available_tables", given))
            return [
                {"schema": "shop", "table": f"t{n:04}", "rows": n, "is_exact": n % 2 == 0, "key": ["id"], "columns": 2}
                for n in range(5000)
            ]

        @classmethod
        async def get_available_fields(cls, **given: Any) -> dict[str, Any]:
            calls.append(("get_available_fields", given))
            return {"properties": {f"shop.t[1].{name}": {"type": "string"} for name in ("id", "a.b")}}

        @classmethod
        async def check_privileges(cls, **given: Any) -> tuple[bool, str]:
            secret = given["credential"]["passwd"]
            error = PermissionMissing(
                f"{secret} lacks it", hint=f"run: GRANT {secret}", context={"remedy": [f"GRANT {secret};"]}
            )
            return Outcome.of(error)

        def get_snapshot_iterator(self, **given: Any) -> Iterator[EventBase]:
            calls.append(("get_snapshot_iterator", {**given, "credential": self.config.credential}))
            yield InsertEvent("shop", "t[1]", [(1, b"x"), (2, None), (3, "<b>")], ["id", "v"], key=["id"])

    class Breaking(quiet):  # type: ignore[misc,valid-type]
        """
        A source that keeps to nothing.
        """

        @classmethod
        def test_connection(cls, uri: str) -> bool:  # type: ignore[override]
            raise AssertionError("it can't even be called")

        @classmethod
        async def check_privileges(cls, **given: Any) -> Any:
            return f"all is well with {given['credential']['passwd']}"

        @classmethod
        async def check_runtime_params(cls, **given: Any) -> tuple[bool, str]:
            raise Unauthorized(f"{given['credential']['passwd']} is no password here", hint="ask there")

        @classmethod
        async def get_available_fields(cls, **given: Any) -> Any:
            return {}

        @classmethod
        async def get_wizard_steps(cls) -> Any:
            return ["where"]

    class Wanting(keeping):  # type: ignore[misc,valid-type]
        async def get_needed_fields(self, **given: Any) -> dict[str, Any]:
            calls.append(("get_needed_fields", {"credential": self.config.credential}))
            return {"properties": {"id": {}}}

    drivers["sources"] = make_catalog(
        "fustor.drivers.sources",
        SourceDriver,
        quiet=quiet,
        talking=Talking,
        listing=Listing,
        breaking=Breaking,
        broken="no_such_module_anywhere:X",
    )
    drivers["pushers"] = make_catalog("fustor.drivers.pushers", PusherDriver, keeping=keeping, wanting=Wanting)
    return calls


@pytest.fixture
async def http(
    asked: Any, settings: Any, config_path: Path, drivers: Any, doubles: Any, authorized: dict[str, str]
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, **drivers, **doubles)
    seen: list[str] = []

    async def keep(response: httpx.Response) -> None:
        await response.aread()
        seen.append(response.text)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://a",
            headers=authorized,
            event_hooks={"response": [keep]},
        ) as client,
    ):
        yield client
    kept = [path.read_bytes() for path in settings.config_dir.rglob("*") if path.is_file()]
    for secret in SECRETS:
        assert secret not in "".join(seen), "a credential was answered"
        assert not any(secret.encode() in data for data in kept), "a credential was stored or logged"


TRIAL = {
    "uri": "db://here",
    "credential": {"user": "u", "passwd": "user-secret"},
    "admin_creds": {"user": "root", "passwd": "admin-secret"},
}


async def test_drivers_are_told_one_by_one(http: httpx.AsyncClient) -> None:
    talking = (await http.get("/api/drivers/sources/talking")).json()
    assert talking["about"] == "A source that repeats what it should not." and talking["error"] is None
    assert talking["actions"] == [
        "test_connection",
        "check_privileges",
        "check_runtime_params",
        "create_agent_user",
        "get_available_fields",
        "get_wizard_steps",
    ]
    assert (await http.get("/api/drivers/sources/quiet")).json()["actions"] == []
    broken = (await http.get("/api/drivers/sources/broken")).json()
    assert "ModuleNotFoundError" in broken["error"] and broken["actions"] == []
    assert (await http.get("/api/drivers/pushers/wanting")).json()["actions"] == ["get_needed_fields"]
    gone = await http.get("/api/drivers/pushers/nope")
    assert gone.status_code == 404 and "keeping, wanting" in gone.json()["hint"]
    unusable = await http.get("/api/drivers/sources/broken/wizard")
    assert unusable.status_code == 400 and unusable.json()["code"] == "driver.not_usable"
    steps = (await http.get("/api/drivers/sources/talking/wizard")).json()["steps"]
    assert steps[0]["step_id"] == "where"


async def test_actions_get_the_credentials_and_what_they_say_of_them_is_masked(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    actions = "/api/drivers/sources/talking/actions"
    said = (await http.post(f"{actions}/test_connection", json=TRIAL)).json()
    assert said["ok"] and "***" in said["message"] and said["check"] == "test_connection"
    assert asked[-1][1]["admin_creds"] == {"user": "root", "passwd": "admin-secret"}
    refused = await http.post(f"{actions}/check_privileges", json=TRIAL)
    assert refused.status_code == 502 and refused.json()["code"] == "driver.permission_missing"
    assert refused.json()["message"] == "*** lacks SELECT" and refused.json()["hint"] == "GRANT SELECT"
    failed = await http.post(f"{actions}/check_runtime_params", json=TRIAL)
    assert failed.status_code == 502 and failed.json()["message"] == "the driver failed: RuntimeError: boom with ***"
    made = (await http.post(f"{actions}/create_agent_user", json=TRIAL)).json()
    assert "made-up" in made["message"], "told this once"
    assert (await http.post(f"{actions}/rm_rf", json=TRIAL)).status_code == 400
    wrong = await http.post(f"{actions}/test_connection", json={**TRIAL, "more": "admin-secret"})
    assert wrong.status_code == 400
    odd = await http.post(f"{actions}/test_connection", json={"admin_creds": ["admin-secret"]})
    assert odd.status_code == 400


async def test_references_in_credentials_are_resolved(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASS", "admin-secret")
    trial = {"uri": "x", "admin_creds": {"user": "root", "passwd": "${ADMIN_PASS}"}}
    said = (await http.post("/api/drivers/sources/talking/actions/test_connection", json=trial)).json()
    assert asked[-1][1]["admin_creds"]["passwd"] == "admin-secret" and "***" in said["message"]
    unset = {"uri": "x", "credential": {"key": "${NOT_SET_AT_ALL}"}}
    answer = await http.post("/api/drivers/sources/talking/test", json=unset)
    assert answer.status_code == 400 and "NOT_SET_AT_ALL" in answer.json()["message"]


async def test_fields_of_a_source_and_of_a_consumer(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    fields = (await http.post("/api/drivers/sources/talking/fields", json=TRIAL)).json()
    assert fields["properties"] == {"db.t.id": {"type": "integer"}}
    trial = {"endpoint": "http://there", "credential": {"key": "key-secret"}}
    assert (await http.post("/api/drivers/pushers/wanting/fields", json=trial)).json()["properties"] == {"id": {}}
    assert asked[-1][1]["credential"].key.get_secret_value() == "key-secret"
    assert (await http.post("/api/drivers/pushers/keeping/fields", json=trial)).json()["properties"] == {}
    wrong = await http.post("/api/drivers/pushers/keeping/fields", json={"credential": {"kee": "key-secret"}})
    assert wrong.status_code == 400 and "endpoint" in wrong.json()["hint"]


async def test_a_driver_that_keeps_to_nothing_is_told_as_such(http: httpx.AsyncClient, asked: Any) -> None:
    """
    Whatever it raises or answers is an error of the driver (502), never of the agent, and no 401 of this API.
    """
    path = "/api/drivers/sources/breaking"
    for action, says in (
        ("test_connection", "the driver failed: TypeError"),
        ("check_privileges", "not of the kind"),
        ("check_runtime_params", "*** is no password here"),
    ):
        answer = await http.post(f"{path}/actions/{action}", json=TRIAL)
        assert answer.status_code == 502 and answer.json()["code"] == "driver.failed", answer.text
        assert says in answer.json()["message"] and answer.json()["hint"]
    steps = await http.get(f"{path}/wizard")
    assert steps.status_code == 502 and "not of the kind" in steps.json()["message"]
    assert (await http.post(f"{path}/fields", json=TRIAL)).json() == {"properties": {}}


async def test_tables_are_searched_and_told_in_parts(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    path = "/api/drivers/sources/listing/tables"
    first = (await http.post(path, json={**TRIAL, "limit": 10})).json()
    assert [row["table"] for row in first["rows"]] == [f"t{n:04}" for n in range(10)]
    assert (first["total"], first["next"], first["choosable"]) == (5000, 10, ["include", "exclude_columns"])
    found = (await http.post(path, json={**TRIAL, "search": "SHOP.T49", "after": 95, "limit": 10})).json()
    assert [row["rows"] for row in found["rows"]] == [4995, 4996, 4997, 4998, 4999]
    assert (found["total"], found["next"]) == (100, None)
    assert asked[-1][1]["credential"]["passwd"] == "user-secret"


async def test_drivers_that_list_no_tables_are_understood_by_their_fields(http: httpx.AsyncClient, asked: Any) -> None:
    told = (await http.post("/api/drivers/sources/talking/tables", json=TRIAL)).json()
    assert [(row["schema"], row["table"], row["columns"], row["rows"]) for row in told["rows"]] == [
        ("db", "t", 1, None)
    ]
    assert told["choosable"] == [], "its parameters choose nothing"
    nothing = (await http.post("/api/drivers/sources/quiet/tables", json=TRIAL)).json()
    assert (nothing["rows"], nothing["total"], nothing["choosable"]) == ([], 0, [])


async def test_the_fields_of_one_table(http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]) -> None:
    """
    The driver is asked for that table alone, whatever signs are in its name; the fields come under their own names.
    """
    trial = {**TRIAL, "driver_params": {"include": ["shop.*"], "exclude": ["*.t*"]}, "table": "shop.t[1]"}
    fields = (await http.post("/api/drivers/sources/listing/fields", json=trial)).json()
    assert list(fields["properties"]) == ["id", "a.b"]
    assert asked[-1][1]["driver_params"] == {"include": ["shop.t[[]1]"], "exclude": []}


async def test_rows_of_a_source_that_is_not_saved(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    told = await http.post("/api/drivers/sources/listing/rows", json={**TRIAL, "tables": ["shop.t[1]"], "rows": 2})
    (table,) = told.json()["tables"]
    assert (table["schema"], table["table"], table["key"], table["fields"]) == ("shop", "t[1]", ["id"], ["id", "v"])
    assert table["rows"] == [{"id": 1, "v": "eA=="}, {"id": 2, "v": None}]
    assert asked[-1][1]["tables"] == ["shop.t[1]"]
    wrong = await http.post(
        "/api/drivers/sources/listing/rows", json={"uri": "x", "credential": {"pass": "user-secret"}}
    )
    assert wrong.status_code == 400 and "credential" in wrong.json()["message"]


async def test_what_mends_a_check_is_told_apart_and_masked(http: httpx.AsyncClient, asked: Any) -> None:
    said = (await http.post("/api/drivers/sources/listing/actions/check_privileges", json=TRIAL)).json()
    assert said == {
        "ok": False,
        "check": "check_privileges",
        "message": "*** lacks it\n  run: GRANT ***",
        "code": "driver.permission_missing",
        "reason": "*** lacks it",
        "hint": "run: GRANT ***",
        "remedy": ["GRANT ***;"],
    }


async def test_a_configured_source_is_asked_with_the_credential_that_is_stored(
    http: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is not given, or is masked, is as it stands in the configuration; another driver's entry is refused.
    """
    monkeypatch.setenv("SHOP_PASSWORD", "user-secret")
    entry = {
        "driver": "listing",
        "uri": "db://stored",
        "credential": {"user": "u", "passwd": "${SHOP_PASSWORD}"},
        "driver_params": {"include": ["shop.t0*"]},
    }
    assert (await http.put("/api/configs/sources/shop", json=entry)).is_success
    path = "/api/drivers/sources/listing/tables"
    assert (await http.post(path, json={"configured": "shop"})).is_success
    given = asked[-1][1]
    assert (given["uri"], given["credential"]["passwd"]) == ("db://stored", "user-secret")
    assert given["driver_params"] == {"include": ["shop.t0*"]}
    masked = {"configured": "shop", "uri": "db://other", "credential": {"user": "v", "passwd": "***"}}
    assert (await http.post(path, json=masked)).is_success
    given = asked[-1][1]
    assert (given["uri"], given["credential"]) == ("db://other", {"user": "v", "passwd": "user-secret"})
    other = await http.post("/api/drivers/sources/talking/tables", json={"configured": "shop"})
    assert other.status_code == 400 and "another driver" in other.json()["message"]
    assert (await http.post(path, json={"configured": "nothing"})).status_code == 404
