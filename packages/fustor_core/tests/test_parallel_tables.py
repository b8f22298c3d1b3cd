"""
Tables of a snapshot read at once: every row comes, whatever is read in parallel and wherever the reading is gone on with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fustor_core.errors import PermissionMissing
from fustor_core.models.event import EventBase, InsertEvent
from fustor_core.parallel_tables import Chunk, ParallelTables, StopOfBoth
from fustor_core.table_token import Cursor, Place, TableToken


@dataclass(frozen=True)
class Numbers:
    """
    A table with the rows 1 to `count`.
    """

    name: str
    count: int
    resumable: bool = True

    @property
    def place(self) -> Place:
        return "s", self.name


class Link:
    """
    A connection that remembers whether it is open.
    """

    def __init__(self, opened: list[Link]) -> None:
        self.is_open = True
        opened.append(self)

    def close(self) -> None:
        self.is_open = False


def reading(
    tables: list[Numbers], at_once: int, token: str | None = None, opened: list[Link] | None = None
) -> ParallelTables[Numbers, Link]:
    def read(link: Link, table: Numbers, after: Cursor) -> Iterator[Chunk]:
        assert link.is_open
        first = 1 if after is None else after[0] + 1
        for low in range(first, table.count + 1, 2):
            rows = [{"id": n} for n in range(low, min(low + 2, table.count + 1))]
            event = InsertEvent("s", table.name, rows, key=("id",))
            yield Chunk(event, [rows[-1]["id"]] if table.resumable else None)

    links = [] if opened is None else opened
    return ParallelTables(
        tables,
        connect=lambda: Link(links),
        read=read,
        token=TableToken.read(token),
        at_once=at_once,
        stop=StopOfBoth(threading.Event()),
    )


def rows_of(chunks: list[EventBase]) -> list[tuple[str, int]]:
    return [(chunk.table, row["id"]) for chunk in chunks for row in chunk.rows]  # type: ignore[call-overload]


tables_of = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9), st.booleans()), max_size=6, unique_by=lambda one: one[0]
).map(lambda made: [Numbers(*one) for one in made])


@settings(deadline=None)  # threads wait for one another, and the machine may be busy
@given(tables=tables_of, at_once=st.integers(1, 4), then_at_once=st.integers(1, 4), data=st.data())
def test_what_was_given_out_and_what_comes_after_its_token_is_everything(
    tables: list[Numbers], at_once: int, then_at_once: int, data: st.DataObject
) -> None:
    """
    A snapshot gone on with from any chunk loses nothing, and repeats only tables that can't be gone on with.
    """
    everything = {(table.name, n) for table in tables for n in range(1, table.count + 1)}
    chunks = list(reading(tables, at_once).chunks())
    assert len(rows_of(chunks)) == len(everything)
    assert set(rows_of(chunks)) == everything
    if not chunks:
        return
    at = data.draw(st.integers(0, len(chunks) - 1))
    before = rows_of(chunks[: at + 1])
    rest = rows_of(list(reading(tables, then_at_once, chunks[at].resume_token).chunks()))
    assert set(before) | set(rest) == everything
    again = {name for name, n in set(before) & set(rest)}
    assert again <= {table.name for table in tables if not table.resumable}


def test_several_tables_are_read_at_the_same_time() -> None:
    """
    A table that does not move holds up no other one, and there is a connection for each.
    """
    opened: list[Link] = []
    done = threading.Event()

    def read(link: Link, table: Numbers, after: Cursor) -> Iterator[Chunk]:
        if table.name == "a slow one":
            assert done.wait(10)
        yield Chunk(InsertEvent("s", table.name, [{"id": 1}]), [1])

    tables = [Numbers("a slow one", 1), Numbers("fast", 1)]
    chunks = ParallelTables(
        tables,
        connect=lambda: Link(opened),
        read=read,
        token=None,
        at_once=2,
        stop=StopOfBoth(threading.Event()),
    ).chunks()
    assert next(chunks).table == "fast"
    done.set()
    assert [chunk.table for chunk in chunks] == ["a slow one"]
    assert [link.is_open for link in opened] == [False, False]


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_error_of_one_table_comes_after_the_chunks_before_it(at_once: int) -> None:
    """
    Whoever walks the chunks gets the error; connections are closed and threads end.
    """
    opened: list[Link] = []

    def read(link: Link, table: Numbers, after: Cursor) -> Iterator[Chunk]:
        yield Chunk(InsertEvent("s", table.name, [{"id": 1}]), [1])
        if table.name == "b":
            raise ConnectionError("gone")

    chunks = ParallelTables(
        [Numbers(name, 1) for name in "abc"],
        connect=lambda: Link(opened),
        read=read,
        token=None,
        at_once=at_once,
        stop=StopOfBoth(threading.Event()),
    ).chunks()
    seen = []
    with pytest.raises(ConnectionError, match="gone"):
        seen.extend(chunk.table for chunk in chunks)
    assert "b" in seen
    assert not any(link.is_open for link in opened)


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_is_wrong_with_one_table_holds_up_no_other(at_once: int) -> None:
    """
    The others are read to their ends; then the error is told, and the token has the table among what is still to be read.
    """
    opened: list[Link] = []

    def read(link: Link, table: Numbers, after: Cursor) -> Iterator[Chunk]:
        assert link.is_open
        if table.name in "ac":
            raise PermissionMissing(f"no SELECT on s.{table.name}", hint="GRANT SELECT")
        yield Chunk(InsertEvent("s", table.name, [{"id": 1}]), [1])

    chunks = ParallelTables(
        [Numbers(name, 1) for name in "abcd"],
        connect=lambda: Link(opened),
        read=read,
        token=None,
        at_once=at_once,
        stop=StopOfBoth(threading.Event()),
    ).chunks()
    seen: list[EventBase] = []
    with pytest.raises(PermissionMissing) as told:
        seen.extend(chunks)
    assert sorted(told.value.context["tables"], key=lambda one: str(one["table"])) == [
        {"schema": "s", "table": name, "reason": f"no SELECT on s.{name}", "hint": "GRANT SELECT"} for name in "ac"
    ]
    assert not any(link.is_open for link in opened)
    token = TableToken.read(seen[-1].resume_token)
    assert sorted(chunk.table for chunk in seen) == ["b", "d"]
    assert token is not None and not token.is_done(("s", "a")) and not token.is_done(("s", "c"))


def test_stopping_ends_the_threads() -> None:
    """
    Who stops in the middle leaves nothing running.
    """
    opened: list[Link] = []
    running = reading([Numbers(name, 1000) for name in "abcd"], 3, opened=opened)
    chunks = running.chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert len(opened) >= 1
    assert not any(link.is_open for link in opened)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"begun": 1}', '{"begun": ["a"], "under_way": []}', '{"schema": "s"}']
)
def test_a_token_that_cannot_be_read_is_none(text: str) -> None:
    """
    A snapshot with a foreign token begins anew.
    """
    assert TableToken.read(text) is None
