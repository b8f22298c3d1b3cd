"""
The conformance kit against a real PostgreSQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from postgres_bench import Database

from fustor_core.testing.keyless_contract import KeylessConformance
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.source_contract import SourceConformance
from fustor_source_postgres import PostgresDriver


class TableBench(Database):
    """
    Rows of one table with a key of two columns.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.run(
            "CREATE TABLE items (a TEXT, n INT, name TEXT, amount NUMERIC(10,2), at TIMESTAMPTZ(3), PRIMARY KEY (a, n))"
        )

    def make_driver(self) -> PostgresDriver:
        return self.driver(rows_at_once=8)

    def write(self, n: int, version: int) -> None:
        self.run(
            f"INSERT INTO items VALUES ('k{n % 3}', {n}, 'v{version}', {version}.5, '2024-01-02 03:04:05.{version % 1000:03}')"
            " ON CONFLICT (a, n) DO UPDATE SET name = EXCLUDED.name, amount = EXCLUDED.amount, at = EXCLUDED.at"
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
        self.drop_slots()
        return True


class TestPostgres(SourceConformance):
    """
    The kit.
    """

    @pytest.fixture
    def bench(self, server: PostgresServer, tmp_path: Path) -> Iterator[TableBench]:
        bench = TableBench(server, tmp_path)
        yield bench
        bench.close()


class KeylessBench(Database):
    """
    A table without a key whose old rows the log holds.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.run("CREATE TABLE kl (n INT, name TEXT, amount NUMERIC(10,2))", "ALTER TABLE kl REPLICA IDENTITY FULL")

    def make_driver(self) -> PostgresDriver:
        return self.driver(rows_at_once=8)

    def add(self, *numbers: int) -> None:
        self.run(f"INSERT INTO kl VALUES {', '.join(f'({n}, NULL, {n}.5)' for n in numbers)}")

    def remove(self, n: int, count: int) -> None:
        self.run(f"DELETE FROM kl WHERE ctid = ANY(ARRAY(SELECT ctid FROM kl WHERE n = {n} LIMIT {count}))")

    def change(self, n: int, to: int) -> None:
        self.run(f"UPDATE kl SET n = {to}, amount = {to}.5 WHERE n = {n}")

    def copies(self) -> Counter[int]:
        return Counter(dict(self.run("SELECT n, COUNT(*) FROM kl GROUP BY n")))


class TestKeylessTables(KeylessConformance):
    """
    The kit for tables without a key.
    """

    @pytest.fixture
    def bench(self, server: PostgresServer, tmp_path: Path) -> Iterator[KeylessBench]:
        bench = KeylessBench(server, tmp_path)
        yield bench
        bench.close()
