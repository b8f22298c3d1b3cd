"""
Measures the fs view alone: rows applied per second, index build, queries, memory. `uv run python benchmarks/fs_view.py [ROWS ...]`.

Made-up trees of the given sizes (100,000 and 300,000 by default), each in a fresh process, events of 1,000 rows, a durable commit after each.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fustor_core.models.envelope import WireEvent
from fustor_core.models.file_row import FILE_FIELDS
from fustor_fusion.views.base import Stream
from fustor_fusion.views.fs import FsView
from fustor_fusion.views.fs.listing import Listing, list_directory
from fustor_fusion.views.fs.patterns import parse
from fustor_fusion.views.fs.places import find_entry, trees
from fustor_fusion.views.fs.search import Query, search
from fustor_fusion.views.fs.stats import directory_stats

WORDS = [
    "config",
    "main",
    "test",
    "data",
    "image",
    "report",
    "lib",
    "python",
    "core",
    "index",
    "read",
    "write",
    "cache",
    "video",
    "sample",
    "frame",
]
BATCH = 1000


class Store:
    def __init__(self, folder: Path) -> None:
        self.datastore_id, self.folder, self.path = "bench", folder, folder / "bench.db"
        self.writer = self._open()
        self.writer.execute("PRAGMA journal_mode = WAL")
        self.writer.execute("PRAGMA cache_size = -16384")
        self._idle: list[sqlite3.Connection] = []

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        conn = self._idle.pop() if self._idle else self._open()
        try:
            yield conn
        finally:
            self._idle.append(conn)


def make_rows(count: int) -> Iterator[tuple[Any, ...]]:
    """
    Give rows of a tree in the order of a walk: about ten entries to a directory.
    """
    chance = random.Random(7)
    waiting = [f"project{i}" for i in range(count // 500)]
    made = 0
    while made < count:
        parent = waiting.pop()
        inside = parent + "/" if parent else ""
        dirs = chance.randint(0, 3) if parent.count("/") < 9 else 0
        for i in range(chance.choice((2, 4, 8, 12, 20))):
            made += 1
            kind = "dir" if i < dirs else "file"
            name = f"{chance.choice(WORDS)}_{chance.choice(WORDS)}{made}" + ("" if kind == "dir" else ".h5")
            at = 1_700_000_000_000_000_000 + made
            yield inside + name, name, parent, kind, i * 100 * (kind == "file"), at, at, 33188, 1000, 1000, made, None
            if kind == "dir":
                waiting.append(inside + name)
        if not waiting:
            waiting.append(f"more{made}")


def rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def timed(label: str, work: Callable[[], Any], times: int = 50) -> str:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return f"{label} {statistics.median(took):.3f}"


def run(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        view = FsView(store)
        view.create(store.writer)
        source = make_rows(count)
        before = rss_mb()
        spent = busy = 0.0
        done = 0
        some: list[str] = []
        begun = time.perf_counter()
        while batch := [row for row, _ in zip(source, range(BATCH), strict=False)]:
            event = WireEvent(
                event_schema="file:///bench", table="files", fields=list(FILE_FIELDS), rows=batch, index=done
            )
            start, cpu = time.perf_counter(), time.thread_time()
            store.writer.execute("BEGIN IMMEDIATE")
            view.apply(store.writer, Stream("bench", 0, 1), event, listening=False)
            store.writer.execute("COMMIT")
            spent += time.perf_counter() - start
            busy += time.thread_time() - cpu
            view.committed()
            done += len(batch)
            some.append(batch[-1][0])
        last = store.writer.execute("SELECT max(id) FROM fs_names").fetchone()[0]
        loaded = time.perf_counter()
        view.index.wait_indexed(last, 60)
        print(
            f"{done} rows: apply and commit {done / spent:,.0f} rows/s ({spent / done * 1e6:.1f} us, {busy / done * 1e6:.1f} us CPU a row),"
            f" index ready {time.perf_counter() - loaded:.2f} s after the last of {loaded - begun:.1f} s, RSS {before:.0f} -> {rss_mb():.0f} MB"
        )
        chance = random.Random(1)
        with store.read() as conn:
            (tree,) = trees(conn)

            def find(q: str) -> Callable[[], Any]:
                return lambda: search(conn, view.index, Query([tree], parse(q)))

            needle = some[len(some) // 2].rpartition("/")[2][-9:]
            print(
                "  p50 ms",
                timed("list", lambda: list_directory(conn, Listing(tree, chance.choice(some).rpartition("/")[0]))),
                timed("entry", lambda: find_entry(conn, tree, chance.choice(some))),
                timed("stats of all", lambda: directory_stats(conn, tree, "")),
                timed("search few hits", find(needle)),
                timed("many hits", find("python")),
                timed("no hit", find("zqxj")),
                timed("two letters", find("zq"), 5),
                timed("glob", find("*sample*99.h5")),
                timed("path", find("config_main1/")),
                sep=", ",
            )
        event = WireEvent(event_schema="file:///bench", table="files", fields=list(FILE_FIELDS), rows=[], index=done)
        took = []
        for i in range(200):
            path = some[i % len(some)]
            parent = path.rpartition("/")[0]
            event.rows = [(f"{parent}/live{i}", f"live{i}", parent, "file", 1, 1, 1, 1, 1, 1, 1, None)]
            start = time.perf_counter()
            store.writer.execute("BEGIN IMMEDIATE")
            view.apply(store.writer, Stream("bench", 0, None), event, listening=False)
            took.append((time.perf_counter() - start) * 1e6)
            store.writer.execute("COMMIT")
        start = time.perf_counter()
        store.writer.execute("BEGIN IMMEDIATE")
        removed = view.sweep(store.writer, Stream("bench", 0, 2), done + 1, None)
        store.writer.execute("COMMIT")
        print(
            f"  one live row {statistics.median(took):.0f} us, sweep of {removed} rows {time.perf_counter() - start:.2f} s"
        )
        view.close()


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[1:]] or [100_000, 300_000]
    if len(sizes) == 1:
        run(sizes[0])
    else:
        for size in sizes:
            subprocess.run([sys.executable, __file__, str(size)], check=True)
