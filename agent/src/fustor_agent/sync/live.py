"""
The live lane: events of the stream wait here, and become pushes.

Neighbours: `ordering` (who waits for whom), `traffic` (what is under way), `batcher` (where a push is cut).
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from fustor_agent.sync.batcher import event_bytes, rows_that_fit
from fustor_agent.sync.checkpoint import Unit
from fustor_agent.sync.keys import is_partial, with_rows
from fustor_agent.sync.ordering import KeySet, Push
from fustor_agent.sync.position import Position
from fustor_agent.sync.settings import SyncSettings
from fustor_agent.sync.traffic import Traffic
from fustor_core.models.event import EventBase

_MOST_HELD = 1000
"""
Events looked past in search of one that needs not wait for a chunk.
"""


class Queued(NamedTuple):
    """
    A live event that waits for a push.
    """

    event: EventBase
    unit: Unit
    size: int
    epoch: int


class LiveLane:
    """
    Queues live events and builds pushes of them.

    Args:
        position: Where the sync is.
        traffic: What is under way.
        settings: Sizes and waits.
        ordering: The pusher's.
        batch_rows: Most rows in a push.

    Attributes:
        has_pushed: A live row went out.
        queue_bytes: Bytes that wait (estimated).
    """

    def __init__(
        self,
        position: Position,
        traffic: Traffic,
        settings: SyncSettings,
        ordering: Literal["index", "arrival"],
        batch_rows: int,
    ) -> None:
        self.has_pushed = False
        self.queue_bytes = 0
        self._position = position
        self._traffic = traffic
        self._settings = settings
        self._arrival = ordering == "arrival"
        self._batch_rows = batch_rows
        self._queue: deque[Queued] = deque()
        self._control_at = -1e9

    @property
    def wants_more(self) -> bool:
        """
        Whether there is room for live events.
        """
        return self.has_room and not self.is_far_ahead

    @property
    def has_room(self) -> bool:
        """
        Whether the queue is not full.
        """
        return len(self._queue) < self._settings.queue_events and self.queue_bytes < self._settings.queue_bytes

    @property
    def is_far_ahead(self) -> bool:
        """
        Whether so much came after something that is not settled yet that no more is taken before it is.
        """
        return self._position.tracker.unsettled >= 4 * self._settings.queue_events

    @property
    def waiting(self) -> int:
        """
        Events that wait for a push.
        """
        return len(self._queue)

    @property
    def oldest_ts(self) -> float | None:
        """
        When the oldest event that is not acknowledged was committed at the source; None = there is none, or the source does not say.
        """
        if pushes := self._traffic.under_way["message"]:
            return next((event.ts for push in pushes for event in push.events[:1]), None)
        return self._queue[0].event.ts if self._queue else None

    def add(self, event: EventBase) -> Unit:
        """
        Take the next live event; return its unit.
        """
        unit = self._position.tracker.event(event.index)
        if self._arrival and event.ordinal is not None:
            # Invariant 9: who knows rows by key alone can't count copies. The sync's status names the table.
            unit.tracker.settle(unit)
            return unit
        size = event_bytes(event)
        self.queue_bytes += size
        self._queue.append(Queued(event, unit, size, self._position.memory.epoch))
        return unit

    def sent(self, push: Push, now: float) -> None:
        """
        A push of this lane went out.
        """
        self._control_at = now
        self.has_pushed = self.has_pushed or push.kind == "rows"

    def next_push(self) -> Push | None:
        """
        Return the next push with rows that may go out now.
        """
        retry = self._traffic.retry["message"]
        if retry:
            if self._traffic.transit["message"] and (self._arrival or retry[0].serial):
                return None
            return retry.popleft()
        under_way = self._traffic.under_way["message"]
        if not self._queue or len(under_way) >= (1 if self._arrival else self._settings.live_in_flight):
            return None
        if any(push.serial for push in under_way):
            return None
        return self._build()

    def next_control(self, now: float) -> Push | None:
        """
        Return the push without rows that is due: it suggests a snapshot, or carries the checkpoint.
        """
        traffic = self._traffic
        if traffic.transit["message"] or traffic.retry["message"] or self._queue:
            return None
        position = self._position
        suggest = position.is_gap_untold and not any(map(position.tells_gap, traffic.under_way["snapshot"]))
        # Invariant 10: an idle source still advances its checkpoint.
        due = position.has_news and now - self._control_at >= self._settings.checkpoint_interval_s
        return Push("message", "control", [], position.memory.epoch) if suggest or due else None

    def _build(self) -> Push | None:
        queue, settings = self._queue, self._settings
        live, chunks = self._traffic.under_way["message"], self._traffic.under_way["snapshot"]
        events: list[EventBase] = []
        units: list[Unit] = []
        held: list[Queued] = []
        blocked = KeySet()
        rows = size = 0
        epoch = -1
        while queue and len(held) < _MOST_HELD:
            item = queue[0]
            event = item.event
            count = len(event.rows)
            if events and (
                item.epoch != epoch or rows + count > self._batch_rows or size + item.size > settings.batch_bytes
            ):
                break
            if live and self._follows_live(event, live):
                break
            queue.popleft()
            if (held and blocked.touches(event)) or (chunks and self._waits_for_chunk(event, chunks)):
                held.append(item)
                blocked.add(event)
                continue
            self.queue_bytes -= item.size
            fit = rows_that_fit(event.rows, self._batch_rows, settings.batch_bytes)
            if fit < count:
                rest = with_rows(event, event.rows[fit:], skipped=fit)
                item.unit.pending += 1
                queue.appendleft(Queued(rest, item.unit, event_bytes(rest), item.epoch))
                self.queue_bytes += queue[0].size
                event, count = with_rows(event, event.rows[:fit]), fit
            events.append(event)
            units.append(item.unit)
            epoch = item.epoch
            rows += count
            size += item.size
            if fit < len(item.event.rows):
                break
        queue.extendleft(reversed(held))
        return Push("message", "rows", events, epoch, units=units) if events else None

    def _follows_live(self, event: EventBase, live: list[Push]) -> bool:
        # By index alone a consumer can't order two changes of one key in one transaction, nor complete a row that is
        # not there yet: those wait for what came before them.
        partial = is_partial(event)
        return any((partial or event.index <= push.last_index) and push.keys.touches(event) for push in live)

    def _waits_for_chunk(self, event: EventBase, chunks: list[Push]) -> bool:
        # Invariant 3: a live row with a key in a chunk that is under way waits for it; others don't.
        if self._arrival:
            return any(push.keys.touches(event) for push in chunks)
        partial = is_partial(event)
        return any(
            (push.merged and push.merged_keys.touches(event)) or (partial and push.keys.touches(event))
            for push in chunks
        )
