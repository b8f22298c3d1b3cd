"""
Clocks and gauges: latencies over one kept connection, memory of processes with their children, and the bare walks to compare with.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

SAMPLE_EVERY_S = 0.05
VISIBLE_TIMEOUT_S = 60.0


class NotVisible(RuntimeError):
    """
    What was made can't be seen.
    """


class Client:
    """
    One kept connection to Fusion; what it adds to a measured time is a few dozen microseconds.
    """

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"X-API-Key": key}

    def get(self, view: str, /, **params: Any) -> Any:
        """
        Ask, and return the answer's JSON.
        """
        self._connection.request("GET", f"{view}?{urlencode(params)}" if params else view, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET {view} {params!r}: {answer.status} {body[:300]!r}")
        return json.loads(body)

    def close(self) -> None:
        self._connection.close()


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """
    Return p50 and p99 in milliseconds.
    """
    ordered = sorted(seconds)
    return statistics.median(ordered) * 1000, ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000


def time_calls(call: Callable[[int], object], times: int) -> tuple[float, float]:
    """
    Time calls one after the other; p50 and p99 in milliseconds. A few calls before are not counted.
    """
    for number in range(5):
        call(number)
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - begun)
    return quantiles(taken)


class MemoryWatch:
    """
    The largest resident memory that a process and its children had together while the block ran, and just before its end.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.peak_mib = dict.fromkeys(pids, 0.0)
        self.last_mib = dict.fromkeys(pids, 0.0)

    def _sample(self) -> None:
        for name, process in self._processes.items():
            total = 0
            for one in (process, *process.children(recursive=True)):
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue  # a child that ended between the two calls
            self.last_mib[name] = total / 2**20
            self.peak_mib[name] = max(self.peak_mib[name], self.last_mib[name])

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._sample()

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._sample()
        self._stop.set()
        self._thread.join()


class CpuWatch:
    """
    The processor time that processes and their children use from now on.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._begun = time.perf_counter()
        self._used = {name: self._times(process) for name, process in self._processes.items()}

    @staticmethod
    def _times(process: psutil.Process) -> dict[int, float]:
        taken = {}
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended between the two calls
                taken[one.pid] = sum(one.cpu_times()[:2])
        return taken

    def shares(self) -> dict[str, float]:
        """
        Return what share of one core each has used.
        """
        took = time.perf_counter() - self._begun
        return {
            name: sum(used - self._used[name].get(pid, 0.0) for pid, used in self._times(process).items()) / took
            for name, process in self._processes.items()
        }


def visible_after(make: Callable[[], object], seen: Callable[[], bool]) -> float:
    """
    Do something, and return how many seconds later it was seen.
    """
    make()
    begun = time.perf_counter()
    while not seen():
        if time.perf_counter() - begun > VISIBLE_TIMEOUT_S:
            raise NotVisible(f"not visible within {VISIBLE_TIMEOUT_S} s")
    return time.perf_counter() - begun


def best_of(run: Callable[[], object], times: int = 3) -> float:
    """
    Return the median of some runs, seconds.
    """
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def million_additions_ms() -> float:
    """
    Return how long a plain loop takes now: on a machine that is shared, how fast it is changes from minute to minute.
    """

    def add() -> None:
        total = 0
        for number in range(1_000_000):
            total += number

    return best_of(add, 5) * 1000


def find_printf(root: Path) -> None:
    """
    Let `find` print type, size, time and path of every entry.
    """
    subprocess.run(["find", str(root), "-printf", r"%y %s %T@ %P\n"], stdout=subprocess.DEVNULL, check=True)


def bare_walk(root: Path) -> int:
    """
    Walk with os.scandir and stat every entry: the least that any Python program must do. Returns how many.
    """
    count = 0
    folders = [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return count
