"""
The model of `fustor_core.testing`, driving the real engine.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from fustor_agent.sync.engine import SyncEngine
from fustor_agent.sync.ports import SyncMemory
from fustor_agent.sync.settings import SyncSettings
from fustor_core.testing.model import Engine, SyncModel

SMALL = SyncSettings(
    batch_rows=3, live_in_flight=3, snapshot_in_flight=2, queue_events=8, held_chunks=3, chunk_rows=2, touched_keys=40
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
