"""
System-versioned tables of MariaDB: the log tells their history, the consumer what is true now.

Each row has a column that tells until when it was true (`row_end`, or what ROW END generates), the latest time there is for one that is true
now. The server makes it a part of every key, and logs what it does to keep the history:

| statement | in the log |
|---|---|
| INSERT | the row |
| UPDATE | the row's update, and its old image as a new row that has ended |
| DELETE | an update that ends the row |
| DELETE HISTORY | rows that had ended are deleted |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fustor_source_mysql.tables import Images

_NEVER: Final = ("2038-01-19T03:14:07.999999Z", "2106-02-07T06:28:15.999999Z")  # before MariaDB 11.5, and since

Row = tuple[Any, ...]


def rows_true_now(b: bytes, p: int, end: int, row_end: str, images: Images) -> list[Row]:
    """
    Return the rows that were inserted or deleted and are no history, as what leaves the source.

    Args:
        b: The event; its rows are `b[p:end]`.
        row_end: The column that tells until when a row was true.
        images: How they are read.
    """
    until, shown = images.at[row_end], _shown(images)
    rows = []
    while p < end:
        row, p = images.read(b, p)
        if row[until] in _NEVER:
            rows.append(shown(row))
    return rows


def updates_true_now(
    b: bytes, p: int, end: int, row_end: str, before: Images, after: Images
) -> tuple[list[Row], list[Row]]:
    """
    Return, of rows that were updated and were no history, those that have ended, and of each of the others the old and the new one, one
    after the other; as what leaves the source.
    """
    was, old_shown, new_shown = before.at[row_end], _shown(before), _shown(after)
    until = after.at.get(row_end)
    ended: list[Row] = []
    changed: list[Row] = []
    while p < end:
        old, p = before.read(b, p)
        new, p = after.read(b, p)
        if old[was] not in _NEVER:
            continue
        if until is not None and new[until] not in _NEVER:
            ended.append(old_shown(old))
        else:
            changed += (old_shown(old), new_shown(new))
    return ended, changed


def as_images(rows: list[Row], images: Images) -> Images:
    """
    Return what reads rows that were taken out already, by their number, as if they were still in the event.
    """
    return Images(lambda _, at: (rows[at], at + 1), images.shown, images.shown, images.is_whole)


def _shown(images: Images) -> Callable[[Row], Row]:
    places = [images.at[name] for name in images.shown]
    return lambda row: tuple([row[at] for at in places])
