"""
Each kind of change in a tree, made for real: what the stream tells of it, and that the consumer ends with what is on disk.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Place = Any  # the fixtures of conftest.py, which can't be imported in importlib mode
Consumer = Any
SIZE = 1  # of the values that a consumer's `tree()` keeps of a path
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """
    Exchange two names in one step (renameat2).
    """
    assert _libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def started(place: Place) -> Callable[..., Consumer]:
    """
    Return what starts a stream and takes a snapshot.
    """

    def start(**params: Any) -> Consumer:
        consumer = place.consume(place.driver(**params))
        consumer.snapshot()
        consumer.settle()
        return consumer

    return start


def told(place: Place, consumer: Consumer, since: int, **kinds: set[str]) -> None:
    """
    Once settled: the tree; and of each kind of event since a point, the paths it told of, the root's own row aside.
    """
    place.check(consumer)
    sent: dict[str, set[str]] = {"insert": set(), "update": set(), "delete": set()}
    for event in consumer.events[since:]:
        sent[event.event_type.value] |= {row[0] for row in event.rows if row[0]}
    assert {kind: sent[kind] for kind in kinds} == kinds


def test_a_new_file_is_an_insert_with_what_was_written(place: Place, started: Any) -> None:
    consumer = started()
    since = len(consumer.events)
    place.make("new.txt", content="x" * 1000)
    told(place, consumer, since, insert={"new.txt"}, delete=set())
    assert consumer.tree()["new.txt"][SIZE] == 1000


def test_writing_again_is_one_update_when_it_is_closed(place: Place, started: Any) -> None:
    """
    Nothing is told while the file is open and `open_report_s` is not over; its close tells of it.
    """
    place.make("log")
    consumer = started(open_report_s=3600)
    since = len(consumer.events)
    with (place.root / "log").open("a") as file:
        for _ in range(50):
            file.write("more")
            file.flush()
        consumer.settle()
        assert "log" not in consumer.sent(since)
    told(place, consumer, since, update={"log"}, insert=set())
    assert sum(1 for event in consumer.events[since:] for row in event.rows if row[0] == "log") == 1


def test_a_file_that_stays_open_is_told_of_now_and_then(place: Place, started: Any) -> None:
    consumer = started(open_report_s=0.2)
    with (place.root / "recording").open("w") as file:
        for size in (10, 20, 30):
            file.write("r" * 10)
            file.flush()
            place.wait_until(
                lambda size=size: consumer.tree().get("recording", (0, 0))[SIZE] == size, f"{size} bytes are told"
            )
    place.check(consumer)


def test_attributes_alone_are_an_update(place: Place, started: Any) -> None:
    place.make("mode", "owner", "time", "xattr", "dir/x")
    consumer = started()
    since = len(consumer.events)
    os.chmod(place.root / "mode", 0o600)
    os.chown(place.root / "owner", 1234, 4321)
    os.utime(place.root / "time", ns=(1, 2**60))
    os.setxattr(place.root / "xattr", "user.note", b"changes the ctime")
    os.chmod(place.root / "dir", 0o711)
    told(place, consumer, since, update={"mode", "owner", "time", "xattr", "dir"}, insert=set(), delete=set())


def test_deletes_name_every_descendant(place: Place, started: Any) -> None:
    place.make("single", "dir/one", "dir/deep/er/two", "stays")
    consumer = started()
    since = len(consumer.events)
    (place.root / "single").unlink()
    shutil.rmtree(place.root / "dir")
    told(
        place, consumer, since,
        delete={"single", "dir", "dir/one", "dir/deep", "dir/deep/er", "dir/deep/er/two"}, insert=set(),
    )  # fmt: skip


def test_moves_carry_the_descendants_along(place: Place, started: Any) -> None:
    """
    A file, and a whole directory, moved in the tree: old paths go, new ones come; and what changes in it later has its new path.
    """
    place.make("file", "dir/one", "dir/deep/two", "target/x")
    consumer = started()
    since = len(consumer.events)
    (place.root / "file").rename(place.root / "target/renamed")
    (place.root / "dir").rename(place.root / "target/moved")
    new = {"target/renamed", "target/moved", "target/moved/one", "target/moved/deep", "target/moved/deep/two"}
    told(place, consumer, since, insert=new, delete={"file", "dir", "dir/one", "dir/deep", "dir/deep/two"})
    since = len(consumer.events)
    place.make("target/moved/deep/three")
    told(place, consumer, since, insert={"target/moved/deep/three"}, delete=set())
    # And a new directory in the old place is not taken for the old one.
    since = len(consumer.events)
    place.make("dir/deep/four")
    told(place, consumer, since, insert={"dir", "dir/deep", "dir/deep/four"}, delete=set())


def test_moves_in_and_out_of_the_tree(place: Place, started: Any, tmp_path: Path) -> None:
    place.make("leaves/a/b")
    (tmp_path / "outside/c").mkdir(parents=True)
    (tmp_path / "outside/c/d").write_text("d")
    consumer = started()
    since = len(consumer.events)
    (place.root / "leaves").rename(tmp_path / "left")
    (tmp_path / "outside").rename(place.root / "came")
    told(
        place, consumer, since,
        insert={"came", "came/c", "came/c/d"}, delete={"leaves", "leaves/a", "leaves/a/b"},
    )  # fmt: skip
    since = len(consumer.events)
    (tmp_path / "left/a/b").write_text("nobody should hear of this")
    (tmp_path / "left/a/new").write_text("nor of this")
    place.make("came/c/e")
    told(place, consumer, since, insert={"came/c/e"}, delete=set())


def test_a_deep_tree_made_at_once_is_told_whole(place: Place, started: Any) -> None:
    """
    `mkdir -p` with content races the watches; nothing may be missed, also when it is done again and again.
    """
    consumer = started()
    for turn in range(30):
        place.make(f"turn{turn}/a/b/c/d/e/file", f"turn{turn}/a/file", f"turn{turn}/a/b/file")
    place.check(consumer)


def test_replaced_by_another_kind(place: Place, started: Any) -> None:
    """
    A directory becomes a file, a file a directory, a link either.
    """
    place.make("dir/child/x", "file", "linked/x")
    consumer = started()
    shutil.rmtree(place.root / "dir")
    place.make("dir")
    (place.root / "file").unlink()
    place.make("file/now/a/dir")
    shutil.rmtree(place.root / "linked")
    (place.root / "linked").symlink_to("file")
    place.check(consumer)
    assert {path: row[0] for path, row in consumer.tree().items()}["linked"] == "symlink"


def test_exchanged_in_one_step(place: Place, started: Any) -> None:
    """
    Two directories, and a file and a directory, exchanged by renameat2; later changes have their new paths.
    """
    place.make("one/a", "other/b/c", "file", "dir/x")
    consumer = started()
    exchange(place.root / "one", place.root / "other")
    exchange(place.root / "file", place.root / "dir")
    place.check(consumer)
    place.make("one/b/late", "other/late", "file/late")
    place.check(consumer)
    assert {"one/b/c", "one/b/late", "other/a", "other/late", "file/x", "file/late", "dir"} <= set(consumer.tree())


def test_links_are_rows_and_never_followed(place: Place, started: Any, tmp_path: Path) -> None:
    """
    Symbolic links to files, directories, nowhere and in loops; pointed elsewhere; and what is behind them is not read.
    """
    (tmp_path / "behind").mkdir()
    (tmp_path / "behind/secret").write_text("s")
    place.make("dir/file")
    (place.root / "dir/up").symlink_to("..")
    consumer = started()
    (place.root / "self").symlink_to("self")
    (place.root / "root").symlink_to(place.root)
    (place.root / "away").symlink_to(tmp_path / "behind")
    (place.root / "nowhere").symlink_to("no/such/thing")
    (place.root / "odd").symlink_to(os.fsdecode(b"odd\xff\\x41"))
    place.check(consumer)
    (place.root / "new").symlink_to("dir")
    (place.root / "new").rename(place.root / "away")
    (tmp_path / "behind/later").write_text("l")
    place.check(consumer)
    assert consumer.tree()["away"][-1] == "dir"
    assert consumer.tree()["odd"][-1] == "odd\\xff\\x5cx41"
    again = place.consume(place.driver(state_dir=str(tmp_path / "other state")))
    again.snapshot()
    place.check(again)


def test_hard_links_from_outside(place: Place, started: Any, tmp_path: Path) -> None:
    """
    Each name of an inode is a row of its own. (A new name changes the ctime of the others, of which their folders hear nothing.)
    """
    (tmp_path / "outside").write_text("o")
    consumer = started()
    since = len(consumer.events)
    os.link(tmp_path / "outside", place.root / "inside")
    told(place, consumer, since, insert={"inside"})


def test_pipes_sockets_and_devices_are_told_of_and_not_opened(place: Place, started: Any) -> None:
    consumer = started()
    os.mkfifo(place.root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(place.root, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    place.check(consumer)
    assert {consumer.tree()[name][0] for name in ("pipe", "socket")} == {"other"}


NAMES = [
    b"\xff\xfe not utf-8",
    b"half \xc3",
    b"new\nline",
    b"tab\tand\rreturn",
    b" leading",
    b"trailing ",
    b"back\\slash",
    b"looks \\xff escaped",
    b"\\x5c",
    b"n" * 255,
    "\u00e4".encode() * 127,
    "\u6570\u636e".encode(),
    "e\u0301 and \u00e9".encode(),
    b"-rf",
    b"*?[a]!#",
    b"...",
    b"\x01\x7f",
]


def test_names_of_all_kinds(place: Place, started: Any, tmp_path: Path) -> None:
    """
    Names that no one should give and some do: made, moved into, read by a snapshot, found after a restart and deleted.
    """
    root = os.fsencode(place.root)
    consumer = started()
    for name in NAMES:
        os.mkdir(root + b"/" + name)
        with open(root + b"/" + name + b"/" + name, "wb") as file:
            file.write(name)
    place.check(consumer)
    other = place.consume(place.driver(state_dir=str(tmp_path / "other state")))
    assert other.snapshot(batch_size=4) == 2 * len(NAMES) + 1
    place.check(other)
    position, rows = consumer.checkpoint, dict(consumer.rows)
    place.shut(consumer)
    for name in NAMES[::2]:
        os.rename(root + b"/" + name, root + b"/" + name[:-1] + b"~")
    consumer = place.consume(place.driver(), position, rows)
    place.check(consumer)
    for entry in os.listdir(root):
        shutil.rmtree(os.path.join(root, entry))
    for each in (consumer, other):
        place.check(each)
        assert set(each.tree()) == {""}


def test_a_path_too_long_for_the_system_is_a_problem_and_not_an_end(place: Place, started: Any) -> None:
    """
    Folders can be nested past PATH_MAX; what is beyond is named in the status, the rest goes on.
    """
    here = os.open(place.root, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    consumer = started()
    place.make("beside")
    consumer.settle()
    believed = consumer.tree()
    assert "beside" in believed
    assert max(len(path) for path in believed) > 3500
    problems = consumer.driver.status()["problems"]
    assert any("too long" in found["what"] and "exclude" in found["hint"] for found in problems)
    shutil.rmtree(place.root / ("d" * 200))
    place.check(consumer)
    assert not consumer.driver.status()["problems"]


def test_patterns(place: Place, started: Any) -> None:
    """
    `exclude` takes away what matches with all below, `include` keeps files; both on both paths, also after a move.
    """
    place.make("keep.csv", "drop.txt", "tmp/x.csv", "deep/keep.csv", "deep/.git/config.csv")
    consumer = started(include=["*.csv"], exclude=[".git/", "/tmp/"])
    place.make("late.csv", "late.txt", "tmp/late.csv", "deep/.git/late.csv", "other/tmp/in.csv")
    consumer.settle()
    wanted = {"", "keep.csv", "deep", "deep/keep.csv", "late.csv", "other", "other/tmp", "other/tmp/in.csv"}
    assert set(consumer.tree()) == wanted
    (place.root / "late.csv").rename(place.root / "late.old")
    (place.root / "late.txt").rename(place.root / "came.csv")
    (place.root / "other/tmp").rename(place.root / "other/.git")
    consumer.settle()
    assert set(consumer.tree()) == {"", "keep.csv", "deep", "deep/keep.csv", "came.csv", "other"}


def test_the_drivers_own_files_below_the_root_are_left_out(place: Place) -> None:
    """
    A state folder in the tree would report its own writes for ever.
    """
    consumer = place.consume(place.driver(state_dir=str(place.root / "state here")))
    consumer.snapshot()
    place.make("x")
    consumer.settle()
    assert set(consumer.tree()) == {"", "x"}


def test_only_the_fields_asked_for(place: Place) -> None:
    driver = place.driver()
    place.make("x")
    chunk = next(iter(driver.get_snapshot_iterator(required_fields=["size", "mtime"])))
    assert tuple(chunk.fields) == ("path", "size", "mtime")
    assert sorted(row[0] for row in chunk.rows) == ["", "x"]
    narrowed = [row for event in driver.get_snapshot_iterator(tables=["other"]) for row in event.rows]
    assert narrowed == []


def test_an_empty_root(place: Place, started: Any) -> None:
    """
    An empty tree is one row; and it fills and empties again.
    """
    consumer = started()
    assert set(consumer.tree()) == {""}
    place.make("a/b")
    place.check(consumer)
    shutil.rmtree(place.root / "a")
    place.check(consumer)


def test_the_root_deleted_and_made_again(place: Place, started: Any) -> None:
    """
    All goes, the status says why, and what stands there later is read.
    """
    place.make("a/b", "c")
    consumer = started()
    shutil.rmtree(place.root)
    place.wait_until(lambda: not consumer.tree(), "everything is deleted")
    (problem,) = consumer.driver.status()["problems"]
    assert "deleted" in problem["what"] and problem["hint"]
    place.root.mkdir()
    place.make("a/new", "d")
    place.wait_until(lambda: place.agrees(consumer), "the new root is read")
    assert not consumer.driver.status()["problems"]
    place.make("e/f")
    place.check(consumer)


def test_the_root_moved_away_and_back(place: Place, started: Any, tmp_path: Path) -> None:
    place.make("a/b", "c")
    consumer = started()
    place.root.rename(tmp_path / "elsewhere")
    place.wait_until(lambda: not consumer.tree(), "everything is deleted")
    (tmp_path / "elsewhere").rename(place.root)
    place.wait_until(lambda: place.agrees(consumer), "it is read again")
    place.make("a/late")
    place.check(consumer)


def test_what_is_beyond_the_watch_limit_is_polled(place: Place, started: Any) -> None:
    """
    With few watches the rest is compared in turn, the status says so with the remedy, and room is taken when there is some.
    """
    for number in range(12):
        place.make(f"dir{number:02}/sub/x")
    consumer = started(max_watches=5, poll_interval_s=0.1)
    status = consumer.driver.status()
    assert status["watched_dirs"] == 5
    assert status["polled_dirs"] == 25 - 5
    (problem,) = status["problems"]
    assert "20 directories are not watched" in problem["what"] and "max_user_watches" in problem["hint"]
    for number in range(12):
        place.make(f"dir{number:02}/sub/late", f"dir{number:02}/new/y")
    place.wait_until(lambda: place.agrees(consumer), "polling finds it")
    for number in range(12):
        shutil.rmtree(place.root / f"dir{number:02}")
    place.wait_until(lambda: place.agrees(consumer), "polling finds that it is gone")
    place.make("watched/x")
    place.check(consumer)
    assert consumer.driver.status()["polled_dirs"] == 0
    assert not consumer.driver.status()["problems"]


def test_without_inotify_everything_is_polled(place: Place, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no instance is to be had, the tree is compared all the time and the status says why.
    """
    from fustor_source_fs import watch

    class NoInstances:
        @staticmethod
        def inotify_init1(_flags: int) -> int:
            ctypes.set_errno(24)
            return -1

    monkeypatch.setattr(watch, "_libc", NoInstances())
    place.make("a/b/c")
    consumer = started(poll_interval_s=0.1)
    (problem,) = consumer.driver.status()["problems"]
    assert "Too many open files" in problem["what"] and "max_user_instances" in problem["hint"]
    place.make("a/b/d", "e/f/g")
    (place.root / "a/b/c").unlink()
    place.wait_until(lambda: place.agrees(consumer), "polling finds it")


def test_let_go_of_rows_are_sent_again(place: Place, started: Any) -> None:
    """
    `mark_dirty`: the agent dropped live rows of a directory; their present state comes again.
    """
    consumer = started()
    place.make("a/b", "c")
    consumer.settle()
    since = len(consumer.events)
    consumer.driver.mark_dirty("", "files", "a")
    place.wait_until(lambda: set(consumer.sent(since)) == {"a", "a/b"}, "the rows of `a` come again")
