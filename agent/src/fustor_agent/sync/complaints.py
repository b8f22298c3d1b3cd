"""
What goes wrong again and again, told in the log once and then at growing intervals: a consumer that is away for a night must not fill it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 60.0
LONGEST_S: Final = 600.0
"""
How long the same failure is left out after it was told, at first and at most.
"""

_MOST: Final = 64
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?")


@dataclass(slots=True)
class _Complaint:
    told: float
    seen: float
    wait: float = FIRST_S
    left_out: int = 0


class Complaints:
    """
    What one sync has complained of lately.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, _Complaint] = {}

    def due(self, text: str, *, alike: str | None = None) -> str | None:
        """
        Take note of a failure; returns what to log of it, None = nothing: the same was told a short time ago.

        Args:
            text: What is to be told.
            alike: What it has in common with those that are the same; by default its text, where failures that differ in numbers alone
                (a port, how long something took) are the same.
        """
        now, key = self._clock(), _NUMBERS.sub("0", text) if alike is None else alike
        known = self._known.pop(key, None)
        if known is None or now - known.seen > LONGEST_S:
            self._known[key] = _Complaint(told=now, seen=now)
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
            return text
        self._known[key] = known  # the one that was seen last stands last
        known.seen = now
        if now - known.told < known.wait:
            known.left_out += 1
            return None
        if known.left_out:
            text = f"{text} ({known.left_out} times more in the last {now - known.told:.0f} s)"
        known.told, known.left_out, known.wait = now, 0, min(2 * known.wait, LONGEST_S)
        return text
