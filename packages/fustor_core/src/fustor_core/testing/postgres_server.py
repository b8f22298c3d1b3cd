"""
`PostgresServer`: a private PostgreSQL of a test run (see `private_server`).

    server = PostgresServer.start_new()
    server.sql("CREATE TABLE t (id int PRIMARY KEY)")
    server.kill()          # as kill -9
    server.start()
    server.close()

The superuser `admin` needs no password on the socket, and `PASSWORD` over TCP; there is the database `shop`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from fustor_core.testing.private_server import PASSWORD, USER, WAIT_S, PrivateServer, find_binary

_PACKAGE = "postgresql"
_ACCOUNT = "postgres"
DATABASE = "shop"


def find_program(name: str) -> str:
    """
    Return the path of one of the server's programs, of the newest version that is installed.

    Raises:
        BinaryMissing: It is not installed.
    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name), reverse=True)
    return find_binary(name, _PACKAGE, [str(one) for one in versions])


class PostgresServer(PrivateServer):
    """
    One server instance. The server refuses to run as root: then it runs as the account of Debian's package.

    Args:
        settings: Settings over the defaults; None takes one away.
    """

    prefix = "fustor-pg-"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave

    def __init__(self, settings: Mapping[str, str | None] | None = None) -> None:
        super().__init__(_ACCOUNT if os.geteuid() == 0 else None)
        self.settings: dict[str, str | None] = {
            "wal_level": "logical",
            "max_replication_slots": "20",
            "max_wal_senders": "20",
            "max_connections": "100",
            "max_prepared_transactions": "10",
            "shared_buffers": "128MB",
            "fsync": "off",  # a kill of the process loses nothing that the system has
            "timezone": "Asia/Shanghai",  # not UTC, so that a forgotten conversion shows
            "log_min_messages": "warning",
            "wal_sender_timeout": "10s",
            **(settings or {}),
        }
        password = self.base / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.run_program(
            [
                find_program("initdb"),
                f"--pgdata={self.data}",
                f"--username={USER}",
                f"--pwfile={password}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ]
        )

    @classmethod
    def start_new(cls, settings: Mapping[str, str | None] | None = None) -> PostgresServer:
        """
        Make an instance, start it and make the database.
        """
        server = cls(settings)
        server.start()
        server.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        return server

    def uri(self, database: str = DATABASE) -> str:
        """
        Return the server's address.
        """
        return f"postgresql://127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """
        Return the command line.
        """
        given = [f"-c{name}={value}" for name, value in self.settings.items() if value is not None]
        return [
            find_program("postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            "-k",
            str(self.base),
            "-clisten_addresses=127.0.0.1",
            *given,
        ]

    def answers(self) -> bool:
        """
        Tell whether the server takes connections: it may listen and still be recovering.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2):
                pass
        except OSError:
            return False
        command = [find_program("pg_isready"), "-q", "-h", str(self.base), "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self) -> None:
        """
        End the server as kill -9 does, with the processes it has made: they would hold its memory until they notice.
        """
        process = self._process
        if process is None:
            return
        own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = [int(pid) for pid in own.read_text().split()] if own.exists() else []
        super().kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + WAIT_S
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            if time.monotonic() > deadline:
                raise RuntimeError("processes of the server do not end")
            time.sleep(0.005)

    def sql(self, text: str, database: str = DATABASE) -> str:
        """
        Run statements as the superuser; return what the client prints: rows of tab-separated values.

        Raises:
            RuntimeError: A statement failed.
        """
        command = [find_program("psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        return self.run_program([*command, "-h", str(self.base), "-p", str(self.port), "-U", USER, database], text)
