"""
The conformance kit against a real MariaDB.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mysql_bench import Database

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.keyless_contract import KeylessConformance
from fustor_core.testing.source_contract import SourceConformance
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.control import Control


class TableBench(Database):
    """
    Rows of one table with a key of two columns.
    """

    def __init__(self, server: BinlogServer, folder: Path) -> None:
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

    def change_untold(self) -> None:
        self.run("TRUNCATE TABLE items")

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
    def bench(self, server: BinlogServer, tmp_path: Path) -> Iterator[TableBench]:
        bench = TableBench(server, tmp_path)
        yield bench
        bench.close()


class KeylessBench(Database):
    """
    A table without a key, with an index that a reading must not follow.
    """

    def __init__(self, server: BinlogServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.run("CREATE TABLE kl (n INT, name VARCHAR(50), amount DECIMAL(10,2), KEY (n, name, amount))")

    def make_driver(self) -> MysqlDriver:
        return self.driver(rows_at_once=8)

    def add(self, *numbers: int) -> None:
        self.run(f"INSERT INTO kl VALUES {', '.join(f'({n}, NULL, {n}.5)' for n in numbers)}")

    def remove(self, n: int, count: int) -> None:
        self.run(f"DELETE FROM kl WHERE n = {n} LIMIT {count}")

    def change(self, n: int, to: int) -> None:
        self.run(f"UPDATE kl SET n = {to}, amount = {to}.5 WHERE n = {n}")

    def copies(self) -> Counter[int]:
        return Counter(dict(self.run("SELECT n, COUNT(*) FROM kl GROUP BY n")))


class TestKeylessTables(KeylessConformance):
    """
    The kit for tables without a key: by MariaDB's place of a snapshot, and by MySQL's way of a short lock.
    """

    @pytest.fixture(params=["place", "lock"])
    def bench(
        self, request: pytest.FixtureRequest, server: BinlogServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[KeylessBench]:
        bench = KeylessBench(server, tmp_path)
        if request.param == "lock":
            monkeypatch.setattr(Control, "tells_snapshot_place", False)
        yield bench
        bench.close()
