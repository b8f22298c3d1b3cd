"""
Reading the tables of a snapshot several at a time: each by a thread and a connection of its own, chunks in the order in which they
come, each with a resume token that says where every table is.

For drivers of databases; they say how one table is read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from fustor_core.errors import ConnectionLost, FustorError
from fustor_core.models.event import EventBase
from fustor_core.table_token import Cursor, Place, TableToken

_ENDING_S = 5.0


class TableLike(Protocol):
    """
    A table that can be read.
    """

    @property
    def place(self) -> Place:
        """
        Its schema and name.
        """
        ...


class Closeable(Protocol):
    """
    A connection.
    """

    def close(self) -> None:
        """
        Close it.
        """
        ...


class Chunk(NamedTuple):
    """
    A chunk, and the key of its last row (None when the table can't be gone on with, and is begun anew instead).
    """

    event: EventBase
    after: Cursor


T = TypeVar("T", bound=TableLike)
C = TypeVar("C", bound=Closeable)


class StopOfBoth(threading.Event):
    """
    Set when its own was set, or another one.
    """

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """
        Tell whether one of the two is set.
        """
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """
        Wait for the other, at most `timeout` seconds.
        """
        return super().is_set() or self._other.wait(timeout) or self.is_set()


class ParallelTables(Generic[T, C]):
    """
    Reads tables.

    Args:
        tables: What to read.
        connect: Makes a connection; each thread has one.
        read: Reads one table over a connection, after a row or from its beginning, and ends early when `stop` is set.
        token: Where an earlier reading had come to.
        at_once: Most tables read at the same time.
        stop: Ends the reading; `read` looks at it.
    """

    def __init__(
        self,
        tables: Sequence[T],
        *,
        connect: Callable[[], C],
        read: Callable[[C, T, Cursor], Iterator[Chunk]],
        token: TableToken | None,
        at_once: int,
        stop: StopOfBoth,
    ) -> None:
        self._connect = connect
        self._read = read
        self._stop = stop
        self._after: dict[Place, Cursor] = {} if token is None else dict(token.under_way)
        left = [table for table in tables if token is None or not token.is_done(table.place)]
        self._waiting = deque(sorted(left, key=lambda table: table.place))
        self._begun = None if token is None else token.begun
        self._at_once = min(at_once, len(self._waiting))
        self._under_way: dict[Place, Cursor] = {}
        self._turn = threading.Condition()
        self._come: deque[tuple[Place, Chunk]] = deque()
        self._ended: deque[Place] = deque()
        self._working = 0
        self._error: Exception | None = None
        self._wrong: dict[Place, FustorError] = {}
        # What was under way and is not there any more was dropped; it is done.
        for table in self._waiting:
            if table.place in self._after:
                self._under_way[table.place] = self._after[table.place]

    def chunks(self) -> Iterator[EventBase]:
        """
        Yield the chunks.

        Raises:
            FustorError: What `connect` or `read` raised; the chunks before it were good. A lost connection is raised at once; what
                is wrong with one table only after the others were read, and the last token says that it was not. The first of
                these errors is raised; its context has `tables`, each with its `schema`, `table`, `reason` and `hint`.
        """
        if self._at_once <= 1:
            yield from self._one_by_one()
            return
        threads = [
            threading.Thread(target=self._work, name=f"snapshot-table-{n}", daemon=True) for n in range(self._at_once)
        ]
        self._working = len(threads)
        for thread in threads:
            thread.start()
        try:
            while (event := self._next()) is not None:
                yield event
        finally:
            self._stop.set()
            with self._turn:
                self._turn.notify_all()
            for thread in threads:
                thread.join(_ENDING_S)

    def _one_by_one(self) -> Iterator[EventBase]:
        connection: C | None = None
        try:
            while (table := self._begin()) is not None:
                connection = connection or self._connect()
                try:
                    for chunk in self._read(connection, table, self._after.get(table.place)):
                        yield self._given_out(table.place, chunk)
                except ConnectionLost:
                    raise
                except FustorError as exc:
                    self._wrong[table.place] = exc
                    connection.close()
                    connection = None
                    continue
                if not self._stop.is_set():
                    self._under_way.pop(table.place, None)
        finally:
            if connection is not None:
                connection.close()
        self._tell_what_is_wrong()

    def _tell_what_is_wrong(self) -> None:
        if not self._wrong:
            return
        first = next(iter(self._wrong.values()))
        first.context["tables"] = [
            {"schema": place[0], "table": place[1], "reason": error.message, "hint": error.hint}
            for place, error in self._wrong.items()
        ]
        raise first

    def _begin(self) -> T | None:
        """
        Take the next table.
        """
        if self._stop.is_set() or not self._waiting:
            return None
        table = self._waiting.popleft()
        self._under_way.setdefault(table.place, None)
        if self._begun is None or table.place > self._begun:
            self._begun = table.place
        return table

    def _given_out(self, place: Place, chunk: Chunk) -> EventBase:
        # The token speaks of what was given out, not of what was read: a chunk that waits here is read again.
        event = chunk.event
        self._under_way[place] = chunk.after
        event.resume_token = TableToken(self._begun or place, self._under_way).write()
        return event

    def _next(self) -> EventBase | None:
        with self._turn:
            while True:
                if self._come:
                    self._turn.notify_all()
                    return self._given_out(*self._come.popleft())
                while self._ended:  # only now: the last chunk of the table was given out
                    self._under_way.pop(self._ended.popleft(), None)
                if self._error is not None:
                    raise self._error
                if not self._working or self._stop.is_set():
                    self._tell_what_is_wrong()
                    return None
                self._turn.wait(0.2)

    def _work(self) -> None:
        connection: C | None = None
        try:
            while True:
                with self._turn:
                    table = self._begin() if self._error is None else None
                if table is None:
                    return
                connection = connection or self._connect()
                try:
                    for chunk in self._read(connection, table, self._after.get(table.place)):
                        if not self._hand_over(table.place, chunk):
                            return
                except ConnectionLost:
                    raise
                except FustorError as exc:
                    with self._turn:
                        self._wrong[table.place] = exc
                    connection.close()
                    connection = None
                    continue
                with self._turn:
                    if self._stop.is_set():
                        return
                    self._ended.append(table.place)
                    self._turn.notify_all()
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything; whoever walks the chunks gets it
            with self._turn:
                self._error = self._error or exc
        finally:
            if connection is not None:
                connection.close()
            with self._turn:
                self._working -= 1
                self._turn.notify_all()

    def _hand_over(self, place: Place, chunk: Chunk) -> bool:
        with self._turn:
            while len(self._come) >= self._at_once:  # as many wait as threads; no thread reads far ahead
                if self._stop.is_set() or self._error is not None:
                    return False
                self._turn.wait(0.2)
            self._come.append((place, chunk))
            self._turn.notify_all()
            return not self._stop.is_set()
