"""
A directory tree through three real services: every entry arrives, stays live, and survives restarts with little said twice.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from harness.stack import Stack, wait_for
from harness.trees import check_views_agree, fusion_rows, is_found, make_tree, wait_equal

USR_PARTS = ("/usr/share/doc", "/usr/lib/python3", "/usr/include", "/usr/share/perl")


def test_a_tree_is_queryable_entry_by_entry(stack: Stack) -> None:
    """
    Every entry that find sees is in Fusion with the same type, size and time, odd names, links and empty folders included.
    """
    make_tree(stack.tree, 2000)
    (stack.tree / "empty/er").mkdir(parents=True)
    (stack.tree / "link").symlink_to("project-00")
    (stack.tree / "loop").symlink_to("..")
    (stack.tree / "\u6570\u636e \u4f60\u597d.txt").write_text("hello")
    (stack.tree / "back\\x41slash").write_text("1")
    (stack.tree / "line\nbreak").write_text("2")
    Path(os.fsdecode(os.fsencode(stack.tree) + b"/not-\xff-utf8")).write_text("3")
    os.mkfifo(stack.tree / "pipe")
    stack.start()
    stack.wait_snapshot_ended()
    truth = wait_equal(stack)
    check_views_agree(stack, truth)
    assert {row["path"] for row in fusion_rows(stack, q="*.h5")} == {path for path in truth if path.endswith(".h5")}
    found = stack.fusion_get("/views/fs/search", q="sample_000123")["rows"]
    assert [row["name"] for row in found] == ["sample_000123.json"]


@pytest.mark.parametrize("part", [part for part in USR_PARTS if Path(part).is_dir()][:1])
def test_a_part_of_usr_is_queryable(make_stack: Callable[..., Stack], part: str) -> None:
    """
    A tree that the distribution made, not we, arrives entry by entry.
    """
    stack = make_stack(Path(part))
    stack.start()
    stack.wait_snapshot_ended()
    check_views_agree(stack, wait_equal(stack))


def test_live_changes_of_every_kind_arrive(stack: Stack) -> None:
    """
    Create, append, attribute change, rename, move of a folder with content, delete, and folders that come with content.
    """
    make_tree(stack.tree, 100)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    folder = stack.tree / "project-00/run_000/part00000"
    (folder / "new.txt").write_text("new")
    (stack.tree / "a/b/c").mkdir(parents=True)
    (stack.tree / "a/b/c/deep.txt").write_text("deep")
    wait_equal(stack)
    with (folder / "new.txt").open("a") as out:
        out.write("er")
    os.utime(folder / "new.txt", ns=(10**18, 10**18 + 123456789))
    (folder / "new.txt").rename(stack.tree / "a/moved.txt")
    wait_equal(stack)
    (stack.tree / "project-00").rename(stack.tree / "a/b/project")
    wait_equal(stack)
    (stack.tree / "a/b/project").rename(stack.folder.parent / "outside")
    wait_equal(stack)
    (stack.folder.parent / "outside").rename(stack.tree / "back")
    wait_equal(stack)
    shutil.rmtree(stack.tree / "a")
    (stack.tree / "back/run_000").rename(stack.tree / "top")
    check_views_agree(stack, wait_equal(stack))


def test_a_live_file_is_found_while_the_snapshot_still_runs(stack: Stack) -> None:
    """
    Message-first: what is created during a snapshot is in the search before that snapshot has ended.
    """
    make_tree(stack.tree, 40_000)
    stack.start()
    wait_for(
        "the snapshot has begun", lambda: stack.sync_status().get("snapshot") or stack.fusion_sync().get("snapshot")
    )
    seen_during = 0
    ended = False
    number = 0
    while not ended:
        name = f"live-{number}.txt"
        number += 1
        (stack.tree / "project-00" / name).write_text("now")

        wait_for(f"{name} is found", partial(is_found, stack, name), every_s=0.002, on_timeout=stack.tails)
        ended = bool((stack.fusion_sync().get("snapshot") or {}).get("ended_at"))
        seen_during += not ended
    assert seen_during > 0, "no live file was visible before the snapshot had ended"
    wait_equal(stack)


def test_a_restart_pushes_only_differences(stack: Stack) -> None:
    """
    Files deleted, renamed and changed while the agent is stopped are right after its restart, and what did not change is not sent again.
    """
    make_tree(stack.tree, 6000)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    stack.agent.stop()
    files = sorted(path for path in stack.tree.rglob("*") if path.is_file())
    for file in files[:30]:
        file.unlink()
    for file in files[30:40]:
        file.write_text("changed while nobody looked")
    files[40].rename(stack.tree / "renamed.txt")
    moved = files[-1].parent
    inside = sum(1 for _ in moved.iterdir())
    moved.rename(stack.tree / "moved")
    (stack.tree / "added").mkdir()
    (stack.tree / "added/one").write_text("1")
    # Each of these is one row: what went, what came, and at most one row for each folder whose time changed.
    most = 30 + 10 + 2 + 2 * (inside + 1) + 2 + len({file.parent for file in files[:41]}) + 4
    stack.agent.start()
    truth = wait_equal(stack)
    check_views_agree(stack, truth)
    pushed = stack.sync_status()["pushed_rows"]
    print(f"{pushed} rows pushed after the restart, {len(truth)} in the tree, at most {most} differ")
    assert pushed <= most * 2


def test_a_restart_with_no_change_pushes_nothing_to_speak_of(stack: Stack) -> None:
    """
    A restart of the agent over a tree that did not change sends no rows again.
    """
    make_tree(stack.tree, 3000)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    stack.agent.stop()
    stack.agent.start()
    wait_for("the stream runs", lambda: "MESSAGE_SYNC" in str(stack.sync_status()["states"]), on_timeout=stack.tails)
    (stack.tree / "mark").write_text("the rescan is behind this")
    wait_equal(stack)
    assert stack.sync_status()["pushed_rows"] < 20


def test_a_fusion_that_restarts_still_has_everything(stack: Stack) -> None:
    """
    Fusion answers from its disk right after a restart, without help from the agent.
    """
    make_tree(stack.tree, 1000)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    stack.agent.stop()
    stack.fusion.kill()
    stack.fusion.start()
    check_views_agree(stack, wait_equal(stack, timeout_s=5))


def test_the_live_tail_tells_of_changes(stack: Stack) -> None:
    """
    `GET /views/live` sends an event for a file that is created.
    """
    stack.start()
    stack.wait_snapshot_ended()
    with stack.http.stream(
        "GET", f"{stack.fusion.url}/views/live", headers={"X-API-Key": stack.key}, timeout=60
    ) as answer:
        assert answer.status_code == 200
        (stack.tree / "told.txt").write_text("1")
        until = time.monotonic() + 60
        for line in answer.iter_lines():
            if line.startswith("data:") and "told.txt" in line:
                return
            assert time.monotonic() < until, "the tail did not tell of the file"
    raise AssertionError("the tail ended by itself")
