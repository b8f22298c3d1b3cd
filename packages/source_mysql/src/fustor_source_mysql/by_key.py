"""
SQL that finds rows by their keys, out of the values that events carry.

Not for every kind: what has no exact literal (FLOAT, as text it is rounded), or no key can have in practice (JSON, SET), is left to a
snapshot of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from fustor_source_mysql.schema import Column, Table, named, quoted

_DECIMAL: Final = re.compile(r"-?\d+(\.\d+)?")


def condition(table: Table, keys: Sequence[Sequence[Any]]) -> str | None:
    """
    Return the condition for rows with one of these keys; None when it can't be written.
    """
    columns = [table.by_name[name] for name in table.key]
    writers = [_writer_of(column) for column in columns]
    found: list[list[str]] = []
    for key in keys:
        literals = [write(value) if write else None for write, value in zip(writers, key, strict=True)]
        if None in literals:
            return None
        found.append([literal for literal in literals if literal is not None])
    names = [named(column.name) for column in columns]
    if len(names) == 1:
        return f"{names[0]} IN ({', '.join(literal for (literal,) in found)})"
    # Not as rows: of those the server does not always look each up in the index.
    return " OR ".join(
        f"({' AND '.join(f'{name} = {literal}' for name, literal in zip(names, literals, strict=True))})"
        for literals in found
    )


def _writer_of(column: Column) -> Callable[[Any], str | None] | None:
    kind = column.kind
    if kind in ("int", "year", "bit"):
        return lambda value: str(value) if type(value) is int else None
    if kind == "float":
        return None if column.data_type == "float" else _double
    if kind == "decimal":  # as a number: compared with text it would become a float
        return lambda value: value if isinstance(value, str) and _DECIMAL.fullmatch(value) else None
    if kind == "bytes":
        return lambda value: f"X'{value.hex()}'" if isinstance(value, bytes) else None
    if kind in ("text", "enum"):
        return _text
    if kind == "datetime":
        return lambda value: quoted(value.replace("T", " ")) if isinstance(value, str) else None
    if kind == "timestamp":  # the connection's zone is UTC
        return lambda value: quoted(value.replace("T", " ").removesuffix("Z")) if isinstance(value, str) else None
    if kind in ("date", "time", "uuid", "inet4", "inet6"):
        return lambda value: quoted(value) if isinstance(value, str) else None
    return None


def _double(value: Any) -> str | None:
    return f"{value!r}e0" if isinstance(value, float) and "e" not in repr(value) else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        data = value.encode()
    except UnicodeEncodeError:
        return None  # bytes that are no text
    return f"_utf8mb4 X'{data.hex()}'" if data else "''"
