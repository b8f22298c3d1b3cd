"""
Waiting and sessions: how long to wait after a failure, and when superseded sessions mean a second agent.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Backoff:
    """
    Exponential waits with full jitter.

    Args:
        first_s: Upper bound of the first wait.
        most_s: Upper bound of every wait.
        rng: Where jitter comes from.
    """

    def __init__(self, first_s: float, most_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._most_s = max(most_s, first_s)
        self._rng = rng
        self.failures = 0

    def next_wait(self, asked_s: float | None = None) -> float:
        """
        Count a failure and return how long to wait; never less than the other side asked for.
        """
        bound = min(self._most_s, self._first_s * 2 ** min(self.failures, 30))
        self.failures += 1
        # Never below a tenth of the bound: full jitter may otherwise draw a run of waits near zero.
        wait = self._rng.uniform(bound / 10, bound)
        return wait if asked_s is None else max(wait, asked_s)

    def reset(self) -> None:
        """
        Something went well.
        """
        self.failures = 0


class SupersedeGuard:
    """
    Tells a session that was superseded once (a restart, a time-out) from two agents that fight over a sync.
    """

    def __init__(self, limit: int, window_s: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._times: deque[float] = deque()

    def superseded(self) -> bool:
        """
        Count one; return whether there were too many in the window.
        """
        now = self._clock()
        self._times.append(now)
        while self._times and self._times[0] < now - self._window_s:
            self._times.popleft()
        return len(self._times) >= self._limit
