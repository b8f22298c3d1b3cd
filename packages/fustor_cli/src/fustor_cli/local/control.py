"""
Start, find and stop the supervisor of a config root from a command.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from fustor_cli.local.board import Board, Mode, last_lines, read_board
from fustor_cli.local.layout import Layout
from fustor_cli.local.services import ServiceSpec
from fustor_cli.local.state import Ports, write_private
from fustor_cli.local.supervisor import EXIT_ALREADY_RUNNING, STOP_GRACE_S
from fustor_core.errors import ConfigError, FustorError, StateConflictError


@contextmanager
def exclusive(layout: Layout, timeout_s: float = 120.0) -> Iterator[None]:
    """
    Let one command at a time change the local set.

    Raises:
        StateConflictError: Another one has not finished within `timeout_s` seconds.
    """
    with layout.up_lock.open("a") as lock:
        end = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StateConflictError(
                        "another `fustor up` or `fustor down` is still at work",
                        hint="wait for it, or end it, then try again",
                    ) from None
                time.sleep(0.05)
        yield


def supervisor_runs(layout: Layout) -> bool:
    """
    Tell whether a supervisor of this config root lives.
    """
    try:
        with layout.supervisor_lock.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def running_board(layout: Layout) -> Board | None:
    """
    Return what the living supervisor says, None when none lives.
    """
    board = read_board(layout) if supervisor_runs(layout) else None
    return board if board is not None and board.supervisor.is_alive() else None


@dataclass
class Started:
    """
    A supervisor that this command started. Closing `leash` ends one in the foreground mode.
    """

    board: Board
    leash: int | None


def start_supervisor(
    layout: Layout, specs: list[ServiceSpec], mode: Mode, *, backoff_first_s: float | None = None
) -> Started | None:
    """
    Start the supervisor and with it the services; None when one has come to life meanwhile.

    Raises:
        FustorError: It did not start.
    """
    write_private(layout.spec, msgspec.json.encode(specs))
    leash_read, leash = os.pipe() if mode == "foreground" else (None, None)
    command = [sys.executable, "-m", "fustor_cli.local.supervisor", str(layout.root), mode]
    if backoff_first_s is not None:
        command.append(str(backoff_first_s))
    try:
        with open(layout.supervisor_log, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if leash_read is None else leash_read,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=layout.root,
            )
    finally:
        if leash_read is not None:
            os.close(leash_read)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        board = read_board(layout)
        if board is not None and board.supervisor.pid == child.pid and board.supervisor.is_alive():
            _spare_the_wait(child)
            return Started(board, leash)
        code = child.poll()
        if code == EXIT_ALREADY_RUNNING:
            if leash is not None:
                os.close(leash)
            return None
        if code is not None:
            break
        time.sleep(0.02)
    raise FustorError(
        "the supervisor of the services did not start: " + " ".join(last_lines(layout.supervisor_log, 3)),
        hint=f"see {str(layout.supervisor_log)!r}",
    )


def _spare_the_wait(child: subprocess.Popen[bytes]) -> None:
    # The supervisor outlives this command on purpose; Popen would warn about that when it is collected.
    child.returncode = 0


def end_orphans(layout: Layout) -> list[str]:
    """
    End services that a killed supervisor left behind; returns their names. Call it only while none lives.
    """
    board = read_board(layout)
    if board is None:
        return []
    left = [note for note in board.services.values() if note.process is not None and note.process.is_alive()]
    for note in left:
        if note.process is not None:
            note.process.signal(signal.SIGTERM)
    for note in left:
        if note.process is not None:
            note.process.end(STOP_GRACE_S)
    layout.board.unlink(missing_ok=True)
    return [note.name for note in left]


def stop(board: Board) -> bool:
    """
    Stop the supervisor and its services; tells whether they ended in good order.
    """
    return board.supervisor.end(3 * STOP_GRACE_S + 5)


def keep_running(board: Board) -> None:
    """
    Make a supervisor that would end with its `fustor up` go on without it.
    """
    board.supervisor.signal(signal.SIGUSR1)


def check_ports(ports: Ports) -> None:
    """
    See that the three ports are free.

    Raises:
        ConfigError: Names the port, who has it when that can be seen, and the remedy.
    """
    for service in ("agent", "registry", "fusion"):
        port = ports.of(service)
        if not is_port_free(port):
            who = port_holder(port)
            base = suggested_base(port)
            raise ConfigError(
                f"port {port}, needed by the {service.capitalize()}, is taken" + (f" by {who}" if who else ""),
                hint=f"stop that program, or choose other ports: fustor up PATH --port-base {base}",
                context={"port": port, "service": service},
            )


def is_port_free(port: int) -> bool:
    """
    Tell whether a service could listen on a port of the loopback address.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def suggested_base(taken: int) -> int:
    """
    Return a port from which on three are free.
    """
    for base in range((taken // 100 + 1) * 100, 65000, 100):
        if all(is_port_free(base + offset) for offset in range(3)):
            return base
    return 18100


def port_holder(port: int) -> str | None:
    """
    Return the program that listens on a port, None when this user can't see it.
    """
    import psutil  # only needed when something is wrong

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        return None
    return None
