"""
Events of the binary log that hold rows: what was inserted, updated and deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from fustor_core.errors import ConfigError
from fustor_core.gathering import Place, RowGatherer
from fustor_core.models.event import EventType
from fustor_source_mysql.lenenc import lenenc
from fustor_source_mysql.tables import Images, RowsOf, picker
from fustor_source_mysql.versions import as_images, rows_true_now, updates_true_now

INSERTS: Final = frozenset({23, 30})
UPDATES: Final = frozenset({24, 31})
DELETES: Final = frozenset({25, 32})
ROWS: Final = INSERTS | UPDATES | DELETES
SECOND_FORMAT: Final = frozenset({30, 31, 32})

Untold = Callable[[RowsOf, str], None]


def bitmaps(b: bytes, p: int, kind: int) -> tuple[int, int]:
    """
    Return where the bitmaps of an event's columns begin, and how many bytes each of them has: one, of an update two.

    Args:
        b: The event; its body begins at `p`.
        kind: Its type.
    """
    p += 8
    if kind in SECOND_FORMAT:
        p += b[p] | b[p + 1] << 8
    count, p = (b[p], p + 1) if b[p] < 251 else lenenc(b, p)
    return p, (count + 7) // 8


def take_changes(
    b: bytes, p: int, end: int, kind: int, source: RowsOf, out: RowGatherer, place: Place, untold: Untold
) -> None:
    """
    Read the rows of an event.

    Args:
        b: The event; its body is `b[p:end]`.
        kind: Its type.
        source: How rows of its table are read.
        out: Takes the rows.
        place: Where they are.
        untold: Told of which table, and why, rows are not what the event says.

    Raises:
        ConfigError: The table has no key, and the log does not hold whole rows.
    """
    p, size = bitmaps(b, p, kind)
    images = source.images(b[p : p + size])
    p += size
    after = images
    if kind in UPDATES:
        after = source.images(b[p : p + size])
        p += size
    if source.row_end is None:
        _take_images(b, p, end, kind, source, images, after, out, place, untold)
        return
    if source.row_end not in images.at:
        raise _no_whole_rows(source)
    for of, rows, second in _true_now(b, p, end, kind, source.row_end, images, after):
        first = as_images(rows, images)
        _take_images(b"", 0, len(rows), of, source, first, as_images(rows, second), out, place, untold)


def _true_now(
    b: bytes, p: int, end: int, kind: int, row_end: str, images: Images, after: Images
) -> Iterator[tuple[int, list[Any], Images]]:
    """
    Yield what an event of a system-versioned table says without its history: a kind of event, its rows, and what new rows of updates hold.
    A row that ends is deleted.
    """
    if kind not in UPDATES:
        if rows := rows_true_now(b, p, end, row_end, images):
            yield kind, rows, images
        return
    ended, changed = updates_true_now(b, p, end, row_end, images, after)
    if ended:
        yield max(DELETES), ended, images
    if changed:
        yield kind, changed, after


def _take_images(
    b: bytes,
    p: int,
    end: int,
    kind: int,
    source: RowsOf,
    images: Images,
    after: Images,
    out: RowGatherer,
    place: Place,
    untold: Untold,
) -> None:
    if not source.key:
        _take_keyless(b, p, end, kind, source, images, after, out, place)
        return
    if kind in UPDATES:
        if after.is_whole:
            _take_updates(b, p, end, source, images, after, out, place)
        else:
            _take_partial(b, p, end, source, images, after, out, place, untold)
        return
    read, fields = images.read, images.fields
    if kind in INSERTS:
        rows = out.rows_for(EventType.INSERT, source, fields, place)
        while p < end:
            row, p = read(b, p)
            rows.append(row)
        return
    rows = []
    while p < end:
        row, p = read(b, p)
        rows.append(row)
    out.add(EventType.DELETE, source, source.key, list(map(picker(fields, source.key), rows)), place)


def _no_whole_rows(source: RowsOf) -> ConfigError:
    return ConfigError(
        f"the log does not hold whole rows of {source.schema}.{source.table}, which has no key",
        hint="let an administrator run: SET GLOBAL binlog_row_image = 'FULL'; and see that no session sets another",
        context={"schema": source.schema, "table": source.table},
    )


def _take_keyless(
    b: bytes, p: int, end: int, kind: int, source: RowsOf, before: Images, after: Images, out: RowGatherer, place: Place
) -> None:
    """
    Read rows of a table without a key: an update is the old row that goes and the new one that comes.
    """
    if not before.is_whole:
        raise _no_whole_rows(source)
    fields = before.fields
    gone: list[Any] = []
    come: list[Any] = []
    while p < end:
        row, p = before.read(b, p)
        (come if kind in INSERTS else gone).append(row)
        if kind in UPDATES:
            new, p = after.read(b, p)
            come.append(new if after.is_whole else _completed(row, before, new, after))
    if gone:
        out.add(EventType.DELETE, source, fields, gone, place)
    if come:
        out.add(EventType.INSERT, source, fields, come, place)


def _completed(old: tuple[Any, ...], before: Images, new: tuple[Any, ...], after: Images) -> tuple[Any, ...]:
    """
    Return a changed row whose image leaves out what did not change.
    """
    return tuple(new[after.at[name]] if name in after.at else old[at] for at, name in enumerate(before.fields))


def _take_updates(
    b: bytes, p: int, end: int, source: RowsOf, before: Images, after: Images, out: RowGatherer, place: Place
) -> None:
    read_old, read_new, key, fields = before.read, after.read, source.key, after.fields
    old_key, new_key = picker(before.fields, key), picker(fields, key)
    rows: list[Any] = []
    while p < end:
        old, p = read_old(b, p)
        new, p = read_new(b, p)
        if old_key(old) == new_key(new):
            rows.append(new)
            continue
        if rows:
            out.add(EventType.UPDATE, source, fields, rows, place)
            rows = []
        out.add(EventType.DELETE, source, key, [old_key(old)], place)
        out.add(EventType.INSERT, source, fields, [new], place)
    if rows:
        out.add(EventType.UPDATE, source, fields, rows, place)


def _take_partial(
    b: bytes,
    p: int,
    end: int,
    source: RowsOf,
    before: Images,
    after: Images,
    out: RowGatherer,
    place: Place,
    untold: Untold,
) -> None:
    """
    Read updates that tell only what changed (`binlog_row_image` MINIMAL or NOBLOB).
    """
    read_old, read_new, key = before.read, after.read, source.key
    old_key = picker(before.fields, key)
    changed = tuple(name for name in after.fields if name not in key)
    pick = picker(after.fields, changed) if changed else lambda row: ()
    moved = [name for name in key if name in after.at]
    rows: list[Any] = []
    while p < end:
        old, p = read_old(b, p)
        new, p = read_new(b, p)
        named = old_key(old)
        if any(new[after.at[name]] != named[key.index(name)] for name in moved):
            untold(source, "the key of a row changed, and binlog_row_image = MINIMAL does not tell the rest of the row")
            continue
        rows.append(named + pick(new))
    if rows:
        out.add(EventType.UPDATE, source, key + changed, rows, place)
