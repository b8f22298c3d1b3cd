"""
Which tables and columns of a database are wanted: globs of `schema.table` and `schema.table.column`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

_NAMED: Final = re.compile(r"((?:[^*?.\[]|\[[*?\[]\])+)\.")
_ESCAPED: Final = re.compile(r"\[([*?\[])\]")


class Selection:
    """
    Tells which tables and columns are wanted.

    Args:
        include: Only these tables; empty = all.
        exclude: Not these tables.
        exclude_columns: Not these columns.
        only_schema: Nothing of other schemas; None = all schemas.
        system: Schemas of the server's own, in small letters: never wanted.
    """

    def __init__(
        self,
        include: Sequence[str],
        exclude: Sequence[str],
        exclude_columns: Sequence[str],
        *,
        only_schema: str | None = None,
        system: Collection[str] = (),
    ) -> None:
        self._include = _any_of(include)
        self._exclude = _any_of(exclude)
        self._without = _any_of(exclude_columns)
        self._only = only_schema
        self._named = frozenset({only_schema}) if only_schema is not None else _schemas_of(include)
        self._system = frozenset(system)
        self._known: dict[tuple[str, str], bool] = {}

    def table(self, schema: str, table: str) -> bool:
        """
        Tell whether a table is wanted.
        """
        known = self._known.get((schema, table))
        if known is None:
            known = self._known[schema, table] = self._is_wanted(schema, table)
        return known

    def schema(self, schema: str) -> bool:
        """
        Tell whether anything of a schema may be wanted.
        """
        return schema.lower() not in self._system and self._only in (None, schema)

    @property
    def schemas(self) -> frozenset[str]:
        """
        The schemas that are named, by themselves or in the globs of tables; empty = any may be wanted.
        """
        return self._named

    def _is_wanted(self, schema: str, table: str) -> bool:
        if not self.schema(schema):
            return False
        name = f"{schema}.{table}"
        if self._include is not None and not self._include(name):
            return False
        return self._exclude is None or not self._exclude(name)

    def column(self, schema: str, table: str, column: str) -> bool:
        """
        Tell whether a column is wanted.
        """
        return self._without is None or not self._without(f"{schema}.{table}.{column}")


def differing(before: Mapping[str, Collection[str]], after: Mapping[str, Collection[str]]) -> list[str]:
    """
    Return the tables that are in one of two mappings from table to columns only, or have other columns in it.
    """
    return sorted(table for table in {*before, *after} if set(before.get(table, ())) != set(after.get(table, ())))


def of_tables(rows: Mapping[tuple[str, str], int], names: Sequence[str] | None) -> dict[str, int]:
    """
    Return what is known of tables, by `schema.table`.

    Args:
        rows: By schema and table.
        names: Only of these: `table` or `schema.table`; None = of all.
    """
    asked = None if names is None else set(names)
    return {
        f"{schema}.{table}": count
        for (schema, table), count in rows.items()
        if asked is None or table in asked or f"{schema}.{table}" in asked
    }


def _schemas_of(globs: Sequence[str]) -> frozenset[str]:
    """
    Return the schemas that globs of tables name; none when one of the globs leaves the schema open.
    """
    found: set[str] = set()
    for glob in globs:
        named = _NAMED.match(glob)
        if named is None:
            return frozenset()
        found.add(_ESCAPED.sub(r"\1", named[1]))
    return frozenset(found)


def _any_of(globs: Sequence[str]) -> Callable[[str], object] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs)).match
