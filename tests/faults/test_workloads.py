"""
Workloads that nobody here wrote, at full speed while snapshots run: pgbench (TPC-B) on PostgreSQL, sysbench (oltp_read_write) on
MariaDB. Afterwards Fusion has every row that the server has.

`FUSTOR_WORKLOAD_SECONDS` says how long they run (default 10; 60 for a real look).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql
import pytest
from harness.databases import Rows, comparable
from harness.stack import Stack, wait_for

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import DATABASE, PostgresServer, find_program
from fustor_core.testing.private_server import PASSWORD, USER, find_binary

pytestmark = pytest.mark.timeout(900)

SECONDS = int(os.environ.get("FUSTOR_WORKLOAD_SECONDS", "10"))
CATCH_UP_S = 180.0


class Pgbench:
    """
    TPC-B of pgbench. Its history table has no key: it gets one, as a person would give it.
    """

    schema = "public"
    tables = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history")

    def __init__(self) -> None:
        self.server = PostgresServer.start_new()
        self._run("-i", "-s", "2", "-q")
        self.server.sql("ALTER TABLE pgbench_history ADD COLUMN id BIGSERIAL PRIMARY KEY")

    def _run(self, *arguments: str) -> None:
        where = ["-h", str(self.server.base), "-p", str(self.server.port), "-U", USER]
        self.server.run_program([find_program("pgbench"), *where, *arguments, DATABASE])

    def source(self) -> dict[str, Any]:
        return {"driver": "postgres", "uri": self.server.uri()}

    def work(self) -> subprocess.Popen[bytes]:
        where = ["-h", "127.0.0.1", "-p", str(self.server.port), "-U", USER]
        return subprocess.Popen(
            [find_program("pgbench"), *where, "-n", "-c", "4", "-T", str(SECONDS), DATABASE],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def read(self, table: str) -> Rows:
        where = {"host": "127.0.0.1", "port": self.server.port, "user": USER, "password": PASSWORD}
        with (
            psycopg.connect(**where, dbname=DATABASE) as connection,  # type: ignore[arg-type]
            connection.cursor(row_factory=psycopg.rows.dict_row) as cursor,
        ):
            rows = cursor.execute(f"SELECT * FROM {table}").fetchall()
        for row in rows:
            if row.get("mtime") is not None:
                text = row["mtime"].isoformat()
                row["mtime"] = text.rstrip("0") if "." in text else text
        return Counter(map(comparable, rows))


class Sysbench:
    """
    oltp_read_write of sysbench.
    """

    schema = "sbtest"
    tables = ("sbtest1", "sbtest2")

    def __init__(self) -> None:
        self.server = MariaDbServer.start_new()
        self.server.sql("CREATE DATABASE sbtest")
        subprocess.run(self._command("prepare"), check=True, stdout=subprocess.DEVNULL)

    def _command(self, what: str) -> list[str]:
        return [
            find_binary("sysbench", "sysbench"),
            "oltp_read_write",
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            f"--mysql-port={self.server.port}",
            f"--mysql-user={USER}",
            f"--mysql-password={PASSWORD}",
            "--tables=2",
            "--table-size=20000",
            "--threads=4",
            f"--time={SECONDS}",
            what,
        ]

    def source(self) -> dict[str, Any]:
        return {"driver": "mysql", "uri": self.server.uri("sbtest")}

    def work(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command("run"), stdout=subprocess.DEVNULL)

    def read(self, table: str) -> Rows:
        connection = pymysql.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, database="sbtest"
        )
        with connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return Counter(map(comparable, cursor.fetchall()))


@pytest.fixture(params=[Pgbench, Sysbench], ids=["pgbench", "sysbench"])
def workload(request: pytest.FixtureRequest) -> Iterator[Pgbench | Sysbench]:
    made = request.param()
    yield made
    made.server.close()


def held(stack: Stack, schema: str, table: str) -> Rows:
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = stack.fusion_get(f"/views/tables/{stack.sync}/{quote(schema)}/{table}/rows", limit=5000, **more)
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            return Counter(map(comparable, rows))


def test_fusion_has_what_the_server_has_after_a_workload(
    make_stack: Callable[..., Stack], workload: Pgbench | Sysbench
) -> None:
    """
    Snapshot after snapshot while the workload runs; then every table row for row.
    """
    stack = make_stack()
    source = {**workload.source(), "credential": {"user": USER, "passwd": PASSWORD}}
    stack.write_source_config(source, {**stack.fusion_pusher(), "batch_size": 2000})
    stack.agent.start()
    work = workload.work()
    try:
        amid = 0
        while work.poll() is None:
            stack.ask_snapshot()
            amid += bool(stack.sync_status().get("snapshot"))
            time.sleep(0.1)
    finally:
        work.kill()
    assert work.wait() == 0
    wanted = {table: workload.read(table) for table in workload.tables}
    print({table: sum(rows.values()) for table, rows in wanted.items()}, f"seen amid a snapshot {amid} times")
    assert amid

    def differs() -> str:
        lines = []
        for table, rows in wanted.items():
            have = held(stack, workload.schema, table)
            lines.append(f"{table}: missing {list((rows - have).items())[:3]}, extra {list((have - rows).items())[:3]}")
        return "\n".join([*lines, str(stack.sync_status()), stack.agent.tail()])

    def is_there() -> bool:
        there = {table["table"]: table["rows"] for table in stack.fusion_get("/views/tables")["rows"]}
        if any(there.get(table) != sum(rows.values()) for table, rows in wanted.items()):
            return False
        return all(held(stack, workload.schema, table) == rows for table, rows in wanted.items())

    wait_for("Fusion has the rows", is_there, timeout_s=CATCH_UP_S, every_s=1.0, on_timeout=differs)
    stack.one_more_snapshot(CATCH_UP_S)
    assert is_there(), differs()
