"""
Trees: what `find` says of one, what Fusion says of it, how they differ, and random work in between.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fustor_core.models.file_row import escape_name
from harness.stack import Stack, wait_for

PAGE_ROWS = 10_000
_TYPES = {"f": "file", "d": "dir", "l": "symlink"}


class Seen(NamedTuple):
    """
    What is compared of an entry.
    """

    type: str
    size: int
    mtime: int


def find_tree(root: Path) -> dict[str, Seen]:
    """
    Ask `find` for every entry below a folder, by path as Fusion writes it.

    Entries that vanish while find runs are left out, as it does.
    """
    done = subprocess.run(
        ["find", str(root), "-xdev", "-mindepth", "1", "-printf", r"%P\0%y\0%s\0%T@\0"],
        capture_output=True,
        check=False,
    )
    parts = done.stdout.split(b"\0")
    tree: dict[str, Seen] = {}
    for at in range(0, len(parts) - 1, 4):
        path, kind, size, mtime = parts[at : at + 4]
        name = _TYPES.get(kind.decode(), "other")
        whole, _, part = mtime.decode().partition(".")
        nanoseconds = int(whole) * 10**9 + int(part[:9].ljust(9, "0")) * (-1 if whole.startswith("-") else 1)
        tree[escape_name(os.fsdecode(path))] = Seen(name, int(size) if name == "file" else 0, nanoseconds)
    return tree


def fusion_rows(stack: Stack, **params: Any) -> Iterator[dict[str, Any]]:
    """
    Yield every entry that Fusion's search gives, page by page.
    """
    cursor: dict[str, Any] = {}
    while True:
        page = stack.fusion_get(
            "/views/fs/search", **({"q": "*", "mode": "glob", "limit": PAGE_ROWS} | params | cursor)
        )
        yield from page["rows"]
        if not page["next"]:
            return
        cursor = {"cursor": page["next"]}


def is_found(stack: Stack, name: str) -> bool:
    """
    Tell whether the search knows a name; before the first row there is no tree, and nothing is found.
    """
    answer = stack.http.get(f"{stack.fusion.url}/views/fs/search", params={"q": name}, headers={"X-API-Key": stack.key})
    assert answer.status_code in {200, 404}, answer.text
    return answer.status_code == 200 and bool(answer.json()["rows"])


def fusion_tree(stack: Stack) -> dict[str, Seen]:
    """
    Return every entry below the root that Fusion has.
    """
    if not stack.fusion_get("/views/fs/trees")["rows"]:
        return {}
    return {
        row["path"]: Seen(row["type"], row["size"], row["mtime"]) for row in fusion_rows(stack) if row["path"] != ""
    }


def differences(truth: dict[str, Seen], had: dict[str, Seen], most: int = 20) -> list[str]:
    """
    Say how two trees differ, path by path.
    """
    lines = [f"missing: {path!r} {truth[path]}" for path in sorted(truth.keys() - had.keys())]
    lines += [f"too much: {path!r} {had[path]}" for path in sorted(had.keys() - truth.keys())]
    lines += [
        f"different: {path!r} {truth[path]} in the tree, {had[path]} in Fusion"
        for path in sorted(truth.keys() & had.keys())
        if truth[path] != had[path]
    ]
    return lines if len(lines) <= most else [*lines[:most], f"... {len(lines)} in all"]


def wait_equal(stack: Stack, root: Path | None = None, timeout_s: float = 90.0) -> dict[str, Seen]:
    """
    Wait until Fusion's tree equals what `find` says, path by path: type, size and time.

    Raises:
        AssertionError: It does not within `timeout_s`; lists the differences.
    """
    last: list[str] = []
    truth: dict[str, Seen] = {}

    def equal() -> bool:
        nonlocal last, truth
        had = fusion_tree(stack)
        truth = find_tree(root or stack.tree)
        last = differences(truth, had)
        return not last

    wait_for(
        "Fusion's tree equals find's",
        equal,
        timeout_s=timeout_s,
        every_s=0.3,
        on_timeout=lambda: "\n".join(last) + "\n" + stack.tails(),
    )
    return truth


def check_views_agree(stack: Stack, truth: dict[str, Seen]) -> None:
    """
    The totals and the listing of every tenth folder say the same as the entries.
    """
    stats = stack.fusion_get("/views/fs/stats", path="")
    count = {kind: sum(seen.type == kind for seen in truth.values()) for kind in ("file", "dir", "symlink", "other")}
    assert stats["files"] == count["file"]
    assert stats["dirs"] == count["dir"]
    assert stats["symlinks"] == count["symlink"]
    assert stats["bytes"] == sum(seen.size for seen in truth.values())
    children: dict[str, set[str]] = {}
    for path in truth:
        parent, _, _ = path.rpartition("/")
        children.setdefault(parent, set()).add(path)
    for folder in sorted(children)[::10]:
        listed = stack.fusion_get("/views/fs/tree", path=folder, limit=PAGE_ROWS)
        assert {entry["path"] for entry in listed["children"]} == children[folder]


def make_tree(root: Path, files: int, *, per_folder: int = 15) -> None:
    """
    Make a tree of small and sparse files, some folders deep.
    """
    made = 0
    folder_number = 0
    while made < files:
        folder = (
            root / f"project-{folder_number % 7:02}" / f"run_{folder_number // 7 % 40:03}" / f"part{folder_number:05}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(min(per_folder, files - made)):
            handle = os.open(
                folder / f"sample_{made:06}.{('h5', 'txt', 'csv', 'json')[made % 4]}", os.O_CREAT | os.O_WRONLY, 0o644
            )
            os.ftruncate(handle, made % 5000)
            os.close(handle)
            made += 1
        folder_number += 1


class RandomWork:
    """
    Threads that create, write, rename, move and delete in one tree at random, folders with content too.

    Several threads meet in the same folders: an operation whose target another thread has just moved simply fails, as it would for
    any two programs.

    Args:
        root: Where they work.
        seed: Decides every choice of every thread.
        threads: How many.
        pause_s: Longest wait between two operations of a thread.
    """

    def __init__(self, root: Path, seed: int, *, threads: int = 3, pause_s: float = 0.004) -> None:
        self._root = root
        self._stop = threading.Event()
        self._pause_s = pause_s
        self.done = 0
        self.failed: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{number}"), number))
            for number in range(threads)
        ]

    def __enter__(self) -> RandomWork:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def _run(self, chance: random.Random, number: int) -> None:
        operations = (
            self._create,
            self._create,
            self._create,
            self._append,
            self._append,
            self._rename,
            self._move_folder,
            self._delete,
            self._delete_folder,
        )
        more = (self._folder_with_content, self._folder_with_content, self._link, self._touch, self._replace)
        serial = 0
        try:
            while not self._stop.is_set():
                serial += 1
                # What another thread moved or deleted first is gone: that is the race this is for.
                with contextlib.suppress(OSError, shutil.Error):
                    chance.choice(operations + more)(chance, f"t{number}-{serial}")
                self.done += 1
                time.sleep(chance.random() * self._pause_s)
        except BaseException as exc:
            self.failed.append(exc)

    def _folder(self, chance: random.Random) -> Path:
        at = self._root
        for _ in range(chance.randint(0, 4)):
            folders = sorted(entry.name for entry in os.scandir(at) if entry.is_dir(follow_symlinks=False))
            if not folders:
                break
            at = at / chance.choice(folders)
        return at

    def _file(self, chance: random.Random) -> Path | None:
        folder = self._folder(chance)
        files = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir(follow_symlinks=False))
        return folder / chance.choice(files) if files else None

    def _create(self, chance: random.Random, name: str) -> None:
        names = (name, f"{name} \u6570\u636e.txt", os.fsdecode(b"\xff-" + name.encode()), "same-name")
        with (self._folder(chance) / chance.choice(names)).open("wb") as out:
            out.write(b"x" * chance.randint(0, 300))

    def _append(self, chance: random.Random, _name: str) -> None:
        file = self._file(chance)
        if file and not file.is_symlink():
            with file.open("ab") as out:
                out.write(b"y" * chance.randint(1, 100))

    def _rename(self, chance: random.Random, name: str) -> None:
        file = self._file(chance)
        if file:
            file.rename(self._folder(chance) / chance.choice((name, "same-name")))

    def _replace(self, chance: random.Random, name: str) -> None:
        file = self._file(chance)
        if file and not file.is_symlink():
            new = file.with_name(f".{name}.tmp")
            new.write_bytes(b"z" * chance.randint(0, 50))
            new.replace(file)

    def _move_folder(self, chance: random.Random, name: str) -> None:
        folder = self._folder(chance)
        if folder != self._root:
            folder.rename(self._folder(chance) / chance.choice((name, folder.name)))

    def _delete(self, chance: random.Random, _name: str) -> None:
        file = self._file(chance)
        if file:
            file.unlink()

    def _delete_folder(self, chance: random.Random, _name: str) -> None:
        folder = self._folder(chance)
        if folder != self._root and len(folder.relative_to(self._root).parts) > 1:
            shutil.rmtree(folder)

    def _folder_with_content(self, chance: random.Random, name: str) -> None:
        at = self._folder(chance)
        if len(at.relative_to(self._root).parts) > 8:
            return
        for depth in range(chance.randint(1, 3)):
            at = at / f"d{depth}-{name}"
            at.mkdir()
            for number in range(chance.randint(0, 4)):
                (at / f"f{number}").write_bytes(b"w" * number)

    def _link(self, chance: random.Random, name: str) -> None:
        (self._folder(chance) / f"l-{name}").symlink_to(chance.choice(("nowhere", "..", "/", "same-name")))

    def _touch(self, chance: random.Random, _name: str) -> None:
        file = self._file(chance)
        if file and not file.is_symlink():
            os.utime(file, ns=(10**18, chance.randint(0, 2 * 10**18)))
