"""
What the tests of retention share: a clock that is put forward, a datastore with rows of every kind, and a process that is killed while
it removes some.

    python retention_bench.py FOLDER CUT

opens datastore 1 of FOLDER, lets two days pass in which nobody feeds it, and ends with SIGKILL: at CUT 0 in the transaction in which the
removal is decided, at CUT n in the nth slice that is cleared.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ingest_bench import FakeRegistry, Fusion, users
from prometheus_client import CollectorRegistry

from fustor_core.models.envelope import WireEvent
from fustor_core.models.file_row import FILE_FIELDS, FILE_KEY
from fustor_fusion.applier import Command
from fustor_fusion.datastore import Datastore, Datastores
from fustor_fusion.keys import Grant, Policy
from fustor_fusion.metrics import FusionMetrics
from fustor_fusion.retention import COUNT_EVERY_S, COUNT_MOST_S, DAY_S
from fustor_fusion.settings import FusionSettings

NUMBERS = itertools.count()
STORES = (
    "tables_table",
    "tables_row",
    "tables_delta",
    "tables_copy",
    "tables_base",
    "fs_trees",
    "fs_dirs",
    "fs_entries",
    "fs_names",
)


class Clock:
    """
    Monotonic seconds that pass when a test says so.
    """

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def passing(
    datastore: Datastore,
    clock: Clock,
    days: float,
    *,
    fed: tuple[str, ...] = (),
    until: Callable[[], bool] = lambda: False,
) -> Command:
    """
    Return the command that lets time pass on the applier's thread, looked at as often as Fusion may, or until something is so.

    Args:
        fed: Syncs whose sessions give signs of life meanwhile.
    """

    def look(conn: sqlite3.Connection, after_s: float) -> None:
        clock.now += after_s
        for session in datastore.sessions.live():
            if session.task_id in fed:
                datastore.sessions.need(session.session_id)
        datastore.retention.step(conn)

    def run(conn: sqlite3.Connection) -> None:
        end = clock.now + days * DAY_S
        look(conn, COUNT_EVERY_S)
        while clock.now < end and not until():
            look(conn, COUNT_MOST_S)

    return Command(run)


def opened(fusion: Fusion) -> Datastore:
    """
    Return datastore 1.
    """
    found: Datastore = next(d for d in fusion.app.state.datastores.opened() if d.datastore_id == "1")
    return found


async def pass_days(fusion: Fusion, clock: Clock, days: float, **more: Any) -> None:
    """
    Let days pass for datastore 1; see `passing`.
    """
    datastore = opened(fusion)
    await datastore.applier.submit(passing(datastore, clock, days, **more))


async def cleared(fusion: Fusion) -> None:
    """
    Wait until nothing is left of what was let go of.
    """
    store = opened(fusion).store
    left = True
    async with asyncio.timeout(60):
        while left:
            await asyncio.sleep(0.01)
            with store.read() as conn:
                tables = conn.execute("SELECT 1 FROM tables_table WHERE task_id = ''").fetchone()
                left = bool(tables or conn.execute("SELECT 1 FROM fs_trees WHERE task = ''").fetchone())


def keep_for(registry: FakeRegistry, days: int | None) -> None:
    """
    Set how long datastore 1 keeps what nobody feeds, and have it asked for at once.
    """
    policy = Policy(retention_days=days)
    registry.keys["key-1"] = Grant(True, 1, 1, "one", ["ingest", "read"], 0.0, policy=policy)


async def told(fusion: Fusion, task_id: str) -> dict[str, Any]:
    """
    Return what Fusion says of a sync.
    """
    syncs = (await fusion.http.get("/ingestor-api/v1/syncs/")).json()
    found: dict[str, Any] = next(sync for sync in syncs if sync["task_id"] == task_id)
    return found


def file_rows(*paths: str, index: int = 1) -> WireEvent:
    """
    An event of files.
    """
    rows = []
    for path in paths:
        parent, _, name = path.rpartition("/")
        rows.append([path, name, parent, "file", 10, 1, 1, 33188, 0, 0, 7, None])
    assert len(FILE_FIELDS) == len(rows[0])
    return WireEvent("insert", "file:///tree", "files", list(FILE_FIELDS), rows, index, list(FILE_KEY))


def counted_rows(*numbers: int, index: int = 1, ordinal: int | None = None) -> WireEvent:
    """
    An event of a table without a key, whose rows are numbered or not.
    """
    table = "unnumbered" if ordinal is None else "numbered"
    return WireEvent("insert", "db", table, ["n"], [[n] for n in numbers], index, ordinal=ordinal)


async def feed(fusion: Fusion, task_id: str, *, size: int = 20, epoch: int = 0) -> str:
    """
    Have a sync bring rows, deletions and a complete snapshot; return its session.
    """
    session: str = (await fusion.open(task_id))["session_id"]
    rows = users(*((n, f"{task_id} {n}") for n in range(size)), index=10)
    files = file_rows(*(f"d{n % 7}/{task_id}-{n}.txt" for n in range(size)), index=10)
    mark = WireEvent(index=10)
    snapshot: dict[str, Any] = {"source_type": "snapshot", "snapshot_id": f"s{next(NUMBERS)}", "epoch": epoch}
    await fusion.push(session, mark, rows, files, seq=1, **snapshot)
    await fusion.push(session, seq=2, is_snapshot_end=True, **snapshot)
    live = (
        counted_rows(*range(size), index=20, ordinal=0),
        counted_rows(*range(size), index=20),
        users((1,), index=21, kind="delete", fields=("id",)),
    )
    await fusion.push(session, *live, seq=3, checkpoint=21, epoch=epoch)
    return session


def counts(path: Path) -> dict[str, int]:
    """
    Return how many rows each of the stores holds.
    """
    with closing(sqlite3.connect(path)) as conn:
        return {name: conn.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in STORES}


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, cut: int) -> None:
    """
    Be the process that is killed.
    """
    settings = FusionSettings.load(config_dir=folder, log_console=False, snapshot_slice_rows=5, tombstone_min_age_s=1e9)
    clock = Clock()
    metrics = FusionMetrics(CollectorRegistry())
    datastore = Datastore("1", folder / "fusion", settings, Datastores(settings, metrics).catalog, metrics, clock)
    slices = 0
    for view in datastore.views:
        clear = view.clear_discarded

        def counting(conn: sqlite3.Connection, limit: int, clear: Any = clear) -> int:
            nonlocal slices
            done: int = clear(conn, limit)
            slices += done > 0
            if slices == cut:
                _die()
            return done

        view.clear_discarded = counting  # type: ignore[method-assign]
    if cut == 0:
        datastore.sessions.end_left = _die  # type: ignore[method-assign]

    def removed() -> bool:
        return datastore.syncs.get("doomed").removed_at is not None

    datastore.applier.run_now(passing(datastore, clock, 2.0, fed=("other",), until=removed))
    threading.Event().wait(60)  # the applier goes on by itself until it is cut, long before that


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
