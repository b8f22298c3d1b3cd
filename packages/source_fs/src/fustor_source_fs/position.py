"""
The clock that positions come from: microseconds since the epoch that only grow, whatever the system clock does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

WATERMARK_GAP = 20_000
"""
Positions kept free below a high watermark, for events of changes that were made before it and are sent after it was taken.
"""
LEASE_US = 60_000_000
"""
How far ahead of use positions are set aside on disk, microseconds.
"""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(position: int) -> str:
    """
    Return the time of a position, in UTC.
    """
    return (_EPOCH + timedelta(microseconds=position)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Clock:
    """
    Hands out positions, each larger than all before, also than those of earlier runs.

    Positions up to a ceiling are set aside on disk before they are handed out, so that a crash never leads to a
    position being used twice, and handing one out rarely costs a write.

    Args:
        last: The largest position an earlier run may have handed out.
        reserve: Writes a new ceiling; called with the lock held.
        lock: Guards the clock; shared with the index that `reserve` writes to.
        now_us: The system clock, microseconds.
    """

    def __init__(
        self,
        last: int,
        reserve: Callable[[int], None],
        lock: threading.RLock,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._last = last
        self._ceiling = last
        self._watermarks: list[int] = []
        self._reserve = reserve
        self._lock = lock
        self._now_us = now_us

    @property
    def last(self) -> int:
        """
        The position handed out last: every later one is larger.
        """
        return self._last

    @property
    def ceiling(self) -> int:
        """
        The largest position set aside on disk.
        """
        return self._ceiling

    def next(self) -> int:
        """
        Hand out the next position. It stays below the watermarks that are not reached yet, as long as there is room.
        """
        with self._lock:
            value = max(self._last + 1, self._now_us())
            for watermark in self._watermarks:
                if self._last + 1 < watermark <= value:
                    value = self._last + 1
                    break
            return self._hand_out(value)

    def watermark(self) -> int:
        """
        Set aside a position for a high watermark: until `reach` is called for it, `next` stays below it.
        """
        with self._lock:
            above = max(self._last, self._watermarks[-1] if self._watermarks else 0)
            value = max(above + 1, self._now_us()) + WATERMARK_GAP
            self._watermarks.append(value)
            return value

    def reach(self, watermark: int) -> int:
        """
        Hand out the position of a high watermark, now that all before it was sent; a later one if it was passed.
        """
        with self._lock:
            self._watermarks = [other for other in self._watermarks if other > watermark]
            return self._hand_out(max(watermark, self._last + 1))

    def forget_watermarks(self) -> None:
        """
        Give up the watermarks that were not reached: the stream they were for has ended.
        """
        with self._lock:
            self._watermarks.clear()

    def _hand_out(self, value: int) -> int:
        if value > self._ceiling:
            self._reserve(value + LEASE_US)
            self._ceiling = value + LEASE_US
        self._last = value
        return value
