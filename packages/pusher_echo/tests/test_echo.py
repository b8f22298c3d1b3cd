"""
The echo pusher prints what it is given, asks for one snapshot, and refuses what it can't print.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fustor_core.errors import BatchRejected, ConfigError, ConnectionLost
from fustor_core.models.config import PusherConfig
from fustor_core.models.event import InsertEvent, UpdateEvent, progress_mark
from fustor_pusher_echo import EchoPusher


def pusher(**params: Any) -> EchoPusher:
    return EchoPusher("e", PusherConfig(driver="echo", endpoint="stdout", driver_params=params))


async def test_events_are_printed_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    echo = pusher()
    answer = await echo.push(
        [InsertEvent("db", "t", [{"id": 1, "b": b"\x00"}], index=4, key=["id"]), progress_mark(9)],
        source_type="message",
        epoch=1,
        seq=2,
    )
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["event"]["rows"] == [[1, "AA=="]] and said["event"]["index"] == 4
    assert (said["source_type"], said["epoch"], said["seq"]) == ("message", 1, 2)
    assert answer == {"snapshot_needed": True}


async def test_rows_with_different_columns_stay_apart(tmp_path: Path) -> None:
    echo = pusher(file=str(tmp_path / "out"), progress_marks=True)
    await echo.push([UpdateEvent("db", "t", [{"id": 1, "a": 1}, {"id": 2}]), progress_mark(3)], source_type="message")
    await echo.close()
    await echo.close()
    lines = [json.loads(line)["event"] for line in (tmp_path / "out").read_text().splitlines()]
    assert [line.get("fields") for line in lines] == [["id", "a"], ["id"], None]


async def test_one_snapshot_is_asked_for_and_its_end_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    echo = pusher(rows=False)
    assert (await echo.create_session("t"))["snapshot_needed"] is True
    event = InsertEvent("db", "t", [{"id": 1}])
    assert (await echo.push([event], source_type="snapshot", snapshot_id="x"))["snapshot_needed"] is False
    assert (await echo.push([], source_type="snapshot", snapshot_id="x", is_snapshot_end=True)) == {
        "snapshot_needed": False
    }
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["event"]["rows"] == 1 and last == {"snapshot_end": "x"}
    assert (await pusher(snapshot=False).create_session("t"))["snapshot_needed"] is False


async def test_an_unprintable_value_names_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BatchRejected) as caught:
        await pusher().push([progress_mark(1), InsertEvent("db", "t", [{"id": object()}])])
    assert list(caught.value.rejected) == [1] and capsys.readouterr().out == ""


async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="can't write"):
        await pusher(file=str(tmp_path)).push([InsertEvent("db", "t", [{"id": 1}])])
    ok, said = await EchoPusher.test_connection(endpoint="x", driver_params={"file": str(tmp_path)})
    assert not ok and "can't be written" in said
    assert (await EchoPusher.test_connection(endpoint="x"))[0]


def test_an_unknown_parameter_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="flie"):
        pusher(flie="x")


async def test_the_wizard_offers_every_parameter() -> None:
    (step,) = (await EchoPusher.get_wizard_steps())["steps"]
    assert set(step["schema"]["properties"]["driver_params"]["properties"]) == {
        "file",
        "snapshot",
        "rows",
        "progress_marks",
    }
