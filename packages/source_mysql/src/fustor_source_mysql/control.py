"""
Small questions to the server, over one kept connection that several threads share.
"""

from __future__ import annotations

import threading
from typing import Any

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_source_mysql.connection import Connection, Server
from fustor_source_mysql.faults import is_of_statement
from fustor_source_mysql.position import Boundary, file_number


class Control:
    """
    Asks the server. Safe from every thread; connects when first asked, and anew when the connection was lost.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._version = ""
        self._collations: dict[int, str] = {}

    def query(self, sql: str, doing: str = "asking") -> list[tuple[Any, ...]]:
        """
        Run a query; return its rows.

        Raises:
            FustorError: See `fustor_source_mysql.faults`.
        """
        with self._lock:
            fresh = self._connection is None
            connection = self._connection or self.server.connect()
            self._connection = connection
            try:
                return self.server.query(connection, sql, doing)
            except ConnectionLost as exc:
                if is_of_statement(exc):
                    raise
                self._drop()
                if fresh:
                    raise
            connection = self._connection = self.server.connect()
            return self.server.query(connection, sql, doing)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()

    @property
    def version(self) -> str:
        """
        The server's version, such as 10.11.19-MariaDB.
        """
        if not self._version:
            self._version = str(self.query("SELECT VERSION()")[0][0])
        return self._version

    @property
    def is_mariadb(self) -> bool:
        """
        Whether it is MariaDB rather than MySQL.
        """
        return "mariadb" in self.version.lower()

    @property
    def tells_snapshot_place(self) -> bool:
        """
        Whether it tells which place of the log a consistent snapshot shows.
        """
        return self.is_mariadb

    @property
    def grants_are_literal(self) -> bool:
        """
        Whether names of databases in GRANT are taken as they stand, not as patterns.
        """
        return (self.variable("partial_revokes") or "OFF").upper() == "ON"

    def charset_of(self, collation: int) -> str:
        """
        Return the character set of a collation id; "binary" when it is none.
        """
        if not self._collations:
            found = self.query("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL")
            if self.is_mariadb:  # collations that belong to several character sets have their ids elsewhere
                found += self.query(
                    "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL"
                )
            self._collations = {int(number): str(charset) for number, charset in found if charset is not None}
        return self._collations.get(collation, "utf8mb4")

    def variable(self, name: str) -> str | None:
        """
        Return a global variable; None when the server has none of that name.
        """
        found = self.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name = '{name}'")
        return None if not found else str(found[0][1])

    def newest(self) -> tuple[str, Boundary]:
        """
        Return the log that is written now, and its end.

        Raises:
            ConfigError: The binary log is off.
        """
        modern = not self.is_mariadb and version_of(self.version) >= (8, 2)
        found = self.query("SHOW BINARY LOG STATUS" if modern else "SHOW MASTER STATUS", "reading the log's position")
        if not found or not found[0][0]:
            raise ConfigError(
                f"the binary log of {self.server.address} is off: changes can't be read",
                hint="put `log_bin = binlog`, `binlog_format = ROW` and `server_id = 1` into [mysqld] of the server and restart it",
            )
        name = str(found[0][0])
        return name, Boundary(file_number(name), int(found[0][1]))

    def logs(self) -> dict[int, int]:
        """
        Return the logs that are there: number and size in bytes.
        """
        return {file_number(str(row[0])): int(row[1]) for row in self.query("SHOW BINARY LOGS", "listing the logs")}

    def identity(self) -> str:
        """
        Name the server: what stays the same over restarts, and differs between servers.
        """
        for name in ("server_uuid", "server_uid"):
            found = self.variable(name)
            if found:
                return found
        host, port, server = self.query("SELECT @@hostname, @@port, @@server_id")[0]
        return f"{host}:{port}/{server}"

    def close(self) -> None:
        """
        Let go of the connection. May be called twice.
        """
        with self._lock:
            self._drop()


def version_of(text: str) -> tuple[int, ...]:
    """
    Return the numbers of a version: "10.11.19-MariaDB" -> (10, 11, 19).
    """
    return tuple(int(part) for part in text.partition("-")[0].split(".") if part.isdigit())
