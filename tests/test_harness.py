"""
The measuring stick itself: what end-to-end tests compare with must be able to see every kind of difference.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.stack import wait_for
from harness.trees import RandomWork, Seen, differences, find_tree, make_tree

from fustor_core.models.file_row import unescape_name


def walked(root: Path) -> dict[str, Seen]:
    """
    The same truth by another way: os.walk and lstat, names as the operating system gives them.
    """
    tree = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            info = path.lstat()
            kind = "symlink" if path.is_symlink() else "dir" if path.is_dir() else "file" if path.is_file() else "other"
            tree[str(path.relative_to(root))] = Seen(kind, info.st_size if kind == "file" else 0, info.st_mtime_ns)
    return tree


def test_find_and_a_walk_agree_after_random_work(tmp_path: Path) -> None:
    """
    `find_tree` reads names with line breaks, bytes that are not UTF-8, old and sub-second times as the system has them.
    """
    make_tree(tmp_path, 300)
    with RandomWork(tmp_path, seed=3, pause_s=0.0005) as work:
        wait_for("some work is done", lambda: work.done > 2000)
    (tmp_path / "line\nbreak").write_text("1")
    (tmp_path / "old").write_text("1")
    os.utime(tmp_path / "old", ns=(1, 123_456_789))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\\x41")).symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = find_tree(tmp_path)
    assert {unescape_name(path): seen for path, seen in found.items()} == walked(tmp_path)
    assert found["old"].mtime == 123_456_789
    assert {seen.type for seen in found.values()} == {"file", "dir", "symlink", "other"}


def test_differences_sees_each_kind() -> None:
    """
    A missing entry, one too much, and a change of type, size or time are each reported; equal trees are not.
    """
    file = Seen("file", 1, 1)
    assert differences({"a": file}, {"a": file}) == []
    for had in (
        {},
        {"a": file, "b": file},
        {"a": Seen("dir", 1, 1)},
        {"a": Seen("file", 2, 1)},
        {"a": Seen("file", 1, 2)},
    ):
        assert len(differences({"a": file}, had)) == 1
    many = differences({str(number): file for number in range(100)}, {})
    assert many[-1] == "... 100 in all"
