"""
The conformance kit against a real MariaDB.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mysql_bench import Database

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.source_contract import SourceConformance
from fustor_source_mysql import MysqlDriver


class TableBench(Database):
    """
    Rows of one table with a key of two columns.
    """

    def __init__(self, server: MariaDbServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.run(
            "CREATE TABLE items (a VARCHAR(20), n INT, name VARCHAR(50), amount DECIMAL(10,2), at DATETIME(3), PRIMARY KEY (a, n))"
        )

    def make_driver(self) -> MysqlDriver:
        return self.driver(rows_at_once=8)

    def write(self, n: int, version: int) -> None:
        self.run(
            f"REPLACE INTO items VALUES ('k{n % 3}', {n}, 'v{version}', {version}.5, '2024-01-02 03:04:05.{version % 1000:03}')"
        )

    def delete(self, n: int) -> None:
        self.run(f"DELETE FROM items WHERE n = {n}")

    def rows(self) -> dict[Hashable, Mapping[str, Any]]:
        return {
            (a, n): {"name": name, "amount": str(amount)} for a, n, name, amount, _ in self.run("SELECT * FROM items")
        }

    def lose_position(self) -> bool:
        self.run("FLUSH BINARY LOGS")
        ((last, *_),) = self.run("SHOW MASTER STATUS")
        deadline = time.monotonic() + 20
        while len(self.run("SHOW BINARY LOGS")) > 1:
            # The server keeps a log as long as it has not noticed that its reader went away.
            assert time.monotonic() < deadline
            self.run(f"PURGE BINARY LOGS TO '{last}'")
            time.sleep(0.02)
        return True


class TestMariaDb(SourceConformance):
    """
    The kit.
    """

    @pytest.fixture
    def bench(self, server: MariaDbServer, tmp_path: Path) -> Iterator[TableBench]:
        bench = TableBench(server, tmp_path)
        yield bench
        bench.close()
