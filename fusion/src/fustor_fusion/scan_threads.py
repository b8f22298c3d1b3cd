"""
The threads that look through tables. They are few and of a lower priority than those that store and answer, so that long questions wait for
each other and nobody for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

THREADS: Final = 2
NICE: Final = 5


class ScanThreads:
    """
    Runs long reads.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "fusion-scan", initializer=_give_way)

    async def run(self, work: Callable[[], T]) -> T:
        """
        Run something in one of the threads.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """
        End the threads; what waits is not done any more. Blocks.
        """
        self._pool.shutdown(cancel_futures=True)


def _give_way() -> None:
    # Of this thread alone, on Linux; where that is not allowed it runs as the others do.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
