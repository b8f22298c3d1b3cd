"""
What flows into a datastore now: rows and bytes per second of each sync, how long rows took to come, and when each table or tree last changed.

Counted on the applier thread after each commit, in memory. When a table last changed is also written to the store, every few seconds:
a restart, or a kill, costs no more than that.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fustor_core.models.envelope import WireEvent

KEPT_S: Final = 60
RATE_S: Final = 10
"""
Rates are the mean over so many seconds: long enough not to flicker, short enough to be of now.
"""

_SAVE: Final = "INSERT OR REPLACE INTO stream(task_id, schema, name, changed_at, lag_s) VALUES (?, ?, ?, ?, ?)"

Name = tuple[str, str, str]


class Meter:
    """
    Counts rows and bytes by the second, for the last minute.

    Args:
        clock: Monotonic seconds.
    """

    __slots__ = ("_bytes", "_clock", "_rows", "_seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = [-1] * KEPT_S
        self._rows = [0] * KEPT_S
        self._bytes = [0] * KEPT_S

    def add(self, rows: int, size: int) -> None:
        """
        Count something that came just now.
        """
        second = int(self._clock())
        at = second % KEPT_S
        if self._seconds[at] != second:
            self._rows[at] = self._bytes[at] = 0
            self._seconds[at] = second
        self._rows[at] += rows
        self._bytes[at] += size

    def rates(self) -> tuple[float, float]:
        """
        Return rows and bytes per second, of the last whole seconds and what of this one has passed.
        """
        now = self._clock()
        first = int(now) - RATE_S
        found = [at for at, second in enumerate(self._seconds) if second >= first]
        passed = now - first
        return sum(self._rows[at] for at in found) / passed, sum(self._bytes[at] for at in found) / passed

    def history(self) -> list[int]:
        """
        Return the rows of each of the last seconds, the oldest first; the one that is under way is not among them.
        """
        last = int(self._clock())
        return [
            self._rows[second % KEPT_S] if self._seconds[second % KEPT_S] == second else 0
            for second in range(last - KEPT_S + 1, last)
        ]


@dataclass(slots=True)
class Last:
    """
    The last live change of a stream.

    Attributes:
        changed_at: When it was stored, nanoseconds since the epoch.
        lag_s: How long it took from the source's commit to here, seconds; None = the source did not say when that was.
    """

    changed_at: int
    lag_s: float | None


class Flow:
    """
    The flow into one datastore. `note`, `save`, `forget` and `rolled_back` on the applier thread; the rest on any.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = Meter(clock)
        self._syncs: dict[str, Meter] = {}
        self._lags: dict[str, float] = {}
        self._streams: dict[Name, Last] = {}
        self._unsaved: set[Name] = set()

    def load(self, conn: sqlite3.Connection) -> None:
        """
        Read when each stream last changed.
        """
        for task_id, schema, name, changed_at, lag_s in conn.execute(
            "SELECT task_id, schema, name, changed_at, lag_s FROM stream"
        ):
            self._streams[task_id, schema, name] = Last(changed_at, lag_s)

    def note(self, task_id: str, events: Iterable[WireEvent], rows: int, size: int, *, is_live: bool) -> None:
        """
        Take note of a push that was stored.
        """
        meter = self._syncs.get(task_id)
        if meter is None:
            meter = self._syncs[task_id] = Meter(self._clock)
        meter.add(rows, size)
        self.total.add(rows, size)
        if not is_live or not rows:
            return
        now = time.time_ns()
        for event in events:
            if not event.rows:
                continue
            # A clock that runs ahead at the source must not make time negative.
            lag_s = None if event.ts is None else max(0.0, now / 1e9 - event.ts)
            name = (task_id, event.event_schema, event.table)
            last = self._streams.get(name)
            if last is None:
                self._streams[name] = Last(now, lag_s)
            else:
                last.changed_at, last.lag_s = now, lag_s
            self._unsaved.add(name)
            if lag_s is not None:
                self._lags[task_id] = lag_s

    def save(self, conn: sqlite3.Connection) -> None:
        """
        Write when streams last changed, inside the transaction under way.
        """
        if self._unsaved:
            names, self._unsaved = self._unsaved, set()
            found = ((name, self._streams.get(name)) for name in names)
            conn.executemany(_SAVE, [(*name, last.changed_at, last.lag_s) for name, last in found if last is not None])

    def forget(self, conn: sqlite3.Connection, task_id: str) -> None:
        """
        Forget a sync of which nothing is stored any more, inside the transaction under way.
        """
        self._syncs.pop(task_id, None)
        self._lags.pop(task_id, None)
        names = [name for name in self._streams if name[0] == task_id]
        if names:
            conn.execute("DELETE FROM stream WHERE task_id = ?", (task_id,))
        for name in names:
            self._streams.pop(name, None)
            self._unsaved.discard(name)

    def rolled_back(self) -> None:
        """
        What was written last did not become durable.
        """
        self._unsaved.update(self._streams)

    def rates(self, task_id: str) -> tuple[float, float]:
        """
        Return rows and bytes per second of a sync.
        """
        meter = self._syncs.get(task_id)
        return (0.0, 0.0) if meter is None else meter.rates()

    def lag_s(self, task_id: str) -> float | None:
        """
        Return how long the newest row of a sync took to come; None = unknown, or none came since Fusion was started.
        """
        return self._lags.get(task_id)

    def last(self, name: Name) -> Last | None:
        """
        Return the last live change of a stream; None = there was none.
        """
        return self._streams.get(name)
