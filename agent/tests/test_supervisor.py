"""
The supervisor: every sync on its own, started again with backoff, taken apart completely.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from fustor_agent.app import create_app
from fustor_agent.supervisor import Supervisor
from fustor_agent.sync.ports import Refusal
from fustor_core.errors import AuthenticationFailed, NotFoundError, StateConflictError
from fustor_core.models.event import InsertEvent


@asynccontextmanager
async def running(settings: Any, drivers: Any, doubles: Any) -> AsyncIterator[Supervisor]:
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        yield app.state.service.supervisor


def edit(path: Path, **changes: Any) -> None:
    """
    Set entries given as `section__id=entry`, by hand.
    """
    data = yaml.safe_load(path.read_text())
    for name, entry in changes.items():
        section, id_ = name.split("__")
        if entry is None:
            del data[section][id_]
        else:
            data[section][id_] = entry
    path.write_text(yaml.safe_dump(data, sort_keys=False))


async def test_syncs_start_with_resolved_secrets_and_a_state_folder(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: set(doubled.runtime.alive) == {"one", "two"})
        parts = doubled.runtime.alive["one"].parts
        assert parts["agent_id"] == supervisor.parts.agent_id and parts["source_id"] == "src"
        assert parts["pusher_config"].credential.key.get_secret_value() == "very-secret"
        source = doubles["buses"].factories[0]()
        assert source.config.credential.key.get_secret_value() == "resolved-secret"
        assert source.state_dir == settings.config_dir / "state" / "sources" / "src"
        assert [s["id"] for s in supervisor.status()["syncs"]] == ["one", "two"]
        assert doubles["buses"].held == ["src", "src"]
    assert doubled.runtime.alive == {} and doubles["buses"].held == []
    assert all(pusher.closed for pusher in doubled.pusher.made) and len(doubled.pusher.made) == 2


async def test_a_sync_that_cannot_start_is_tried_again_and_stops_no_other(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    doubled.runtime.fail_start["one"] = AuthenticationFailed("wrong password for 'src'")
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: doubled.runtime.started.count("one") >= 3)
        status = supervisor.sync_status("one")
        assert (status["state"], status["reason"]) == ("ERROR", "wrong password for 'src'") and status["hint"]
        assert supervisor.sync_status("two")["state"] == "MESSAGE_SYNC"
        assert doubled.runtime.started.count("two") == 1
        doubled.runtime.fail_start.clear()
        await until(lambda: supervisor.sync_status("one")["state"] == "MESSAGE_SYNC")
        assert supervisor.sync_status("one")["restarts"] >= 3
        assert doubles["buses"].held == ["src", "src"], "what a failed start had taken was given back"


async def test_a_runtime_that_dies_is_started_again(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        first = doubled.runtime.alive["one"]
        first.dead.set()
        await until(lambda: doubled.runtime.alive.get("one") not in (None, first))
        assert supervisor.sync_status("one")["state"] == "MESSAGE_SYNC"
        assert doubled.runtime.started.count("two") == 1 and len(doubles["buses"].held) == 2


@pytest.mark.parametrize(
    ("pusher", "says"),
    [
        ({"driver": "nowhere", "endpoint": "x", "disabled": False}, "no driver 'nowhere'"),
        ({"driver": "keeping", "endpoint": "x", "disabled": False, "driver_params": {"explode": True}}, "boom"),
        ({"driver": "keeping", "endpoint": "x", "disabled": False, "credential": {"key": "${NOT_SET}"}}, "NOT_SET"),
        ({"driver": "keeping", "disabled": False}, "pushers.out.endpoint"),
        (None, "no pusher 'out'"),
    ],
)
async def test_what_is_wrong_in_the_configuration_shows_in_the_sync(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, until: Any, pusher: Any, says: str
) -> None:
    edit(config_path, pushers__out=pusher)
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: supervisor.sync_status("one")["state"] == "ERROR")
        status = supervisor.sync_status("one")
        assert says in status["reason"] and status["hint"]
        assert doubles["buses"].held == []


async def test_disabled_parts_keep_their_syncs_stopped_and_say_why(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, until: Any, doubled: Any
) -> None:
    edit(config_path, syncs__one={"source": "src", "pusher": "out", "disabled": True})
    edit(
        config_path,
        pushers__idle={"driver": "keeping", "endpoint": "x"},
        syncs__two={"source": "src", "pusher": "idle"},
    )
    async with running(settings, drivers, doubles) as supervisor:
        assert [(s["state"], s["reason"]) for s in supervisor.status()["syncs"]] == [
            ("STOPPED", "sync 'one' is disabled"),
            ("STOPPED", "pusher 'idle' is disabled"),
        ]
        with pytest.raises(StateConflictError, match="disabled"):
            await supervisor.start("one")
        edit(config_path, syncs__one={"source": "src", "pusher": "out"})
        supervisor.parts.configs.reload()
        assert (await supervisor.apply())["started"] == ["one"]
        await until(lambda: "one" in doubled.runtime.alive)


async def test_a_changed_configuration_marks_a_running_sync_until_it_is_applied(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        old = dict(doubled.runtime.alive)
        edit(
            config_path,
            syncs__one={"source": "src", "pusher": "out", "fields_mapping": [{"to": "a", "source": ["t.a"]}]},
        )
        edit(config_path, syncs__two=None, syncs__three={"source": "src", "pusher": "out"})
        supervisor.parts.configs.reload()
        status = supervisor.sync_status("one")
        assert status["states"] == ["MESSAGE_SYNC", "RUNNING_CONF_OUTDATE"] and "changed" in status["reason"]
        assert doubled.runtime.alive["one"] is old["one"]
        done = await supervisor.apply()
        nothing: dict[str, list[str]] = {key: [] for key in done}
        assert done == {**nothing, "started": ["three"], "restarted": ["one"], "stopped": ["two"]}
        await until(lambda: set(doubled.runtime.alive) == {"one", "three"})
        assert doubled.runtime.alive["one"] is not old["one"]
        assert supervisor.sync_status("one")["state"] == "MESSAGE_SYNC"
        assert (await supervisor.apply()) == nothing


async def test_a_sync_stopped_by_a_person_stays_so_until_its_configuration_changes(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        await supervisor.stop("one")
        assert set(doubled.runtime.alive) == {"two"} and supervisor.sync_status("one")["state"] == "STOPPED"
        assert (await supervisor.apply())["started"] == []
        edit(config_path, syncs__one={"source": "src", "pusher": "out", "fields_mapping": []})
        supervisor.parts.configs.reload()
        assert (await supervisor.apply())["started"] == ["one"]
        await supervisor.stop("one")
        await supervisor.start("one")
        await until(lambda: "one" in doubled.runtime.alive)
        with pytest.raises(NotFoundError):
            await supervisor.start("nobody")


async def test_a_stop_while_a_failed_sync_waits_or_is_taken_apart_leaves_nothing_behind(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    stopping, release = asyncio.Event(), asyncio.Event()
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        dying = doubled.runtime.alive["one"]

        async def slow_stop(timeout_s: float = 8.0) -> None:
            stopping.set()
            await release.wait()
            doubled.runtime.alive.pop("one")

        dying.stop = slow_stop
        dying.dead.set()
        await stopping.wait()
        stop = asyncio.create_task(supervisor.stop("one"))
        await asyncio.sleep(0)
        assert not stop.done()
        release.set()
        await stop
        assert doubles["buses"].held == ["src"] and "one" not in doubled.runtime.alive


async def test_replay_pushes_in_the_session_of_the_sync_and_deletes_only_what_was_taken(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any, monkeypatch: Any
) -> None:
    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        letters = supervisor.parts.dead_letters
        letters.park("one", [InsertEvent("db", "t", [{"id": 1}], index=3)], epoch=2, why=Refusal("c", "r"))
        (letter,) = letters.page()
        doubled.pusher.refuse = True
        with pytest.raises(Exception, match="still refused"):
            await supervisor.replay(letter.id)
        assert letters.count("one") == 1
        doubled.pusher.refuse = False
        monkeypatch.setattr(supervisor._syncs["one"].pusher, "ordering", "arrival")
        with pytest.raises(StateConflictError, match="overwrite"):
            await supervisor.replay(letter.id)
        await supervisor.replay(letter.id, force=True)
        ((events, control),) = [pushed for pusher in doubled.pusher.made for pushed in pusher.pushed]
        assert events[0].rows == [[1]] and events[0].index == 3
        assert (control["session_id"], control["task_id"], control["epoch"]) == ("sess-1", "one", 2)
        assert letters.count("one") == 0
        with pytest.raises(NotFoundError):
            await supervisor.replay(letter.id)


async def test_what_a_driver_made_at_a_source_goes_with_the_source(
    settings: Any,
    config_path: Path,
    drivers: Any,
    doubles: Any,
    doubled: Any,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleaned: list[tuple[str, str]] = []

    async with running(settings, drivers, doubles) as supervisor:
        await until(lambda: len(doubled.runtime.alive) == 2)
        source_class = type(doubles["buses"].factories[0]())

        async def clean_up(driver: Any) -> None:
            cleaned.append((driver.id, driver.config.credential.key.get_secret_value()))

        monkeypatch.setattr(source_class, "clean_up", clean_up)
        supervisor.parts.configs.reload()
        assert (await supervisor.apply())["cleaned"] == []
        edit(config_path, syncs__one=None, syncs__two=None, sources__src=None)
        supervisor.parts.configs.reload()
        assert (await supervisor.apply())["cleaned"] == ["src"]
        assert cleaned == [("src", "resolved-secret")], "with its secrets, after its syncs were stopped"
        assert doubled.runtime.alive == {}
        assert (await supervisor.apply())["cleaned"] == []
