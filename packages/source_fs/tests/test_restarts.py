"""
Stops, crashes and damage: a restart sends differences alone, and a lost, damaged or full index ends in the truth.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fustor_core.errors import ConfigError, ConnectionLost

Place = Any  # the fixtures of conftest.py, which can't be imported in importlib mode
Consumer = Any


def mount(*args: str) -> None:
    done = subprocess.run(["mount", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"this test needs the right to mount: {done.stderr}")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """
    Return what mounts a small tmpfs.
    """
    made: list[Path] = []

    def make(where: Path, size: str = "1m") -> Path:
        where.mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", f"size={size}", "fustor-test", str(where))
        made.append(where)
        return where

    yield make
    for where in reversed(made):
        subprocess.run(["umount", "-l", str(where)], check=False, capture_output=True)


def restart(place: Place, consumer: Consumer, **params: Any) -> Consumer:
    """
    Stop a consumer and its driver, and go on where it was.
    """
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    return place.consume(place.driver(**params), position, rows)


def begin(place: Place, **params: Any) -> Consumer:
    consumer = place.consume(place.driver(**params))
    consumer.snapshot()
    consumer.settle()
    return consumer


def test_a_restart_pushes_the_differences_alone(place: Place) -> None:
    """
    Of 400 files nothing is sent when nothing changed, and exactly what changed, was moved, made and deleted when something did.
    """
    for number in range(400):
        place.make(f"dir{number % 8}/file{number:03}")
    consumer = restart(place, begin(place))
    assert not consumer.lost
    place.check(consumer)
    assert consumer.driver.status()["sent_rows"] == 0

    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    (place.root / "dir0/file000").write_text("changed")
    (place.root / "dir1/file001").unlink()
    (place.root / "dir2/file002").rename(place.root / "dir3/renamed")
    (place.root / "dir4").rename(place.root / "dir9")
    place.make("dir5/made")
    consumer = place.consume(place.driver(), position, rows)
    assert not consumer.lost
    place.check(consumer)
    moved = {f"file{number:03}" for number in range(4, 400, 8)}
    sent = consumer.sent()
    assert {path: kind for path, kind in sent.items() if kind != "update"} == {
        "dir1/file001": "delete", "dir2/file002": "delete", "dir3/renamed": "insert", "dir5/made": "insert",
        "dir4": "delete", "dir9": "insert",
        **{f"dir4/{name}": "delete" for name in moved}, **{f"dir9/{name}": "insert" for name in moved},
    }  # fmt: skip
    assert {path for path, kind in sent.items() if kind == "update"} == {
        "", "dir0/file000", "dir1", "dir2", "dir3", "dir5",
    }  # fmt: skip


def test_what_was_sent_and_not_acknowledged_comes_again(place: Place) -> None:
    """
    A stream opened at an older position sends the present state of everything told after it.
    """
    consumer = begin(place)
    place.make("before")
    consumer.settle()
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.make("a/b", "c")
    consumer.settle()
    (place.root / "c").unlink()
    consumer.settle()
    place.shut(consumer)
    consumer = place.consume(place.driver(), position, rows)
    assert not consumer.lost
    place.check(consumer)
    sent = consumer.sent()
    assert {path: kind for path, kind in sent.items() if path} == {"a": "update", "a/b": "update", "c": "delete"}


@pytest.mark.parametrize("target", ["a", "b", "file"])
def test_what_stood_behind_a_name_that_is_a_link_now_is_gone(place: Place, target: str) -> None:
    """
    Told and not acknowledged, the deletion of rows comes again, also where a link to itself stands above them now: looking at them
    fails with "too many levels of symbolic links" then.
    """
    place.make("a/one", "a/b/two", "file")
    consumer = begin(place)
    position, rows = consumer.checkpoint, dict(consumer.rows)
    shutil.rmtree(place.root / "a")
    consumer.settle()
    (place.root / "a").symlink_to(target)
    consumer.settle()
    place.shut(consumer)
    consumer = place.consume(place.driver(), position, rows)
    assert not consumer.lost
    place.check(consumer)


def test_the_state_folder_has_one_user(place: Place) -> None:
    begin(place)
    with pytest.raises(ConfigError) as raised:
        place.driver().incarnation()
    assert "in use" in str(raised.value) and "state_dir" in raised.value.hint


def _delete(index: Path) -> None:
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (index / name).unlink(missing_ok=True)


def _truncate(index: Path) -> None:
    os.truncate(index / "index.db", 5000)


def _empty(index: Path) -> None:
    _delete(index)
    (index / "index.db").touch()


def _overwrite(index: Path) -> None:
    (index / "index.db").write_bytes(b"not a database, but long enough to be one" * 500)


def _garble_blobs(index: Path) -> None:
    db = sqlite3.connect(index / "index.db")
    db.execute("UPDATE dirs SET blob=x'c1c1c1'")
    db.commit()
    db.close()


def _old_version(index: Path) -> None:
    db = sqlite3.connect(index / "index.db")
    db.execute("UPDATE meta SET value='0' WHERE name='version'")
    db.commit()
    db.close()


@pytest.mark.parametrize("damage", [_delete, _truncate, _empty, _overwrite, _old_version])
def test_an_index_that_is_gone_or_damaged_is_begun_anew(
    place: Place, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is said in the log, the position is lost, the incarnation is another one, and a snapshot makes all right.
    """
    for number in range(40):
        place.make(f"dir{number}/file")
    consumer = begin(place)
    incarnation = consumer.driver.incarnation()
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    damage(place.state)
    shutil.rmtree(place.root / "dir7")
    place.make("new")
    with caplog.at_level(logging.WARNING):
        consumer = place.consume(place.driver(), position, rows)
    assert "begun anew" in caplog.text and str(place.state) in caplog.text
    assert consumer.lost
    assert consumer.driver.incarnation() != incarnation
    consumer.snapshot()
    place.check(consumer)


def test_damage_met_while_running_ends_the_stream_and_a_new_one_recovers(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Blobs that can't be decoded: an error that can be tried again, not a crash; then a lost position, and convergence.
    """
    for number in range(40):
        place.make(f"dir{number}/file")
    consumer = begin(place)
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    _garble_blobs(place.state)
    driver = place.driver()
    incarnation = driver.incarnation()
    with caplog.at_level(logging.WARNING):
        broken = place.consume(driver, position, rows)
        place.wait_until(lambda: broken.error is not None, "the damage is met")
    assert isinstance(broken.error, ConnectionLost)
    assert "damaged" in str(broken.error) and broken.error.hint
    assert "begun anew" in caplog.text
    broken.end()
    (place.root / "dir3/file").unlink()
    again = place.consume(driver, position, rows)
    assert again.lost
    assert driver.incarnation() != incarnation
    again.snapshot()
    place.make("dir4/late")
    place.check(again)
    assert not restart(place, again).lost


def test_damage_met_by_a_snapshot_ends_the_stream_too(place: Place) -> None:
    """
    The index is shared: when the snapshot finds it damaged, the stream may not go on under the old incarnation.
    """
    for number in range(40):
        place.make(f"dir{number}/file")
    consumer = begin(place)
    index = consumer.driver._opened().index
    with index.lock:
        index._db.execute("UPDATE dirs SET blob=x'c1' WHERE path='dir9'")
        index.reset()
    place.make("dir9/late")
    with pytest.raises((ConnectionLost, AssertionError)):
        consumer.snapshot()
    place.wait_until(lambda: consumer.error is not None, "the stream ends")
    assert isinstance(consumer.error, ConnectionLost)
    consumer.end()
    again = place.consume(consumer.driver, consumer.checkpoint, dict(consumer.rows))
    assert again.lost
    again.snapshot()
    place.check(again)


def fill(folder: Path) -> Path:
    """
    Leave no room in a file system.
    """
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def test_a_full_disk_under_the_index_loses_nothing(place: Place, mounted: Callable[..., Path], tmp_path: Path) -> None:
    """
    The stream and the snapshot end with an error that says so; once there is room, all that changed is told.
    """
    disk = mounted(tmp_path / "small", "4m")
    place.state = disk / "state"
    for number in range(30):
        place.make(f"dir{number}/file")
    consumer = begin(place)
    filler = fill(disk)
    for number in range(30):
        place.make(*(f"dir{number}/late with a long name {turn:050}" for turn in range(40)))
    (place.root / "dir0/file").unlink()
    place.wait_until(lambda: consumer.error is not None, "the full disk is met")
    assert isinstance(consumer.error, ConnectionLost)
    assert str(place.state) in str(consumer.error) and "disk space" in consumer.error.hint
    with pytest.raises(ConnectionLost) as raised:
        for _ in consumer.driver.get_snapshot_iterator(batch_size=50):
            pass
        consumer.driver.get_message_iterator(consumer.checkpoint)
    assert "disk space" in raised.value.hint
    consumer.end()
    filler.unlink()
    again = place.consume(consumer.driver, consumer.checkpoint, dict(consumer.rows))
    assert not again.lost
    place.check(again)
    place.check(restart(place, again))


def test_a_disk_that_is_full_at_the_start_and_at_the_end(
    place: Place, mounted: Callable[..., Path], tmp_path: Path
) -> None:
    """
    Opening says what to do; closing does not fail, and the next run goes on from there.
    """
    disk = mounted(tmp_path / "small")
    place.state = disk / "state"
    filler = fill(disk)
    place.make("a/b")
    driver = place.driver()
    with pytest.raises(ConnectionLost) as raised:
        driver.get_message_iterator(-1)
    assert str(disk) in str(raised.value) and raised.value.hint
    filler.unlink()
    consumer = begin(place)
    place.check(consumer)
    fill(disk)
    place.make("a/late")
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    (disk / "filler").unlink()
    consumer = place.consume(place.driver(), position, rows)
    assert not consumer.lost
    place.check(consumer)


def test_other_file_systems_are_not_entered(place: Place, mounted: Callable[..., Path]) -> None:
    """
    A mount point is a row, what is mounted is not read; nor is what it covers deleted. `cross_mounts` reads it.
    """
    place.make("plain/x", "covered/kept")
    consumer = begin(place)
    other = mounted(place.root / "covered")
    (other / "inside").write_text("i")
    place.make("plain/y")
    consumer.settle()
    assert {"covered/kept", "plain/y"} <= set(consumer.tree())
    assert "covered/inside" not in consumer.tree()
    consumer = restart(place, consumer)
    consumer.settle()
    assert "covered/kept" in consumer.tree()
    assert any("mounted" in found["what"] for found in consumer.driver.status()["problems"])
    fresh = begin(place, state_dir=str(place.state) + "2")
    assert {path for path in fresh.tree() if path.startswith("covered")} == {"covered"}
    crossing = begin(place, state_dir=str(place.state) + "3", cross_mounts=True)
    assert {path for path in crossing.tree() if path.startswith("covered")} == {"covered", "covered/inside"}
    (other / "late").write_text("l")
    place.check(crossing)


def test_an_unmounted_root_deletes_nothing(place: Place, mounted: Callable[..., Path], tmp_path: Path) -> None:
    """
    The root is a mount point that goes away, while running and at the start: kept, said, and gone on with when it is back.
    """
    place.root = mounted(tmp_path / "disk")
    place.make("a/b", "c")
    consumer = begin(place)
    backing = tmp_path / "backing"
    backing.mkdir()
    mount("--bind", str(place.root), str(backing))
    try:
        subprocess.run(["umount", "-l", str(place.root)], check=True)
        place.wait_until(lambda: bool(consumer.driver.status()["problems"]), "the status says so")
        assert {"a", "a/b", "c"} <= set(consumer.tree())
        position, rows = consumer.checkpoint, dict(consumer.rows)
        place.shut(consumer)
        away = place.driver()
        with pytest.raises(ConnectionLost) as raised:
            away.get_message_iterator(position)
        assert "mount" in raised.value.hint
        mount("--bind", str(backing), str(place.root))
        (place.root / "c").unlink()
        consumer = place.consume(place.driver(), position, rows)
        assert not consumer.lost
        place.check(consumer)
    finally:
        subprocess.run(["umount", "-l", str(backing)], check=False)


CHILD = """
import ctypes, json, os, sys, threading
from fustor_core.models.config import SourceConfig
from fustor_source_fs import FsDriver

root, state = sys.argv[1:]
driver = FsDriver("tree", SourceConfig(driver="fs", uri=root, driver_params={"state_dir": state}))
"""

RUN = (
    CHILD
    + """
position = int(sys.stdin.readline())
stream, lost = driver.get_message_iterator(position)
print(json.dumps(["lost", lost, driver.incarnation()]), flush=True)

def snapshot():
    for chunk in driver.get_snapshot_iterator(batch_size=20):
        pass

threading.Thread(target=snapshot, daemon=True).start()
for event in stream:
    print(json.dumps([event.event_type.value, event.index, event.rows]), flush=True)
"""
)


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_the_middle_of_its_writes(place: Place, seed: int) -> None:
    """
    kill -9 of a process that writes its index all the time, again and again: position and incarnation hold, and the tree is right.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    consumer = begin(place)
    position, rows = consumer.checkpoint, dict(consumer.rows)
    incarnation = consumer.driver.incarnation()
    place.shut(consumer)
    for turn in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", RUN, str(place.root), str(place.state)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(f"{position}\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == ["lost", False, incarnation]
        done = threading.Event()

        def work(turn: int, done: threading.Event) -> None:
            own = random.Random(seed * 100 + turn)
            number = 0
            while not done.is_set():
                number += 1
                place.make(f"dir{own.randrange(9)}/sub{own.randrange(5)}/file{turn}-{number}")
                if not number % 7:
                    shutil.rmtree(place.root / f"dir{own.randrange(9)}", ignore_errors=True)

        worker = threading.Thread(target=work, args=(turn, done))
        worker.start()
        left = chance.randrange(3, 60)
        try:
            for line in child.stdout:
                kind, index, its_rows = json.loads(line)
                for row in its_rows:
                    rows[row[0]] = (index, None if kind == "delete" else tuple(row))
                position = index
                left -= 1
                if left <= 0:
                    break
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            child.stdin.close()
            done.set()
            worker.join()
    consumer = place.consume(place.driver(), position, rows)
    assert not consumer.lost
    consumer.snapshot()
    place.check(consumer)


UNPRIVILEGED = (
    CHILD
    + """
libc = ctypes.CDLL(None)
folder = os.path.join(root, "closed")
assert not os.access(os.path.join(folder, "x"), os.R_OK), "this process should have no right to override modes"
stop = threading.Event()
stream, _ = driver.get_message_iterator(-1, stop_event=stop)
believed = {}

def take(events):
    for event in events:
        for row in event.rows:
            believed.pop(row[0], None) if event.event_type.value == "delete" else believed.update({row[0]: row[4]})

def catch_up():
    high = driver.high_watermark()
    for event in stream:
        take([event])
        if event.index >= high:
            return

take(driver.get_snapshot_iterator())
catch_up()
before = sorted(believed), driver.status()["problems"]
os.chmod(folder, 0o700)
while "closed/x" not in believed or driver.status()["problems"]:
    take([next(stream)])
os.chmod(folder, 0)
catch_up()
with open(os.path.join(root, "open/late"), "w"):
    pass
catch_up()
after = sorted(believed)
os.chmod(root, 0)
try:
    again = FsDriver("tree", SourceConfig(driver="fs", uri=root, driver_params={"state_dir": state + "2"}))
    again.get_message_iterator(-1)
    refused = None
except Exception as error:
    refused = error.to_dict()
finally:
    os.chmod(root, 0o700)
print(json.dumps([before, after, refused]))
"""
)


def test_what_must_not_be_read_is_a_problem_and_not_an_end(place: Place) -> None:
    """
    A folder without rights: its row is there, it is named in the status, the rest goes on; it is read once it may be, and what
    was known stays when it is closed again. A root without rights is refused, with the remedy.

    Root overrides modes, so the driver runs in a process without that capability.
    """
    place.make("closed/x", "closed/sub/y", "open/z")
    (place.root / "closed").chmod(0)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-c", UNPRIVILEGED, place.root, place.state],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (before, problems), after, refused = json.loads(done.stdout)
    assert before == ["", "closed", "open", "open/z"]
    (problem,) = problems
    assert problem["where"].endswith("/closed")
    assert "Permission denied" in problem["what"] and "right to read" in problem["hint"]
    assert after == ["", "closed", "closed/sub", "closed/sub/y", "closed/x", "open", "open/late", "open/z"]
    assert refused["code"] == "driver.permission_missing" and refused["hint"]
