"""
Resume tokens of snapshots that read table after table in the order of their keys: where a chunk ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class TableToken(NamedTuple):
    """
    The place right after a chunk.

    Attributes:
        schema: Of the table.
        table: Its name.
        after: The key of the chunk's last row, in the driver's own form.
    """

    schema: str
    table: str
    after: list[Any]

    @property
    def place(self) -> tuple[str, str]:
        """
        Schema and table: tables before it were read.
        """
        return self.schema, self.table


def write_token(schema: str, table: str, after: Sequence[Any]) -> str:
    """
    Return the token of a chunk.
    """
    return json.dumps({"schema": schema, "table": table, "after": list(after)})


def read_token(token: str | None) -> TableToken | None:
    """
    Read a token; None when there is none or it is not one of these: the snapshot then begins anew.
    """
    if token is None:
        return None
    try:
        read = json.loads(token)
        return TableToken(str(read["schema"]), str(read["table"]), list(read["after"]))
    except (ValueError, KeyError, TypeError):
        return None
