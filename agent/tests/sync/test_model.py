"""
The real engine inside the model: converges, keeps its order and its bounds, whatever happens in between.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parent))
from model_of_engine import EngineModel, OwedModel

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


class SweepingModel(EngineModel):
    ordering = "arrival"
    sweeps = True


class OwedIndexModel(OwedModel):
    ordering = "index"


class OwedArrivalModel(OwedModel):
    ordering = "arrival"


class OwedSweepingModel(OwedModel):
    ordering = "arrival"
    sweeps = True


def test_a_target_that_settles_by_index_always_converges() -> None:
    """Whatever is interleaved, crashed, lost or refused: an index target equals the source in the end."""
    run_state_machine_as_test(IndexModel, settings=SETTINGS)


def test_a_target_that_knows_only_upsert_and_delete_always_converges() -> None:
    """The same for a consumer without versions, for which order of arrival is all there is."""
    run_state_machine_as_test(ArrivalModel, settings=SETTINGS)


def test_a_target_that_sweeps_by_what_snapshots_show_always_converges() -> None:
    """The same for the guide's consumer: order of arrival, and at a snapshot's end a sweep."""
    run_state_machine_as_test(SweepingModel, settings=SETTINGS)


@pytest.mark.parametrize("model", [OwedIndexModel, OwedArrivalModel, OwedSweepingModel])
def test_rows_of_which_updates_tell_too_little_always_converge(model: type[OwedModel]) -> None:
    """Updates are held back from each kind of target, and the rows read by key instead: it equals the source all the same."""
    run_state_machine_as_test(model, settings=SETTINGS)
