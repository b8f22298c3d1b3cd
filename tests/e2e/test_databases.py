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

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER


@pytest.fixture(params=[MariaDbServer, MysqlServer], ids=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[BinlogServer]:
    made = request.param.start_new()
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
def test_a_database_from_its_address_to_live_rows(fustor: Command, server: BinlogServer) -> None:
    """
    What a newcomer does, with a kill of the server in between; in the end Fusion has what the server has.
    """
    server.sql(
        "CREATE DATABASE shop; USE shop; /*!80003 SET cte_max_recursion_depth = 5000 */;"
        "/*M! SET max_recursive_iterations = 5000 */;"
        "CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR(50), total DECIMAL(10,2), state ENUM('new','paid'));"
        "INSERT INTO orders WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 5000)"
        " SELECT seq, CONCAT('customer ', seq), seq / 7, 1 + seq % 2 FROM s;"
        "CREATE TABLE notes (text VARCHAR(20) PRIMARY KEY); INSERT INTO notes VALUES ('a'), ('b');"
        "CREATE USER reader@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON shop.* TO reader@'%'"
    )
    address = f"mysql://reader:pw@127.0.0.1:{server.port}/shop"
    said = fustor.fails("up", address, "-D")
    grants = (
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';",
        "GRANT SELECT, LOCK TABLES ON `shop`.* TO 'reader'@'%';",
    )
    assert " ".join(grants) in said
    server.sql("".join(grants))
    assert "pw@" not in fustor("up", address, "-D")

    def server_rows() -> list[dict[str, Any]]:
        lines = server.sql("SELECT id, customer, total, state FROM shop.orders").splitlines()
        found = [dict(zip(("id", "customer", "total", "state"), line.split("\t"), strict=True)) for line in lines]
        return sorted(({**row, "id": int(row["id"])} for row in found), key=lambda row: json.dumps(row, sort_keys=True))

    assert rows(fustor, "orders") == server_rows()
    server.sql("UPDATE shop.orders SET total = 99999.5 WHERE id < 10; DELETE FROM shop.orders WHERE id > 4990")
    wait_for("the changes are there", lambda: rows(fustor, "orders") == server_rows())

    server.sql("TRUNCATE TABLE shop.notes; ALTER TABLE shop.orders ADD COLUMN note VARCHAR(10) DEFAULT 'hi'")
    wait_for("the table is empty", lambda: rows(fustor, "notes") == [])
    wait_for("the new column is there", lambda: all(row.get("note") == "hi" for row in rows(fustor, "orders")))

    server.kill()

    away = wait_for("the status says that the server is away", lambda: not_live(fustor))
    assert "127.0.0.1" in away["reason"]
    server.start()
    server.sql("INSERT INTO shop.notes VALUES ('after')")
    wait_for("the new row is there", lambda: rows(fustor, "notes") == [{"text": "after"}])
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
    wait_for("the changes are there", lambda: rows(fustor, "orders") == server_rows())

    postgres.sql("TRUNCATE TABLE notes; ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'hi'")
    wait_for("the table is empty", lambda: rows(fustor, "notes") == [])
    wait_for("the new column is there", lambda: all(row.get("note") == "hi" for row in rows(fustor, "orders")))

    postgres.kill()
    away = wait_for("the status says that the server is away", lambda: not_live(fustor))
    assert "127.0.0.1" in away["reason"]
    postgres.start()
    postgres.sql("INSERT INTO notes VALUES ('after')")
    wait_for("the new row is there", lambda: rows(fustor, "notes") == [{"text": "after"}])
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
        assert stack.http.delete(f"{api}/{entry}").status_code == 200
    assert postgres.sql(made).split() == ["fustor_db"], "not before it is applied"
    assert stack.http.post(f"{api}/apply").json()["applied"]["cleaned"] == ["db"]
    assert postgres.sql(made).split() == []


def test_what_is_left_at_a_server_that_is_away_is_said_and_done_later(
    make_stack: Callable[..., Stack], postgres: PostgresServer
) -> None:
    """
    A source whose sync was stopped is deleted while its server is away: what is left there is said with the SQL, remembered over a restart
    of the agent, and removed once the server is back.
    """
    postgres.sql("CREATE TABLE t (id INT PRIMARY KEY)")
    stack = make_stack()
    source = {"driver": "postgres", "uri": postgres.uri(), "credential": {"user": USER, "passwd": PASSWORD}}
    stack.write_source_config(source, {"driver": "echo", "endpoint": "echo://", "driver_params": {"file": "/dev/null"}})
    stack.agent.start()
    made = "SELECT slot_name FROM pg_replication_slots UNION SELECT pubname FROM pg_publication"
    wait_for("the slot is there", lambda: postgres.sql(made).split() == ["fustor_db"])
    api = f"{stack.agent.url}/api"
    stack.http.post(f"{api}/instances/{stack.sync}/stop")
    postgres.stop()
    gone = stack.http.delete(f"{api}/configs/sources/db", params={"with_dependants": True})
    assert gone.json()["dependants"] == [stack.sync]
    applied = stack.http.post(f"{api}/configs/apply").json()
    assert applied["applied"]["cleaned"] == [] and applied["applied"]["left"] == ["db"]
    (left,) = applied["cleanups"]
    assert (
        "pg_drop_replication_slot('fustor_db')" in left["hint"]
        and 'DROP PUBLICATION IF EXISTS "fustor_db"' in left["hint"]
    )
    assert PASSWORD not in json.dumps(applied)
    stack.agent.stop()
    postgres.start()
    stack.agent.start()
    wait_for("nothing is left", lambda: postgres.sql(made).split() == [])
    assert stack.http.get(f"{api}/configs/cleanups").json() == {"rows": []}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [MariaDbServer], indirect=True)
def test_what_foreign_keys_do_arrives(make_stack: Callable[..., Stack], server: BinlogServer) -> None:
    """
    Rows that the server deletes and changes itself, without logging it, because their parents went or changed; also while a snapshot
    runs and when the agent is killed.
    """
    numbers = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT"
    server.sql(
        "CREATE DATABASE shop; USE shop; /*!80003 SET cte_max_recursion_depth = 100000 */;"
        "/*M! SET max_recursive_iterations = 100000 */;"
        "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20));"
        "CREATE TABLE orders (id INT PRIMARY KEY, user INT, FOREIGN KEY (user) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE);"
        "CREATE TABLE visits (id INT PRIMARY KEY, user INT, FOREIGN KEY (user) REFERENCES users (id) ON DELETE SET NULL ON UPDATE CASCADE);"
        f"INSERT INTO users {numbers.format(200)} n, 'a' FROM s; INSERT INTO orders {numbers.format(3000)} n, 1 + n % 200 FROM s;"
        f"INSERT INTO visits {numbers.format(500)} n, 1 + n % 200 FROM s"
    )
    stack = make_stack()
    source = {"driver": "mysql", "uri": server.uri("shop"), "credential": {"user": USER, "passwd": PASSWORD}}
    stack.write_source_config(source, stack.fusion_pusher())
    stack.agent.start()

    def held(table: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        more: dict[str, Any] = {}
        while True:
            page = stack.fusion_get(f"/views/tables/{stack.sync}/shop/{table}/rows", limit=10_000, **more)
            found += [(row["id"], row.get("user")) for row in page["rows"]]
            if not page.get("next"):
                return sorted(found)
            more = {"cursor": page["next"]}

    def there(table: str) -> list[tuple[Any, ...]]:
        lines = server.sql(f"SELECT id, user FROM shop.{table}").splitlines()
        return sorted((int(one), None if user == "NULL" else int(user)) for one, user in map(str.split, lines))

    def are_equal() -> bool:
        known = {table["table"] for table in stack.fusion_get("/views/tables")["rows"]}
        return known >= {"orders", "visits"} and all(held(table) == there(table) for table in ("orders", "visits"))

    server.sql("DELETE FROM shop.users WHERE id % 10 = 0")  # most likely while the first snapshot is read
    wait_for("all is there", are_equal, on_timeout=stack.tails)
    server.sql("DELETE FROM shop.users WHERE id = 1")
    server.sql("UPDATE shop.users SET id = 1000 + id, name = 'moved' WHERE id < 9")
    wait_for("what followed is there", are_equal, on_timeout=stack.tails)
    assert held("orders")[-1][1] is not None and (None in {user for _, user in held("visits")})
    for at in range(101, 110):
        server.sql(f"DELETE FROM shop.users WHERE id = {at}")
        if at == 105:
            stack.agent.kill()
            stack.agent.start()
    wait_for("nothing is left behind", are_equal, on_timeout=stack.tails)


@pytest.fixture(params=[MariaDbServer, MysqlServer, PostgresServer], ids=["mariadb", "mysql", "postgres"])
def either(request: pytest.FixtureRequest) -> Iterator[BinlogServer | PostgresServer]:
    made = request.param.start_new()
    yield made
    made.close()


@pytest.mark.timeout(300)
def test_a_change_of_one_table_costs_that_table_alone(
    make_stack: Callable[..., Stack], either: BinlogServer | PostgresServer
) -> None:
    """
    TRUNCATE, ALTER and DROP of one table of three: its rows alone are read again, it is right at Fusion, the others are untouched, and
    the stream is not opened anew.
    """
    has_binlog = not isinstance(either, PostgresServer)
    use = "CREATE DATABASE shop; USE shop;" if has_binlog else ""
    sizes = {"big": 3000, "small": 50, "other": 200}
    for table, size in sizes.items():
        made = f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT)"
        filled = ", ".join(f"({n}, 1)" for n in range(1, size + 1))
        either.sql(f"{use}{made}; INSERT INTO {table} VALUES {filled}")
        use = use.replace("CREATE DATABASE shop; ", "")
    stack = make_stack()
    source = {
        "driver": "mysql" if has_binlog else "postgres",
        "uri": either.uri("shop"),
        "credential": {"user": USER, "passwd": PASSWORD},
    }
    stack.write_source_config(source, stack.fusion_pusher())
    stack.agent.start()

    def held() -> dict[str, int]:
        return {table["table"]: table["rows"] for table in stack.fusion_get("/views/tables")["rows"]}

    def snapshot() -> dict[str, Any]:
        (sync,) = stack.fusion_get("/ingestor-api/v1/syncs/")
        found: dict[str, Any] = sync["snapshot"]
        return found

    def reader() -> str:
        where = "information_schema.processlist WHERE command = 'Binlog Dump'" if has_binlog else "pg_stat_replication"
        return either.sql(f"SELECT {'id' if has_binlog else 'pid'} FROM {where}")

    schema = "shop" if has_binlog else "public"

    def small() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = stack.fusion_get(f"/views/tables/{stack.sync}/{schema}/small/rows", limit=1000)[
            "rows"
        ]
        return rows

    wait_for("all is there", lambda: held() == sizes and snapshot()["state"] == "ended")
    first, walker = snapshot(), reader()
    assert first["rows"] == sum(sizes.values())
    assert walker.strip()

    either.sql(f"{use}ALTER TABLE small ADD COLUMN w INT DEFAULT 5")
    wait_for("the new column is there", lambda: all(row.get("w") == 5 for row in small()))
    wait_for("the snapshot is over", lambda: snapshot()["id"] != first["id"] and snapshot()["state"] == "ended")
    assert snapshot()["rows"] == sizes["small"], "no other table was read"

    either.sql(f"{use}TRUNCATE TABLE small; INSERT INTO big VALUES (9999, 9)")
    wait_for("the table is empty", lambda: held() == {**sizes, "small": 0, "big": 3001})
    either.sql(f"{use}INSERT INTO small VALUES (1, 2, 3)")
    wait_for("a row is there", lambda: small() == [{"id": 1, "v": 2, "w": 3}])

    either.sql(f"{use}DROP TABLE other; UPDATE big SET v = 7 WHERE id = 1")
    wait_for("its rows are gone", lambda: held() == {"small": 1, "big": 3001, "other": 0})
    wait_for("the snapshot is over", lambda: snapshot()["state"] == "ended")
    assert snapshot()["rows"] <= 1, "no other table was read"
    assert reader() == walker, "the stream was opened anew"
