"""
The columns of one shape of event, and what the steps make of them: names, what reads each value out of a source row, conditions.

Everything is read from the row as the source gave it, so steps are closures over closures and rows are built once, at the end.
Invariants: a field of the key stays one field that differs where the key differs (renamed, or hashed long enough); a field that a
partial update does not carry stays absent, and so does what would be computed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from fustor_agent.transforms.expression import Expression, Getter, field_getter, parse
from fustor_agent.transforms.functions import as_text
from fustor_agent.transforms.masks import is_same_for_keys, mask_of
from fustor_core.errors import ConfigError
from fustor_core.models.config import FieldMapping
from fustor_core.models.event import EventType
from fustor_core.models.transforms import (
    ConstantStep,
    DeriveStep,
    DropStep,
    FilterStep,
    MaskStep,
    RenameStep,
    SelectStep,
    Transform,
)

TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One column as it stands after some steps.

    Attributes:
        get: Reads its value out of a source row; None = absent from this event, and unchanged.
        at: Its place in the source row, when it is sent as it is.
        schema: Its JSON Schema; None = unknown.
        key_of: The field of the source's key that it stands for.
        is_fixed: It never changes for a row: computed from the key alone (or, without a key, from anything).
        is_incomplete: It should be computed, and only part of what it is computed from is there.
    """

    get: Getter | None
    at: int | None = None
    schema: Any = None
    key_of: str | None = None
    is_fixed: bool = False
    is_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """
    A filter over one shape of event.

    Attributes:
        get: Reads it out of a source row; None = it can't be known, for the event lacks fields.
        is_fixed: Its outcome never changes for a row.
        text: As it was written.
    """

    get: Getter | None
    is_fixed: bool
    text: str


@dataclass(slots=True)
class Layout:
    """
    The columns of an event.

    Attributes:
        schema, name: Of the table.
        kind: What kind of event it is.
        cells: By the name they have now, in order.
        conditions: The filters passed so far.
        required: Fields that must have a value, and how that is said.
        is_known: All columns of the table are known: what is in no cell does not exist.
        is_keyed: The table has a key.
        notes: What steps did nothing, and why.
    """

    schema: str
    name: str
    kind: EventType
    cells: dict[str, Cell]
    is_known: bool
    is_keyed: bool
    conditions: list[Condition] = field(default_factory=list)
    required: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> str:
        """
        The full name of the table, for messages.
        """
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def is_bare_delete(self) -> bool:
        """
        Whether only the key counts: nothing is computed for what is gone.
        """
        return self.is_keyed and self.kind is EventType.DELETE


Step = Callable[[Layout], None]


def layout_of(
    kind: EventType,
    schema: str,
    name: str,
    fields: Sequence[str],
    key: Sequence[str] | None,
    columns: Mapping[str, Any] | None,
    known: frozenset[str] | None,
) -> Layout:
    """
    Return the columns as the source gives them.

    Args:
        kind: What kind of event.
        schema, name: Of the table.
        fields: The fields that its rows have.
        key: The fields of the key; None or empty = the table has none.
        columns: The columns of the table with their types, when the event tells them.
        known: The columns of the table, as far as they were seen, when it does not.
    """
    types = columns or {}
    keyed = bool(key)
    cells: dict[str, Cell] = {}
    for at, one in enumerate(fields):
        of = one if key and one in key else None
        cells[one] = Cell(_reader(at), at, types.get(one), of, is_fixed=of is not None or not keyed)
    told = columns if columns is not None else known if kind is not EventType.INSERT else None
    for one in told or ():
        cells.setdefault(one, Cell(None, None, types.get(one), is_fixed=not keyed))
    return Layout(schema, name, kind, cells, is_known=columns is not None, is_keyed=keyed)


def steps_of(transforms: Sequence[Transform], mappings: Sequence[FieldMapping]) -> list[Step]:
    """
    Return what a sync's configuration does, step by step.

    Raises:
        ConfigError: An expression or a salt is wrong.
    """
    steps = [_for_tables(one, n, _MAKERS[type(one)](one)) for n, one in enumerate(transforms, 1)]
    if mappings:
        steps.append(_mapping(mappings))
    return steps


def applies_to(tables: Sequence[str], layout: Layout) -> bool:
    """
    Tell whether a table is among globs of `table` or `schema.table`.
    """
    return not tables or any(fnmatchcase(layout.table, glob) or fnmatchcase(layout.name, glob) for glob in tables)


def _for_tables(step: Transform, number: int, run: Callable[[Layout, str], None]) -> Step:
    what = f"step {number} ({step.type})"

    def guarded(layout: Layout) -> None:
        if applies_to(step.tables, layout):
            run(layout, what)

    return guarded


def _reader(at: int) -> Getter:
    return lambda row: row[at]


def _nothing(row: Sequence[Any]) -> Any:
    return None


def _wrong(layout: Layout, what: str, message: str, hint: str) -> ConfigError:
    return ConfigError(f"{what} on table {layout.table!r}: {message}", hint=hint, context={"table": layout.table})


def _missing(layout: Layout, what: str, name: str, tables: Sequence[str]) -> None:
    """
    Bear with a field that the table does not have, unless the step was written for this very table.
    """
    if layout.is_known and any(one in (layout.table, layout.name) for one in tables):
        raise _wrong(
            layout,
            what,
            f"there is no field {name!r}",
            f"it has {', '.join(layout.cells)}; correct the name, or the order of the steps",
        )
    layout.notes.append(f"{what}: there is no field {name!r}")


def _read(layout: Layout, expression: Expression, what: str) -> tuple[Getter | None, bool, bool]:
    """
    Return what computes an expression (None = not all it reads is there), whether it is fixed, and whether part of it is there.
    """
    there = [name for name in expression.names if name in layout.cells]
    unknown = sorted(expression.names - set(there))
    if unknown and layout.is_known:
        raise _wrong(
            layout,
            what,
            f"`{expression.text}` reads {unknown[0]!r}, and there is no such field",
            f"it has {', '.join(layout.cells)}; correct the name, or say with `tables` where the step is meant",
        )
    cells = [layout.cells[name] for name in there]
    present = [cell for cell in cells if cell.get is not None]
    fixed = all(cell.is_fixed for cell in cells) and not (unknown and layout.is_keyed)
    if unknown and layout.kind is EventType.INSERT:
        layout.notes.append(f"{what}: there is no field {unknown[0]!r}; it counts as null")
    elif unknown or len(present) < len(cells):
        return None, fixed, bool(present)

    def lookup(name: str) -> Getter:
        cell = layout.cells.get(name)
        return _nothing if cell is None or cell.get is None else field_getter(cell.get, cell.schema)

    return expression.bind(lookup), fixed, True


def _filter(step: FilterStep) -> Callable[[Layout, str], None]:
    expression = parse(step.where)

    def run(layout: Layout, what: str) -> None:
        get, fixed, _ = _read(layout, expression, what)
        if layout.is_bare_delete and not (fixed and get is not None):
            return  # what is gone may have been at the consumer
        layout.conditions.append(Condition(get, fixed, step.where))

    return run


def _select(step: SelectStep) -> Callable[[Layout, str], None]:
    wanted = set(step.fields)

    def run(layout: Layout, what: str) -> None:
        for name in step.fields:
            if name not in layout.cells:
                _missing(layout, what, name, step.tables)
        layout.cells = {n: cell for n, cell in layout.cells.items() if n in wanted or cell.key_of is not None}

    return run


def _drop(step: DropStep) -> Callable[[Layout, str], None]:
    def run(layout: Layout, what: str) -> None:
        for name in step.fields:
            cell = layout.cells.get(name)
            if cell is None:
                _missing(layout, what, name, step.tables)
            elif cell.key_of is not None:
                raise _wrong(
                    layout, what, f"{name!r} is part of the key", "hide it with `mask` and `method: hash`, or keep it"
                )
            else:
                del layout.cells[name]

    return run


def _rename(step: RenameStep) -> Callable[[Layout, str], None]:
    def run(layout: Layout, what: str) -> None:
        for name in step.fields:
            if name not in layout.cells:
                _missing(layout, what, name, step.tables)
        renamed: dict[str, Cell] = {}
        for name, cell in layout.cells.items():
            new = step.fields.get(name, name)
            if new in renamed:
                raise _wrong(
                    layout, what, f"two fields would be named {new!r}", "drop one of them before, or rename both"
                )
            renamed[new] = cell
        layout.cells = renamed

    return run


def _mask(step: MaskStep) -> Callable[[Layout, str], None]:
    hide = mask_of(step)

    def run(layout: Layout, what: str) -> None:
        for name in step.fields:
            cell = layout.cells.get(name)
            if cell is None:
                _missing(layout, what, name, step.tables)
                continue
            if cell.key_of is not None and not is_same_for_keys(step):
                raise _wrong(
                    layout,
                    what,
                    f"{name!r} is part of the key, and different keys would become the same",
                    "hide it with `method: hash` and at least 32 digits",
                )
            layout.cells[name] = replace(cell, get=_masked(cell.get, hide), at=None, schema=TEXT)

    return run


def _masked(get: Getter | None, hide: Callable[[Any], Any]) -> Getter | None:
    return None if get is None else lambda row: hide(get(row))


def _constant(step: ConstantStep) -> Callable[[Layout, str], None]:
    value = step.value
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}

    def run(layout: Layout, what: str) -> None:
        _add(layout, what, step.to, Cell(lambda row: value, None, {"type": kinds[type(value)]}, is_fixed=True))

    return run


def _derive(step: DeriveStep) -> Callable[[Layout, str], None]:
    expression = parse(step.value)
    schema = {"type": expression.gives} if expression.gives else {}

    def run(layout: Layout, what: str) -> None:
        get, fixed, partly = _read(layout, expression, what)
        _add(layout, what, step.to, Cell(get, None, schema, is_fixed=fixed, is_incomplete=get is None and partly))

    return run


def _add(layout: Layout, what: str, name: str, cell: Cell) -> None:
    before = layout.cells.get(name)
    if before is not None and before.key_of is not None:
        raise _wrong(layout, what, f"{name!r} is part of the key", "give the new field another name")
    # A delete says which columns there are, like any other event, and has no value for this one.
    layout.cells[name] = replace(cell, get=None, is_incomplete=False) if layout.is_bare_delete else cell


_MAKERS: dict[type, Callable[[Any], Callable[[Layout, str], None]]] = {
    FilterStep: _filter,
    SelectStep: _select,
    DropStep: _drop,
    RenameStep: _rename,
    MaskStep: _mask,
    ConstantStep: _constant,
    DeriveStep: _derive,
}


@dataclass(frozen=True, slots=True)
class _Target:
    to: str
    names: tuple[str, ...]
    mapping: FieldMapping


def _mapping(mappings: Sequence[FieldMapping]) -> Step:
    """
    Return the step that chooses and names the fields of the consumer, of the tables that `fields_mapping` names.
    """
    by_table: dict[str, list[_Target]] = {}
    for one in mappings:
        sources: dict[str, list[str]] = {}
        for source in one.source:
            table, _, name = source.rpartition(".")
            sources.setdefault(table, []).append(name)
        for table, names in sources.items():
            by_table.setdefault(table, []).append(_Target(one.to, tuple(names), one))

    def run(layout: Layout) -> None:
        names = dict.fromkeys((layout.table, layout.name))
        targets = [target for name in names for target in by_table.get(name, ())]
        if not targets:
            return
        cells: dict[str, Cell] = {}
        for target in targets:
            if target.to in cells:
                raise _wrong(layout, "fields_mapping", f"two sources for {target.to!r}", "list both in one `source`")
            cell = _combined(layout, target)
            if cell is not None:
                is_gone = layout.is_bare_delete and cell.key_of is None
                cells[target.to] = replace(cell, get=None, at=None, is_incomplete=False) if is_gone else cell
                if target.mapping.required and not layout.is_bare_delete:
                    layout.required.append((target.to, target.mapping.source[0]))
        kept = {cell.key_of for cell in cells.values()}
        for name, cell in layout.cells.items():
            if cell.key_of is not None and cell.key_of not in kept:
                if name in cells:
                    raise _wrong(
                        layout, "fields_mapping", f"{name!r} is part of the key", "map the key to a field of its own"
                    )
                cells[name] = cell
        layout.cells = cells

    return run


def _combined(layout: Layout, target: _Target) -> Cell | None:
    mapping = target.mapping
    found = [layout.cells[name] for name in target.names if name in layout.cells]
    if len(found) < len(target.names) and (layout.is_known or layout.kind is EventType.INSERT):
        lacking = next(name for name in target.names if name not in layout.cells)
        if layout.kind is EventType.INSERT and mapping.required:
            raise _wrong(
                layout,
                "fields_mapping",
                f"there is no field {lacking!r}, which {mapping.to!r} requires",
                f"it has {', '.join(layout.cells)}",
            )
        layout.notes.append(f"fields_mapping: there is no field {lacking!r}")
    if not found:
        return None
    if len(found) == 1 and mapping.combine == "first":
        return found[0]
    getters = [cell.get for cell in found if cell.get is not None]
    is_join = mapping.combine == "join"
    schema = TEXT if is_join else found[0].schema if all(cell.schema == found[0].schema for cell in found) else {}
    if len(getters) < len(found):
        return Cell(None, schema=schema, is_incomplete=bool(getters))
    fixed = all(cell.is_fixed for cell in found)
    get = _joined(getters, mapping.separator) if is_join else _first(getters)
    return Cell(get, schema=schema, is_fixed=fixed)


def _first(getters: Sequence[Getter]) -> Getter:
    return lambda row: next((value for get in getters if (value := get(row)) is not None), None)


def _joined(getters: Sequence[Getter], separator: str) -> Getter:
    def run(row: Sequence[Any]) -> Any:
        values = [as_text(value) for get in getters if (value := get(row)) is not None]
        return separator.join(values) if values else None

    return run
