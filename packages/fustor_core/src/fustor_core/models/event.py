"""
Events: what a source driver yields and a pusher driver sends.

An event is a batch of rows of one table. Rows are dicts, or sequences aligned with `fields`.
Neighbours: `fustor_core.models.envelope` (how events look on the wire), `fustor_core.drivers` (who yields them).

Invariants:
    - `index` is non-decreasing in commit order within one incarnation of a source.
    - An event without rows is a progress mark: the stream has passed `index`.
    - An `UntoldMark` is one that says besides: rows of its table changed up to `index` without being told one by one.
    - An update may carry a subset of the columns; a column that is absent is unchanged.
    - A change of key is a delete and an insert.
    - A row of a table without a key is told from its copies by (index, ordinal): see `EventBase.ordinal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

Row = Mapping[str, Any] | Sequence[Any]


class EventType(StrEnum):
    """
    What happened to the rows of an event.
    """

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


class EventBase:
    """
    A batch of rows of one table that changed in the same way.

    Args:
        event_type: What happened.
        event_schema: The schema (database, or root URI of a tree) that the table is in.
        table: Name of the table.
        rows: Dicts, or sequences aligned with `fields`. Empty for a progress mark.
        fields: Column names. Taken from the first dict row when not given.
        index: Position in the source; -1 when unknown. For a row of a snapshot: the low watermark of its chunk.
        key: Names of the primary-key fields; None when the table has none (the full row is the key then).
        ts: Commit time at the source, epoch seconds.
        columns: Field name to its JSON-Schema type, when known.
        resume_token: For a chunk of a snapshot: a snapshot opened with this token goes on right after this chunk.
        ordinal: Only for tables without a key. Of the event's first row; row i has `ordinal + i`. A live row's is its place among
            the rows of its table within its transaction, whose own `index` the event carries, so it is the same each time
            the log is read. In a snapshot it counts the rows of the table, all read at one exact `index`, in an order that
            is the same whenever it is read at that index. A snapshot's event without rows says that the table was read to its
            end: `ordinal` is the number of its rows then.

    Raises:
        ValueError: Rows are sequences and `fields` is not given, or a sequence is not as long as `fields`.
    """

    __slots__ = (
        "columns",
        "event_schema",
        "event_type",
        "fields",
        "index",
        "key",
        "ordinal",
        "resume_token",
        "rows",
        "table",
        "ts",
    )

    def __init__(
        self,
        event_type: EventType | str,
        event_schema: str,
        table: str,
        rows: Sequence[Row],
        fields: Sequence[str] | None = None,
        index: int = -1,
        *,
        key: Sequence[str] | None = None,
        ts: float | None = None,
        columns: Mapping[str, Any] | None = None,
        resume_token: str | None = None,
        ordinal: int | None = None,
    ) -> None:
        self.event_type = EventType(event_type)
        self.event_schema = event_schema
        self.table = table
        self.rows = rows
        if fields is None:
            fields = _fields_of(rows)
        elif rows and not isinstance(rows[0], Mapping) and len(rows[0]) != len(fields):
            raise ValueError(f"a row of {table!r} has {len(rows[0])} values for {len(fields)} fields {list(fields)!r}")
        self.fields = tuple(fields)
        self.index = index
        self.key = None if key is None else tuple(key)
        self.ts = ts
        self.columns = columns
        self.resume_token = resume_token
        self.ordinal = ordinal

    @property
    def is_progress_mark(self) -> bool:
        """
        Whether this only says that the stream has passed `index`.
        """
        return not self.rows and self.ordinal is None

    def ordinal_after(self, rows: int) -> int | None:
        """
        Return the ordinal of the row behind the first `rows`; None when rows have none.
        """
        return None if self.ordinal is None else self.ordinal + rows

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.event_type.value} {self.event_schema}.{self.table}, "
            f"{len(self.rows)} rows, index={self.index})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventBase):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in EventBase.__slots__)

    __hash__ = None  # type: ignore[assignment]  # holds mutable rows


def _fields_of(rows: Sequence[Row]) -> Sequence[str]:
    if not rows:
        return ()
    first = rows[0]
    if isinstance(first, Mapping):
        return tuple(first)
    raise ValueError("rows given as sequences need `fields`, the column names they are aligned with")


class InsertEvent(EventBase):
    """
    Rows that are new, or whole rows of a snapshot. Applied as an upsert.
    """

    __slots__ = ()

    def __init__(
        self,
        event_schema: str,
        table: str,
        rows: Sequence[Row],
        fields: Sequence[str] | None = None,
        index: int = -1,
        **more: Any,
    ) -> None:
        super().__init__(EventType.INSERT, event_schema, table, rows, fields, index, **more)


class UpdateEvent(EventBase):
    """
    Rows that changed: the key and the columns that are known, the others are unchanged.
    """

    __slots__ = ()

    def __init__(
        self,
        event_schema: str,
        table: str,
        rows: Sequence[Row],
        fields: Sequence[str] | None = None,
        index: int = -1,
        **more: Any,
    ) -> None:
        super().__init__(EventType.UPDATE, event_schema, table, rows, fields, index, **more)


class DeleteEvent(EventBase):
    """
    Rows that are gone: at least their key fields.
    """

    __slots__ = ()

    def __init__(
        self,
        event_schema: str,
        table: str,
        rows: Sequence[Row],
        fields: Sequence[str] | None = None,
        index: int = -1,
        **more: Any,
    ) -> None:
        super().__init__(EventType.DELETE, event_schema, table, rows, fields, index, **more)


class UntoldMark(EventBase):
    """
    Says that rows of one table changed, or went, without being told one by one (TRUNCATE, ALTER TABLE, DROP, RENAME).

    A live stream yields it at the place of the change: its index is larger than that of everything before it, what comes after it
    is true again, and a progress mark or event at or past it follows. Without a table it speaks of the whole source. A snapshot of that table, read at or past `index`, makes it right;
    the runtime sees to that. For a consumer it is an ordinary progress mark.

    Args:
        event_schema: The schema of the table.
        table: The table; "" = every table.
        reason: What happened, for people.
        index: The place in the source behind the change.
        may_wait: This can happen often, and perhaps no row changed: the table (there must be one) is read again now and then, not at once
            and each time.
    """

    __slots__ = ("may_wait", "reason")

    def __init__(self, event_schema: str, table: str, reason: str, index: int, *, may_wait: bool = False) -> None:
        super().__init__(EventType.INSERT, event_schema, table, (), index=index)
        self.reason = reason
        self.may_wait = may_wait


def untold_mark(index: int, event_schema: str, table: str, reason: str, *, may_wait: bool = False) -> UntoldMark:
    """
    Build the event that says that rows of a table changed up to `index` without being told.
    """
    return UntoldMark(event_schema, table, reason, index, may_wait=may_wait)


def progress_mark(index: int, event_schema: str = "", table: str = "") -> EventBase:
    """
    Build the event that says the stream has passed `index`.
    """
    return EventBase(EventType.INSERT, event_schema, table, (), index=index)
