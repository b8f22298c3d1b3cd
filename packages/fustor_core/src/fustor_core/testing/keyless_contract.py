"""
`KeylessConformance`: what a source driver must do whose tables may lack a key, as tests that a driver author inherits.

    class TestMyKeylessTables(KeylessConformance):
        @pytest.fixture
        def bench(self, tmp_path):
            return MyBench(tmp_path)        # a `KeylessBench`

A consumer counts copies of a row by what events say: see `EventBase.ordinal`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import pytest

from fustor_core.drivers import SourceDriver
from fustor_core.models.event import EventBase, EventType
from fustor_core.testing.source_contract import Stream, settle


class KeylessBench(Protocol):
    """
    One source with a table without a key, `kl`, whose rows have a column `n`; equal `n`, equal row.
    """

    def make_driver(self) -> SourceDriver:
        """
        Make a driver instance for the source; called several times in a test.
        """
        ...

    def add(self, *numbers: int) -> None:
        """
        Insert rows, in one transaction.
        """
        ...

    def remove(self, n: int, count: int) -> None:
        """
        Delete up to `count` copies of a row, in one transaction.
        """
        ...

    def change(self, n: int, to: int) -> None:
        """
        Turn all copies of one row into copies of another, in one transaction.
        """
        ...

    def copies(self) -> Counter[int]:
        """
        Return what the table holds now.
        """
        ...


def numbered(events: Iterable[EventBase], table: str = "kl") -> Iterator[tuple[EventBase, int, int]]:
    """
    Yield each row of the table: its event, its ordinal, its `n`.
    """
    for event in events:
        if event.table != table:
            continue
        assert event.key is None
        for at, row in enumerate(event.rows):
            columns = row if isinstance(row, Mapping) else dict(zip(event.fields, row, strict=True))
            assert event.ordinal is not None, f"a row of a table without a key has no ordinal: {event}"
            yield event, event.ordinal + at, int(columns["n"])


def reading_of(chunks: Iterable[EventBase]) -> tuple[int, Counter[int]]:
    """
    Return at which index a snapshot has read the table, and what it read.
    """
    own = [chunk for chunk in chunks if chunk.table == "kl"]
    (at,) = {chunk.index for chunk in own}
    rows = {ordinal: n for _, ordinal, n in numbered(own)}
    assert sorted(rows) == list(range(len(rows))), "ordinals of a reading count its rows"
    assert [chunk.ordinal for chunk in own if not chunk.rows] == [len(rows)], "the end says how many rows there were"
    assert not own[-1].rows
    return at, Counter(rows.values())


def counted(base: tuple[int, Counter[int]], events: Iterable[EventBase]) -> Counter[int]:
    """
    Return what a consumer counts that has one reading and the live events after it, each row once.
    """
    at, copies = base[0], Counter(base[1])
    seen = set()
    for event, ordinal, n in numbered(events):
        assert event.event_type is not EventType.UPDATE, "an update without a key is a delete and an insert"
        if event.index > at and (event.index, ordinal) not in seen:
            seen.add((event.index, ordinal))
            copies[n] += 1 if event.event_type is EventType.INSERT else -1
    assert not any(count < 0 for count in copies.values()), f"more copies went than there were: {copies}"
    return +copies


class KeylessConformance:
    """
    Tests that a driver passes which brings tables without a key. Subclass it with a fixture `bench` (see the module).
    """

    @pytest.fixture
    def bench(self) -> KeylessBench:
        """
        Return the bench; the subclass gives it.
        """
        raise NotImplementedError("give the fixture `bench` in the subclass")

    @pytest.fixture
    def driver(self, bench: KeylessBench) -> Iterator[SourceDriver]:
        """
        Make a driver and close it.
        """
        driver = bench.make_driver()
        yield driver
        asyncio.run(driver.close())

    @staticmethod
    def snapshot(driver: SourceDriver, **kwargs: Any) -> list[EventBase]:
        """
        Read a whole snapshot.
        """
        return list(driver.get_snapshot_iterator(stop_event=threading.Event(), **kwargs))

    def test_a_reading_holds_every_copy_and_begins_anew_after_a_token(
        self, bench: KeylessBench, driver: SourceDriver
    ) -> None:
        """All copies are read, at one index; a token in the midst of the table has it read again from its beginning."""
        bench.add(*[n % 4 for n in range(23)])
        stream = Stream(driver)
        settle(stream, driver)
        chunks = self.snapshot(driver, batch_size=5)
        own = [chunk for chunk in chunks if chunk.table == "kl"]
        assert len(own) > 3
        assert reading_of(chunks)[1] == bench.copies()
        again = self.snapshot(driver, batch_size=7, resume_token=own[1].resume_token)
        assert reading_of(again)[1] == bench.copies()
        stream.close()

    def test_an_empty_table_is_said_to_be_empty(self, bench: KeylessBench, driver: SourceDriver) -> None:
        """A table without rows is read too: its end is told, with none."""
        stream = Stream(driver)
        settle(stream, driver)
        at, copies = reading_of(self.snapshot(driver))
        assert at >= 0 and not copies
        stream.close()

    def test_who_can_not_have_such_tables_gets_none(self, bench: KeylessBench, driver: SourceDriver) -> None:
        """`with_keyless=False` leaves them out of a snapshot, and the status says what would give them a key."""
        bench.add(1, 1)
        stream = Stream(driver)
        settle(stream, driver)
        assert not any(chunk.rows for chunk in self.snapshot(driver, with_keyless=False))
        (said,) = driver.status()["keyless"]
        assert said["where"].endswith(".kl") and "PRIMARY KEY" in said["hint"]
        stream.close()

    def test_a_row_has_the_same_identity_each_time_the_log_is_read(
        self, bench: KeylessBench, driver: SourceDriver
    ) -> None:
        """Index and ordinal of a row do not depend on where the stream was opened; no two rows share them."""
        stream = Stream(driver)
        settle(stream, driver)
        bench.add(1, 1, 2)
        bench.add(1)
        bench.change(1, 3)
        bench.add(*[n % 3 for n in range(40)])
        bench.remove(3, 2)
        settle(stream, driver)
        stream.close()
        first = {(event.index, ordinal): (event.event_type, n) for event, ordinal, n in numbered(stream.events)}
        assert len(first) == sum(1 for _ in numbered(stream.events)) == 3 + 1 + 6 + 40 + 2
        for start in sorted({event.index for event in stream.events if event.index >= 0}):
            asyncio.run(driver.close())
            again = Stream(driver, start)
            assert not again.lost
            settle(again, driver)
            again.close()
            came = {(event.index, ordinal): (event.event_type, n) for event, ordinal, n in numbered(again.events)}
            assert came.items() <= first.items()
            assert {place for place in first if place[0] > start} <= set(came)

    def test_readings_amid_changes_are_exact(self, bench: KeylessBench, driver: SourceDriver) -> None:
        """Each reading, and the live rows after its index, come to what the table holds in the end."""
        bench.add(*[n % 5 for n in range(200)])
        stream = Stream(driver)
        settle(stream, driver)
        stop = threading.Event()

        def work() -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                bench.add(*[(turn + n) % 7 for n in range(turn % 4 + 1)])
                if turn % 2:
                    bench.remove(turn % 7, turn % 3)
                if turn % 3 == 0:
                    bench.change(turn % 7, (turn + 2) % 7)

        writer = threading.Thread(target=work, daemon=True)
        writer.start()
        try:
            readings = [reading_of(self.snapshot(driver, batch_size=9)) for _ in range(6)]
        finally:
            stop.set()
            writer.join(10.0)
        settle(stream, driver)
        wanted = bench.copies()
        assert len({at for at, _ in readings}) > 1, "nothing changed between the readings"
        for reading in readings:
            assert counted(reading, stream.events) == wanted
        stream.close()
