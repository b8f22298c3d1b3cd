"""
The model has teeth: each rule, broken on purpose in the real engine (or the fake source), is caught.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fustor_agent.sync.checkpoint import AckTracker
from fustor_agent.sync.engine import SyncEngine
from fustor_agent.sync.reconcile import Reconciled, TouchedLog

sys.path.insert(0, str(Path(__file__).parent))
from model_of_engine import EngineModel

RUNS = 3000


class AckEarly(SyncEngine):
    def _on_live_sent(self, push: Any) -> None:
        for unit in push.units:
            if unit.pending > 0:
                unit.tracker.settle(unit)


class SeenIsPassed(AckTracker):
    def event(self, index: int) -> Any:
        self.passed = max(self.passed, index)
        return super().event(index)


class CheckpointBeforeSafe(SyncEngine):
    def stream_opened(self, **facts: Any) -> None:
        super().stream_opened(**facts)
        tracker = SeenIsPassed(self.tracker.last)
        tracker.passed = self.tracker.passed
        self.tracker = tracker


class NoWaitForHigh(SyncEngine):
    def _may_release(self, chunk: Any) -> bool:
        return True


class Untouched(TouchedLog):
    def reconcile(self, event: Any, rows: Any, low: int) -> Reconciled:
        return Reconciled(rows)


class NoTouchedCheck(SyncEngine):
    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.touched = Untouched(self.settings.touched_keys)


class DropPartial(TouchedLog):
    def reconcile(self, event: Any, rows: Any, low: int) -> Reconciled:
        left = super().reconcile(event, rows, low)
        left.merged = []
        return left


class PartialNotMerged(SyncEngine):
    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.touched = DropPartial(self.settings.touched_keys)


class LivePassesChunk(SyncEngine):
    def _waits_for_chunk(self, event: Any, chunks: Any) -> bool:
        return False


class PartialsOvertake(SyncEngine):
    def _follows_live(self, event: Any, live: Any) -> bool:
        return False


class ForgetGap(SyncEngine):
    def _lose_position(self) -> None:
        super()._lose_position()
        self.memory.gap = False


class GapNotSettled(SyncEngine):
    def _is_before_gap_settled(self) -> bool:
        return True


class ReuseEpoch(SyncEngine):
    def _next_epoch(self) -> int:
        return max(self.memory.epoch, 0)


class ReadBeforeLive(SyncEngine):
    def _may_read(self) -> bool:
        return self.stream_open


class Unbounded(SyncEngine):
    @property
    def wants_live(self) -> bool:
        return True


class SwallowMarks(SyncEngine):
    def _take_mark(self, index: int) -> None:
        pass


class NewerBeforeRetry(SyncEngine):
    def _next_live(self) -> Any:
        if self._retry["message"] and self._queue and not self._transit["message"]:
            under_way, self._under_way["message"] = self._under_way["message"], []
            push = self._build_live()
            self._under_way["message"] = under_way
            if push is not None:
                return push
        return super()._next_live()


class ResumeTooFar(SyncEngine):
    def _collect(self, run: Any) -> None:
        super()._collect(run)
        if run.chunks:
            run.progress.resume_token = run.chunks[-1].token
            self._save()


class NeverEnds(SyncEngine):
    def _end(self, run: Any) -> None:
        if self.tracker.settled_seq >= run.barrier:
            self._finish()


class EndTooEarly(SyncEngine):
    def _next_snapshot(self) -> Any:
        if self.run is not None and self.run.chunks and self.run.exhausted and self._under_way["snapshot"] == []:
            self.run.chunks.clear()
        return super()._next_snapshot()


class StartForgotten(SyncEngine):
    def _note_start(self, index: int) -> None:
        pass


class StartNotLearnt(SyncEngine):
    def _learn_start(self, event: Any) -> None:
        self._start_unknown = False


class RefusedAreLost(SyncEngine):
    def _refused(self, push: Any, error: BaseException) -> None:
        self._leave(push)
        for unit in push.units:
            unit.tracker.settle(unit)
        if push.chunk is not None:
            push.chunk.pending -= 1


class UnaskedSnapshot(SyncEngine):
    def heartbeat_answered(self, answer: Any, sent_seq: int) -> None:
        super().heartbeat_answered({"snapshot_needed": True}, sent_seq)


class LateS(SyncEngine):
    def chunk_read(self, generation: int, event: Any, high: int | None) -> None:
        super().chunk_read(generation, event, high)
        if self.run is not None and self.run.start_index is not None:
            self.run.start_index = max(self.run.start_index, high or 0)


BOTH = ("index", "arrival")
MUTATIONS: list[tuple[type[SyncEngine], tuple[str, ...]]] = [
    (AckEarly, BOTH),
    (CheckpointBeforeSafe, BOTH),
    (NoWaitForHigh, BOTH),
    (NoTouchedCheck, BOTH),
    (PartialNotMerged, BOTH),
    (LivePassesChunk, BOTH),
    (PartialsOvertake, ("index",)),
    (ForgetGap, BOTH),
    (GapNotSettled, ("arrival",)),
    (ReuseEpoch, BOTH),
    (ReadBeforeLive, BOTH),
    (Unbounded, BOTH),
    (SwallowMarks, BOTH),
    (NewerBeforeRetry, ("arrival",)),
    (ResumeTooFar, BOTH),
    (NeverEnds, BOTH),
    (EndTooEarly, BOTH),
    (StartForgotten, ("arrival",)),
    (StartNotLearnt, ("index",)),
    (RefusedAreLost, BOTH),
    (UnaskedSnapshot, ("arrival",)),
    (LateS, ("index",)),
]


def run(model: EngineModel, rng: random.Random) -> None:
    """Walk the model's own rules at random; the seed is all that decides."""
    faults: list[Callable[[], object]] = [
        lambda: model.crash_agent(rng.random() < 0.5),
        model.crash_target,
        model.reconnect,
        model.lose_position,
        lambda: model.fail_over(rng.randrange(3)),
        lambda: model.write_poison(rng.choice("tu"), rng.randrange(5)),
        lambda: model.wait(3.0),
        model.heartbeat,
    ]
    # Every other run is short and has no faults: the first snapshot of an empty target is where much is decided.
    faulty = rng.random() < 0.5
    if rng.random() < 0.2:  # a stream that is opened at "now" while a commit before it is not visible yet
        model.write([("update", rng.choice("tu"), rng.randrange(3), 0)], False)
        model.crash_agent(False)
    for _ in range(rng.randrange(3, 20) if faulty else rng.randrange(1, 4)):
        if not faulty or rng.random() < 0.6:
            model.burst(rng.randrange(2**32))
        else:
            rng.choice(faults)()
        model.bounded()
    model.settle()
    model.check_converged()


def first_failure(model_class: type[EngineModel]) -> int | None:
    """Return the seed of the first run that fails."""
    for seed in range(RUNS):
        model = model_class()
        try:
            run(model, random.Random(seed))
        except (AssertionError, LookupError, TypeError):
            return seed
    return None


def model_of(engine: type[SyncEngine], target: str, *, naive_source: bool = False) -> type[EngineModel]:
    class Mutant(EngineModel):
        ordering: ClassVar[Any] = target
        naive = naive_source
        engine_class = engine

    return Mutant


@pytest.mark.parametrize(
    ("engine", "target"), [(engine, target) for engine, targets in MUTATIONS for target in targets]
)
def test_a_broken_rule_is_caught(engine: type[SyncEngine], target: str) -> None:
    """Each mutation fails the model within a bounded number of fixed seeds."""
    assert first_failure(model_of(engine, target)) is not None, f"{engine.__name__} goes unnoticed"


@pytest.mark.parametrize("target", BOTH)
def test_a_watermark_without_a_visibility_gate_is_caught(target: str) -> None:
    """Reading the log's end and then the table loses changes, as rule 3 warns."""
    assert first_failure(model_of(SyncEngine, target, naive_source=True)) is not None


def test_the_engine_itself_passes_the_same_runs() -> None:
    """What catches the mutations does not cry wolf."""
    for target in BOTH:
        model_class = model_of(SyncEngine, target)
        for seed in range(150):
            run(model_class(), random.Random(seed))
