"""
Quotas of a datastore: how much it may hold, as its policy at the Registry says.

Looked at before a push is queued. A datastore over its quota takes no more rows, only deletions and progress; senders are
told to wait. What is under way when the quota is reached is still stored, so it may be exceeded by that much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fustor_core.errors import QuotaExceeded
from fustor_core.models.envelope import Envelope

MEASURE_EVERY_S: Final = 1.0
MEASURE_SHARE: Final = 0.05  # counting the rows of a large datastore takes a while: no more of the time than this
WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """
    What a datastore holds; `rows` is None when nobody asked for them.
    """

    rows: int | None
    bytes: int


class Quota:
    """
    The quota of one datastore. Event loop only; without a limit it costs nothing.

    Args:
        measure: Tells what the datastore holds, its rows only when asked; may block, so it runs in a thread.
        clock: Monotonic seconds.
    """

    def __init__(self, measure: Callable[[bool], Usage], clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._max_rows: int | None = None
        self._max_bytes: int | None = None
        self._usage: Usage | None = None
        self._measure_again_at = 0.0
        self._measuring: asyncio.Task[Usage] | None = None

    def limit(self, max_rows: int | None, max_bytes: int | None) -> None:
        """
        Set the limits; None = none.
        """
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._usage = None

    async def check(self, envelope: Envelope) -> None:
        """
        See whether a push may bring its rows.

        Raises:
            QuotaExceeded: The datastore holds too much; nothing of the push was taken.
        """
        if self._max_rows is None and self._max_bytes is None:
            return
        if not any(event.rows and event.event_type != "delete" for event in envelope.events):
            return
        usage = await self._current()
        for name, held, most in (("rows", usage.rows, self._max_rows), ("bytes", usage.bytes, self._max_bytes)):
            if most is not None and held is not None and held > most:
                raise QuotaExceeded(
                    f"the datastore holds {held} {name}, and its quota is {most}",
                    wait_s=WAIT_S,
                    context={"quota": name, "held": held, "most": most},
                )

    async def _current(self) -> Usage:
        if self._usage is not None and self._clock() < self._measure_again_at:
            return self._usage
        if self._measuring is None:
            self._measuring = asyncio.create_task(asyncio.to_thread(self._measure_timed))
        measuring = self._measuring
        try:
            self._usage = await asyncio.shield(measuring)
        finally:
            if self._measuring is measuring:
                self._measuring = None
        return self._usage

    def _measure_timed(self) -> Usage:
        began = self._clock()
        usage = self._measure(self._max_rows is not None)
        ended = self._clock()
        self._measure_again_at = ended + max(MEASURE_EVERY_S, (ended - began) / MEASURE_SHARE)
        return usage
