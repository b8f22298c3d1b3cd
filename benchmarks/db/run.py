"""
MariaDB through the agent, to a pusher that only counts and to Fusion, beside other readers of the same log and table in the same run.

    uv run python benchmarks/db/run.py --rows 200000 --write

Single-row transactions: the cost of a stream is by event as much as by row. Rates are read from the agent's own counters, from the
first row to the last.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks" / "fs")]

import measure  # noqa: E402 - shared with the other benchmark, and not installed
import report  # noqa: E402 - the same
from harness.stack import Stack, wait_for  # noqa: E402 - the same

from fustor_core.testing.mariadb_server import MariaDbServer, find_binary  # noqa: E402 - after the paths
from fustor_core.testing.private_server import PASSWORD, USER  # noqa: E402 - after the paths

SYNC = "bench"
FILL = """
DELIMITER //
CREATE PROCEDURE shop.fill(first INT, n INT) BEGIN DECLARE i INT DEFAULT first;
  WHILE i < first + n DO
    INSERT INTO shop.orders VALUES (i, CONCAT('customer ', i), i / 7, '2024-05-01 01:02:03', CONCAT('note number ', i));
    SET i = i + 1;
  END WHILE; END//
DELIMITER ;
"""
TABLE = "id BIGINT PRIMARY KEY, customer VARCHAR(50), total DECIMAL(10,2), placed DATETIME, note VARCHAR(100)"
PEER = "mysql-replication==1.0.9"
PEER_CODE = """
import sys, time
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent
port, name, wanted = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
stream = BinLogStreamReader(connection_settings=dict(host="127.0.0.1", port=port, user=sys.argv[4], passwd=sys.argv[5]),
    server_id=99, is_mariadb=True, auto_position=name, only_events=[WriteRowsEvent], blocking=True)
begun = rows = 0
for event in stream:
    begun = begun or time.perf_counter()
    rows += len(event.rows)
    if rows >= wanted:
        break
print(rows / (time.perf_counter() - begun))
"""

Row = tuple[str, str]


class Bench:
    """
    One run.

    Args:
        folder: Where everything goes.
        rows: Rows of each measurement.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.rows = rows
        self.server = MariaDbServer.start_new({"innodb-buffer-pool-size": "1G", "max-binlog-size": "1G"})
        self.server.sql(f"CREATE DATABASE shop; CREATE TABLE shop.orders ({TABLE});{FILL}")
        self.stack = Stack(folder, folder / "none", sync=SYNC)
        self.folder = folder
        self.filled = 0
        self.results: list[Row] = []

    def row(self, what: str, figure: str) -> None:
        self.results.append((what, figure))
        print(f"{what}: {figure}", file=sys.stderr)

    def fill(self) -> None:
        """
        Add `rows` rows, each in a transaction of its own.
        """
        self.server.sql(f"CALL shop.fill({self.filled}, {self.rows})")
        self.filled += self.rows

    def configure(self, pusher: dict[str, Any]) -> None:
        source = {
            "driver": "mysql",
            "uri": self.server.uri("shop"),
            "credential": {"user": USER, "passwd": PASSWORD},
            "disabled": False,
        }
        config = {
            "sources": {"db": source},
            "pushers": {"to": {**pusher, "disabled": False}},
            "syncs": {SYNC: {"source": "db", "pusher": "to", "disabled": False}},
        }
        self.stack.agent.folder.mkdir(parents=True, exist_ok=True)
        (self.stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))

    def pushed(self) -> int:
        try:
            return int(self.stack.sync_status()["pushed_rows"])
        except (AssertionError, KeyError):
            return 0

    def rate(self, wanted: int) -> float:
        """
        Return rows a second from the first pushed row to the last.
        """
        wait_for("the first row", lambda: self.pushed() > 0, every_s=0.005, timeout_s=60)
        first, begun = self.pushed(), time.perf_counter()
        wait_for("the last row", lambda: self.pushed() >= wanted, every_s=0.01, timeout_s=600)
        return (wanted - first) / (time.perf_counter() - begun)

    def through(self, what: str, pusher: dict[str, Any], count: Callable[[], int] | None = None) -> None:
        """
        Measure a snapshot and a stream's backlog through the agent.
        """
        agent = self.stack.agent
        self.configure(pusher)
        agent.start()
        assert agent.process is not None
        with measure.MemoryWatch({"agent": agent.process.pid}) as memory:
            self.row(f"snapshot, {what}", f"{self.rate(self.filled):,.0f} rows/s")
            wait_for("the snapshot has ended", lambda: not self.stack.sync_status().get("snapshot"))
        self.row(f"snapshot, {what}: agent's peak RSS", f"{memory.peak_mib['agent']:.0f} MiB")
        agent.stop()
        self.fill()
        agent.start()
        with measure.MemoryWatch({"agent": agent.process.pid}) as memory:
            self.row(f"stream of single-row transactions, {what}", f"{self.rate(self.rows):,.0f} rows/s")
        self.row(f"stream, {what}: agent's peak RSS", f"{memory.peak_mib['agent']:.0f} MiB")
        if count is not None:
            wait_for("all rows are there", lambda: count() == self.filled)

    def counting(self) -> None:
        """
        To a pusher that counts.
        """
        file = str(self.folder / "echo.jsonl")
        self.through(
            "agent to a pusher that counts",
            {
                "driver": "echo",
                "endpoint": "stdout:",
                "batch_size": 5000,
                "driver_params": {"file": file, "rows": False},
            },
        )
        self.stack.agent.stop()
        for state in (self.stack.agent.folder / "state").rglob("*.db*"):
            state.unlink()

    def to_fusion(self) -> None:
        """
        To Fusion, on disk.
        """
        stack = self.stack
        stack.registry.start()
        stack.key = stack.provision("bench")
        stack.fusion.start()

        def count() -> int:
            return sum(int(table["rows"]) for table in stack.fusion_get("/views/tables")["rows"])

        pusher = {
            "driver": "fusion",
            "endpoint": stack.fusion.url,
            "credential": {"key": stack.key},
            "batch_size": 5000,
        }
        self.through("to Fusion, on disk", pusher, count)

    def latency(self, seconds: float, per_second: int = 500) -> None:
        """
        Measure commit to visible in a query of Fusion while rows come at a steady rate.
        """
        stop = threading.Event()
        connection = pymysql.connect(
            host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, autocommit=True
        )
        other = pymysql.connect(host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD, autocommit=True)

        def write() -> None:
            at, due = 10**9, time.perf_counter()
            with connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute(f"INSERT INTO shop.orders VALUES ({at}, 'x', 1, NOW(), 'y')")
                    at, due = at + 1, due + 1 / per_second
                    time.sleep(max(0.0, due - time.perf_counter()))

        writer = threading.Thread(target=write)
        writer.start()
        client = measure.Client(self.stack.fusion.port, self.stack.key)
        path = f"/views/tables/{SYNC}/shop/orders/row"
        taken = []
        end, at = time.perf_counter() + seconds, 2 * 10**9
        with other.cursor() as cursor:
            while time.perf_counter() < end:
                at += 1

                def make(number: int = at) -> None:
                    cursor.execute(f"INSERT INTO shop.orders VALUES ({number}, 'probe', 1, NOW(), 'y')")

                def seen(number: int = at) -> bool:
                    try:
                        client.get(path, key=f"[{number}]")
                    except RuntimeError:
                        return False
                    return True

                taken.append(measure.visible_after(make, seen))
                time.sleep(0.02)
        stop.set()
        writer.join()
        p50, p99 = measure.quantiles(taken)
        self.row(
            f"commit to visible in Fusion at {per_second} changes/s, p50 / p99 (n={len(taken)})",
            f"{p50:.1f} / {p99:.1f} ms",
        )

    def peers(self) -> None:
        """
        Others that read the same log and table.
        """
        position = self.server.sql("SELECT @@gtid_current_pos").strip()
        offset = self.server.sql("SHOW MASTER STATUS").split("\t")
        self.fill()
        begun = time.perf_counter()
        subprocess.run(
            [
                find_binary("mariadb-binlog"),
                "--no-defaults",
                f"--start-position={offset[1]}",
                str(self.server.data / offset[0]),
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self.row(
            "peer: mariadb-binlog, as text to /dev/null", f"{self.rows / (time.perf_counter() - begun):,.0f} rows/s"
        )
        with tempfile.TemporaryDirectory() as name:
            python = Path(name) / "venv/bin/python"
            subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", PEER], check=True)
            count = min(self.rows, 50_000)
            command = [str(python), "-c", PEER_CODE, str(self.server.port), position, str(count), USER, PASSWORD]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            figure = (
                f"{float(done.stdout):,.0f} rows/s" if done.returncode == 0 else f"failed: {done.stderr.strip()[-100:]}"
            )
            self.row(f"peer: {PEER}, stream", figure)
        connection = pymysql.connect(host="127.0.0.1", port=self.server.port, user=USER, password=PASSWORD)
        begun = time.perf_counter()
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT * FROM shop.orders")
            count = sum(1 for _ in cursor)
        self.row("peer: PyMySQL, SSCursor over the whole table", f"{count / (time.perf_counter() - begun):,.0f} rows/s")

    def close(self) -> None:
        """
        End everything.
        """
        self.stack.close()
        self.server.close()


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line; return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of each measurement (default %(default)s)")
    parser.add_argument(
        "--latency", type=float, default=15, help="seconds of the latency's measurement (default %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/RESULTS.md")
    given = parser.parse_args(argv)
    said = report.facts()
    with tempfile.TemporaryDirectory(prefix="fustor-bench-") as name:
        bench = Bench(Path(name), given.rows)
        try:
            said.append(
                f"Server: {bench.server.sql('SELECT VERSION()').strip()}, row images and metadata FULL, sync_binlog 0."
            )
            bench.fill()
            bench.counting()
            bench.to_fusion()
            bench.latency(given.latency)
            bench.stack.close()
            bench.peers()
        finally:
            bench.close()
    text = report.table(f"MariaDB, {given.rows:,} rows for each measurement", said, bench.results)
    print(text)
    if given.write:
        report.write("db", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
