"""
Resume tokens of snapshots that read tables, several at a time, each in the order of its key: where the chunks so far ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str]
"""
Schema and name of a table; tables are begun in the order of their places.
"""

Cursor = Sequence[Any] | None
"""
The key of the last row of a chunk, in the driver's own form; None = the table's beginning.
"""


@dataclass(frozen=True, slots=True)
class TableToken:
    """
    The place right after a chunk.

    Attributes:
        begun: The last table that was begun; what lies behind it was not.
        under_way: Tables that were begun and not read to their end, and where each goes on. The others up to `begun` are done.
    """

    begun: Place
    under_way: Mapping[Place, Cursor] = field(default_factory=dict)

    def is_done(self, place: Place) -> bool:
        """
        Tell whether a table was read to its end.
        """
        return place <= self.begun and place not in self.under_way

    def write(self) -> str:
        """
        Return it as text.
        """
        under_way = [[*place, None if after is None else list(after)] for place, after in self.under_way.items()]
        return json.dumps({"begun": self.begun, "under_way": under_way})

    @classmethod
    def read(cls, token: str | None) -> TableToken | None:
        """
        Read a token; None when there is none or it is not one of these: the snapshot then begins anew.
        """
        if token is None:
            return None
        try:
            read = json.loads(token)
            schema, table = map(str, read["begun"])
            under_way = {(str(s), str(t)): None if after is None else list(after) for s, t, after in read["under_way"]}
        except (ValueError, KeyError, TypeError):
            return None
        return cls((schema, table), under_way)
