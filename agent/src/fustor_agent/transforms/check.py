"""
What is wrong with the transforms of a sync, told before anything runs: each with its place in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from fustor_agent.config_problems import Finding
from fustor_agent.secret_values import MASK
from fustor_agent.transforms.expression import ExpressionError, parse
from fustor_core.models.config import SyncConfig
from fustor_core.models.transforms import DeriveStep, FilterStep, MaskStep


def mistakes_of(sync: SyncConfig) -> list[Finding]:
    """
    Return what is wrong with a sync's transforms and mapping, each with its place below the sync, as far as that does not depend on the source's tables.
    """
    return [*_of_transforms(sync), *_of_mapping(sync)]


def _of_transforms(sync: SyncConfig) -> Iterator[Finding]:
    for at, step in enumerate(sync.transforms):
        place = ("transforms", str(at))
        if isinstance(step, FilterStep | DeriveStep):
            name = "where" if isinstance(step, FilterStep) else "value"
            try:
                expression = parse(step.where if isinstance(step, FilterStep) else step.value)
            except ExpressionError as exc:
                yield Finding((*place, name), exc.message, exc.hint)
                continue
            if isinstance(step, FilterStep) and expression.gives not in ("", "boolean"):
                yield Finding(
                    (*place, name), f"it gives a {expression.gives}, not true or false", "compare it with something"
                )
        elif isinstance(step, MaskStep) and step.salt is not None and step.salt.get_secret_value() == MASK:
            yield Finding(
                (*place, "salt"),
                "the salt is `***`, which stands for one that is not shown",
                "give it again: steps that moved within the list can't be told from new ones",
            )


def _of_mapping(sync: SyncConfig) -> Iterator[Finding]:
    taken: dict[tuple[str, str], int] = {}
    for at, mapping in enumerate(sync.fields_mapping):
        for n, source in enumerate(mapping.source):
            table, dot, name = source.rpartition(".")
            if not dot or not table or not name:
                yield Finding(
                    ("fields_mapping", str(at), "source", str(n)),
                    f"{source!r} names no field of a table",
                    "write `table.field` or `schema.table.field`",
                )
        for table in {source.rpartition(".")[0] for source in mapping.source}:
            if (table, mapping.to) in taken:
                yield Finding(
                    ("fields_mapping", str(at), "to"),
                    f"{mapping.to!r} has been given a source of table {table!r} already",
                    "list all its sources in one entry",
                )
            taken[table, mapping.to] = at
