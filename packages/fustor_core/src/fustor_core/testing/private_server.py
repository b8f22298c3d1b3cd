"""
`PrivateServer`: what the private servers of a test run share. They are made from the binaries that the system's packages bring,
listen on loopback on a port of their own, and keep their data in a temporary folder. Standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

USER = "admin"
PASSWORD = "secret-of-the-tests"
WAIT_S = 60.0
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/libexec"


class BinaryMissing(RuntimeError):
    """
    A program of the server is not installed.
    """


def find_binary(name: str, package: str, more_places: Sequence[str] = ()) -> str:
    """
    Return the path of one of a server's programs.

    Args:
        name: The program.
        package: Debian's package that brings it, for the message.
        more_places: Folders to look in besides PATH.

    Raises:
        BinaryMissing: It is not installed.
    """
    found = shutil.which(name, path=os.pathsep.join([*more_places, os.environ.get("PATH", ""), _PLACES]))
    if found is None:
        raise BinaryMissing(f"there is no {name!r}; on Debian: apt-get install {package}")
    return found


def free_port() -> int:
    """
    Return a port of loopback that nobody listens on now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateServer(ABC):
    """
    One server instance.

    Attributes:
        base: Its folder, removed by `close`.
        account: The system's user it runs as.
    """

    prefix: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, account: str | None = None) -> None:
        self.account = account or pwd.getpwuid(os.geteuid()).pw_name
        self.base = Path(tempfile.mkdtemp(prefix=self.prefix))
        self.data = self.base / "data"
        self.log = self.base / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if account is not None:
            shutil.chown(self.base, account)

    @property
    def pid(self) -> int:
        """
        The process of the running server.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None:
            raise RuntimeError(f"the server in {self.base} does not run; start it first")
        return self._process.pid

    @abstractmethod
    def command(self) -> list[str]:
        """
        Return the command line that runs the server in the foreground.
        """

    @abstractmethod
    def answers(self) -> bool:
        """
        Tell whether the server takes connections.
        """

    def run_program(self, command: Sequence[str], text: str | None = None) -> str:
        """
        Run one of the server's programs as its account; return what it prints.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            user=self._other_account(),
            cwd=self.base,
            # Files for the moment, too: those of two servers that are made at once may have the same names.
            env={**os.environ, "TMPDIR": str(self.base)},
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def _other_account(self) -> str | None:
        return None if pwd.getpwuid(os.geteuid()).pw_name == self.account else self.account

    def start(self) -> None:
        """
        Start the server and wait until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; with the end of its log.
        """
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command(), stdout=out, stderr=out, user=self._other_account(), cwd=self.base
            )
        deadline = time.monotonic() + WAIT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come up: {self.tail()}")
            time.sleep(0.02)

    def tail(self) -> str:
        """
        Return the end of the server's log.
        """
        return self.log.read_text("utf-8", "replace")[-3000:] if self.log.exists() else ""

    def kill(self) -> None:
        """
        End the server as kill -9 does.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """
        End the server in good order.
        """
        self._end(self.stop_signal)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(WAIT_S)

    def close(self) -> None:
        """
        End the server and remove its files.
        """
        self.kill()
        shutil.rmtree(self.base, ignore_errors=True)
