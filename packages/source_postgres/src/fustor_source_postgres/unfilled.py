"""
Rows whose large values are still to be read.

When the key of a row changes, the log does not repeat its large values that did not change (unless the replica identity is FULL).
The row is sent without them under its new key, and they are read from the table. When the row is not there any more, the
stream is behind: it will tell what became of the row. Until then the row stands here; also over a kill of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Place = tuple[str, str, tuple[str, ...]]
"""
Schema, table, and the values of the key as text.
"""
Saved = list[list[Any]]


class Unfilled:
    """
    The rows, and which of their columns are missing.

    Args:
        saved: What `save` was given last.
        save: Keeps it; durable when it returns.
    """

    def __init__(self, saved: Saved, save: Callable[[Saved], None]) -> None:
        self._rows: dict[Place, frozenset[str]] = {
            (str(schema), str(table), tuple(map(str, key))): frozenset(columns) for schema, table, key, columns in saved
        }
        self._save = save
        self._dirty = False

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __iter__(self) -> Iterator[tuple[Place, frozenset[str]]]:
        return iter(list(self._rows.items()))

    def add(self, place: Place, columns: frozenset[str]) -> None:
        """
        Take a row; it is safe on disk when this returns.
        """
        self._rows[place] = columns
        self._keep()

    def told(self, place: Place, columns: frozenset[str]) -> None:
        """
        The stream has told some columns of a row.
        """
        missing = self._rows.get(place)
        if missing is not None and missing & columns:
            self._set(place, missing - columns)

    def gone(self, place: Place) -> None:
        """
        The row is gone, or whole.
        """
        self._set(place, frozenset())

    def _set(self, place: Place, missing: frozenset[str]) -> None:
        if missing:
            self._rows[place] = missing
        elif self._rows.pop(place, None) is None:
            return
        self._dirty = True

    def keep_if_changed(self) -> None:
        """
        Save what was put off: forgetting late does no harm.
        """
        if self._dirty:
            self._keep()

    def _keep(self) -> None:
        self._dirty = False
        self._save(
            [[schema, table, list(key), sorted(columns)] for (schema, table, key), columns in self._rows.items()]
        )
