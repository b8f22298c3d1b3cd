"""
The conditions that listing and search share: type, size, time; and how to sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from fustor_fusion.views.fs.schema import DIR, GHOST, KIND_OF_TYPE

Sort = Literal["name", "size", "mtime", "type"]
Order = Literal["asc", "desc"]
FileType = Literal["file", "dir", "symlink", "other"]

# A GHOST is shown as a directory.
KIND: Final = f"CASE e.kind WHEN {GHOST} THEN {DIR} ELSE e.kind END"
SORTED_BY: Final = {"name": "e.name", "size": "e.size", "mtime": "e.mtime", "type": KIND}


@dataclass(frozen=True, slots=True)
class Filters:
    """
    Which entries are wanted.

    Attributes:
        type: Only this type.
        min_size: Bytes, at least.
        max_size: Bytes, at most.
        newer: Modified after this, nanoseconds.
        older: Modified before this, nanoseconds.
    """

    type: FileType | None = None
    min_size: int | None = None
    max_size: int | None = None
    newer: int | None = None
    older: int | None = None

    @property
    def any(self) -> bool:
        """
        Whether anything is filtered out.
        """
        return self != _NONE

    def sql(self) -> tuple[str, list[Any]]:
        """
        Return the conditions on `fs_entries e`, each after an AND, and their values.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if self.type is not None:
            conditions.append(f" AND {KIND} = ?")
            values.append(KIND_OF_TYPE[self.type])
        for condition, value in (
            (" AND e.size >= ?", self.min_size),
            (" AND e.size <= ?", self.max_size),
            (" AND e.mtime > ?", self.newer),
            (" AND e.mtime < ?", self.older),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        return "".join(conditions), values

    def take(self, entry: dict[str, Any]) -> bool:
        """
        Tell whether an entry is wanted.
        """
        return (
            (self.type is None or entry["type"] == self.type)
            and (self.min_size is None or entry["size"] >= self.min_size)
            and (self.max_size is None or entry["size"] <= self.max_size)
            and (self.newer is None or entry["mtime"] > self.newer)
            and (self.older is None or entry["mtime"] < self.older)
        )


_NONE: Final = Filters()
