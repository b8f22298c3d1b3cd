"""
How often tables are read again as a whole because of rows that the consumer is owed and that can't be read by their keys.

Each such event alone would have its table read again, and while that goes on more come. So a table waits (remembered in
`SyncMemory.put_off`, so nothing is lost) until no snapshot is under way, and then for a multiple of the time the last one took.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_PAUSE_FOR_READING: Final = 3.0
"""
Seconds without for each second of reading: a quarter of the time at most is spent on reading again.
"""


class GapPace:
    """
    Tells when the tables that were put off are to be read again.

    Args:
        pause_s: Least pause after such a reading.
        clock: Monotonic seconds.
    """

    def __init__(self, pause_s: float, clock: Callable[[], float]) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._began_at: float | None = None
        self._not_before = -1e9

    def is_due(self, *, is_busy: bool) -> bool:
        """
        Tell whether it is time; `is_busy`: a snapshot is under way or asked for. To be asked often: it notices when one has ended.
        """
        if is_busy:
            return False
        now = self._clock()
        if self._began_at is not None:
            self._not_before = now + max(self._pause_s, _PAUSE_FOR_READING * (now - self._began_at))
            self._began_at = None
        return now >= self._not_before

    def begun(self) -> None:
        """
        The tables are read again from now on.
        """
        self._began_at = self._clock()
