#!/usr/bin/env python3
"""
A large tree through the three real services, durable in SQLite: time to queryable, memory, live latency and query latency.

    uv run python benchmarks/fs/run.py --files 300000 --write

Prints a Markdown table of what it measured, beside `find`, a bare os.scandir + stat walk and plocate where it is installed; --write puts it into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from profile import Profile

import measure
import report
import tree
from public import PublicFustor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.stack import Stack, free_port, wait_for  # noqa: E402 - the tests' harness is not installed

QUERIES = 300
LIVE_FOLDERS = 30
BACKFILL_TIMEOUT_S = 600.0


class Bench:
    """
    One run: the tree, the services, and the rows of the table.
    """

    def __init__(self, folder: Path, files: int, live: int) -> None:
        self.folder = folder
        self.live = live
        self.rows: list[tuple[str, str]] = []
        self.tree = folder / "tree"
        begun = time.perf_counter()
        self.files, self.dirs = tree.build(self.tree, files)
        print(
            f"tree of {self.files} files in {self.dirs} folders made in {time.perf_counter() - begun:.1f} s",
            file=sys.stderr,
        )
        self.stack = Stack(folder / "stack", self.tree)
        self.chance = random.Random(2)
        self.serial = 0

    def row(self, what: str, figure: str) -> None:
        self.rows.append((what, figure))
        print(f"{what}: {figure}", file=sys.stderr)

    def bare(self) -> None:
        """
        What others need to look at the same tree.
        """
        taken = measure.best_of(lambda: measure.find_printf(self.tree))
        self.row("`find -printf` of the whole tree", f"{taken:.2f} s, {self.files / taken:,.0f} files/s")
        taken = measure.best_of(lambda: measure.bare_walk(self.tree))
        self.row("bare `os.scandir` + `stat` walk", f"{taken:.2f} s, {self.files / taken:,.0f} files/s")
        updatedb, plocate = shutil.which("updatedb"), shutil.which("plocate")
        if updatedb and plocate:
            database = self.folder / "plocate.db"
            command = [
                updatedb,
                "-l",
                "0",
                "-U",
                str(self.tree),
                "-o",
                str(database),
                "--prunepaths",
                "",
                "--prunefs",
                "",
            ]
            taken = measure.best_of(lambda: subprocess.run(command, check=True), 1)
            self.row("plocate: index", f"{taken:.2f} s, {self.files / taken:,.0f} files/s")
            query = [plocate, "-d", str(database), "_0001234"]
            p50, p99 = measure.time_calls(lambda _: subprocess.run(query, check=True, stdout=subprocess.DEVNULL), 50)
            self.row("plocate: substring search (starts a process), p50 / p99", f"{p50:.1f} / {p99:.1f} ms")

    def backfill(self) -> None:
        """
        From the start of the sync until the last file is found, all three services running.
        """
        stack = self.stack
        stack.registry.start()
        stack.key = stack.provision("bench")
        stack.fusion.start()
        stack.write_agent_config(sync_disabled=True)
        stack.agent.start()
        client = measure.Client(stack.fusion.port, stack.key)
        last_names = self.sample_names()
        with self.memory() as memory:
            begun = time.perf_counter()
            stack.enable_sync()

            def counted() -> bool:
                try:
                    stats = client.get("/views/fs/stats", path="")
                except RuntimeError:
                    return False  # before the first row there is no tree to ask about
                return bool(stats["files"] == self.files and stats["dirs"] == self.dirs)

            wait_for(
                "every file is counted", counted, timeout_s=BACKFILL_TIMEOUT_S, every_s=0.02, on_timeout=stack.tails
            )
            in_stats = time.perf_counter() - begun
            for name in last_names:
                found = client.get("/views/fs/search", q=name, mode="substring", limit=5)["rows"]
                if [row["name"] for row in found] != [name]:
                    raise RuntimeError(f"{name!r} is counted and not found by the search: {found}")
            in_search = time.perf_counter() - begun
            stack.wait_snapshot_ended()
            ended = time.perf_counter() - begun
        client.close()
        self.row(
            "start of the sync to last file in the totals", f"{in_stats:.2f} s, {self.files / in_stats:,.0f} files/s"
        )
        self.row(
            "... and found by search (20 names asked)", f"{in_search:.2f} s, {self.files / in_search:,.0f} files/s"
        )
        self.row("... and the snapshot ended and swept", f"{ended:.2f} s, {self.files / ended:,.0f} files/s")
        for name in ("agent", "fusion", "registry"):
            self.row(
                f"{name}: RSS with children, peak / after the snapshot",
                f"{memory.peak_mib[name]:.0f} / {memory.last_mib[name]:.0f} MiB",
            )
        size = sum(file.stat().st_size for file in stack.fusion.folder.rglob("*.db*"))
        self.row("Fusion's store on disk", f"{size / 2**20:.0f} MiB, {size / self.files:.0f} bytes a file")

    def memory(self) -> measure.MemoryWatch:
        return measure.MemoryWatch(
            {service.name: service.process.pid for service in self.stack.services if service.process}
        )

    def sample_names(self) -> list[str]:
        """
        Names spread over the tree, from the folders that a walk meets last too.
        """
        folders = sorted(str(path) for path, _, files in os.walk(self.tree) if files)
        chosen = [*self.chance.sample(folders, min(17, len(folders))), *folders[-3:]]
        return [
            self.chance.choice(sorted(entry.name for entry in os.scandir(folder) if entry.is_file()))
            for folder in chosen
        ]

    def queries(self) -> None:
        """
        Time the questions people ask.
        """
        client = measure.Client(self.stack.fusion.port, self.stack.key)
        folders = [
            str(Path(path).relative_to(self.tree)) for path, _, files in os.walk(self.tree) if 0 < len(files) < 100
        ]
        self.chance.shuffle(folders)
        numbers = [f"_{self.chance.randrange(self.files):07}" for _ in range(QUERIES)]
        questions: tuple[tuple[str, Callable[[int], object]], ...] = (
            ("list a directory", lambda n: client.get("/views/fs/tree", path=folders[n % len(folders)])),
            ("one entry", lambda n: client.get("/views/fs/entry", path=folders[n % len(folders)])),
            ("substring search, one hit", lambda n: client.get("/views/fs/search", q=numbers[n % QUERIES], limit=100)),
            ("substring search, no hit", lambda n: client.get("/views/fs/search", q=f"nothing-like-{n}", limit=100)),
            ("substring search, first 100 of many", lambda _: client.get("/views/fs/search", q="sample_00", limit=100)),
            ("glob search `*.h5`, first 100", lambda _: client.get("/views/fs/search", q="*.h5", limit=100)),
            ("statistics of the root, with totals", lambda _: client.get("/views/fs/stats", path="")),
            (
                "statistics of a directory, with totals",
                lambda n: client.get("/views/fs/stats", path=folders[n % len(folders)].split("/")[0]),
            ),
        )
        for what, call in questions:
            p50, p99 = measure.time_calls(call, QUERIES)
            self.row(f"query: {what}, p50 / p99", f"{p50:.2f} / {p99:.2f} ms")
        client.close()

    def profile(self) -> None:
        """
        Look at where the time of a first snapshot goes, with services of their own: being looked at slows them down.
        """
        folder = self.folder / "profiled"
        folder.mkdir()
        stack = Stack(folder, self.tree)
        try:
            stack.registry.start()
            stack.key = stack.provision("bench")
            stack.fusion.start()
            stack.write_agent_config(sync_disabled=True)
            stack.agent.start()
            services = (stack.agent, stack.fusion)
            profile = Profile({one.name: one.process.pid for one in services if one.process}, folder)
            with profile.taken():
                stack.enable_sync()
                stack.wait_snapshot_ended()
        finally:
            stack.close()
        for what, figure in profile.rows():
            self.row(what, figure)

    def live_latency(self, when: str, before_each: Callable[[], object]) -> None:
        """
        From the close of a new file until each view shows it.
        """
        client = measure.Client(self.stack.fusion.port, self.stack.key)
        made: dict[str, int] = {}  # files in each folder, which is as small as the others of the tree

        def folder(serial: int | None = None) -> str:
            number = (self.serial if serial is None else serial) % LIVE_FOLDERS
            return f"{tree.PROJECTS[0]}/live-{when.replace(' ', '-')}/{number:02}"

        def name() -> str:
            return f"live-{self.serial:07}.dat"

        def make() -> None:
            self.serial += 1
            made[folder()] = made.get(folder(), 0) + 1
            (self.tree / folder() / name()).write_bytes(b"now")

        for number in range(LIVE_FOLDERS):
            (self.tree / folder(number)).mkdir(parents=True)
        for _ in range(LIVE_FOLDERS):
            make()
            wait_for("the folder is there", lambda: client.get("/views/fs/search", q=name())["rows"], every_s=0.01)
        views: tuple[tuple[str, Callable[[], bool]], ...] = (
            (
                "tree",
                lambda: any(
                    child["name"] == name() for child in client.get("/views/fs/tree", path=folder())["children"]
                ),
            ),
            ("search", lambda: bool(client.get("/views/fs/search", q=name())["rows"])),
            ("stats", lambda: bool(client.get("/views/fs/stats", path=folder())["own"]["files"] == made[folder()])),
        )
        for view, seen in views:
            taken = []
            for _ in range(self.live):
                before_each()
                taken.append(measure.visible_after(make, seen))
            p50, p99 = measure.quantiles(taken)
            self.row(
                f"live, {when}: close to visible in {view}, p50 / p99 (n={len(taken)})", f"{p50:.1f} / {p99:.1f} ms"
            )
        client.close()

    def public(self) -> None:
        """
        The same of the public Fustor; ours has ended by then.
        """
        files = sum(len(names) for _, _, names in os.walk(self.tree))
        public = PublicFustor(self.folder / "public", self.tree, free_port())
        try:
            public.install()
            for what, figure in public.measure(files):
                self.row(what, figure)
        finally:
            public.close()

    def close(self) -> None:
        self.stack.close()


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line; return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300_000)
    parser.add_argument(
        "--live", type=int, default=200, help="files created for each live latency (default %(default)s)"
    )
    parser.add_argument(
        "--where", type=Path, default=None, help="folder to work in (default: the system's temporary folder)"
    )
    parser.add_argument(
        "--with-public", action="store_true", help="measure the public Fustor from PyPI on the same tree too"
    )
    parser.add_argument("--profile", action="store_true", help="also show where the time of a first snapshot goes")
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/RESULTS.md")
    given = parser.parse_args(argv)

    said = report.facts()
    with tempfile.TemporaryDirectory(prefix="fustor-bench-", dir=given.where) as name:
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", name], capture_output=True, text=True, check=True
        ).stdout.strip()
        bench = Bench(Path(name), given.files, given.live)
        try:
            bench.bare()
            bench.backfill()
            bench.queries()
            bench.live_latency("idle", lambda: None)
            bench.live_latency("during a snapshot", bench.stack.ask_snapshot)
        finally:
            bench.close()
        if given.profile:
            bench.profile()
        if given.with_public:
            bench.public()
    text = report.table(f"A tree of {bench.files:,} files in {bench.dirs:,} folders, on {kind}", said, bench.rows)
    print(text)
    if given.write:
        report.write("fs", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
