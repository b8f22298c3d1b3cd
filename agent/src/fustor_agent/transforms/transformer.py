"""
The transforms of one sync: what the runtime asks before it sends, and while it takes events from the stream.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fustor_agent.sync.owed import Untold
from fustor_agent.sync.rejects import TransformFailed
from fustor_agent.transforms.alignment import aligned
from fustor_agent.transforms.keyless import KeylessReadings
from fustor_agent.transforms.layout import steps_of
from fustor_agent.transforms.plan import Lane, Plan, Shape
from fustor_core.errors import BatchRejected, RowRejected
from fustor_core.models.config import SyncConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.models.transforms import DeriveStep, FilterStep, MaskStep

_MOST_PLANS: Final = 2000
"""
A table whose updates carry just what changed has a shape for each set of columns.
"""


@dataclass(slots=True)
class Outgoing:
    """
    What leaves instead of some events.

    Attributes:
        events: What is sent.
        origins: For each of these, the place of the event it came from.
    """

    events: list[EventBase] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)

    def blamed(self, error: BatchRejected) -> BatchRejected:
        """
        Return what the consumer refused, in terms of the events it came from.
        """
        rejected = {self.origins[at]: why for at, why in error.rejected.items() if 0 <= at < len(self.origins)}
        hints = {self.origins[at]: hint for at, hint in error.hints.items() if 0 <= at < len(self.origins)}
        return BatchRejected(error.message, hint=error.hint, context=error.context, rejected=rejected, hints=hints)


class Transformer:
    """
    Applies the transforms of one sync.

    Args:
        config: The sync.
        sweeps: Whether the consumer settles by index, and so removes itself what a snapshot does not show.

    Raises:
        ConfigError: An expression or a salt is wrong.

    Attributes:
        is_nothing: The sync has no transforms at all: nothing needs to be asked here.
        shape: Names these transforms: another one means that rows sent before are not what they would be now. "" = none. Of the
            mapping of fields see `sync.origin`.
    """

    def __init__(self, config: SyncConfig, *, sweeps: bool) -> None:
        self._steps = steps_of(config.transforms, config.fields_mapping)
        self.is_nothing = not self._steps
        self.shape = _shape_of(config) if config.transforms else ""
        self._may_be_untold = any(isinstance(step, FilterStep | DeriveStep) for step in config.transforms) or any(
            len(mapping.source) > 1 for mapping in config.fields_mapping
        )
        self._plans: dict[tuple[Any, ...], tuple[Mapping[str, Any] | None, Plan]] = {}
        self._seen: dict[tuple[str, str], frozenset[str]] = {}
        self._deletes = not sweeps
        self._readings = KeylessReadings(self.plan)

    def apply(self, events: Sequence[EventBase], *, lane: Lane = "message") -> Outgoing:
        """
        Return what is to be sent. The same events always give the same.

        Raises:
            TransformFailed: Some rows can't be transformed; names their events.
            ConfigError: The transforms can't work on a table.
        """
        outgoing = Outgoing()
        rejected: dict[int, RowRejected] = {}
        for origin, event in enumerate(events):
            try:
                made = self._event(event, lane)
            except RowRejected as exc:
                rejected[origin] = exc
                continue
            outgoing.events.extend(made)
            outgoing.origins.extend([origin] * len(made))
        if rejected:
            first = next(iter(rejected.values()))
            raise TransformFailed(
                first.message,
                hint=first.hint,
                context=first.context,
                rejected={origin: exc.message for origin, exc in rejected.items()},
                hints={origin: exc.hint for origin, exc in rejected.items()},
            )
        return outgoing

    def _event(self, event: EventBase, lane: Lane) -> list[EventBase]:
        if not event.rows:
            return [event]
        if type(event.rows[0]) is tuple:  # the usual kind of row, straight
            plan = self.plan(event, event.fields)
            if plan.is_nothing:
                return [event]
            return plan.run(event, event.rows, lane=lane, deletes=self._deletes)  # type: ignore[arg-type]
        made: list[EventBase] = []
        done = 0
        is_touched = False
        for fields, rows in aligned(event):
            plan = self.plan(event, fields)
            part = _part(event, fields, rows, done)
            if plan.is_nothing:
                made.append(part)
            else:
                is_touched = True
                made.extend(plan.run(part, rows, lane=lane, deletes=self._deletes))
            done += len(rows)
        return made if is_touched else [event]

    def untold(self, event: EventBase) -> Untold | None:
        """
        Return what an event of the stream leaves wrong at the consumer, and why; None = nothing.
        """
        if not self._may_be_untold or event.event_type is EventType.DELETE or not event.rows:
            return None
        if event.event_type is EventType.INSERT and event.columns is None and self._learn(event):
            return Untold("the table has got another column", None)
        why = ""
        owed: list[int] = []
        done = 0
        for fields, rows in aligned(event):
            part = self.plan(event, fields).untold(rows)
            if part is not None:
                why = why or part.why
                owed.extend(done + at for at in part.rows or ())
            done += len(rows)
        return Untold(why, owed) if owed else None

    def chunk(self, event: EventBase) -> EventBase | None:
        """
        Return a chunk of a snapshot as the runtime is to have it; None = nothing is left of it.

        Only rows without a key are looked at: they are numbered, and so must be filtered before the numbers count.
        """
        return event if event.ordinal is None else self._readings.chunk(event)

    def plan(self, event: EventBase, fields: tuple[str, ...]) -> Plan:
        """
        Return the plan for an event whose rows have these fields.

        Raises:
            ConfigError: The transforms can't work on its table.
        """
        columns = event.columns
        known = self._seen.get((event.event_schema, event.table)) if columns is None else None
        shape = (event.event_type, event.event_schema, event.table, fields, event.key, known)
        found = self._plans.get(shape)
        if found is not None and (found[0] is columns or found[0] == columns):
            return found[1]
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = Plan(self._steps, Shape(*shape), columns)
        self._plans[shape] = (columns, plan)
        return plan

    def _learn(self, event: EventBase) -> bool:
        """
        Take note of the columns of a table whose events don't tell them; return whether some were added to those known.
        """
        table = (event.event_schema, event.table)
        before = self._seen.get(table)
        if before is None or not before.issuperset(event.fields):
            self._seen[table] = frozenset(event.fields) | (before or frozenset())
            return before is not None
        return False


def _shape_of(config: SyncConfig) -> str:
    steps = [step.model_dump(mode="json") for step in config.transforms]
    salts = [
        step.salt.get_secret_value()
        for step in config.transforms
        if isinstance(step, MaskStep) and step.salt is not None
    ]
    return hashlib.sha256(json.dumps([steps, salts], sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _part(event: EventBase, fields: tuple[str, ...], rows: Sequence[Sequence[Any]], done: int) -> EventBase:
    if rows is event.rows:
        return event
    return EventBase(
        event.event_type,
        event.event_schema,
        event.table,
        rows,
        fields,
        event.index,
        key=event.key,
        ts=event.ts,
        columns=event.columns,
        ordinal=event.ordinal_after(done),
    )
