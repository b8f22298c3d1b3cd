"""
`BinlogServer`: what private servers of MariaDB and MySQL share (see `private_server`, `mariadb_server`, `mysql_server`).

`root` needs no password on its socket; over TCP there is the user `admin` with `PASSWORD`.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Mapping
from typing import Self

from fustor_core.testing.private_server import PASSWORD, USER, PrivateServer, find_binary

CLIENT_PACKAGE = "mariadb-client"


class BinlogServer(PrivateServer):
    """
    One server instance that writes a binary log.

    Args:
        settings: Options without their dashes, over the defaults; None takes one away.
    """

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
            "character-set-server": "utf8mb4",
            "default-time-zone": "+08:00",  # not UTC, so that a forgotten conversion shows
            "max-allowed-packet": "128M",
            "max-connections": "100",
            "skip-name-resolve": "ON",
            **self.more_settings(),
            **(settings or {}),
        }
        self.make_data()

    @classmethod
    def start_new(cls, settings: Mapping[str, str | None] | None = None) -> Self:
        """
        Make an instance, start it and make its users.
        """
        server = cls(settings)
        server.start()
        server.make_users()
        return server

    def make_users(self) -> None:
        """
        Make the user `admin`.
        """
        self.sql(
            f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;"
        )

    def more_settings(self) -> dict[str, str | None]:
        """
        Return defaults of this kind of server alone.
        """
        return {}

    @abstractmethod
    def make_data(self) -> None:
        """
        Make the data folder.
        """

    @abstractmethod
    def program(self) -> list[str]:
        """
        Return what runs the server, before its options.
        """

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
            *self.program(),
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
        client = find_binary("mariadb", CLIENT_PACKAGE)
        command = [client, "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-B"]
        return self.run_program([*command, "--default-character-set=utf8mb4", *([database] if database else [])], text)
