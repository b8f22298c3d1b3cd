"""
Pauses between two reads of a stream that is behind.

The server sends each message by itself. When a reader waits for it, every one of them wakes that reader, and over TCP on the same
machine it passes the whole network stack at the server's cost: the server's one process then sets the pace. While nobody reads,
messages pile up in the socket at a fraction of that. So a reader that is behind gathers for a moment first: the longer, the
further it is behind, which shows in how much of the time it is at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SHORTEST_S: Final = 0.001
LONGEST_S: Final = 0.016
_LONGER_ABOVE: Final = 0.3
_SHORTER_BELOW: Final = 0.15


class Pauses:
    """
    The pauses of one reader. A pause doubles while what the one before brought keeps the reader at work for a good part of the
    time, as only a backlog does, and halves when that is over.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._length_s = SHORTEST_S
        self._last: tuple[float, float] | None = None  # when the last pause began and ended

    def take(self) -> None:
        """
        Pause.
        """
        now = self._clock()
        if self._last is not None:
            began, ended = self._last
            busy = (now - ended) / (now - began)
            if busy > _LONGER_ABOVE:
                self._length_s = min(self._length_s * 2, LONGEST_S)
            elif busy < _SHORTER_BELOW:
                self._length_s = max(self._length_s / 2, SHORTEST_S)
        self._sleep(self._length_s)
        self._last = now, self._clock()

    def caught_up(self) -> None:
        """
        Begin anew: all that was there has been read.
        """
        self._length_s = SHORTEST_S
        self._last = None
