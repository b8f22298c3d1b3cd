"""
The applier's order of work: live pushes before slices of snapshots, and neither starves.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fustor_fusion import applier as applier_module
from fustor_fusion.applier import LIVE_BODY_BYTES, LIVE_SLICE_ROWS, Applier, Work
from fustor_fusion.metrics import FusionMetrics
from fustor_fusion.store.sqlite import SqliteStore


class Steps(Work):
    """
    Work in steps that are noted; it waits in front of the step `hold_at` until `go` is set.
    """

    def __init__(self, name: str, count: int, done: list[str], hold_at: int | None = None) -> None:
        self._name = name
        self._count = count
        self._done = done
        self._hold_at = hold_at
        self.reached = threading.Event()
        self.go = threading.Event()

    def steps(self, conn: sqlite3.Connection) -> Iterator[int]:
        for number in range(self._count):
            if number == self._hold_at:
                self.reached.set()
                assert self.go.wait(20)
            self._done.append(f"{self._name}{number}")
            yield 1


@pytest.fixture
def idled() -> list[float]:
    """
    When the applier did what it does when it has nothing else to do.
    """
    return []


@pytest.fixture
async def applier(tmp_path: Path, idled: list[float]) -> AsyncIterator[Applier]:
    def idle(conn: sqlite3.Connection) -> bool:
        idled.append(time.monotonic())
        return False

    store = SqliteStore("d", tmp_path / "d.db")
    made = Applier(
        store,
        FusionMetrics(CollectorRegistry()),
        queue_bytes=1 << 20,
        group_rows=1000,
        reset=lambda conn: None,
        chores=lambda conn: 0,
        idle=idle,
    )
    made.start()
    yield made
    await asyncio.to_thread(made.close)
    store.close()


async def test_a_live_push_goes_between_two_slices(applier: Applier) -> None:
    done: list[str] = []
    slow = Steps("s", 4, done, hold_at=1)
    first = applier.submit(slow, slow=True)
    await asyncio.to_thread(slow.reached.wait, 20)
    second = applier.submit(Steps("l", 1, done))
    slow.go.set()
    await asyncio.gather(first, second)
    assert done == ["s0", "s1", "l0", "s2", "s3"]


async def test_no_slice_begins_while_a_live_push_is_read(applier: Applier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "GIVE_WAY_S", 20.0)
    monkeypatch.setattr(applier_module, "FAIR_S", 40.0)
    applier._last_slice = time.monotonic()
    done: list[str] = []
    with applier.live_push(100) as live:
        slow = applier.submit(Steps("s", 2, done), slow=True)
        await applier.submit(Steps("l", 1, done))
        assert done == ["l0"]
        live.leave()
        await asyncio.wait_for(slow, 20)
    assert done == ["l0", "s0", "s1"]


async def test_a_live_push_that_never_comes_holds_nothing_up(applier: Applier) -> None:
    done: list[str] = []
    with applier.live_push(100):
        await asyncio.wait_for(applier.submit(Steps("s", 5, done), slow=True), 20)
    assert done == [f"s{number}" for number in range(5)]


async def test_snapshots_get_their_turn_however_busy_the_live_stream_is(
    applier: Applier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier_module, "FAIR_S", 0.0)
    done: list[str] = []
    held = Steps("h", 1, done, hold_at=0)
    holding = applier.submit(held)
    await asyncio.to_thread(held.reached.wait, 20)
    live = [applier.submit(Steps("l", 1, done)) for _ in range(3)]
    slow = applier.submit(Steps("s", 1, done), slow=True)
    held.go.set()
    await asyncio.gather(holding, slow, *live)
    assert "s0" in done
    assert done.index("s0") < 2 + len(live)


async def test_slices_are_small_while_there_are_live_pushes(applier: Applier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert applier.slice_rows(500) == 500
    with applier.live_push(LIVE_BODY_BYTES + 1):
        assert applier.slice_rows(500) == 500, "a large body is nobody's single change"
    with applier.live_push(LIVE_BODY_BYTES):
        assert applier.slice_rows(500) == LIVE_SLICE_ROWS
        assert applier.slice_rows(10) == 10
    monkeypatch.setattr(applier_module, "LIVE_RECENT_S", 0.0)
    assert applier.slice_rows(500) == 500


async def test_the_share_of_snapshots_is_counted_while_the_applier_works(
    applier: Applier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The event loop counts what waits while the applier's thread takes from it: with the interpreter changing threads all the
    time, a count that walks the queue itself fails soon.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(40):
            waiting = [applier.submit(Steps("s", 1, []), slow=True) for _ in range(60)]
            while not waiting[-1].done():
                for _ in range(20):
                    applier.check_share()
                await asyncio.sleep(0)
    finally:
        sys.setswitchinterval(interval)


async def test_a_pause_between_two_live_pushes_is_no_idleness(
    applier: Applier, idled: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is done when idle delays the push that comes next: transactions of its own, and emptying the log to the disk.
    """
    monkeypatch.setattr(applier_module, "IDLE_S", 60.0)
    monkeypatch.setattr(applier_module, "CHORES_S", 60.0)
    monkeypatch.setattr(applier_module, "CHORES_MOST_S", 60.0)
    await applier.submit(Steps("l", 1, []))
    idled.clear()
    for _ in range(50):
        with applier.live_push(100):
            await applier.submit(Steps("l", 1, []))
        await asyncio.sleep(0.002)
    assert idled == []


async def test_a_stream_that_never_pauses_does_not_keep_its_tombstones(
    applier: Applier, idled: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier_module, "IDLE_S", 60.0)
    monkeypatch.setattr(applier_module, "CHORES_MOST_S", 0.0)  # due also where the next push waits already
    await applier.submit(Steps("l", 1, []))
    idled.clear()
    for _ in range(3):
        await applier.submit(Steps("l", 1, []))
    await applier.submit(Steps("l", 1, []))
    assert len(idled) >= 3
