"""
`MariaDbServer`: a private MariaDB of a test run, made from the binaries that the system's packages bring.

    server = MariaDbServer.start_new()
    server.sql("CREATE TABLE shop.t (id int PRIMARY KEY)")
    server.kill()          # as kill -9
    server.start()
    server.close()

It listens on loopback on a port of its own and keeps its data in a temporary folder. `root` needs no password on its socket;
over TCP there is the user `admin` with `PASSWORD`. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

USER = "admin"
PASSWORD = "secret-of-the-tests"
WAIT_S = 60.0
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/libexec"


class MariaDbMissing(RuntimeError):
    """
    The binaries are not installed.
    """


def find_binary(name: str) -> str:
    """
    Return the path of one of the server's programs.

    Raises:
        MariaDbMissing: It is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PLACES}")
    if found is None:
        raise MariaDbMissing(
            f"MariaDB is not installed: there is no {name!r}; on Debian: apt-get install mariadb-server"
        )
    return found


def free_port() -> int:
    """
    Return a port of loopback that nobody listens on now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MariaDbServer:
    """
    One server instance.

    Args:
        settings: Options without their dashes, over the defaults; None takes one away.
    """

    def __init__(self, settings: Mapping[str, str | None] | None = None) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="fustor-my-"))
        self.data = self.base / "data"
        self.log = self.base / "log"
        self.socket = self.base / "s"
        self.port = free_port()
        self.settings: dict[str, str | None] = {
            "log-bin": "binlog",
            "server-id": "1",
            "binlog-format": "ROW",
            "binlog-row-metadata": "FULL",
            "binlog-row-image": "FULL",
            "sync-binlog": "0",
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-buffer-pool-size": "128M",
            "innodb-log-file-size": "64M",
            "character-set-server": "utf8mb4",
            "default-time-zone": "+08:00",  # not UTC, so that a forgotten conversion shows
            "max-allowed-packet": "128M",
            "max-connections": "100",
            "skip-name-resolve": "ON",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        command = [
            find_binary("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--user={_own_name()}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    @classmethod
    def start_new(cls, settings: Mapping[str, str | None] | None = None) -> MariaDbServer:
        """
        Make an instance, start it and make its users.
        """
        server = cls(settings)
        server.start()
        server.sql(
            f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;"
        )
        return server

    def uri(self, database: str = "") -> str:
        """
        Return the server's address.
        """
        return f"mysql://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """
        Start the server and wait until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; with the end of its log.
        """
        given = [f"--{name}={value}" for name, value in self.settings.items() if value is not None]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    find_binary("mariadbd"),
                    "--no-defaults",
                    f"--user={_own_name()}",
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--tmpdir={self.base}",
                    f"--pid-file={self.base / 'pid'}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    *given,
                ],
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + WAIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd did not come up: {self.tail()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as probe:
                return bool(probe.recv(1))
        except OSError:
            return False

    def tail(self) -> str:
        """
        Return the end of the server's log.
        """
        return self.log.read_text("utf-8", "replace")[-3000:] if self.log.exists() else ""

    def sql(self, text: str, database: str = "") -> str:
        """
        Run statements as root; return what the client prints: rows of tab-separated values.

        Raises:
            RuntimeError: A statement failed.
        """
        command = [find_binary("mariadb"), "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-B"]
        done = subprocess.run(
            [*command, "--default-character-set=utf8mb4", *([database] if database else [])],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{text[:200]!r} failed: {done.stderr}")
        return done.stdout

    def kill(self) -> None:
        """
        End the server as kill -9 does.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """
        End the server in good order.
        """
        self._end(signal.SIGTERM)

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


def _own_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
