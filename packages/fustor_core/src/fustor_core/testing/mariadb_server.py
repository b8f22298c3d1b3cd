"""
`MariaDbServer`: a private MariaDB of a test run (see `binlog_server`).

    server = MariaDbServer.start_new()
    server.sql("CREATE TABLE shop.t (id int PRIMARY KEY)")
    server.kill()          # as kill -9
    server.start()
    server.close()
"""

from __future__ import annotations

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.private_server import find_binary as find_any_binary


def find_binary(name: str) -> str:
    """
    Return the path of one of the server's programs.

    Raises:
        BinaryMissing: It is not installed.
    """
    return find_any_binary(name, "mariadb-server")


class MariaDbServer(BinlogServer):
    """
    One server instance.
    """

    prefix = "fustor-my-"

    def more_settings(self) -> dict[str, str | None]:
        """
        Return what is MariaDB's alone.
        """
        return {"innodb-log-file-size": "64M"}

    def make_data(self) -> None:
        """
        Make the data folder.
        """
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

    def program(self) -> list[str]:
        """
        Return what runs the server.
        """
        return [find_binary("mariadbd"), "--no-defaults"]
