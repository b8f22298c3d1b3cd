"""
Fields of a source as `schema.table.column`, taken apart by table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def tables_of_fields(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Return the tables that fields are of: what drivers tell that can't list tables themselves. None when no field names a table.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for field, kind in fields.items():
        place, dot, name = field.rpartition(".")
        if not dot or not place or not name:
            continue
        schema, _, table = place.rpartition(".")
        told = found.setdefault((schema, table), {"schema": schema, "table": table, "columns": 0, "key": []})
        told["columns"] += 1
        if isinstance(kind, Mapping) and kind.get("x-key"):
            told["key"].append(name)
    return list(found.values())


def fields_of_table(fields: Mapping[str, Any], table: str) -> dict[str, Any]:
    """
    Return the fields of a table under their own names.

    Args:
        fields: As `schema.table.column`.
        table: `schema.table`.
    """
    begin = f"{table}."
    return {name.removeprefix(begin): kind for name, kind in fields.items() if name.startswith(begin)}


def with_table(params: Mapping[str, Any], table: str) -> dict[str, Any]:
    """
    Return `driver_params` that let through one table alone.
    """
    return {**params, "include": [literal_glob(table)], "exclude": []}


def literal_glob(name: str) -> str:
    """
    Return the glob that only this name fits.
    """
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)


def exclude_globs(table: str, columns: Iterable[str]) -> list[str]:
    """
    Return the globs that leave out columns of a table.
    """
    return [literal_glob(f"{table}.{column}") for column in columns]
