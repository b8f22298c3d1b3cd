"""
The base class of a view, and what ingest hands to it.

A view lives once per datastore. `apply`, `sweep`, `collect_garbage`, `discard` and `clear_discarded` run on the datastore's applier thread, inside the ingest transaction; what they
raise rolls that push back. Routes run on other threads and read through `Database.read`.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from fastapi import APIRouter
from msgspec import Raw

from fustor_core.models.envelope import WireEvent

FilterOp = Literal["eq", "ne", "lt", "le", "gt", "ge", "contains", "like", "in", "isnull"]


class Database(Protocol):
    """
    The store of one datastore, as far as a view may use it.
    """

    datastore_id: str
    folder: Path
    """
    Where a view may keep files of its own, such as a search index that can be rebuilt.
    """

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """
        Lend a read-only connection that sees all that is committed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """
    Whose rows these are and which version they carry.

    Attributes:
        task_id: The sync.
        epoch: Versions compare as (epoch, index of the event).
        run: Number of the snapshot the rows belong to; None for live changes. Growing, never 0.
    """

    task_id: str
    epoch: int
    run: int | None


@dataclass(slots=True)
class Applied:
    """
    What applying came to.

    Attributes:
        applied: Rows that changed something.
        stale: Rows older than what is stored.
        lost: Tables (`schema.table`) that had to be begun anew: a snapshot has to bring their rows.
        changes: What to tell the readers of the live tail, in the shape of `GET /views/live`; filled only when someone listens.
    """

    applied: int = 0
    stale: int = 0
    lost: list[str] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """
    One condition on a column. `value` is the text of the request; a view reads it as the type of the column.
    """

    column: str
    op: FilterOp
    value: str


@dataclass(frozen=True, slots=True)
class RowQuery:
    """
    What rows of a table are wanted, in which order.

    Attributes:
        where: All of these hold.
        order: Column to order by; None = by key.
        descending: Largest first.
        limit: Most rows in the answer, at least 1.
        cursor: The `next` of the answer before; None = from the beginning.
        budget_s: How long to look for rows before the answer says how far it came, seconds; None = as long as it takes.
    """

    where: tuple[RowFilter, ...] = ()
    order: str | None = None
    descending: bool = False
    limit: int = 100
    cursor: str | None = None
    budget_s: float | None = None


@dataclass(slots=True)
class RowPage:
    """
    Rows as dicts, or as JSON texts that are passed on as they are.

    Attributes:
        rows: The rows.
        next: Cursor of the page after; None = that was all.
        columns: Every column that rows of this table may have, in a fixed order (the header of a CSV export).
        scanned: How many rows were looked at.
        is_partial: The time was up before the page was full; `next` goes on from there.
    """

    rows: list[dict[str, Any] | Raw]
    next: str | None
    columns: list[str]
    scanned: int = 0
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class RowCount:
    """
    How many rows there are.

    Attributes:
        count: Of those looked at, the ones that fit.
        next: Cursor to count on with; None = that was all.
        scanned: How many rows were looked at.
    """

    count: int
    next: str | None
    scanned: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """
    A table or a tree that a view holds, as far as a view knows it without looking at rows.
    """

    task_id: str
    schema: str
    table: str
    last_index: int
    kind: Literal["table", "tree"] = "table"


def is_among(tables: list[str] | None, schema: str, table: str) -> bool:
    """
    Tell whether a snapshot narrowed to `tables` (None = not narrowed) is of a table: it is named `schema.table`, or by its bare name.
    """
    return tables is None or table in tables or f"{schema}.{table}" in tables


class RowSeries(Protocol):
    """
    All rows that a query wants, part by part. Any thread, one at a time.

    Attributes:
        columns: See `RowPage`.
    """

    columns: list[str]

    def read(self, limit: int, budget_s: float) -> RowPage | None:
        """
        Go on for about `budget_s` seconds; return what rows that came to, none perhaps. None = that was all.

        Raises:
            fustor_core.errors.InvalidRequest: The query does not fit the table any more.
        """
        ...

    def close(self) -> None:
        """
        Let go of what it holds, without waiting for who is reading. May be called twice.
        """
        ...


class View(ABC):
    """
    A projection of the events of one datastore.
    """

    name: ClassVar[str]

    def __init__(self, database: Database) -> None:
        self.database = database

    @abstractmethod
    def create(self, conn: sqlite3.Connection) -> None:
        """
        Create or migrate what the view needs in the datastore's database. Called once, before anything else.
        """

    @abstractmethod
    def claims(self, event: WireEvent) -> bool:
        """
        Tell whether rows of this event's table belong to this view. Must give the same answer for a table each time.
        """

    @abstractmethod
    def apply(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, *, listening: bool) -> Applied:
        """
        Apply the rows of one event by key; a row older than what is stored changes nothing.

        A row of a snapshot that is stale still counts as confirmed by `stream.run`. A delete leaves a tombstone.

        Raises:
            fustor_core.errors.InvalidRequest: The event can't be applied (no key, wrong shape); says which row and why.
        """

    @abstractmethod
    def sweep(self, conn: sqlite3.Connection, stream: Stream, start_index: int, tables: list[str] | None) -> int:
        """
        Remove the rows of `stream.task_id` that run `stream.run` did not confirm and whose version is below (epoch, start_index); only
        those of the tables that `is_among` finds in `tables`.

        Returns:
            How many rows were removed.
        """

    @abstractmethod
    def collect_garbage(self, conn: sqlite3.Connection, task_id: str, epoch: int, checkpoint: int, limit: int) -> int:
        """
        Forget up to `limit` tombstones with a version at or below (epoch, checkpoint). Called while no snapshot is active or asked for.

        Returns:
            How many were forgotten.
        """

    @abstractmethod
    def discard(self, conn: sqlite3.Connection, task_id: str) -> None:
        """
        Let go of everything of a sync, quickly however much it is: from now on nothing of it is seen, and its id is that of a new sync.
        """

    @abstractmethod
    def clear_discarded(self, conn: sqlite3.Connection, limit: int) -> int:
        """
        Remove up to about `limit` rows of what `discard` let go of, in this process or an earlier one. Other events are applied meanwhile,
        also of a sync of the same id.

        Returns:
            How many were removed; 0 = nothing is left.
        """

    @abstractmethod
    def list_tables(self, conn: sqlite3.Connection) -> list[dict[str, Any]]:
        """
        Describe the tables the view holds, in the shape of `GET /views/tables`.
        """

    def describe_table(self, conn: sqlite3.Connection, task_id: str, schema: str, table: str) -> dict[str, Any] | None:
        """
        Describe one table, in the same shape; None = this view does not hold it.
        """
        named = {"task_id": task_id, "schema": schema, "table": table}
        return next((one for one in self.list_tables(conn) if named.items() <= one.items()), None)

    def list_streams(self, conn: sqlite3.Connection) -> list[StreamInfo]:
        """
        Tell which tables the view holds. Asked often: a view that counts rows for `list_tables` says it here without.
        """
        return [
            StreamInfo(table["task_id"], table["schema"], table["table"], table["last_index"])
            for table in self.list_tables(conn)
        ]

    def query_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowPage | None:
        """
        Return rows of a table that this view holds, for `GET /views/tables/.../rows`; None = it does not hold that table.

        Called from request threads.

        Raises:
            fustor_core.errors.InvalidRequest: The query names an unknown column, or a value or the cursor can't be read.
        """
        return None

    def sort_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowSeries | None:
        """
        Begin to give all rows that `query` wants in its order, whatever its limit and cursor, for an export; None = this view does not hold
        that table, or its pages are as quick.

        Raises:
            fustor_core.errors.InvalidRequest: As for `query_rows`.
        """
        return None

    def count_rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowCount | None:
        """
        Count the rows that `query.where` lets through, for `GET /views/tables/.../count`; None = this view does not hold that table.

        Raises:
            fustor_core.errors.InvalidRequest: As for `query_rows`.
        """
        return None

    def get_row(self, task_id: str, schema: str, table: str, key: list[Any]) -> dict[str, Any] | Raw | None:
        """
        Return the row of a key (its values in the order of the table's key); None = no such row, or not this view's table.
        """
        return None

    def rolled_back(self) -> None:
        """
        Called on the applier thread when changes that were applied did not become durable: forget what is kept of them in
        memory. The next call is against what the database holds.
        """

    def committed(self) -> None:
        """
        Called on the applier thread after a commit that changed this view: the moment to wake background work.
        """

    def close(self) -> None:
        """
        Stop background work and let go of files. May be called twice.
        """

    @classmethod
    def router(cls, resolve: Callable[..., Self]) -> APIRouter | None:
        """
        Build the view's routes, mounted below `/views`; None = it has none.

        Args:
            resolve: A FastAPI dependency that gives the view of the caller's datastore.
        """
        return None
