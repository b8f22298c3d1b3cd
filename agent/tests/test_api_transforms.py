# ruff: noqa: ASYNC240 - tests may read small files on the event loop
"""
Transforms by the API: previewed on rows of a source and on given ones, checked when they are saved, and dead letters that pass through.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from fustor_agent import preview_command
from fustor_agent.app import create_app
from fustor_agent.cli import main
from fustor_agent.sync.ports import Refusal
from fustor_agent.transforms.preview import READS_MORE_THAN_THE_KEY
from fustor_core.drivers import SourceDriver
from fustor_core.models.event import EventBase, InsertEvent, UpdateEvent

SALT = "a salt that nobody sees"
TRANSFORMS = [
    {"type": "filter", "where": "id != 2"},
    {"type": "mask", "fields": ["email"], "method": "hash", "salt": SALT},
    {"type": "derive", "to": "half", "value": "10 / (id - 3)"},
]


@pytest.fixture
def peopled(make_catalog: Any, drivers: Any) -> Any:
    class People(SourceDriver):
        """
        Two tables of people.
        """

        opened: list[tuple[Any, Path]] = []  # noqa: RUF012

        def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
            self.opened.append((kwargs.get("tables"), self.state_dir))
            for table in ("users", "admins"):
                if kwargs["tables"] is None or f"db.{table}" in kwargs["tables"]:
                    yield InsertEvent("db", table, [])
                    rows = [(n, f"p{n}@example.org") for n in range(1, 6)]
                    yield InsertEvent("db", table, rows, ["id", "email"], 1, key=["id"])

        def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
            raise AssertionError("a preview follows nothing")

        def is_position_available(self, position: int) -> bool:
            return True

    People.opened.clear()
    drivers["sources"] = make_catalog("fustor.drivers.sources", SourceDriver, quiet=People)
    return People


@pytest.fixture
async def app(peopled: Any, settings: Any, config_path: Path, drivers: Any, doubles: Any) -> AsyncIterator[Any]:
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(app: Any, authorized: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a", headers=authorized) as client:
        yield client
    assert SALT not in app.state.settings.log_file.read_text()


async def test_rows_of_a_source_are_shown_before_and_after(http: httpx.AsyncClient, peopled: Any) -> None:
    body = {"source": "src", "tables": ["db.users"], "rows": 3, "transforms": TRANSFORMS}
    answer = await http.post("/api/syncs/_preview", json=body)
    assert answer.status_code == 200 and SALT not in answer.text
    [table] = answer.json()["tables"]
    assert (table["schema"], table["table"], table["key"], table["error"]) == ("db", "users", ["id"], None)
    assert table["becomes"] == {"key": ["id"], "fields": ["id", "email", "half"]}
    assert [row["outcome"] for row in table["rows"]] == ["sent", "filtered", "refused"]
    assert table["rows"][0]["before"] == {"id": 1, "email": "p1@example.org"}
    assert len(table["rows"][0]["after"]["email"]) == 64 and table["rows"][0]["after"]["half"] == -5.0
    assert "division by zero" in table["rows"][2]["reason"]
    every = (await http.post("/api/syncs/_preview", json={"source": "src", "transforms": TRANSFORMS[:1]})).json()
    assert [(one["table"], len(one["rows"])) for one in every["tables"]] == [("users", 5), ("admins", 5)]
    assert not any(path.exists() for _, path in peopled.opened), "its own state folders are gone"


async def test_what_spares_reading_a_row_again_is_said_by_the_driver(
    http: httpx.AsyncClient, peopled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its sentence for each table; nothing where updates bring all fields, or where the key alone is read.
    """
    said: dict[str, str | None] = {"users": "Set `everything`.", "admins": ""}
    monkeypatch.setattr(peopled, "whole_updates", lambda _, schema, table: said[table])

    async def notes(where: str) -> list[list[str]]:
        body = {"source": "src", "transforms": [{"type": "filter", "where": where}]}
        return [one["notes"] for one in (await http.post("/api/syncs/_preview", json=body)).json()["tables"]]

    assert await notes("email == 'x'") == [[READS_MORE_THAN_THE_KEY, "Set `everything`."], []]
    assert await notes("id == 1") == [[], []]
    said["users"] = None
    assert await notes("email == 'x'") == [[READS_MORE_THAN_THE_KEY], []]


async def test_what_is_wrong_is_told_with_its_place(http: httpx.AsyncClient) -> None:
    async def preview(**body: Any) -> httpx.Response:
        return await http.post("/api/syncs/_preview", json={"source": "src", "tables": ["db.users"], **body})

    wrong = await preview(transforms=[{"type": "drop", "fields": ["email"]}, {"type": "filter", "where": "id = 1"}])
    assert wrong.status_code == 400 and wrong.json()["context"]["place"] == "transforms.1.where"
    assert "column 4" in wrong.json()["message"]
    [table] = (await preview(transforms=[{"type": "drop", "fields": ["id"]}])).json()["tables"]
    assert "part of the key" in table["error"]["message"] and table["rows"] == []
    [table] = (await preview(transforms=[{"type": "drop", "fields": ["emial"]}])).json()["tables"]
    assert table["notes"] == ["step 1 (drop): there is no field 'emial'"]
    [table] = (await preview(transforms=[{"type": "filter", "where": "email == 'x'"}])).json()["tables"]
    assert table["notes"] == [READS_MORE_THAN_THE_KEY]
    assert (await preview(source="nowhere")).status_code == 404
    assert (await preview(transforms=[{"type": "explode"}])).status_code == 400
    nothing = await http.post("/api/syncs/_preview", json={"transforms": []})
    assert nothing.status_code == 400 and "neither" in nothing.json()["message"]


async def test_a_source_that_fails_is_told_as_such_without_its_credential(
    http: httpx.AsyncClient, peopled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, **kwargs: Any) -> Iterator[EventBase]:
        raise RuntimeError(f"refused with {self.config.credential.key.get_secret_value()}")

    monkeypatch.setattr(peopled, "get_snapshot_iterator", fail)
    answer = await http.post("/api/syncs/_preview", json={"source": "src"})
    assert answer.status_code == 502 and answer.json()["code"] == "driver.failed"
    assert answer.json()["message"] == "source 'src' could not be read: RuntimeError: refused with ***"


async def test_given_rows_need_no_source(http: httpx.AsyncClient) -> None:
    sample = {"table": "t", "key": ["id"], "rows": [{"id": 1, "a": "x"}]}
    mapping = [{"to": "b", "source": ["t.a"]}]
    answer = await http.post("/api/syncs/_preview", json={"samples": [sample], "fields_mapping": mapping})
    assert answer.json()["tables"][0]["rows"][0]["after"] == {"b": "x", "id": 1}


async def test_transforms_are_checked_when_saved_and_salts_are_masked(
    http: httpx.AsyncClient, config_path: Path
) -> None:
    sync = {"source": "src", "pusher": "out", "transforms": TRANSFORMS}
    saved = await http.put("/api/configs/syncs/one", json=sync)
    assert saved.status_code == 200 and SALT not in saved.text and SALT in config_path.read_text()
    again = await http.put("/api/configs/syncs/one", json={**saved.json(), "disabled": True})
    assert again.status_code == 200 and SALT in config_path.read_text(), "`***` left it as it is"
    moved = [*saved.json()["transforms"][1:]]
    lost = await http.put("/api/configs/syncs/one", json={**sync, "transforms": moved})
    assert lost.status_code == 400 and "transforms.0.salt" in lost.json()["message"], "a salt is never lost silently"
    bad = {**sync, "transforms": [{"type": "derive", "to": "x", "value": "os.system('x')"}]}
    refused = await http.put("/api/configs/syncs/one", json=bad)
    assert refused.status_code == 400 and "column 1" in refused.json()["message"]
    assert "syncs.one.transforms.0.value" in refused.json()["message"]
    twice = [{"to": "x", "source": ["t.a"]}, {"to": "x", "source": ["t.b"]}, {"to": "y", "source": ["nodot"]}]
    refused = await http.put("/api/configs/syncs/one", json={**sync, "fields_mapping": twice})
    assert refused.status_code == 400
    shown = await http.post("/api/syncs/_preview", json={"sync": "one", "transforms": saved.json()["transforms"]})
    assert shown.status_code == 200, "the masked salt stands for the one that is saved"
    assert len(shown.json()["tables"][0]["rows"][0]["after"]["email"]) == 64


async def test_dead_letters_show_and_send_what_the_transforms_let_out(http: httpx.AsyncClient, app: Any) -> None:
    """
    What the transforms hide is not shown to whoever looks at the letters either.
    """
    await http.put("/api/configs/syncs/one", json={"source": "src", "pusher": "out", "transforms": TRANSFORMS})
    letters = app.state.service.supervisor.parts.dead_letters
    rows = [{"id": 1, "email": "ada@example.org"}]
    for sync in ("one", "one", "gone", "two"):
        letters.park(sync, [InsertEvent("db", "users", rows, index=1, key=["id"])], epoch=0, why=Refusal("c.d", "r"))
    letters.park(
        "one", [InsertEvent("db", "users", [{"id": 3, "email": "e@x"}], key=["id"])], epoch=0, why=Refusal("x.y", "r")
    )
    found = (await http.get("/api/dead-letters", params={"sync": "one", "code": "c.d"})).json()["rows"]
    assert len(found) == 2
    shown = (await http.get(f"/api/dead-letters/{found[0]['id']}")).json()
    assert "ada@example.org" not in json.dumps(shown) and shown["event"]["fields"] == ["id", "email", "half"]
    for letter in (3, 5):  # no such sync any more; and one that can't be transformed
        hidden = (await http.get(f"/api/dead-letters/{letter}")).json()
        assert hidden["event"]["rows"] == [["***", "***"]] and hidden["event"]["fields"] == ["id", "email"]
    assert (await http.get("/api/dead-letters/4")).json()["event"]["rows"] == [[1, "ada@example.org"]]
    assert (await http.delete("/api/dead-letters", params={"sync": "one", "code": "x.y"})).json() == {"deleted": 1}
    assert (await http.delete("/api/dead-letters")).status_code == 400, "never all of all syncs at once"
    assert (await http.post("/api/dead-letters/_replay", params={"sync": "nobody"})).status_code == 404


async def test_letters_are_replayed_in_order_until_one_is_refused(
    http: httpx.AsyncClient, app: Any, doubled: Any, until: Any
) -> None:
    await until(lambda: len(doubled.runtime.alive) == 2)
    letters = app.state.service.supervisor.parts.dead_letters
    for n in range(3):
        letters.park(
            "two", [UpdateEvent("db", "t", [{"id": n}], index=n, key=["id"])], epoch=0, why=Refusal("c.d", "r")
        )
    doubled.pusher.refuse = True
    ended = (await http.post("/api/dead-letters/_replay", params={"sync": "two"})).json()
    assert ended["replayed"] == [] and ended["failed"] == 1 and ended["error"]["code"] == "batch.rejected"
    doubled.pusher.refuse = False
    ended = (await http.post("/api/dead-letters/_replay", params={"sync": "two", "limit": 2})).json()
    assert ended == {"replayed": [1, 2], "failed": None, "error": None}
    assert (await http.get("/api/instances/two")).json()["dead_letters"] == 1


def test_the_command_shows_a_preview_without_a_running_agent(
    peopled: Any, drivers: Any, settings: Any, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_command, "source_drivers", lambda: drivers["sources"])
    config = yaml.safe_load(config_path.read_text())
    config["syncs"]["one"]["transforms"] = TRANSFORMS
    config_path.write_text(yaml.safe_dump(config))
    ran = CliRunner().invoke(main, ["preview", "one", "--table", "db.users", "--rows", "3"])
    assert ran.exit_code == 0, ran.output
    assert "db.users  key: id" in ran.output and "(filtered out)" in ran.output and "(refused: " in ran.output
    assert SALT not in ran.output
    ran = CliRunner().invoke(main, ["preview", "one", "--json"])
    assert [table["table"] for table in json.loads(ran.output)["tables"]] == ["users", "admins"]
    wrong = CliRunner().invoke(main, ["preview", "nobody"])
    assert wrong.exit_code == 1 and "known syncs: one, two" in wrong.output
