"""
The checks of `fustor doctor`.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from fustor_cli import formats
from fustor_cli.local.control import is_port_free, port_holder, running_board, suggested_base
from fustor_cli.local.layout import Layout
from fustor_cli.local.paths import checked_path
from fustor_cli.local.ports import choose_ports
from fustor_cli.local.state import UpState, load
from fustor_cli.local.targets import FILES
from fustor_core.errors import ConfigError, FustorError

State = Literal["ok", "warning", "broken"]
INOTIFY = Path("/proc/sys/fs/inotify")
COUNT_S = 10.0
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "lustre", "beegfs"}


class Check(msgspec.Struct):
    """
    One thing that was looked at. `mend` says what to do, "" when nothing.
    """

    name: str
    state: State
    found: str
    mend: str = ""


def run_checks(path: str | None) -> list[Check]:
    """
    Look at everything. Nothing is changed but a file that is written into the config root and removed again.
    """
    layout = Layout.here()
    try:
        state, memory = load(layout) or UpState(), []
    except FustorError as exc:
        state, memory = UpState(), [Check("memory of fustor up", "broken", exc.message, exc.hint)]
    trees = [path] if path is not None else [key for key, known in state.paths.items() if known.driver == FILES]
    return [
        check_python(),
        check_sqlite(),
        *memory,
        *check_config_root(layout),
        *check_ports(layout, state),
        *check_inotify(trees),
        check_open_files(),
        check_clock(),
    ]


def check_python() -> Check:
    """
    Look at the version of Python.
    """
    found = f"{platform.python_version()} ({sys.executable})"
    if tuple(sys.version_info) < (3, 11):  # pip can be told to ignore what a package requires
        return Check("Python", "broken", found, "install Python 3.11 or newer, then install Fustor with it")
    return Check("Python", "ok", found)


def check_sqlite() -> Check:
    """
    Look at the SQLite that Python was built with: 3.34, and full-text search with trigrams.
    """
    found = sqlite3.sqlite_version
    mend = "use a Python whose sqlite3 module has SQLite 3.34 or newer with FTS5 (`uv python install 3.11` brings one)"
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(name, tokenize='trigram')")
    except sqlite3.OperationalError as exc:
        return Check("SQLite", "broken", f"{found}: {exc}", mend)
    finally:
        connection.close()
    return Check("SQLite", "ok", f"{found}, with FTS5 trigram")


def check_config_root(layout: Layout) -> Iterator[Check]:
    """
    Look at the folder that holds everything: may we write, is there room, does it last.
    """
    root = layout.root
    there = next(p for p in (root, *root.parents) if p.exists())
    other = "or set FUSTOR_CONFIG_DIR to another folder"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"fustor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        yield Check(
            "config root",
            "broken",
            f"{root} can't be written: {exc.strerror}",
            f"make it writable for this user, {other}",
        )
        return
    yield Check("config root", "ok", f"{root} can be written")
    kind = filesystem_of(there)
    if kind in NETWORK:
        yield Check(
            "config root's file system",
            "broken",
            f"{kind} is a network file system; SQLite can lose data on it",
            "set FUSTOR_CONFIG_DIR to a folder on a local disk",
        )
    elif kind in {"tmpfs", "ramfs"}:
        yield Check(
            "config root's file system",
            "warning",
            f"{kind} is kept in memory and gone after a restart of the machine",
            "set FUSTOR_CONFIG_DIR to a folder on a disk",
        )
    else:
        yield Check("config root's file system", "ok", kind or "not known")
    usage = shutil.disk_usage(there)
    found = f"{formats.size(usage.free)} free of {formats.size(usage.total)}"
    if usage.free < 200 * 1024**2:
        yield Check("disk space", "broken", found, f"free some space (about 1 K is needed for each file), {other}")
    elif usage.free < 2 * 1024**3:
        yield Check("disk space", "warning", found, "enough for a million files or so; watch it")
    else:
        yield Check("disk space", "ok", found)


def filesystem_of(path: Path) -> str | None:
    """
    Return the type of the file system that a path is on, None when it can't be told.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    best, kind = -1, None
    real = path.resolve()
    for fields in (line.split() for line in mounts):
        point = Path(fields[1].replace("\\040", " "))
        if real.is_relative_to(point) and len(str(point)) >= best:
            best, kind = len(str(point)), fields[2]
    return kind


def check_ports(layout: Layout, state: UpState) -> Iterator[Check]:
    """
    Look whether the three ports are free, or ours.
    """
    ours = running_board(layout) is not None
    try:
        ports = state.ports if ours else choose_ports(state.ports)
    except ConfigError as exc:
        yield Check("ports", "broken", exc.message, exc.hint)
        return
    for service in ("agent", "registry", "fusion"):
        port = ports.of(service)
        name = f"port {port} ({service.capitalize()})"
        if ours:
            yield Check(name, "ok", "in use by our own services")
        elif is_port_free(port):
            yield Check(name, "ok", "free")
        else:
            base = suggested_base(port)
            yield Check(
                name,
                "broken",
                f"taken by {port_holder(port) or 'another program'}",
                f"stop that program, or use other ports: fustor up PATH --port-base {base}",
            )


def check_inotify(trees: list[str]) -> Iterator[Check]:
    """
    Look at the limits of inotify, and whether they are enough for these trees.
    """
    if not INOTIFY.is_dir():
        yield Check("inotify", "broken", "this system has no inotify", "run the agent on Linux")
        return
    limit = {name: int((INOTIFY / name).read_text()) for name in
             ("max_user_watches", "max_user_instances", "max_queued_events")}  # fmt: skip
    watches = limit["max_user_watches"]
    needed, whole = 0, True
    for tree in trees:
        try:
            count, complete = count_directories(checked_path(tree))
        except FustorError as exc:
            yield Check(f"tree {tree}", "warning", exc.message, exc.hint)
            continue
        needed, whole = needed + count, whole and complete
    wish = max(524288, 1 << (2 * needed).bit_length())
    if needed:
        found = f"{formats.count(watches)}; the trees have {'' if whole else 'more than '}{formats.count(needed)} directories"
    else:
        found = f"{formats.count(watches)}, one is needed for each directory"
    if needed > watches * 0.9 or (not needed and watches < 65536):
        yield Check(
            "inotify max_user_watches",
            "warning",
            found + "; what is beyond is polled, which is slower",
            _sysctl("max_user_watches", wish),
        )
    else:
        yield Check("inotify max_user_watches", "ok", found)
    instances = limit["max_user_instances"]
    if instances < 16:
        yield Check("inotify max_user_instances", "warning", str(instances), _sysctl("max_user_instances", 128))
    else:
        yield Check("inotify max_user_instances", "ok", str(instances))
    queue = limit["max_queued_events"]
    if queue < 16384:
        yield Check(
            "inotify max_queued_events",
            "warning",
            f"{queue}: bursts overflow it and cause rescans (nothing is lost)",
            _sysctl("max_queued_events", 65536),
        )
    else:
        yield Check("inotify max_queued_events", "ok", formats.count(queue))


def _sysctl(name: str, value: int) -> str:
    return (
        f"sudo sysctl fs.inotify.{name}={value}; to keep it: "
        f"echo fs.inotify.{name}={value} | sudo tee /etc/sysctl.d/60-fustor-{name}.conf"
    )


def count_directories(root: str) -> tuple[int, bool]:
    """
    Count the directories of a tree on its own file system, for at most `COUNT_S` seconds; tells whether it got through.
    """
    end, total, todo = time.monotonic() + COUNT_S, 0, [root]
    device = Path(root).stat().st_dev
    while todo:
        if time.monotonic() > end:
            return total, False
        folder = todo.pop()
        total += 1
        try:
            with os.scandir(folder) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            todo += [one for one in below if os.lstat(one).st_dev == device]
        except OSError:
            continue  # unreadable or gone: it needs no watch
    return total, True


def check_open_files() -> Check:
    """
    Look at how many files a process may have open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (at most {hard})"
    if soft < 1024:
        return Check("open files", "warning", found, "raise it before `fustor up`: ulimit -n 4096")
    return Check("open files", "ok", found)


def check_clock() -> Check:
    """
    Look whether the clock is set at all: keys and times of events depend on it.
    """
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    newest = Path(__file__).stat().st_mtime
    if now < newest - 86400:
        return Check(
            "clock", "broken", f"{shown} is before this program was made", "set the clock: timedatectl set-ntp true"
        )
    return Check("clock", "ok", shown)
