"""
The model of `fustor_core.testing`, driving the real engine.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from hypothesis.stateful import rule

from fustor_agent.sync.engine import SyncEngine
from fustor_agent.sync.owed import RowsOrder, RowsRead, Untold
from fustor_agent.sync.ports import SyncMemory
from fustor_agent.sync.settings import SyncSettings
from fustor_core.errors import ConnectionLost
from fustor_core.models.event import EventBase, EventType, progress_mark
from fustor_core.testing.model import Engine, SyncModel

SMALL = SyncSettings(
    batch_rows=3,
    live_in_flight=3,
    snapshot_in_flight=2,
    queue_events=8,
    held_chunks=3,
    chunk_rows=2,
    touched_keys=40,
    owed_rows=4,
    owed_at_once=2,
    owed_pause_s=3.0,
)


class EngineModel(SyncModel):
    """
    The model around the engine, with limits small enough to be reached.
    """

    engine_class: ClassVar[type[SyncEngine]] = SyncEngine

    def new_memory(self) -> Any:
        return SyncMemory()

    def make_engine(self, memory: Any) -> Engine:
        engine: Any = self.engine_class(
            ordering=self.ordering,
            memory=memory,
            save=self.saved,
            park=self.parked,
            clock=self.clock,
            rng=random.Random(7),
            new_id=self.new_id,
            settings=SMALL,
            batch_rows=SMALL.batch_rows,
        )
        return engine  # type: ignore[no-any-return]


class OwedModel(EngineModel):
    """
    The same with a filter that can't decide by what most updates tell: those don't reach the target, and their rows are read by key.
    """

    reading_rows: tuple[RowsOrder, int] | None = None
    rows_found: tuple[RowsOrder, list[EventBase]] | None = None
    settling = False

    def make_engine(self, memory: Any) -> Engine:
        engine: Any = super().make_engine(memory)
        feed = engine.feed

        def feed_with_untold(event: EventBase) -> None:
            feed(event, Untold("", list(range(len(event.rows)))) if is_held_back(event) else None)

        engine.feed = feed_with_untold
        return engine  # type: ignore[no-any-return]

    def _start(self) -> None:
        self.reading_rows = self.rows_found = None
        super()._start()

    def _apply(self, push: Any, control: dict[str, Any]) -> dict[str, Any]:
        whole = push.events
        push.events = [event for event in whole if not is_held_back(event)]
        try:
            return super()._apply(push, control)
        finally:
            push.events = whole

    def _check_arrival(self, push: Any) -> None:
        # A row that went out because the stream had to wait may be newer than the stream, which brings the same once more.
        return

    @rule()
    def open_rows(self) -> None:
        """
        The low watermark of rows that are owed is taken.
        """
        if self.reading_rows is None and self.rows_found is None and (order := self.engine.rows_order()) is not None:  # type: ignore[attr-defined]
            self.reading_rows = (order, self.database.low_watermark())

    @rule()
    def find_rows(self) -> None:
        """
        They are read.
        """
        if self.reading_rows is not None:
            (order, low), self.reading_rows = self.reading_rows, None
            found = self.database.found(low, order.table[1], [key for (key,) in order.keys])
            self.rows_found = (order, [progress_mark(low), *found])

    @rule()
    def take_rows(self) -> None:
        """
        Their high watermark is taken, and they are handed over.
        """
        if self.rows_found is not None:
            (order, events), self.rows_found = self.rows_found, None
            engine: Any = self.engine
            engine.rows_read(order, RowsRead(events, self.database.newest))

    def fail_rows(self, *, for_good: bool) -> None:
        """
        Reading them fails, or can't be done.
        """
        engine: Any = self.engine
        if self.reading_rows is not None:
            (order, _), self.reading_rows = self.reading_rows, None
            if for_good:
                engine.rows_read(order, None)
            else:
                engine.rows_failed(order, ConnectionLost("gone"))

    def _ordinary_step(self, rng: random.Random) -> None:
        steps = [self.open_rows, self.find_rows, self.take_rows]
        roll = rng.random()
        if roll < 0.25:
            rng.choice(steps)()
        elif roll < 0.27:
            self.open_rows()
            self.fail_rows(for_good=rng.random() < 0.2)
        else:
            super()._ordinary_step(rng)

    def take_high(self) -> None:
        super().take_high()
        if self.settling:
            for step in (self.take_rows, self.open_rows, self.find_rows, self.take_rows):
                step()

    def settle(self) -> None:
        self.settling = True
        super().settle()

    def _is_quiet(self) -> bool:
        engine: Any = self.engine
        return super()._is_quiet() and not engine.owed.rows.count


def is_held_back(event: EventBase) -> bool:
    """
    Tell whether an update tells only one of the columns `a` and `b`.
    """
    return event.event_type is EventType.UPDATE and not all({"a", "b"} <= row.keys() for row in event.rows)  # type: ignore[union-attr]
