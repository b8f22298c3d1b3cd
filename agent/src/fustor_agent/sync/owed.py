"""
Rows that the consumer is owed whole: a live event told too little of them to know what to send (a filter reads a column that an
update left out).

They are read from the source by their keys, many at once, and go out as live events of whole rows. A read is put right like a chunk of
a snapshot: its low watermark must not be before the event that owes the row; columns that the stream told since replace those that
were read; a whole row or a delete in the stream settles the row by itself; and it is held until the stream has passed the read's high
watermark.

Nothing of this is on disk: the event that owes a row is not settled before the whole row is acknowledged, so the checkpoint stays
before it, and after a kill the stream brings it again.

When there is no room for more, the stream waits, so a high watermark may never be passed: what was read then goes out at once. It may
show what the stream has yet to tell; the stream tells it, and so it is right again. Rows that were not found are given up instead.
Neighbours: `owed_lane` (who asks), `row_reader` (who reads).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from fustor_agent.sync.batcher import event_bytes, row_bytes
from fustor_agent.sync.checkpoint import Unit
from fustor_agent.sync.counters import Counters
from fustor_agent.sync.keys import TableId, is_partial, row_dicts, row_keys, table_of, with_rows
from fustor_agent.sync.settings import SyncSettings
from fustor_core.models.event import EventBase, EventType, Row

_MOST_IN_VAIN: Final = 10


class Untold(NamedTuple):
    """
    What an event leaves untold.

    Attributes:
        why: The reason, for people.
        rows: The places of the rows in the event that are owed whole; None = the table has to be read again.
    """

    why: str
    rows: list[int] | None


@dataclass(frozen=True, slots=True)
class RowsOrder:
    """
    Rows of one table to read: the names of the key, and the keys.
    """

    table: TableId
    key: tuple[str, ...]
    keys: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class RowsRead:
    """
    What was read of them.

    Attributes:
        events: First a progress mark with a low watermark not above that of the rows, then the rows that are there.
        high: A high watermark taken afterwards; None = the driver has none.
    """

    events: list[EventBase]
    high: int | None


@dataclass(slots=True, eq=False)
class _Row:
    """
    One row that is owed.

    Attributes:
        floor: The event that owes it; a read has to show it.
        unit: That event, which is not settled before the row is.
        columns: Its key, and what the stream told of the row since.
        size: Bytes of these (estimated).
    """

    floor: int
    unit: Unit
    columns: dict[str, Any]
    size: int


@dataclass(slots=True)
class _Table:
    """
    What is owed of a table. `waiting` holds the keys still to be read, oldest first.
    """

    key: tuple[str, ...]
    since: float
    rows: dict[Hashable, _Row] = field(default_factory=dict)
    waiting: dict[Hashable, None] = field(default_factory=dict)


class _Held(NamedTuple):
    """
    Rows that were read, until the stream has passed `high`.
    """

    table: TableId
    high: int | None
    found: list[tuple[EventBase, list[tuple[Hashable, _Row, Row]]]]
    missing: list[tuple[Hashable, _Row]]
    size: int


class Released(NamedTuple):
    """
    Rows that go out.

    Attributes:
        events: Whole rows, each event with the units that are settled with it.
        given_up: A table of which some were not found, so that it must be read again as a whole.
    """

    events: list[tuple[EventBase, list[Unit]]]
    given_up: TableId | None


class OwedRows:
    """
    The rows of one sync that are owed.

    Args:
        settings: Sizes and waits.
        clock: Monotonic seconds.
        counters: What is counted.
    """

    def __init__(self, settings: SyncSettings, clock: Callable[[], float], counters: Counters) -> None:
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._tables: dict[TableId, _Table] = {}
        self._order: RowsOrder | None = None
        self._held: list[_Held] = []
        self._bytes = 0
        self._count = 0
        self._read_after = -1e9
        self._in_vain = 0
        self._at_once = settings.owed_at_once

    @property
    def is_full(self) -> bool:
        """
        Whether no more rows can be owed now.
        """
        return self._count >= self._settings.owed_rows or self._bytes >= self._settings.owed_bytes

    @property
    def count(self) -> int:
        """
        How many rows are owed.
        """
        return self._count

    # -- the stream --------------------------------------------------------------------------------------------------

    def owe(self, event: EventBase, unit: Unit, rows: Sequence[int]) -> None:
        """
        Take note of rows of an event, by their places. `told` was called with the event before.
        """
        now, names = self._clock(), event.key or ()
        table = self._tables.get(table_of(event))
        if table is None or not table.rows:
            table = self._tables[table_of(event)] = _Table(names, now)
        keys, dicts = row_keys(event), row_dicts(event)
        for at in rows:
            if keys[at] in table.rows:
                continue  # owed since an older event, which is not settled either
            columns = {name: dicts[at][name] for name in names}  # the rest a read has to show
            row = table.rows[keys[at]] = _Row(event.index, unit, columns, row_bytes(columns))
            unit.pending += 1
            if not table.waiting:
                table.since = now
            table.waiting[keys[at]] = None
            self._count += 1
            self._bytes += row.size

    def told(self, event: EventBase) -> bool:
        """
        Take what a live event tells of rows that are owed; False when it names their table's key otherwise.
        """
        table = self._tables.get(table_of(event))
        if table is None or not table.rows:
            return True
        if event.key != table.key:
            return False
        keys = row_keys(event)
        if not is_partial(event):
            for key in keys:
                self._drop(table, key)
            return True
        share = event_bytes(event) // len(event.rows)
        for key, columns in zip(keys, row_dicts(event), strict=True):
            row = table.rows.get(key)
            if row is None:
                continue
            if not columns.keys() <= row.columns.keys():
                row.size += share
                self._bytes += share
            row.columns.update(columns)
        return True

    def forget(self, table: TableId | None) -> None:
        """
        Nothing is owed of a table (None = of any) any more: it is read again as a whole, which was remembered before.
        """
        for one in list(self._tables) if table is None else [table]:
            gone = self._tables.pop(one, None)
            if gone is not None:
                for key in list(gone.rows):
                    self._drop(gone, key)
        self._let_go([held for held in self._held if table in (None, held.table)])
        if self._order is not None and table in (None, self._order.table):
            self._order = None  # what it brings comes too late

    def _drop(self, table: _Table, key: Hashable) -> None:
        """
        A row is not owed any more, if it was, and nothing else has to arrive for it.
        """
        if key in table.rows:
            unit = self._take(table, key).unit
            unit.tracker.settle(unit)

    def _take(self, table: _Table, key: Hashable) -> _Row:
        row = table.rows.pop(key)
        table.waiting.pop(key, None)
        self._count -= 1
        self._bytes -= row.size
        return row

    # -- reading -----------------------------------------------------------------------------------------------------

    def order(self) -> RowsOrder | None:
        """
        Return what to read now; None = nothing (now). One order is read at a time.
        """
        now, settings = self._clock(), self._settings
        if self._order is not None or now < self._read_after:
            return None
        for name, table in self._tables.items():
            if not table.waiting or (len(table.waiting) < self._at_once and now < table.since + settings.owed_linger_s):
                continue
            keys = list(islice(table.waiting, self._at_once))
            for key in keys:
                del table.waiting[key]
            columns = [table.rows[key].columns for key in keys]
            self._order = RowsOrder(name, table.key, [tuple(one[field] for field in table.key) for one in columns])
            self._tables[name] = self._tables.pop(name)  # the others are first now
            return self._order
        return None

    def read(self, order: RowsOrder, read: RowsRead) -> None:
        """
        Take what was read of an order.
        """
        table = self._ended(order)
        if table is None:
            return
        left = self._rows_of(table, order)
        found: list[tuple[EventBase, list[tuple[Hashable, _Row, Row]]]] = []
        late: list[Hashable] = []
        low = next((event.index for event in read.events if event.is_progress_mark), -1)
        for event in read.events:
            shown: list[tuple[Hashable, _Row, Row]] = []
            for key, row in zip(row_keys(event), event.rows, strict=True) if event.key == table.key else ():
                owed = left.pop(key, None)
                if owed is not None and event.index >= owed.floor:
                    shown.append((key, owed, row))
                elif owed is not None:
                    late.append(key)
            if shown:
                found.append((event, shown))
        late += [key for key, owed in left.items() if low < owed.floor]
        missing = [(key, owed) for key, owed in left.items() if low >= owed.floor]
        self._again(table, late)
        if found or missing:
            size = sum(event_bytes(event) for event, _ in found)
            if size > self._settings.owed_bytes // 2:
                self._at_once = max(1, self._at_once // 2)
            elif size <= self._settings.owed_bytes // 4:
                self._at_once = min(2 * self._at_once, self._settings.owed_at_once)
            self._bytes += size
            self._held.append(_Held(order.table, read.high, found, missing, size))

    def read_failed(self, order: RowsOrder) -> None:
        """
        An order could not be read: it is tried again after a wait.
        """
        table = self._ended(order)
        if table is not None:
            self._wait(table, list(self._rows_of(table, order)), most_s=5.0)

    def _ended(self, order: RowsOrder) -> _Table | None:
        if order is self._order:
            self._order = None
        table = self._tables.get(order.table)
        return table if table is not None and table.key == order.key else None

    @staticmethod
    def _rows_of(table: _Table, order: RowsOrder) -> dict[Hashable, _Row]:
        """
        Return the rows of an order that are still owed and not waiting to be read (anew).
        """
        blank = EventBase(EventType.INSERT, *order.table, order.keys, order.key, key=order.key)
        return {key: table.rows[key] for key in row_keys(blank) if key in table.rows and key not in table.waiting}

    def _again(self, table: _Table, keys: Sequence[Hashable]) -> None:
        # The read is older than what is remembered of the stream: some change may be missing from both.
        if keys:
            self._counters.rereads += 1
            self._wait(table, keys, most_s=1.0)
        else:
            self._in_vain = 0

    def _wait(self, table: _Table, keys: Sequence[Hashable], *, most_s: float) -> None:
        self._in_vain += 1
        self._read_after = self._clock() + min(most_s, 0.01 * 2 ** min(self._in_vain, 10))
        for key in keys:
            table.waiting[key] = None

    @property
    def is_in_vain(self) -> bool:
        """
        Whether rows were read in vain again and again.
        """
        return self._in_vain > _MOST_IN_VAIN

    @property
    def tables(self) -> list[TableId]:
        """
        The tables of which rows are owed.
        """
        return [name for name, table in self._tables.items() if table.rows]

    @property
    def wait_s(self) -> float:
        """
        How long it takes until there is something to read, seconds; a large number when nothing waits.
        """
        now, linger = self._clock(), self._settings.owed_linger_s
        due = [table.since + linger for table in self._tables.values() if table.waiting]
        return max(0.0, min(due) - now, self._read_after - now) if due and self._order is None else 1e9

    # -- sending -----------------------------------------------------------------------------------------------------

    def release(self, passed: int, point: int, *, at_once: bool) -> Released | None:
        """
        Return what was read at once and may go now; call again until it returns None.

        Args:
            passed: Where the stream has passed.
            point: The index of the rows: not below anything that the stream has brought.
            at_once: The stream waits, and so will never come to where they should.
        """
        held = next((one for one in self._held if at_once or one.high is None or passed >= one.high), None)
        if held is None:
            return None
        self._let_go([held])
        table = self._tables.get(held.table)
        if table is None:
            return Released([], None)
        events: list[tuple[EventBase, list[Unit]]] = []
        for event, shown in held.found:
            rows: list[Row] = []
            units: list[Unit] = []
            for key, owed, row in shown:
                if table.rows.get(key) is owed:
                    self._take(table, key)
                    rows.append(_completed(event, row, owed.columns))
                    units.append(owed.unit)
            if rows:
                self._counters.completed_rows += len(rows)
                events.append((with_rows(event, rows, index=point), units))
        # The stream has told of no delete: the source does not find the row by this key.
        is_lost = any(table.rows.get(key) is owed for key, owed in held.missing)
        return Released(events, held.table if is_lost else None)

    def _let_go(self, held: Sequence[_Held]) -> None:
        for one in held:
            self._bytes -= one.size
        self._held = [one for one in self._held if not any(one is gone for gone in held)]


def _completed(event: EventBase, row: Row, columns: Mapping[str, Any]) -> Row:
    """
    Return a row as it was read, with what the stream told since.
    """
    if isinstance(row, Mapping):
        return {**row, **columns}
    return tuple(columns.get(name, value) for name, value in zip(event.fields, row, strict=True))
