"""
`MariaDbServer`: a private MariaDB of a test run (see `private_server`).

    server = MariaDbServer.start_new()
    server.sql("CREATE TABLE shop.t (id int PRIMARY KEY)")
    server.kill()          # as kill -9
    server.start()
    server.close()

`root` needs no password on its socket; over TCP there is the user `admin` with `PASSWORD`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from fustor_core.testing.private_server import PASSWORD, USER, PrivateServer
from fustor_core.testing.private_server import find_binary as find_any_binary


def find_binary(name: str) -> str:
    """
    Return the path of one of the server's programs.

    Raises:
        BinaryMissing: It is not installed.
    """
    return find_any_binary(name, "mariadb-server")


class MariaDbServer(PrivateServer):
    """
    One server instance.

    Args:
        settings: Options without their dashes, over the defaults; None takes one away.
    """

    prefix = "fustor-my-"

    def __init__(self, settings: Mapping[str, str | None] | None = None) -> None:
        super().__init__()
        self.socket = self.base / "s"
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
        self.run_program(
            [
                find_binary("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--user={self.account}",
            ]
        )

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

    def command(self) -> list[str]:
        """
        Return the command line.
        """
        return [
            find_binary("mariadbd"),
            "--no-defaults",
            f"--user={self.account}",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--tmpdir={self.base}",
            f"--pid-file={self.base / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            *(f"--{name}={value}" for name, value in self.settings.items() if value is not None),
        ]

    def answers(self) -> bool:
        """
        Tell whether the server greets.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as probe:
                return bool(probe.recv(1))
        except OSError:
            return False

    def sql(self, text: str, database: str = "") -> str:
        """
        Run statements as root; return what the client prints: rows of tab-separated values.

        Raises:
            RuntimeError: A statement failed.
        """
        command = [find_binary("mariadb"), "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-B"]
        return self.run_program([*command, "--default-character-set=utf8mb4", *([database] if database else [])], text)
