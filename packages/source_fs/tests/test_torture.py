"""
Random work on several threads, with snapshots and restarts: what the consumer believes equals the disk at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Place = Any  # the fixtures of conftest.py, which can't be imported in importlib mode
Consumer = Any
SEEDS = int(os.environ.get("FUSTOR_TORTURE_SEEDS", "4"))
"""
Seeds of each kind; set it higher for a longer run.
"""
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
_libc = ctypes.CDLL(None, use_errno=True)


def swap(one: str, other: str) -> None:
    """
    Exchange two names in one step (renameat2).
    """
    _libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


class Worker(threading.Thread):
    """
    Does random work in a tree, on its own and on others' files, until its steps are done.
    """

    def __init__(self, root: Path, seed: int, steps: int) -> None:
        super().__init__()
        self.root = root
        self.random = random.Random(seed)
        self.steps = steps

    def pick(self, kind: str) -> str | None:
        here = str(self.root)
        for _ in range(self.random.randrange(5)):
            below = [e.path for e in os.scandir(here) if e.is_dir(follow_symlinks=False)]
            if not below:
                break
            here = self.random.choice(below)
        if kind == "parent":
            return here
        entries = [e.path for e in os.scandir(here) if kind == "any" or e.is_dir(follow_symlinks=False)]
        return self.random.choice(entries) if entries else None

    def run(self) -> None:
        for _ in range(self.steps):
            with contextlib.suppress(OSError):
                self.step()

    def step(self) -> None:
        dice = self.random.random()
        name = f"n{self.random.randrange(12)}"
        parent = self.pick("parent")
        assert parent is not None
        if dice < 0.35:
            with open(f"{parent}/{name}", "w") as file:
                file.write("x" * self.random.randrange(50))
        elif dice < 0.5:
            os.makedirs(f"{parent}/{name}/deep{self.random.randrange(3)}")
            with open(f"{parent}/{name}/in", "w") as file:
                file.write("y")
        elif dice < 0.7:
            source = self.pick("any")
            if source:
                os.rename(source, f"{parent}/{name}")
        elif dice < 0.78:
            one, other = self.pick("any"), self.pick("any")
            if one and other:
                swap(one, other)
        elif dice < 0.85:
            victim = self.pick("dir")
            if victim:
                shutil.rmtree(victim)
        elif dice < 0.93:
            victim = self.pick("any")
            if victim:
                os.unlink(victim)
        elif dice < 0.97:
            victim = self.pick("any")
            if victim:
                os.chmod(victim, self.random.choice([0o700, 0o755, 0o777]))
        else:
            os.symlink(name, f"{parent}/l{name}")


def _has_at_least(events: list[Any], least: int) -> bool:
    return len(events) >= least


def work(place: Place, seed: int, steps: int = 150) -> list[Worker]:
    workers = [Worker(place.root, seed * 10 + number, steps) for number in range(3)]
    for worker in workers:
        worker.start()
    return workers


def finish(workers: list[Worker]) -> None:
    for worker in workers:
        worker.join()


@pytest.fixture
def short_queue() -> Iterator[None]:
    """
    Set inotify's queue limit low for instances made from now on.
    """
    before = QUEUE.read_text()
    try:
        QUEUE.write_text("32")
    except OSError:
        pytest.fail("this test needs the right to write fs.inotify.max_queued_events: run it as root")
    try:
        yield
    finally:
        QUEUE.write_text(before)


def burst(place: Place, consumer: Consumer) -> None:
    """
    More changes than the short queue holds while nobody takes what was read: some of them are lost for certain.
    """
    with consumer.driver._stream.hints.cond:
        for number in range(200):
            (place.root / f"burst{number}").touch()


def run(place: Place, seed: int, *, bursts: bool = False, **params: object) -> Consumer:
    print(f"seed {seed}")
    finish(work(place, seed, 60))
    consumer = place.consume(place.driver(**params))
    workers = work(place, seed + 1)
    if bursts:
        burst(place, consumer)
    consumer.snapshot(batch_size=5)
    finish(workers)
    workers = work(place, seed + 2)
    if bursts:
        burst(place, consumer)
    consumer.snapshot(batch_size=7)
    finish(workers)
    consumer.settle()
    return consumer


@pytest.mark.parametrize("seed", range(2 * SEEDS))
def test_the_stream_and_snapshots_converge_on_the_disk(place: Place, seed: int) -> None:
    """
    Whatever several threads do while snapshots run, the consumer's tree equals the disk at rest.
    """
    place.check(run(place, seed * 100))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_converges_with_a_short_kernel_queue(place: Place, seed: int, short_queue: None) -> None:
    """
    The same when inotify's queue overflows again and again.
    """
    consumer = run(place, 5000 + seed * 100, bursts=True)
    place.check(consumer)
    assert consumer.driver.status()["overflows"] > 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_converges_with_few_watches_and_a_small_buffer(place: Place, seed: int) -> None:
    """
    The same when most directories are polled and the buffer of names overflows.
    """
    consumer = run(place, 7000 + seed * 100, max_watches=5, poll_interval_s=0.1, max_pending=10)
    with contextlib.suppress(AssertionError):
        place.wait_until(lambda: place.agrees(consumer), "polling finds what is not watched", 5)
    place.check(consumer)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("crash", [False, True])
def test_a_restart_converges(place: Place, tmp_path: Path, seed: int, crash: bool) -> None:
    """
    Stopped or crashed at any moment, at an older checkpoint, with work going on meanwhile: the tree equals the disk.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    finish(work(place, 9000 + seed, 60))
    consumer = place.consume(place.driver())
    consumer.snapshot(batch_size=9)
    for turn in range(3):
        workers = work(place, 9000 + seed * 10 + turn, 60)
        cut = chance.randrange(1, 40)
        events = consumer.events
        least = len(events) + cut
        with contextlib.suppress(AssertionError):
            place.wait_until(functools.partial(_has_at_least, events, least), "events", 0.5)
        # The consumer has some of what was sent, and its checkpoint is where it says.
        consumer.hold.clear()
        with consumer.lock:
            position, rows = consumer.checkpoint, dict(consumer.rows)
        params = {}
        if crash:
            state = tmp_path / f"state{turn}"
            index = consumer.driver._opened().index
            with index.lock:
                shutil.copytree(index.folder, state)
            place.state = state
        consumer.hold.set()
        place.shut(consumer)
        finish(work(place, 9500 + seed * 10 + turn, 30))
        consumer = place.consume(place.driver(**params), position, rows)
        assert not consumer.lost
        finish(workers)
    place.check(consumer)
