"""
Which tables and columns of a database are wanted: globs of `schema.table` and `schema.table.column`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Sequence


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


def _any_of(globs: Sequence[str]) -> Callable[[str], object] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs)).match
