"""
Where the time of a first snapshot goes: py-spy looks at agent and Fusion while they work, and what it saw is summed up.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RATE_HZ = 250
END_TIMEOUT_S = 30.0
SHOWN = 12

Row = tuple[str, str]


class Profile:
    """
    Samples of some processes, taken while the block ran.

    Args:
        pids: Process ids by name.
        folder: Where samples are kept.
    """

    def __init__(self, pids: dict[str, int], folder: Path) -> None:
        self._files = {name: folder / f"{name}.stacks" for name in pids}
        self._pids = pids

    @contextmanager
    def taken(self) -> Iterator[None]:
        """
        Sample while inside.
        """
        options = [
            "--rate",
            str(RATE_HZ),
            "--threads",
            "--function",
            "--nonblocking",
            "--duration",
            "600",
            "--format",
            "raw",
        ]
        watching = [
            subprocess.Popen(
                ["py-spy", "record", "--pid", str(pid), *options, "--output", str(self._files[name])],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, pid in self._pids.items()
        ]
        try:
            yield
        finally:
            for one in watching:
                one.send_signal(2)  # as Ctrl-C: it writes what it has
            for one in watching:
                one.wait(END_TIMEOUT_S)

    def rows(self) -> list[Row]:
        """
        Return the functions that ran most, with their shares of all samples of their process in which a thread was at work.
        """
        found = []
        for name, file in self._files.items():
            threads: Counter[str] = Counter()
            functions: Counter[str] = Counter()
            for line in file.read_text("utf-8").splitlines():
                stack, _, count = line.rpartition(" ")
                frames = stack.split(";")
                thread = frames[0].removeprefix("thread (").rstrip(")").partition(": ")[2] or frames[0]
                threads[thread] += int(count)
                functions[frames[-1]] += int(count)
            total = sum(threads.values())
            for thread, count in threads.most_common(6):
                found.append((f"profile of {name}: thread `{thread}`", f"{100 * count / total:.0f} %"))
            for function, count in functions.most_common(SHOWN):
                found.append((f"profile of {name}: in `{function}`", f"{100 * count / total:.0f} %"))
        return found
