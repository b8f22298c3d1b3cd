"""
Service processes: the pid file of a running one, starting one in the background, stopping it.

The process that serves holds a lock on its pid file for as long as it lives, so two can't serve the same config root. Readers do not
lock: they compare the start time of the process, because a pid may have been given to another since.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from fustor_common import paths
from fustor_common.settings import ServiceSettings
from fustor_core.errors import FustorError, StateConflictError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02


class ServiceNotStarted(FustorError):
    """
    A service did not come up; the message has the end of what it said.
    """

    code = "service.not_started"


@dataclass(frozen=True, slots=True)
class RunningService:
    """
    What the pid file says of the process that serves.

    Attributes:
        pid: Its process id.
        started_at: When the process began, epoch seconds.
        host: Address it listens on.
        port: The real port, also when a free one was asked for.
        url: Where it is reached from this machine.
    """

    pid: int
    started_at: float
    host: str
    port: int
    url: str


class PidFile:
    """
    The pid file, as held by the process that serves.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> None:
        """
        Take the lock, or say who has it. A file left by a process that died is taken over.

        Raises:
            StateConflictError: A live process holds it.
        """
        paths.ensure_dir(self.path.parent)
        deadline = time.monotonic() + 1.0
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                # A reader that doubts the file tests the lock for an instant; anyone else keeps it.
                if time.monotonic() > deadline:
                    raise self._taken() from None
                time.sleep(_POLL_S)
                continue
            # The holder removes the file when it ends: only a lock on the file that is still in place counts.
            with suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == self.path.stat().st_ino:
                    os.ftruncate(fd, 0)  # what a dead process left must not be taken for us
                    self._fd = fd
                    return
            os.close(fd)

    def _taken(self) -> StateConflictError:
        info = _read(self.path)
        who = f"pid {info.pid}, {info.url}" if info else "a process that is just starting"
        return StateConflictError(
            f"already running: {who}",
            hint="stop it first, or set FUSTOR_CONFIG_DIR to another folder to run a second one",
            context={"pid_file": str(self.path)} | ({} if info is None else {"pid": info.pid, "url": info.url}),
        )

    def write(self, info: RunningService) -> None:
        """
        Write who serves and where. Call after `acquire`.
        """
        data = json.dumps(asdict(info)).encode() + b"\n"
        # In place, not by rename: the lock belongs to this very file. A reader that meets half of it reads again.
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)
        os.fsync(self._fd)

    def release(self) -> None:
        """
        Remove the file and let go of the lock. May be called twice.
        """
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _read(path: Path) -> RunningService | None:
    try:
        return RunningService(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def find_running(path: Path) -> RunningService | None:
    """
    Return the process that a pid file names, when it still lives; None for a stale file or none.
    """
    info = _read(path)
    if info is None:
        return None
    try:
        process = psutil.Process(info.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if abs(process.create_time() - info.started_at) < 1:
            return info
    except psutil.NoSuchProcess:
        return None
    # Setting the clock moves start times; the lock tells a live process from another one with its pid.
    return info if _is_locked(path) else None


def service_command(target: str, settings_cls: type[ServiceSettings], *options: str) -> list[str]:
    """
    Return the command line that runs a service in the foreground, without the cost of a command-line library.

    Args:
        target: The ASGI app, `module:name`.
        settings_cls: The settings of the service.
        options: As `python -m fustor_common --help` lists them, such as `--port`, `0`, `--no-console`.
    """
    settings = f"{settings_cls.__module__}:{settings_cls.__qualname__}"
    return [sys.executable, "-P", "-m", "fustor_common", target, settings, *options]


def start_in_background(
    target: str, settings: ServiceSettings, *, timeout_s: float = START_TIMEOUT_S
) -> tuple[RunningService, subprocess.Popen[bytes]]:
    """
    Start a service in a session of its own and return once `/health/live` answers.

    Raises:
        StateConflictError: It runs already.
        ServiceNotStarted: It ended, or did not answer in time (then it was ended); the message says why.
    """
    root = paths.ensure_dir(settings.config_dir)
    running = find_running(settings.pid_file)
    if running is not None:
        raise StateConflictError(
            f"already running: pid {running.pid}, {running.url}",
            hint="stop it first, or set FUSTOR_CONFIG_DIR to another folder to run a second one",
            context=asdict(running),
        )
    stderr = paths.stderr_file(settings.service, root)
    log_size = settings.log_file.stat().st_size if settings.log_file.exists() else 0
    command = service_command(
        target, type(settings), "--host", settings.host, "--port", str(settings.port), "--no-console"
    )
    with open(stderr, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "FUSTOR_CONFIG_DIR": str(root)},
        )
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            ended = process.poll()
            if ended is not None:
                raise ServiceNotStarted(
                    _last_words(settings, stderr, log_size) or f"the process ended with code {ended} and said nothing",
                    hint="",
                    context={"exit_code": ended, "log": str(settings.log_file)},
                )
            info = _read(settings.pid_file)
            if info is not None and info.pid == process.pid and get_json(f"{info.url}/health/live")[0] == 200:
                return info, process
            time.sleep(_POLL_S)
    except BaseException:
        _end(process)
        raise
    _end(process)
    raise ServiceNotStarted(
        f"no answer within {timeout_s:g} s. {_last_words(settings, stderr, log_size)}".strip(),
        hint=f"the log has more: {settings.log_file}",
        context={"log": str(settings.log_file)},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_words(settings: ServiceSettings, stderr: Path, log_from: int) -> str:
    said = stderr.read_text(errors="replace").strip().removeprefix(f"fustor-{settings.service}: ")
    if said:
        return "\n".join(said.splitlines()[-15:])
    lines: list[str] = []
    with suppress(OSError), open(settings.log_file, "rb") as file:
        file.seek(log_from)
        for raw in file.read()[-65536:].decode(errors="replace").splitlines():
            try:
                entry = json.loads(raw)
            except ValueError:
                continue
            if entry.get("level") in {"error", "critical", "warning"}:
                lines.append(str(entry.get("event", "")).strip())
                if entry.get("exception"):
                    lines.append(str(entry["exception"]).strip())
    return "\n".join("\n".join(lines).splitlines()[-15:])


def stop_running(path: Path, *, timeout_s: float = STOP_TIMEOUT_S, force: bool = False) -> RunningService | None:
    """
    Ask the process of a pid file to stop and wait for its end.

    Args:
        path: The pid file.
        timeout_s: How long to wait, seconds.
        force: Kill it (SIGKILL) when it has not ended by then.

    Returns:
        What was stopped; None when nothing ran (a stale pid file is removed).

    Raises:
        StateConflictError: It still runs, or may not be signalled by this user.
    """
    info = find_running(path)
    if info is None:
        if not _is_locked(path):
            path.unlink(missing_ok=True)
        return None
    try:
        process = psutil.Process(info.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            if not force:
                raise StateConflictError(
                    f"pid {info.pid} was asked to stop and still runs after {timeout_s:g} s",
                    hint="wait a little longer, look into its log, or end it at once with `stop --force`",
                    context=asdict(info),
                ) from None
            process.kill()
            process.wait(5)
    except psutil.NoSuchProcess:
        pass  # it ended by itself meanwhile
    except psutil.AccessDenied as exc:
        raise StateConflictError(
            f"pid {info.pid} belongs to another user",
            hint="stop it as the user who started it",
            context=asdict(info),
        ) from exc
    if not _is_locked(path):
        path.unlink(missing_ok=True)
    return info


def get_json(url: str, timeout_s: float = 2.0) -> tuple[int, Any]:
    """
    GET a page of a service on this machine; `(0, None)` when nothing answers. Status and body, None when that is no JSON.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None
