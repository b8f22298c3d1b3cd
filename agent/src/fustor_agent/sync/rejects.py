"""
What a consumer refuses for good, or the transforms can't work on: cut the push down to the rows it means, park those, send the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fustor_agent.sync.checkpoint import Unit
from fustor_agent.sync.keys import with_rows
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.ports import Refusal
from fustor_core.errors import BatchRejected, FustorError
from fustor_core.models.event import EventBase


class TransformFailed(BatchRejected):
    """
    The transforms of the sync can't work on some rows, so nothing of the push was sent.
    """

    code = "transform.failed"


@dataclass(slots=True)
class Verdict:
    """
    How a refused push goes on.

    Attributes:
        parts: Smaller pushes, in order, that replace it.
        parked: Events of one row each that nobody takes, with the reason.
        units: The units of the parked events that are not in a part any more.
    """

    parts: list[Push] = field(default_factory=list)
    parked: list[tuple[EventBase, Refusal]] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)


def cut(push: Push, error: BaseException) -> Verdict:
    """
    Cut a push that was refused with an error: out of the events that it names, else in halves.
    """
    events = push.events
    units: list[Unit | None] = list(push.units) if push.units else [None] * len(events)
    named = {at: why for at, why in _named(error).items() if 0 <= at < len(events)}
    verdict = Verdict()
    if not named and len(events) > 1:
        half = len(events) // 2
        verdict.parts.append(_part(push, events[:half], units[:half]))
        verdict.parts.append(_part(push, events[half:], units[half:]))
        return verdict
    if not named:
        named = {0: _whole(error)}
    good: list[EventBase] = []
    good_units: list[Unit | None] = []

    def flush() -> None:
        if good:
            verdict.parts.append(_part(push, list(good), list(good_units)))
            good.clear()
            good_units.clear()

    for at, (event, unit) in enumerate(zip(events, units, strict=True)):
        if at not in named:
            good.append(event)
            good_units.append(unit)
        elif len(event.rows) > 1:
            flush()
            half = len(event.rows) // 2
            halves = [with_rows(event, event.rows[:half]), with_rows(event, event.rows[half:], skipped=half)]
            if any(event is one for one in push.merged):
                push.merged.extend(halves)
            if unit is not None:
                unit.pending += 1
            verdict.parts.extend(_part(push, [part], [unit]) for part in halves)
        else:
            verdict.parked.append((event, named[at]))
            if unit is not None:
                verdict.units.append(unit)
    flush()
    return verdict


def _whole(error: BaseException) -> Refusal:
    if isinstance(error, FustorError):
        return Refusal(error.code, error.message, error.hint)
    return Refusal("driver.failed", str(error))


def _named(error: BaseException) -> dict[int, Refusal]:
    if not isinstance(error, BatchRejected):
        return {}
    return {at: Refusal(error.code, reason, error.hints.get(at, error.hint)) for at, reason in error.rejected.items()}


def _part(push: Push, events: list[EventBase], units: list[Unit | None]) -> Push:
    part = Push(
        push.lane,
        push.kind,
        events,
        push.epoch,
        units=[unit for unit in units if unit is not None],
        chunk=push.chunk,
        merged=[event for event in events if any(event is one for one in push.merged)],
        snapshot_id=push.snapshot_id,
    )
    part.serial = True
    return part
