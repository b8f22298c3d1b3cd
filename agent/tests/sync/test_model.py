"""
The real engine inside the model: converges, keeps its order and its bounds, whatever happens in between.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parent))
from model_of_engine import EngineModel

SETTINGS = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


class IndexModel(EngineModel):
    ordering = "index"


class ArrivalModel(EngineModel):
    ordering = "arrival"


def test_a_target_that_settles_by_index_always_converges() -> None:
    """Whatever is interleaved, crashed, lost or refused: an index target equals the source in the end."""
    run_state_machine_as_test(IndexModel, settings=SETTINGS)


def test_a_target_that_knows_only_upsert_and_delete_always_converges() -> None:
    """The same for a consumer without versions, for which order of arrival is all there is."""
    run_state_machine_as_test(ArrivalModel, settings=SETTINGS)
