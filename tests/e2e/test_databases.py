"""
`fustor up` with the address of a database: set-up checks, snapshot, live changes, statements that tell no rows, restarts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.command import Command
from harness.stack import Stack, wait_for

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER


@pytest.fixture
def server() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new()
    yield made
    made.close()


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    made = PostgresServer.start_new()
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

    away = wait_for("the status says that the server is away", lambda: not_live(fustor))
    assert "127.0.0.1" in away["reason"]
    server.start()
    server.sql("INSERT INTO shop.notes VALUES ('after')")
    wait_for("the new row is there", lambda: rows(fustor, "notes") == [{"text": "after"}], timeout_s=60)
    assert not_live(fustor) is None


def not_live(fustor: Command) -> Any:
    (sync,) = json.loads(fustor("status", "--json"))["syncs"]
    return sync if sync["state"] != "live" else None


@pytest.mark.timeout(300)
def test_postgresql_from_its_address_to_live_rows(fustor: Command, postgres: PostgresServer) -> None:
    """
    The same with PostgreSQL: rights said with the SQL that mends them, snapshot, changes, truncate and a new column, a kill of the server,
    and a slot that lets go of the server's log.
    """
    postgres.sql(
        "CREATE TABLE orders (id INT PRIMARY KEY, customer TEXT, total NUMERIC(10,2), tags TEXT[]);"
        "INSERT INTO orders SELECT n, 'customer ' || n, n / 7.0, ARRAY['a', NULL] FROM generate_series(1, 5000) n;"
        "CREATE TABLE notes (text TEXT PRIMARY KEY); INSERT INTO notes VALUES ('a'), ('b');"
        "CREATE TABLE keyless (a INT); CREATE ROLE reader LOGIN PASSWORD 'pw'"
    )
    address = f"postgresql://reader:pw@127.0.0.1:{postgres.port}/shop"
    said = fustor.fails("up", address, "-D")
    sql = said[said.index("ALTER ROLE") : said.index("true);") + len("true);")]
    postgres.sql(sql)
    up = fustor("up", address, "-D")
    assert "pw@" not in up and "public.keyless" in up and "ADD PRIMARY KEY" in up

    def server_rows() -> list[dict[str, Any]]:
        text = postgres.sql(
            "SELECT json_build_object('id', id, 'customer', customer, 'total', total::text, 'tags', tags) FROM orders"
        )
        return sorted(map(json.loads, text.splitlines()), key=lambda row: json.dumps(row, sort_keys=True))

    assert rows(fustor, "orders") == server_rows()
    postgres.sql("UPDATE orders SET total = 99999.5 WHERE id < 10; DELETE FROM orders WHERE id > 4990")
    wait_for("the changes are there", lambda: rows(fustor, "orders") == server_rows(), timeout_s=30)

    postgres.sql("TRUNCATE TABLE notes; ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'hi'")
    wait_for("the table is empty", lambda: rows(fustor, "notes") == [], timeout_s=60)
    wait_for(
        "the new column is there", lambda: all(row.get("note") == "hi" for row in rows(fustor, "orders")), timeout_s=60
    )

    postgres.kill()
    away = wait_for("the status says that the server is away", lambda: not_live(fustor))
    assert "127.0.0.1" in away["reason"]
    postgres.start()
    postgres.sql("INSERT INTO notes VALUES ('after')")
    wait_for("the new row is there", lambda: rows(fustor, "notes") == [{"text": "after"}], timeout_s=60)
    wait_for("it is live again", lambda: not_live(fustor) is None)
    ((lsn,),) = [postgres.sql("SELECT pg_current_wal_lsn()").split()]
    wait_for(
        "the server may forget its log though nothing changes",
        lambda: postgres.sql(f"SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots").split() == ["t"],
    )


def test_a_source_that_is_deleted_leaves_nothing_at_the_server(
    make_stack: Callable[..., Stack], postgres: PostgresServer
) -> None:
    """
    Slot and publication of the driver's own go with the source, when its deletion is applied.
    """
    postgres.sql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)")
    stack = make_stack()
    source = {"driver": "postgres", "uri": postgres.uri(), "credential": {"user": USER, "passwd": PASSWORD}}
    stack.write_source_config(source, stack.fusion_pusher())
    stack.agent.start()
    wait_for("the rows are there", lambda: [t["rows"] for t in stack.fusion_get("/views/tables")["rows"]] == [10])
    made = "SELECT slot_name FROM pg_replication_slots UNION SELECT pubname FROM pg_publication"
    assert postgres.sql(made).split() == ["fustor_db"]
    api = f"{stack.agent.url}/api/configs"
    assert stack.http.delete(f"{api}/sources/db").status_code == 409, "a sync needs it"
    for entry in (f"syncs/{stack.sync}", "sources/db"):
        assert stack.http.delete(f"{api}/{entry}").status_code == 204
    assert postgres.sql(made).split() == ["fustor_db"], "not before it is applied"
    assert stack.http.post(f"{api}/apply").json()["applied"]["cleaned"] == ["db"]
    assert postgres.sql(made).split() == []
