"""
What a consumer counts that has a table without a key: the plain truth that better stores are compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fustor_core.models.event import EventBase, EventType


class NumberedRows:
    """
    The copies of rows of a table without a key, as plainly as can be: everything that came is kept by its identity.
    """

    def __init__(self) -> None:
        self.live: dict[tuple[tuple[int, int], int], tuple[int, int]] = {}
        self.base: tuple[tuple[int, int], dict[int, int]] = ((-1, -1), {})
        self.reading: tuple[str, tuple[int, int], dict[int, int]] | None = None
        self.total: int | None = None
        self.confirmed = ""

    def apply(self, event: EventBase, epoch: int, snapshot_id: str | None) -> None:
        """
        Apply an event.
        """
        place, first = (epoch, event.index), event.ordinal or 0
        rows = {
            first + at: (row if isinstance(row, Mapping) else dict(zip(event.fields, row, strict=True)))["n"]
            for at, row in enumerate(event.rows)
        }
        if snapshot_id is None:
            step = 1 if event.event_type is EventType.INSERT else -1
            self.live.update({(place, ordinal): (n, step) for ordinal, n in rows.items()})
            return
        if place < self.base[0]:
            self.confirmed = snapshot_id
            return
        if self.reading is None or self.reading[0] != snapshot_id or self.reading[1] < place:
            self.reading, self.total = (snapshot_id, place, {}), None
        if self.reading[1] > place:
            return
        self.reading[2].update(rows)
        if not event.rows:
            self.total = event.ordinal
        if self.total == len(self.reading[2]):
            self.base = self.reading[1:]
            self.confirmed = snapshot_id

    def sweep(self, snapshot_id: str, start: tuple[int, int]) -> None:
        """
        A snapshot has ended: what it has read is all there is.
        """
        if self.reading is not None and self.reading[0] == snapshot_id:
            self.base = self.reading[1:]
        elif self.confirmed != snapshot_id:
            self.base = (max(start, self.base[0]), {})

    def bag(self) -> Counter[int]:
        """
        Return how many copies of each row there are.
        """
        bag = Counter(self.base[1].values())
        for (place, _), (n, step) in self.live.items():
            if place > self.base[0]:
                bag[n] += step
        return bag
