"""
SQL that finds rows by their keys, out of the values that events carry.

Not for every type: arrays, and types whose comparison is that of an extension, are left to a snapshot of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fustor_source_postgres.schema import Table, named, quoted


def condition(table: Table, compared: Sequence[tuple[str, str]], keys: Sequence[Sequence[Any]]) -> str | None:
    """
    Return the condition for rows with one of these keys; None when it can't be written.

    Args:
        table: The table.
        compared: For each column of the key its type for literals, and the schema of its operators.
        keys: The values of the key's fields.
    """
    columns = [table.by_name[name] for name in table.key]
    if any(column.type.is_array for column in columns) or any(schema != "pg_catalog" for _, schema in compared):
        return None
    rows = [[f"{quoted(_text(value))}::{kind}" for value, (kind, _) in zip(key, compared, strict=True)] for key in keys]
    if len(columns) == 1:
        return f"{named(columns[0].name)} IN ({', '.join(value for (value,) in rows)})"
    names = ", ".join(named(column.name) for column in columns)
    tuples = ", ".join("(" + ", ".join(values) + ")" for values in rows)
    return f"({names}) IN (VALUES {tuples})"


def _text(value: Any) -> str:
    """
    Return a value as the server reads it.
    """
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value if isinstance(value, str) else repr(value)
