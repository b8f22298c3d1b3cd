"""
A snapshot whose consumer is away for long does not hold the source: others may change the table, and it goes on afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.stack import Stack, wait_for

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

pytestmark = pytest.mark.timeout(300)

ROWS = 60_000  # far more than the agent holds


class MariaDb:
    """
    A table in MariaDB.
    """

    def __init__(self) -> None:
        self.server = MariaDbServer.start_new()
        self.server.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE wide (id INT PRIMARY KEY, text VARCHAR(500));"
            f"INSERT INTO wide SELECT seq, REPEAT('x', 500) FROM seq_1_to_{ROWS}"
        )

    def source(self) -> dict[str, Any]:
        return {"driver": "mysql", "uri": self.server.uri("shop")}

    def change_table(self, column: str) -> None:
        self.server.sql(f"SET lock_wait_timeout = 60; ALTER TABLE shop.wide ADD COLUMN {column} INT DEFAULT 7")


class Postgres:
    """
    A table in PostgreSQL.
    """

    def __init__(self) -> None:
        self.server = PostgresServer.start_new()
        self.server.sql(
            "CREATE TABLE wide (id INT PRIMARY KEY, text VARCHAR(500));"
            f"INSERT INTO wide SELECT n, repeat('x', 500) FROM generate_series(1, {ROWS}) AS n"
        )

    def source(self) -> dict[str, Any]:
        return {"driver": "postgres", "uri": self.server.uri()}

    def change_table(self, column: str) -> None:
        self.server.sql(f"SET lock_timeout = '60s'; ALTER TABLE wide ADD COLUMN {column} INT DEFAULT 7")


@pytest.fixture(params=[MariaDb, Postgres], ids=["mariadb", "postgres"])
def side(request: pytest.FixtureRequest) -> Iterator[MariaDb | Postgres]:
    made = request.param()
    yield made
    made.server.close()


def test_a_table_can_be_changed_while_the_snapshot_waits_for_its_consumer(
    make_stack: Callable[..., Stack], side: MariaDb | Postgres
) -> None:
    """
    Fusion is killed amid the snapshot of a table: ALTER TABLE of that table goes through all the same. Then Fusion has it all.
    """
    stack = make_stack()
    source = {**side.source(), "credential": {"user": USER, "passwd": PASSWORD}}
    stack.write_source_config(source, {**stack.fusion_pusher(), "batch_size": 500})
    stack.agent.start()
    wait_for("rows of the snapshot", lambda: stack.sync_status()["pushed_rows"] > 0, every_s=0.005)
    stack.fusion.kill()
    assert stack.sync_status()["snapshot"], "it was amid the snapshot"
    side.change_table("later")
    assert stack.sync_status()["snapshot"], "it still waits"
    stack.fusion.start()

    def is_there() -> bool:
        (table,) = stack.fusion_get("/views/tables")["rows"]
        return bool(table["rows"] == ROWS and "later" in table["columns"] and not stack.sync_status()["snapshot"])

    wait_for("Fusion has the rows", is_there, timeout_s=120, every_s=0.5, on_timeout=lambda: f"{stack.sync_status()}")
