"""
What the supervisor says of itself and its services, in a file that every `fustor` command reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from fustor_cli.local.layout import Layout
from fustor_cli.local.process import ProcessName
from fustor_common import atomicfile

Mode = Literal["foreground", "daemon"]
ServiceState = Literal["starting", "running", "restarting", "crash loop", "stopping", "stopped"]


class ServiceNote(msgspec.Struct):
    """
    One service. `restarts` counts since the supervisor started; `restart_at` is epoch seconds.
    """

    name: str
    port: int
    state: ServiceState = "starting"
    process: ProcessName | None = None
    started_at: float | None = None
    restarts: int = 0
    last_exit: str | None = None
    restart_at: float | None = None


class Board(msgspec.Struct):
    """
    The supervisor and its services.
    """

    supervisor: ProcessName
    mode: Mode
    started_at: float
    state: Literal["running", "stopping", "stopped"] = "running"
    services: dict[str, ServiceNote] = {}

    def write(self, layout: Layout) -> None:
        """
        Publish.
        """
        atomicfile.write_bytes(layout.board, msgspec.json.encode(self), mode=0o600)


def read_board(layout: Layout) -> Board | None:
    """
    Return what was published last, None when nothing was (or by another version).
    """
    try:
        return msgspec.json.decode(layout.board.read_bytes(), type=Board)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def last_lines(path: Path, count: int) -> list[str]:
    """
    Return the last lines of a text file, none when there is no such file.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
