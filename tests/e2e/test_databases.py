"""
`fustor up` with the address of a database: set-up checks, snapshot, live changes, statements that tell no rows, restarts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.command import Command
from harness.stack import wait_for

from fustor_core.testing.mariadb_server import MariaDbServer


@pytest.fixture
def server() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new()
    yield made
    made.close()


@pytest.fixture
def fustor(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    yield command
    command("down")


def rows(fustor: Command, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fustor("rows", table, "--limit", "100000", "--json"))
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


@pytest.mark.timeout(300)
def test_a_database_from_its_address_to_live_rows(fustor: Command, server: MariaDbServer) -> None:
    """
    What a newcomer does, with a kill of the server in between; in the end Fusion has what the server has.
    """
    server.sql(
        "CREATE DATABASE shop; USE shop;"
        "CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR(50), total DECIMAL(10,2), state ENUM('new','paid'));"
        "INSERT INTO orders SELECT seq, CONCAT('customer ', seq), seq / 7, 1 + seq % 2 FROM seq_1_to_5000;"
        "CREATE TABLE notes (text VARCHAR(20) PRIMARY KEY); INSERT INTO notes VALUES ('a'), ('b');"
        "CREATE USER reader@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON shop.* TO reader@'%'"
    )
    address = f"mysql://reader:pw@127.0.0.1:{server.port}/shop"
    said = fustor.fails("up", address, "-D")
    assert "GRANT SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';" in said
    server.sql("GRANT SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader@'%'")
    assert "pw@" not in fustor("up", address, "-D")

    def server_rows() -> list[dict[str, Any]]:
        lines = server.sql("SELECT id, customer, total, state FROM shop.orders").splitlines()
        found = [dict(zip(("id", "customer", "total", "state"), line.split("\t"), strict=True)) for line in lines]
        return sorted(({**row, "id": int(row["id"])} for row in found), key=lambda row: json.dumps(row, sort_keys=True))

    assert rows(fustor, "orders") == server_rows()
    server.sql("UPDATE shop.orders SET total = 99999.5 WHERE id < 10; DELETE FROM shop.orders WHERE id > 4990")
    wait_for("the changes are there", lambda: rows(fustor, "orders") == server_rows(), timeout_s=30)

    server.sql("TRUNCATE TABLE shop.notes; ALTER TABLE shop.orders ADD COLUMN note VARCHAR(10) DEFAULT 'hi'")
    wait_for("the table is empty", lambda: rows(fustor, "notes") == [], timeout_s=60)
    wait_for(
        "the new column is there", lambda: all(row.get("note") == "hi" for row in rows(fustor, "orders")), timeout_s=60
    )

    server.kill()

    def state() -> Any:
        (sync,) = json.loads(fustor("status", "--json"))["syncs"]
        return sync

    away = wait_for("the status says that the server is away", lambda: state() if state()["state"] != "live" else None)
    assert "127.0.0.1" in away["reason"]
    server.start()
    server.sql("INSERT INTO shop.notes VALUES ('after')")
    wait_for("the new row is there", lambda: rows(fustor, "notes") == [{"text": "after"}], timeout_s=60)
    assert state()["state"] == "live"
