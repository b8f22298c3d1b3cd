"""
A database through the agent, to a pusher that only counts and to Fusion, beside other readers of the same log and table in the
same run.

    uv run python benchmarks/db/run.py --server postgresql --rows 200000 --write

Single-row transactions: the cost of a stream is by event as much as by row. Rates are read from the agent's own counters, from the
first row to the last.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks" / "fs")]

import measure  # noqa: E402 - shared with the other benchmark, and not installed
import report  # noqa: E402 - the same
from harness.stack import Stack, wait_for  # noqa: E402 - the same
from sides import MariaDb, Postgres, Side  # noqa: E402 - beside this file

from fustor_core.testing.private_server import PASSWORD, USER  # noqa: E402 - after the paths

SYNC = "bench"
_ASK_EVERY_S = 0.0005
"""
Pause between two queries for a row that is not there yet: without it the queries alone would take a core.
"""
_LOOK_EVERY_S = 0.05
"""
Pause between two looks at the agent's counters, whose answers cost it time that is then missing for rows.
"""
_NO_SHARE = 0.02
"""
Who uses less of a core than this has no part in what was measured.
"""
SIDES: dict[str, Callable[[], Side]] = {"mariadb": MariaDb, "postgresql": Postgres}

Row = tuple[str, str]


class Bench:
    """
    One run.

    Args:
        side: The database.
        folder: Where everything goes.
        rows: Rows of each measurement.
    """

    def __init__(self, side: Side, folder: Path, rows: int) -> None:
        self.side = side
        self.rows = rows
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
        self.side.fill(self.filled, self.rows)
        self.filled += self.rows

    def configure(self, pusher: dict[str, Any]) -> None:
        source = {
            **self.side.source(),
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

    def rate(self, wanted: int) -> str:
        """
        Return rows a second from the first pushed row to the last, and what share of a core each side used meanwhile.
        """
        wait_for("the first row", lambda: self.pushed() > 0, every_s=0.005, timeout_s=60)
        watch = self._watch_cpu()
        first, begun = self.pushed(), time.perf_counter()
        wait_for("the last row", lambda: self.pushed() >= wanted, every_s=_LOOK_EVERY_S, timeout_s=600)
        return f"{(wanted - first) / (time.perf_counter() - begun):,.0f} rows/s ({self._cores(watch)})"

    def _watch_cpu(self) -> measure.CpuWatch:
        services = (("agent", self.stack.agent), ("Fusion", self.stack.fusion))
        pids = {name: service.process.pid for name, service in services if service.process is not None}
        return measure.CpuWatch({**pids, self.side.name: self.side.server.pid})

    def _cores(self, watch: measure.CpuWatch) -> str:
        used = [f"{name} {share:.0%}" for name, share in watch.shares().items() if share >= _NO_SHARE]
        return f"of a core: {', '.join(used)}"

    def through(self, what: str, pusher: dict[str, Any], count: Callable[[], int] | None = None) -> None:
        """
        Measure a snapshot and a stream's backlog through the agent.
        """
        agent = self.stack.agent
        self.configure(pusher)
        agent.start()
        assert agent.process is not None
        with measure.MemoryWatch({"agent": agent.process.pid}) as memory:
            self.row(f"snapshot, {what}", self.rate(self.filled))
            wait_for("the snapshot has ended", lambda: not self.stack.sync_status().get("snapshot"))
        self.row(f"snapshot, {what}: agent's peak RSS", f"{memory.peak_mib['agent']:.0f} MiB")
        agent.stop()
        self.fill()
        if pusher["driver"] == "echo":
            # It asks for a snapshot after each start, whose rows would be counted too.
            self.configure({**pusher, "driver_params": {**pusher["driver_params"], "snapshot": False}})
        agent.start()
        with measure.MemoryWatch({"agent": agent.process.pid}) as memory:
            self.row(f"stream of single-row transactions, {what}", self.rate(self.rows))
        assert not self.stack.sync_status().get("snapshot"), "only the stream was measured"
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
        self.through("to Fusion, on disk", self._fusion(), self._stored)

    def start_fusion(self) -> None:
        """
        Start a sync to Fusion, and wait until its snapshot has ended.
        """
        self.configure(self._fusion())
        self.stack.agent.start()
        wait_for("all rows are there", lambda: self._stored() == self.filled)
        wait_for("the snapshot has ended", lambda: not self.stack.sync_status().get("snapshot"))

    def _fusion(self) -> dict[str, Any]:
        stack = self.stack
        return {**stack.fusion_pusher(), "batch_size": 5000}

    def _stored(self) -> int:
        return sum(int(table["rows"]) for table in self.stack.fusion_get("/views/tables")["rows"])

    def latency(self, seconds: float, per_second: int = 500) -> None:
        """
        Measure commit to visible in a query of Fusion while rows come at a steady rate.
        """
        stop = threading.Event()
        connection, other = self.side.connect(), self.side.connect()

        def write() -> None:
            at, due = 10**9, time.perf_counter()
            with connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute(f"INSERT INTO orders VALUES ({at}, 'x', 1, NOW(), 'y')")
                    at, due = at + 1, due + 1 / per_second
                    time.sleep(max(0.0, due - time.perf_counter()))

        paces = [measure.million_additions_ms()]
        writer = threading.Thread(target=write)
        writer.start()
        client = measure.Client(self.stack.fusion.port, self.stack.key)
        path = f"/views/tables/{SYNC}/{self.side.schema}/orders/row"
        taken = []
        watch = self._watch_cpu()
        end, at = time.perf_counter() + seconds, 2 * 10**9
        with other.cursor() as cursor:
            while time.perf_counter() < end:
                at += 1

                def make(number: int = at) -> None:
                    cursor.execute(f"INSERT INTO orders VALUES ({number}, 'probe', 1, NOW(), 'y')")

                def seen(number: int = at) -> bool:
                    try:
                        client.get(path, key=f"[{number}]")
                    except RuntimeError:
                        time.sleep(_ASK_EVERY_S)
                        return False
                    return True

                taken.append(measure.visible_after(make, seen))
                time.sleep(0.02)
        stop.set()
        writer.join()
        used = self._cores(watch)
        paces.append(measure.million_additions_ms())
        p50, p99 = measure.quantiles(taken)
        self.row(
            f"commit to visible in Fusion at {per_second} changes/s, p50 / p99 (n={len(taken)})",
            f"{p50:.1f} / {p99:.1f} ms ({used}, with the queries; a million additions took {paces[0]:.0f} ms before and {paces[1]:.0f} ms after)",
        )

    def close(self) -> None:
        """
        End everything.
        """
        self.stack.close()
        self.side.server.close()


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
    parser.add_argument(
        "--server", choices=sorted(SIDES), default="mariadb", help="which database (default %(default)s)"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--no-rates", action="store_true", help="only the latency")
    given = parser.parse_args(argv)
    said = report.facts()
    with tempfile.TemporaryDirectory(prefix="fustor-bench-") as name:
        side = SIDES[given.server]()
        bench = Bench(side, Path(name), given.rows)
        try:
            said.append(side.facts())
            bench.fill()
            if given.no_rates:
                bench.start_fusion()
            else:
                bench.counting()
                bench.to_fusion()
            bench.latency(given.latency)
            bench.stack.close()
            if not given.no_peers:
                side.peers(bench.filled, given.rows, bench.row)
        finally:
            bench.close()
    text = report.table(f"{side.name}, {given.rows:,} rows for each measurement", said, bench.results)
    print(text)
    if given.write:
        report.write(side.section, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
