"""
How fast a sync is, over the last seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

WINDOW_S: Final = 10.0


class Sample(NamedTuple):
    """
    What was counted at a time.
    """

    at: float
    read_rows: int
    pushed_rows: int
    pushed_events: int
    snapshot_rows: int


class Rates(NamedTuple):
    """
    How many each second.
    """

    read_rows: float = 0.0
    pushed_rows: float = 0.0
    pushed_events: float = 0.0
    snapshot_rows: float = 0.0


def rates(samples: Sequence[Sample], now: Sample) -> Rates:
    """
    Return how many each second, from the oldest sample of the last seconds to now. A sync that does nothing takes no samples: the newest
    one is as good then.
    """
    if not samples:
        return Rates()
    first = next((one for one in samples if now.at - one.at <= WINDOW_S), samples[-1])
    seconds = now.at - first.at
    if seconds <= 0:
        return Rates()
    return Rates(*((end - begin) / seconds for begin, end in zip(first[1:], now[1:], strict=True)))
