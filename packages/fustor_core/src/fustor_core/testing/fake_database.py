"""
A fake database, deterministic and steppable: a log, tables, and commits that reads see later than the log.

A commit is written to the log first and becomes visible to reads when `make_visible` says so, as in MySQL and PostgreSQL. One of the
tables, `KEYLESS`, has no key, and rows of it are there several times.
Neighbours: `fakes` (a driver over it, and fake consumers), `model`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fustor_core.models.event import DeleteEvent, EventBase, EventType, InsertEvent, UpdateEvent, untold_mark

UntoldKind = Literal["truncate", "rewrite", "cascade"]
SCHEMA = "fake"
_BEGINNING = ":-1"
KEY = ("id",)
KEYLESS = "k"
"""
The table without a key: its rows are `{"n": ...}`.
"""


@dataclass(frozen=True, slots=True)
class Change:
    """
    One row change of a commit. `columns` of an update may be some of the columns. In the table without a key `id` is the whole row, and
    there are no updates.
    """

    kind: EventType
    table: str
    id: int
    columns: dict[str, Any] = field(default_factory=dict)

    def event(self, index: int, ordinal: int | None = None) -> EventBase:
        """
        Return the change as a driver yields it; `ordinal` for the table without a key.
        """
        if self.table == KEYLESS:
            return EventBase(self.kind, SCHEMA, KEYLESS, [{"n": self.id}], index=index, ordinal=ordinal)
        row = {"id": self.id, **self.columns}
        if self.kind is EventType.DELETE:
            return DeleteEvent(SCHEMA, self.table, [{"id": self.id}], index=index, key=KEY)
        make = InsertEvent if self.kind is EventType.INSERT else UpdateEvent
        return make(SCHEMA, self.table, [row], index=index, key=KEY)


@dataclass(frozen=True, slots=True)
class Untold:
    """
    A change of a whole table that the log names without its rows: they are gone, or each got a new value, or (as by a foreign key)
    some went and the others changed.
    """

    kind: UntoldKind
    table: str
    stamp: int

    def apply(self, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
        """
        Change the rows.
        """
        for key in [key for key in rows if key[0] == self.table]:
            if self.kind == "truncate" or (self.kind == "cascade" and key[1] % 2):
                del rows[key]
            else:
                rows[key].update(b=-self.stamp, v=self.stamp)


@dataclass(slots=True)
class Commit:
    """
    A transaction in the log: changes of rows, or one change of a whole table.
    """

    index: int
    changes: list[Change]
    visible: bool
    untold: Untold | None = None

    def apply(self, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
        """
        Do to the rows what it did.
        """
        for change in self.changes:
            _apply(rows, change)
        if self.untold is not None:
            self.untold.apply(rows)

    def count(self, bag: Counter[int]) -> None:
        """
        Do to the rows of the table without a key what it did.
        """
        for change in self.changes:
            if change.table == KEYLESS:
                bag[change.id] += 1 if change.kind is EventType.INSERT else -1
        if self.untold is not None and self.untold.table == KEYLESS:
            bag.clear()

    def events(self) -> list[EventBase]:
        """
        Return what a driver yields of it.
        """
        if self.untold is not None:
            kind = self.untold.kind
            return [untold_mark(self.index, SCHEMA, self.untold.table, kind, may_wait=kind == "cascade")]
        counted = 0
        events = []
        for change in self.changes:
            events.append(change.event(self.index, counted if change.table == KEYLESS else None))
            counted += change.table == KEYLESS
        return events

    def locks(self, table: str, row: int | None, kind: EventType | None = None) -> bool:
        """
        Tell whether others that write a row (None = the whole table) have to wait for it.
        """
        if self.untold is not None and self.untold.table == table:
            return True
        return any(
            change.table == table
            and row in (None, change.id)
            and not (table == KEYLESS and change.kind is kind is EventType.INSERT)
            for change in self.changes
        )


class FakeDatabase:
    """
    A source with a log and tables; safe to use from several threads.

    Args:
        tables: Names of its tables.
        naive: Take the log's end as low watermark, without a visibility gate. Wrong on purpose: tests show that it is.
    """

    def __init__(self, tables: Sequence[str] = ("t", "u"), *, naive: bool = False) -> None:
        self.tables = tuple(tables)
        self.naive = naive
        self.incarnation = "server-1"
        self.purged = 0
        self.stamp = 0
        self.log: list[Commit] = []
        self.base: dict[tuple[str, int], dict[str, Any]] = {}
        self.base_bag: Counter[int] = Counter()
        self.changed = threading.Condition()

    @property
    def newest(self) -> int:
        """
        Index of the log's end; 0 = empty.
        """
        return self.log[-1].index if self.log else self.purged

    def commit(self, *changes: Change, visible: bool = True) -> Commit:
        """
        Write a transaction to the log; readers see it now, or when `make_visible` is called.

        Every written row gets the column `v`, the number of the change, which grows for ever.
        """
        with self.changed:
            for change in changes:
                self._wait_for(change.table, change.id, change.kind)
            stamped = []
            for change in changes:
                self.stamp += 1
                bare = change.kind is EventType.DELETE or change.table == KEYLESS
                columns = {} if bare else {**change.columns, "v": self.stamp}
                stamped.append(Change(change.kind, change.table, change.id, columns))
            commit = Commit(self.newest + 1, stamped, visible)
            self.log.append(commit)
            self.changed.notify_all()
            return commit

    def commit_untold(self, kind: UntoldKind, table: str, *, visible: bool = True) -> Commit:
        """
        Write a change of a whole table to the log, which does not tell the rows.
        """
        with self.changed:
            self._wait_for(table, None)
            self.stamp += 1
            commit = Commit(self.newest + 1, [], visible, Untold(kind, table, self.stamp))
            self.log.append(commit)
            self.changed.notify_all()
            return commit

    def _wait_for(self, table: str, row: int | None, kind: EventType | None = None) -> None:
        # A row is locked until its writer is visible.
        for other in self.log:
            if not other.visible and other.locks(table, row, kind):
                other.visible = True

    def invisible(self) -> list[Commit]:
        """
        Return commits that are in the log and that reads do not see yet.
        """
        return [commit for commit in self.log if not commit.visible]

    def make_visible(self, commit: Commit) -> None:
        """
        Let reads see a commit.
        """
        with self.changed:
            commit.visible = True
            self.changed.notify_all()

    def rows(self, *, committed: bool = False) -> dict[tuple[str, int], dict[str, Any]]:
        """
        Return the rows by (table, id), as reads see them, or with everything that is committed.
        """
        rows = {key: dict(row) for key, row in self.base.items()}
        for commit in self.log:
            if commit.visible or committed:
                commit.apply(rows)
        return rows

    def bag(self, *, through: int | None = None, committed: bool = False) -> Counter[int]:
        """
        Return how many copies of each row the table without a key has: as reads see it, with everything that is committed, or as it
        was at an index.
        """
        bag = Counter(self.base_bag)
        for commit in self.log:
            if commit.index <= through if through is not None else commit.visible or committed:
                commit.count(bag)
        return +bag

    def low_watermark(self) -> int:
        """
        Return an index L such that every change that a read from now on does not see comes after L.
        """
        if self.naive:
            return self.newest
        hidden = self.invisible()
        return hidden[0].index - 1 if hidden else self.newest

    def read(self, after: str | None, count: int, tables: Sequence[str] | None = None) -> list[tuple[str, int]]:
        """
        Return the keys of the next visible rows after a resume token, of one table, in key order.
        """
        start = _parse(after)
        keys = sorted(key for key in self.rows() if is_asked(key[0], tables) and key > start)
        return [key for key in keys if key[0] == keys[0][0]][:count] if keys else []

    def chunk(self, low: int, after: str | None, count: int, tables: Sequence[str] | None = None) -> EventBase | None:
        """
        Read the next chunk with the low watermark `low`, which was taken before; None at the end.
        """
        with self.changed:
            keys = self.read(after, count, tables)
            if not keys:
                return None
            rows = self.rows()
            return InsertEvent(
                SCHEMA,
                keys[0][0],
                [{"id": key[1], **rows[key]} for key in keys],
                index=low,
                key=KEY,
                resume_token=f"{keys[-1][0]}:{keys[-1][1]}",
            )

    def found(self, low: int, table: str, ids: Sequence[int]) -> list[EventBase]:
        """
        Read visible rows by id with the low watermark `low`, which was taken before.
        """
        with self.changed:
            rows = self.rows()
            there = [{"id": one, **rows[table, one]} for one in ids if (table, one) in rows]
            return [InsertEvent(SCHEMA, table, there, index=low, key=KEY)] if there else []

    def watermark(self, low: int) -> EventBase:
        """
        Return what a snapshot begins with: the low watermark `low`, which was taken before.
        """
        return EventBase(EventType.INSERT, "", "", (), index=low, resume_token=_BEGINNING)

    def events_after(self, position: int) -> list[EventBase]:
        """
        Return every live event after a position.
        """
        return [event for commit in self.log if commit.index > position for event in commit.events()]

    def available(self, position: int) -> bool:
        """
        Tell whether the log still holds everything after a position.
        """
        return self.purged <= position <= self.newest

    def purge(self) -> None:
        """
        Throw the visible part of the log away, as a server does that is short of disk. Nothing of the log is left in which the
        newest commit was: what begins now begins behind it.
        """
        with self.changed:
            while self.log and self.log[0].visible:
                commit = self.log.pop(0)
                commit.apply(self.base)
                commit.count(self.base_bag)
                self.purged = commit.index + (not self.log)

    def fail_over(self, lose: int = 0) -> None:
        """
        Become another server that has not got the last `lose` commits and starts its log at small positions.
        """
        with self.changed:
            for commit in self.log:
                commit.visible = True
            if lose:
                del self.log[-lose:]
            self.base, self.base_bag = self.rows(), self.bag()
            self.log = []
            self.purged = 0
            self.incarnation = f"server-{int(self.incarnation.split('-')[1]) + 1}"
            self.changed.notify_all()


class FakeReader:
    """
    Reads one snapshot of a database, chunk by chunk.

    Args:
        token: Go on after the chunk that carried it.
        count: Most rows in a chunk.
        tables: Only these.
        with_keyless: Whether the table without a key is read.
    """

    def __init__(
        self,
        database: FakeDatabase,
        token: str | None,
        count: int,
        tables: Sequence[str] | None = None,
        *,
        with_keyless: bool = True,
    ) -> None:
        self.database = database
        self._token = token
        self._count = count
        self._tables = tables
        self._with_keyless = with_keyless and is_asked(KEYLESS, tables)
        self._exact: tuple[int, list[int]] | None = None
        self._done = 0

    def next(self, low: int) -> EventBase | None:
        """
        Read the next chunk with the low watermark `low`, which was taken before; None at the end.
        """
        with self.database.changed:
            if self._token is None:
                self._token = _BEGINNING
                return self.database.watermark(low)
            chunk = self._keyless() if self._exact is not None else None
            chunk = chunk or self.database.chunk(low, self._token, self._count, self._tables)
            if self._is_keyless_next(chunk):
                # Invariant 9: all of it at one exact place; nothing later is in it, whenever its chunks are taken.
                database = self.database
                at = database.low_watermark()
                bag = database.bag() if database.naive else database.bag(through=at)
                self._exact, self._done = (at, sorted(bag.elements())), 0
                chunk = self._keyless()
        if chunk is not None:
            self._token = chunk.resume_token
        return chunk

    def _is_keyless_next(self, chunk: EventBase | None) -> bool:
        left = self._with_keyless and self._exact is None and _parse(self._token) < (KEYLESS, 0)
        return left and (chunk is None or chunk.table > KEYLESS)

    def _keyless(self) -> EventBase | None:
        if self._exact is None or self._done < 0:
            return None
        at, rows = self._exact
        # Twice as many as of other tables: pushes have to cut it.
        part = [{"n": n} for n in rows[self._done : self._done + 2 * self._count]]
        # In its midst it can't be gone on with: its token begins it anew.
        token = f"{KEYLESS}:-1" if part else f"{KEYLESS}:0"
        event = InsertEvent(SCHEMA, KEYLESS, part, index=at, ordinal=self._done, resume_token=token)
        self._done = self._done + len(part) if part else -1
        return event


def _apply(rows: dict[tuple[str, int], dict[str, Any]], change: Change) -> None:
    key = (change.table, change.id)
    if change.table == KEYLESS:
        return
    if change.kind is EventType.DELETE:
        rows.pop(key, None)
    elif change.kind is EventType.INSERT:
        rows[key] = dict(change.columns)
    elif key in rows:
        rows[key].update(change.columns)


def is_asked(table: str, tables: Sequence[str] | None) -> bool:
    """
    Tell whether a snapshot narrowed to `tables` (None = not narrowed) is of a table.
    """
    return tables is None or table in tables or f"{SCHEMA}.{table}" in tables


def _parse(token: str | None) -> tuple[str, int]:
    if token is None:
        return ("", -1)
    table, _, at = token.partition(":")
    return (table, int(at))
