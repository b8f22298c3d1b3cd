"""
What the wizard and `doctor` ask before any instance exists: can the tree be read, are the system's limits high enough.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fustor_core.errors import FustorError
from fustor_core.models.file_row import FILE_COLUMNS
from fustor_core.outcome import Outcome
from fustor_source_fs.config import FsParams, parse_params, root_of, wanted_of
from fustor_source_fs.faults import SYSCTL_COMMAND, SYSCTL_HINT, is_gone, open_root

_COUNT_LIMIT = 2_000_000


def _limit(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/fs/inotify/{name}").read_text())
    except (OSError, ValueError):
        return None


def count_dirs(root: str, most: int = _COUNT_LIMIT) -> int:
    """
    Count the directories of a tree, up to a limit.
    """
    waiting, count = [root], 1
    while waiting and count < most:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if is_gone(error):
                continue
            found = []  # what can't be read needs no watch; `test_connection` and the state tell of it
        count += len(found)
        waiting.extend(found)
    return count


def available_fields() -> dict[str, Any]:
    """
    Return the JSON Schema of a file's row.
    """
    return {"type": "object", "properties": dict(FILE_COLUMNS)}


def check_tree(uri: str, driver_params: dict[str, Any] | None) -> Outcome:
    """
    Check that the root can be read and that the parameters make sense.
    """
    try:
        root = root_of(uri)
        wanted_of(parse_params(driver_params or {}), [])
        open_root(root, known_before=False)
    except FustorError as error:
        return Outcome.of(error)
    with os.scandir(root) as entries:
        count = sum(1 for _ in entries)
    return Outcome(True, f"{root!r} can be read: {count} entries in it")


def check_limits(uri: str, driver_params: dict[str, Any] | None) -> Outcome:
    """
    Check that inotify has room for the directories of the tree.
    """
    try:
        root = root_of(uri)
        open_root(root, known_before=False)
    except FustorError as error:
        return Outcome.of(error)
    watches, queue = _limit("max_user_watches"), _limit("max_queued_events")
    if watches is None:
        return Outcome(False, "this system has no inotify: the whole tree will be polled")
    dirs = count_dirs(root)
    said = f"{dirs} directories, {watches} watches allowed, a queue of {queue} events"
    if dirs > watches * 9 // 10:
        return Outcome(False, f"{said}: what is beyond will be polled", hint=SYSCTL_HINT, remedy=[SYSCTL_COMMAND])
    return Outcome(True, said)


def wizard_steps() -> dict[str, Any]:
    """
    Return the steps of the set-up wizard.
    """
    params = FsParams.model_json_schema()
    shown = ("include", "exclude", "cross_mounts", "poll_interval_s", "open_report_s")
    return {
        "about": "A folder with all that is below it: names, sizes and times of files, and each change as it happens.",
        "icon": "folder",
        "steps": [
            {
                "step_id": "root",
                "title": "Which directory",
                "schema": {
                    "type": "object",
                    "properties": {
                        "uri": {"type": "string", "title": "Directory", "description": "/path or file:///path"}
                    },
                    "required": ["uri"],
                },
                "validations": ["test_connection", "check_runtime_params"],
            },
            {
                "step_id": "params",
                "title": "What to leave out",
                "schema": {"type": "object", "properties": {name: params["properties"][name] for name in shown}},
                "validations": ["test_connection"],
            },
        ],
    }
