"""
Which index is a safe checkpoint (docs/architecture.md, Versions and order).

Index P is safe once every event with an index <= P is acknowledged and the stream has moved past P. A `Unit` stands for
one live event of the stream, in stream order; it is settled when all of its rows were acknowledged (or parked).

Invariant: `checkpoint` never goes back.
"""

from __future__ import annotations

from collections import deque


class Unit:
    """
    One event of the live stream until it is settled.

    Attributes:
        floor: The largest index that the stream had passed when the event came: safe while this unit is not settled.
        pending: Parts of it that are not settled.
        completes: Older ones, each of which has a part that is settled with this one.
    """

    __slots__ = ("completes", "floor", "pending", "seq", "tracker")

    def __init__(self, tracker: AckTracker, seq: int, floor: int) -> None:
        self.tracker = tracker
        self.seq = seq
        self.floor = floor
        self.pending = 1
        self.completes: list[Unit] = []


class AckTracker:
    """
    Follows the stream of one epoch: what was seen, what was passed, what was acknowledged.

    Attributes:
        last: Index of the newest event or mark seen; -1 = none.
        passed: No event with an index at or below this one comes any more (but for repetitions).
    """

    def __init__(self, start: int = -1) -> None:
        self.last = start
        self.passed = start
        self._safe = start
        self._seq = 0
        self._units: deque[Unit] = deque()

    @property
    def checkpoint(self) -> int:
        """
        The newest safe index; -1 = none.
        """
        return self._safe

    @property
    def seen_seq(self) -> int:
        """
        Number of the newest unit.
        """
        return self._seq

    @property
    def settled_seq(self) -> int:
        """
        Number of the newest unit with every unit up to it settled.
        """
        return self._units[0].seq - 1 if self._units else self._seq

    @property
    def unsettled(self) -> int:
        """
        How many events are not acknowledged.
        """
        return len(self._units)

    def mark(self, index: int) -> None:
        """
        Take a progress mark.
        """
        if index > self.last:
            self.last = index
        if index > self.passed:
            self.passed = index
        self._advance()

    def event(self, index: int) -> Unit:
        """
        Take an event and return its unit.
        """
        # A smaller index is a repetition after the stream was opened anew: what it repeats is accounted for already.
        if index > self.last and self.last > self.passed:
            self.passed = self.last
        self.last = index
        self._seq += 1
        unit = Unit(self, self._seq, self.passed)
        self._units.append(unit)
        return unit

    def settle(self, unit: Unit) -> None:
        """
        One part of a unit was acknowledged or parked.
        """
        unit.pending -= 1
        if unit.pending <= 0:
            completed, unit.completes = unit.completes, []
            for older in completed:
                older.tracker.settle(older)
            units = self._units
            while units and units[0].pending <= 0:
                units.popleft()
            self._advance()

    def _advance(self) -> None:
        # Invariant 4: only what was passed, and never past an event that is not acknowledged.
        safe = self._units[0].floor if self._units else self.passed
        if safe > self._safe:
            self._safe = safe
