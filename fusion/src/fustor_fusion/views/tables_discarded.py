"""
Tables that are let go of: out of sight in one statement, their rows cleared a few at a time.

The entry of such a table keeps its id until the last of its rows has gone, so that no new table gets it; its sync becomes `NOBODY`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

NOBODY: Final = ""  # no sync has an empty id
_KEYS: Final = {
    "tables_row": "id",
    "tables_delta": "table_id, key, epoch, idx, what",
    "tables_copy": "table_id, epoch, idx, run, ordinal",
    "tables_base": "table_id",
}
ROW_STORES: Final = tuple(_KEYS)
"""
What holds rows of tables, by `table_id`.
"""


def discard(conn: sqlite3.Connection, task_id: str) -> None:
    """
    Let go of all tables of a sync: nothing finds them by name any more.
    """
    conn.execute(
        "UPDATE tables_table SET task_id = ?, schema = '', name = CAST(id AS TEXT) WHERE task_id = ?", (NOBODY, task_id)
    )


def clear(conn: sqlite3.Connection, limit: int) -> int:
    """
    Remove up to `limit` rows of tables that were let go of, and a table itself with its last row; return how many. 0 = none is left.
    """
    found = conn.execute("SELECT id FROM tables_table WHERE task_id = ? LIMIT 1", (NOBODY,)).fetchone()
    if found is None:
        return 0
    for store, key in _KEYS.items():
        chosen = f"SELECT {key} FROM {store} WHERE table_id = ? LIMIT ?"
        cleared = conn.execute(f"DELETE FROM {store} WHERE ({key}) IN ({chosen})", (*found, limit)).rowcount
        if cleared:
            return cleared
    return conn.execute("DELETE FROM tables_table WHERE id = ?", found).rowcount
