"""
A plan: what happens to all events of one shape. Compiled once, run on whole events.

What a row that does not pass a filter becomes depends on whether its outcome can change. It can't when the filter reads the key alone
(or the table has no key): such rows never leave. Else the consumer may have the row from before: it is told to delete it, and a row
that passes leaves whole, as an insert. A partial image that passes can't: whether the consumer has the rest is not known. Such rows are
held back, and owed to the consumer whole (`Plan.untold`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal

from fustor_agent.sync.keys import row_keys
from fustor_agent.sync.owed import Untold
from fustor_agent.transforms.layout import Cell, Condition, Layout, Step, layout_of
from fustor_agent.transforms.operators import Uncomputable
from fustor_core.errors import ConfigError, RowRejected
from fustor_core.models.event import EventBase, EventType, Row

Lane = Literal["message", "snapshot"]


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a plan is compiled for.
    """

    kind: EventType
    schema: str
    table: str
    fields: tuple[str, ...]
    key: tuple[str, ...] | None
    known: frozenset[str] | None


class Plan:
    """
    Runs the steps on events of one shape.

    Args:
        steps: The steps.
        shape: The shape.
        columns: The columns of the table with their types, when the events tell them.

    Raises:
        ConfigError: The steps can't work on this table.

    Attributes:
        is_nothing: Events pass as they are.
        may_be_untold: Rows may be held back, or lack what is computed from fields that are not there.
        fields, key, columns: Of what leaves.
        notes: Steps that do nothing here, and why.
        filters_move: A filter reads more than the key, so rows may come to pass it, and cease to.
    """

    def __init__(self, steps: Sequence[Step], shape: Shape, columns: Mapping[str, Any] | None) -> None:
        self.shape = shape
        self._steps = steps
        self._columns = columns
        before = layout_of(shape.kind, shape.schema, shape.table, shape.fields, shape.key, columns, shape.known)
        cells = dict(before.cells)
        for step in steps:
            step(before)
        layout = before
        self.notes = layout.notes
        self.key = _key_of(layout, shape)
        names = [name for name, cell in layout.cells.items() if cell.get is not None]
        self.fields = tuple(names)
        self.columns = None if columns is None else {name: _schema(cell) for name, cell in layout.cells.items()}
        sent = [layout.cells[name] for name in names]
        self._copied = [0 if cell.at is None else cell.at for cell in sent]
        self._computed = [(n, cell.get) for n, cell in enumerate(sent) if cell.at is None and cell.get is not None]
        self._is_same_row = self._copied == list(range(len(shape.fields))) and not self._computed
        self._required = [(layout.cells[to].get, to, source) for to, source in layout.required]
        self._fixed = [one for one in layout.conditions if one.is_fixed]
        self._moving = [one for one in layout.conditions if not one.is_fixed]
        self.filters_move = bool(self._moving)
        is_change = shape.kind is not EventType.DELETE
        lacks = any(cell.get is None for cell in layout.cells.values())
        if shape.kind is EventType.UPDATE and columns is None and shape.known is None:
            lacks = True
        self._holds_back = is_change and bool(self._moving) and lacks
        self._lacks_computed = is_change and any(cell.is_incomplete for cell in layout.cells.values())
        self.may_be_untold = self._holds_back or self._lacks_computed
        self.is_nothing = (
            not layout.conditions
            and not layout.required
            and self._is_same_row
            and self.fields == shape.fields
            and list(layout.cells) == list(cells)
        )
        self._delete: Plan | None = None

    def run(self, event: EventBase, rows: Sequence[Sequence[Any]], *, lane: Lane, deletes: bool) -> list[EventBase]:
        """
        Return what leaves instead of an event.

        Args:
            event: The event.
            rows: Its rows, aligned with the fields of the shape.
            lane: The stream's, or a snapshot's.
            deletes: Whether rows of a snapshot that don't pass become deletes, for a consumer without a sweep of its own.

        Raises:
            RowRejected: A row can't be transformed.
        """
        if not self._fixed and not self._moving:
            return [self._event(event, rows)]
        kept = self._verdicts(self._fixed, rows)
        if event.ordinal is not None or not self.shape.key:
            return self._runs(event, rows, kept)
        passing = self._verdicts(self._moving, rows)
        sent = [row for row, stays, good in zip(rows, kept, passing, strict=True) if stays and good]
        told = lane == "message" or deletes
        gone = (
            [row for row, stays, good in zip(rows, kept, passing, strict=True) if stays and good is False]
            if told
            else []
        )
        if self._holds_back:
            sent = []
        if sent and gone and _repeats_keys(event):
            return self._in_order(event, rows, kept, passing)
        events = [self._event(event, sent, is_filtered=bool(self._moving))] if sent else []
        return [*events, self._deletes(event, gone)] if gone else events

    def untold(self, rows: Sequence[Sequence[Any]]) -> Untold | None:
        """
        Return which rows of an event can't be told to the consumer as they are, and why; None = all can. Those that can't be
        transformed are not among them: they are refused when they are sent.
        """
        if not self.may_be_untold:
            return None
        try:
            owed = self._owed(rows)
        except RowRejected:
            owed = [at for at, row in enumerate(rows) if self._is_owed(row)]
        return Untold(_WHY_HELD_BACK if self._holds_back else _WHY_INCOMPLETE, owed) if owed else None

    def _owed(self, rows: Sequence[Sequence[Any]]) -> list[int]:
        kept = self._verdicts(self._fixed, rows)
        passing = self._verdicts(self._moving, rows) if self._holds_back else kept
        return [at for at, (stays, good) in enumerate(zip(kept, passing, strict=True)) if stays and good is not False]

    def _is_owed(self, row: Sequence[Any]) -> bool:
        try:
            return bool(self._owed([row]))
        except RowRejected:
            return False

    def keeps(self, rows: Sequence[Sequence[Any]]) -> list[bool]:
        """
        Tell which rows of a table without a key stay; one that can't be told does, and is refused when it is sent.
        """
        kept: list[bool] = []
        for row in rows:
            try:
                kept.append(bool(self._verdicts(self._fixed, [row])[0]))
            except RowRejected:
                kept.append(True)
        return kept

    def _verdicts(self, conditions: Sequence[Condition], rows: Sequence[Sequence[Any]]) -> list[bool | None]:
        """
        Tell of each row whether all conditions hold; None = it can't be known.
        """
        verdicts: list[bool | None] = [True] * len(rows)
        for condition in conditions:
            get = condition.get
            if get is None:
                verdicts = [None if verdict else verdict for verdict in verdicts]
                continue
            for at, row in enumerate(rows):
                if verdicts[at] is False:
                    continue
                try:
                    value = get(row)
                except Uncomputable as exc:
                    raise self._rejected(f"`{exc.expression}`, at character {exc.column}: {exc}") from None
                if value is not True:
                    if not (value is None or value is False):
                        raise self._rejected(f"`{condition.text}` is neither true nor false for it")
                    verdicts[at] = False
        return verdicts

    def _rows(self, rows: Sequence[Sequence[Any]]) -> Sequence[Row]:
        if self._is_same_row:
            return rows
        if not self._computed:
            if len(self._copied) == 1:
                at = self._copied[0]
                return [(row[at],) for row in rows]
            return list(map(itemgetter(*self._copied), rows)) if self._copied else [() for _ in rows]
        made: list[Row] = []
        copied, computed = self._copied, self._computed
        try:
            for row in rows:
                new = [row[at] for at in copied]
                for at, get in computed:
                    new[at] = get(row)
                made.append(new)
        except Uncomputable as exc:
            raise self._rejected(
                f"the derived field {self.fields[at]!r}, `{exc.expression}`, at character {exc.column}: {exc}"
            ) from None
        return made

    def _event(
        self, event: EventBase, rows: Sequence[Sequence[Any]], *, is_filtered: bool = False, skipped: int = 0
    ) -> EventBase:
        if self._required:
            self._check_required(rows)  # of rows that leave: what a filter takes out need not have the value
        # To a consumer that did not have it, a row that passes a filter by an update is new.
        kind = EventType.INSERT if is_filtered and event.event_type is EventType.UPDATE else event.event_type
        return EventBase(
            kind,
            event.event_schema,
            event.table,
            self._rows(rows),
            self.fields,
            event.index,
            key=self.key,
            ts=event.ts,
            columns=self.columns,
            ordinal=event.ordinal_after(skipped),
        )

    def _deletes(self, event: EventBase, rows: Sequence[Sequence[Any]]) -> EventBase:
        key = self.shape.key or ()
        if self._delete is None:
            shape = Shape(EventType.DELETE, self.shape.schema, self.shape.table, key, key, self.shape.known)
            # Filters that always decide alike have decided already, with the columns of the whole row at hand.
            self._delete = Plan(self._steps, shape, self._columns)
        at = [self.shape.fields.index(name) for name in key]
        return self._delete._event(
            EventBase(EventType.DELETE, event.event_schema, event.table, (), key, event.index, key=key, ts=event.ts),
            [tuple(row[n] for n in at) for row in rows],
        )

    def _runs(self, event: EventBase, rows: Sequence[Sequence[Any]], kept: Sequence[bool | None]) -> list[EventBase]:
        """
        Cut an event into runs of rows that stay: the numbers of rows without a key count on inside an event.
        """
        if all(kept):
            return [self._event(event, rows)]
        if event.ordinal is None:
            left = [row for row, stays in zip(rows, kept, strict=True) if stays]
            return [self._event(event, left)] if left else []
        events: list[EventBase] = []
        begin = 0
        for at in range(len(rows) + 1):
            if at == len(rows) or not kept[at]:
                if at > begin:
                    events.append(self._event(event, rows[begin:at], skipped=begin))
                begin = at + 1
        return events

    def _in_order(
        self,
        event: EventBase,
        rows: Sequence[Sequence[Any]],
        kept: Sequence[bool | None],
        passing: Sequence[bool | None],
    ) -> list[EventBase]:
        """
        Cut an event that has a key more than once into runs that pass and runs that don't, so that the last one wins.
        """
        events: list[EventBase] = []
        run: list[Sequence[Any]] = []
        before: bool | None = None
        decided = [(row, bool(good)) for row, stays, good in zip(rows, kept, passing, strict=True) if stays]
        for row, good in [*decided, ((), None)]:
            if run and good is not before:
                events.append(self._event(event, run, is_filtered=True) if before else self._deletes(event, run))
                run = []
            before = good
            run.append(row)
        return events

    def _check_required(self, rows: Sequence[Sequence[Any]]) -> None:
        for get, to, source in self._required:
            if get is None:
                if self.shape.kind is EventType.UPDATE:
                    continue  # absent is unchanged
                raise self._rejected(f"it has no value for {source!r}, which {to!r} requires", _REQUIRED)
            try:
                lacking = any(get(row) is None for row in rows)
            except Uncomputable as exc:
                raise self._rejected(f"{to!r}, `{exc.expression}`, at character {exc.column}: {exc}") from None
            if lacking:
                raise self._rejected(f"it has no value for {source!r}, which {to!r} requires", _REQUIRED)

    def _rejected(self, why: str, hint: str = "") -> RowRejected:
        return RowRejected(
            f"a row of {self.shape.table!r} can't be transformed: {why}",
            hint=hint or "mend the row at the source, or the transforms of the sync, then replay it",
            context={"schema": self.shape.schema, "table": self.shape.table},
        )


_WHY_HELD_BACK: Final = "updates without all columns, of rows that a filter may let pass for the first time"
_WHY_INCOMPLETE: Final = "updates without all columns that a derived field is computed from"
_REQUIRED = "mend the row at the source, or make the field optional in `fields_mapping`"


def _schema(cell: Cell) -> Any:
    return {} if cell.schema is None else cell.schema


def _key_of(layout: Layout, shape: Shape) -> tuple[str, ...] | None:
    """
    Return the names that the fields of the key have now.
    """
    if not shape.key:
        return shape.key
    names = {cell.key_of: name for name, cell in layout.cells.items() if cell.key_of is not None}
    lost = [name for name in shape.key if name not in names]
    if lost:
        raise ConfigError(
            f"the transforms lose {lost[0]!r}, which is part of the key of table {layout.table!r}",
            hint="keep the field, rename it, or hide it with `mask` and `method: hash`",
            context={"table": layout.table},
        )
    return tuple(names[name] for name in shape.key)


def _repeats_keys(event: EventBase) -> bool:
    keys: list[Hashable] = row_keys(event)
    return len(set(keys)) < len(keys)
