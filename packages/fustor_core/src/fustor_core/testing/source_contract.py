"""
`SourceConformance`: what every source driver must do, as tests that a driver author inherits.

    class TestMySource(SourceConformance):
        @pytest.fixture
        def bench(self, tmp_path):
            return MyBench(tmp_path)        # a `SourceBench`

The bench says how to make the driver and how to change the source; rows are named by an integer `n`, and the bench maps them to
real rows. Every test of the class then runs against the real source.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Protocol

import pytest

from fustor_core.drivers import SourceDriver
from fustor_core.models.event import EventBase, EventType, UntoldMark
from fustor_core.values import encode_value

WAIT_S = 20.0


class SourceBench(Protocol):
    """
    One source of the driver's kind, with one table (or tree) that the tests change.

    It may have a method `change_untold()` besides: remove every row of the table in a way that the source does not tell row by row
    (TRUNCATE).
    """

    def make_driver(self) -> SourceDriver:
        """
        Make a driver instance for the source; called several times in a test.
        """
        ...

    def write(self, n: int, version: int) -> None:
        """
        Insert row `n`, or replace its content by that of `version`.
        """
        ...

    def delete(self, n: int) -> None:
        """
        Delete row `n`.
        """
        ...

    def rows(self) -> dict[Hashable, Mapping[str, Any]]:
        """
        Return what the source holds now, read in some way other than by the driver: key to the columns that must match.

        A driver's row may have more columns; a key is what the driver's `event.key` fields hold (a scalar for one field).
        """
        ...

    def lose_position(self) -> bool:
        """
        Make positions of before now unavailable (purge the log); False when that is not possible with this source.
        """
        ...


class Stream:
    """
    Walks a message iterator on a thread of its own, as the agent's bus does.
    """

    def __init__(self, driver: SourceDriver, position: int = -1) -> None:
        self.stop_event = threading.Event()
        iterator, self.lost = driver.get_message_iterator(position, stop_event=self.stop_event)
        self.events: list[EventBase] = []
        self.error: BaseException | None = None
        self._queue: queue.Queue[EventBase] = queue.Queue()
        self._thread = threading.Thread(target=self._walk, args=(iterator,), daemon=True)
        self._thread.start()

    def _walk(self, iterator: Iterator[EventBase]) -> None:
        try:
            for event in iterator:
                self._queue.put(event)
        except Exception as exc:  # noqa: BLE001 - told to the test that waits
            self.error = exc

    def take(self) -> None:
        """
        Move what has come to `events`.
        """
        while not self._queue.empty():
            self.events.append(self._queue.get())

    def until(self, what: Any) -> None:
        """
        Wait until a condition on `events` holds.
        """
        deadline = time.monotonic() + WAIT_S
        while True:
            self.take()
            if what():
                return
            assert self.error is None, f"the message iterator raised {self.error!r}"
            assert self._thread.is_alive(), "the message iterator ended by itself"
            assert time.monotonic() < deadline, f"did not come within {WAIT_S} s; came: {self.events[-10:]}"
            time.sleep(0.01)

    def until_index(self, index: int) -> None:
        """
        Wait for an event or progress mark at or past an index.
        """
        self.until(lambda: any(event.index >= index for event in self.events))

    def close(self) -> float:
        """
        Stop; return how long the iterator took to end, seconds.
        """
        started = time.monotonic()
        self.stop_event.set()
        self._thread.join(10.0)
        assert not self._thread.is_alive(), "the message iterator does not end after stop_event"
        return time.monotonic() - started


def apply(rows: dict[Hashable, dict[str, Any]], events: list[EventBase]) -> dict[Hashable, dict[str, Any]]:
    """
    Apply events as a consumer does that knows only upsert and delete by key.
    """
    for event in events:
        for row in event.rows:
            columns = dict(row) if isinstance(row, Mapping) else dict(zip(event.fields, row, strict=True))
            names = event.key or tuple(sorted(columns))
            key = columns[names[0]] if len(names) == 1 else tuple(columns[name] for name in names)
            if event.event_type is EventType.DELETE:
                rows.pop(key, None)
            elif event.event_type is EventType.INSERT:
                rows[key] = columns
            else:
                rows.setdefault(key, {}).update(columns)
    return rows


def settle(stream: Stream, driver: SourceDriver) -> list[EventBase]:
    """
    Wait until the stream has passed all that is committed now; return what came with rows.
    """
    high = driver.high_watermark()
    assert high is not None
    stream.until_index(high)
    return [event for event in stream.events if event.rows]


def chunks_of(driver: SourceDriver, **kwargs: Any) -> list[EventBase]:
    """
    Read a snapshot; return its chunks, without what only tells a watermark.
    """
    kwargs.setdefault("stop_event", threading.Event())
    return [event for event in driver.get_snapshot_iterator(**kwargs) if event.rows]


def rows_of(events: list[EventBase], table: str = "t") -> dict[Hashable, dict[str, Any]]:
    """
    Return the rows of a table after some events.
    """
    return apply({}, [event for event in events if event.table == table])


def mismatch(found: Mapping[Hashable, Mapping[str, Any]], wanted: Mapping[Hashable, Mapping[str, Any]]) -> str:
    """
    Say how rows differ from what the source holds; "" when they do not.
    """
    if set(found) != set(wanted):
        return (
            f"missing {sorted(map(str, set(wanted) - set(found)))}, extra {sorted(map(str, set(found) - set(wanted)))}"
        )
    for key, columns in wanted.items():
        for name, value in columns.items():
            if found[key].get(name) != value:
                return f"row {key!r}, column {name!r}: {found[key].get(name)!r} instead of {value!r}"
    return ""


class SourceConformance:
    """
    Tests that every source driver passes. Subclass it with a fixture `bench` (see the module).
    """

    @pytest.fixture
    def bench(self) -> SourceBench:
        """
        Return the bench; the subclass gives it.
        """
        raise NotImplementedError("give the fixture `bench` in the subclass")

    @pytest.fixture
    def driver(self, bench: SourceBench) -> Iterator[SourceDriver]:
        """
        Make a driver and close it, twice.
        """
        driver = bench.make_driver()
        yield driver
        asyncio.run(driver.close())
        asyncio.run(driver.close())

    @staticmethod
    def snapshot(driver: SourceDriver, **kwargs: Any) -> list[EventBase]:
        """
        Read a whole snapshot.
        """
        return list(driver.get_snapshot_iterator(stop_event=threading.Event(), **kwargs))

    def test_a_snapshot_is_complete(self, bench: SourceBench, driver: SourceDriver) -> None:
        """A snapshot yields every row that is there, each once, with the values that the source holds."""
        for n in range(25):
            bench.write(n, 1)
        stream = Stream(driver)
        chunks = self.snapshot(driver)
        stream.close()
        found = apply({}, chunks)
        assert not mismatch(found, bench.rows())
        assert sum(len(chunk.rows) for chunk in chunks) == len(found), "a row came twice"
        assert all(chunk.event_type is EventType.INSERT for chunk in chunks)

    def test_a_snapshot_goes_on_after_a_resume_token(self, bench: SourceBench, driver: SourceDriver) -> None:
        """A snapshot opened with a chunk's token yields what came after that chunk, also in a new driver instance."""
        for n in range(25):
            bench.write(n, 1)
        stream = Stream(driver)
        chunks = self.snapshot(driver, batch_size=5)
        cut = len(chunks) // 2
        token = chunks[cut].resume_token
        if token is None:
            pytest.skip("this driver gives no resume tokens; its snapshots start over")
        rest = self.snapshot(driver, batch_size=5, resume_token=token)
        stream.close()
        assert not mismatch(apply(apply({}, chunks[: cut + 1]), rest), bench.rows())
        assert len(rest) < len(chunks)

    def test_a_snapshot_ends_within_a_second_of_its_stop_event(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Once stop_event is set the snapshot iterator ends soon."""
        for n in range(25):
            bench.write(n, 1)
        stream = Stream(driver)
        stop = threading.Event()
        iterator = driver.get_snapshot_iterator(stop_event=stop, batch_size=2)
        next(iterator, None)
        stop.set()
        started = time.monotonic()
        for _ in iterator:
            assert time.monotonic() - started < 5, "goes on after stop_event"
        stream.close()

    def test_changes_arrive_in_order(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Inserts, updates and deletes made after the stream was opened arrive; indexes never go back."""
        bench.write(1, 1)
        stream = Stream(driver)
        start = self.snapshot(driver)
        bench.write(2, 1)
        bench.write(1, 2)
        bench.write(3, 1)
        bench.delete(2)
        wanted = bench.rows()
        stream.until(lambda: not mismatch(apply(apply({}, start), stream.events), wanted))
        indexes = [event.index for event in stream.events]
        assert indexes == sorted(indexes), "an index went back"
        assert not stream.lost
        assert stream.close() < 2.0, "the stream must end within a second of its stop_event"

    def test_a_stream_from_a_position_misses_nothing(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Opened at a position it had passed, in a new driver instance, the stream brings all that came after it."""
        stream = Stream(driver)
        bench.write(1, 1)
        high = driver.high_watermark()
        if high is None:
            pytest.skip("this driver has no high watermark to wait for")
        stream.until_index(high)
        state = apply({}, stream.events + self.snapshot(driver))
        passed = max(event.index for event in stream.events if event.index >= high)
        stream.close()
        asyncio.run(driver.close())
        again = bench.make_driver()
        if not again.is_position_available(passed):
            pytest.skip("this source can't be opened at a position")
        bench.write(2, 1)
        bench.write(1, 2)
        stream = Stream(again, passed)
        assert not stream.lost
        stream.until(lambda: not mismatch(apply(dict(state), stream.events), bench.rows()))
        stream.close()
        asyncio.run(again.close())

    def test_a_lost_position_is_said(self, bench: SourceBench, driver: SourceDriver) -> None:
        """A position that is gone is told with the flag, and never skipped over silently."""
        stream = Stream(driver)
        bench.write(1, 1)
        bench.write(1, 2)
        stream.until(lambda: any(event.index >= 0 for event in stream.events))
        old = min(event.index for event in stream.events if event.index >= 0)
        stream.close()
        if not bench.lose_position():
            pytest.skip("positions of this source can't be lost on demand")
        assert not driver.is_position_available(old)
        stream = Stream(driver, old)
        assert stream.lost
        stream.close()

    def test_rows_are_read_by_their_keys(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Rows asked for by keys as events carry them come as a snapshot shows them, behind a low watermark; no others come."""
        for n in range(12):
            bench.write(n, 1)
        stream = Stream(driver)
        bench.write(3, 2)
        settle(stream, driver)
        chunks = [chunk for chunk in self.snapshot(driver) if chunk.rows and chunk.key]
        if not chunks:
            pytest.skip("nothing here has a key")
        first, key = chunks[0], chunks[0].key or ()
        there = {one: row for one, row in apply({}, chunks).items() if one in bench.rows()}
        keys = [tuple(row[name] for name in key) for row in there.values()]
        read = driver.read_rows(first.event_schema, first.table, key, keys[:7], stop_event=threading.Event())
        if read is None:
            pytest.skip("this driver does not read rows by their keys")
        mark, *events = list(read)
        assert mark.is_progress_mark and mark.index >= first.index, "a low watermark goes first, and is not an old one"
        assert all(event.index >= mark.index and event.event_type is EventType.INSERT for event in events)
        assert apply({}, events) == dict(list(there.items())[:7])
        other = (*key, "no such field")
        assert driver.read_rows(first.event_schema, first.table, other, [(*keys[0], 1)]) is None, "not its key"
        bench.delete(5)
        high = driver.high_watermark()
        assert high is not None
        stream.until_index(high)
        read = driver.read_rows(first.event_schema, first.table, key, keys, stop_event=threading.Event())
        assert read is not None
        assert not mismatch(apply({}, list(read)), bench.rows()), "what is gone is left out"
        stream.close()

    def test_a_high_watermark_comes_by_when_the_source_is_idle(self, bench: SourceBench, driver: SourceDriver) -> None:
        """After high_watermark() the stream soon yields something at or past it, though nothing changes."""
        bench.write(1, 1)
        stream = Stream(driver)
        for _ in range(3):
            high = driver.high_watermark()
            if high is None:
                pytest.skip("this driver has no high watermark")
            stream.until_index(high)
        stream.close()

    def test_positions_are_told_to_people(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Each place has a text; where bytes are counted, there are some between two places and none from one to itself."""
        bench.write(1, 1)
        stream = Stream(driver)
        bench.write(2, 2)
        stream.until(lambda: any(event.rows for event in stream.events))
        places = sorted({event.index for event in stream.events})
        first, last = places[0], places[-1]
        assert all(driver.position_text(place) for place in places)
        between = driver.bytes_between(first, last)
        if between is not None:
            assert between >= 0 and driver.bytes_between(last, last) == 0
        stream.close()

    def test_a_change_is_at_or_below_the_high_watermark_taken_after_it(
        self, bench: SourceBench, driver: SourceDriver
    ) -> None:
        """Every change made before high_watermark() has an index <= H."""
        stream = Stream(driver)
        bench.write(1, 1)
        high = driver.high_watermark()
        if high is None:
            pytest.skip("this driver has no high watermark")
        stream.until_index(high)
        stream.until(lambda: any(event.rows for event in stream.events))
        changes = [event.index for event in stream.events if event.rows]
        assert max(changes) <= high, f"the change at {max(changes)} is past the high watermark {high} taken after it"
        stream.close()

    def test_what_changes_rows_untold_is_marked_and_the_stream_goes_on(
        self, bench: SourceBench, driver: SourceDriver
    ) -> None:
        """A mark behind everything before it; a snapshot from then on is at or past it, also when it finds no row."""
        change = getattr(bench, "change_untold", None)
        if change is None:
            pytest.skip("rows of this source do not change untold")
        bench.write(1, 1)
        stream = Stream(driver)
        bench.write(2, 1)
        settle(stream, driver)
        change()
        stream.until(lambda: any(isinstance(event, UntoldMark) for event in stream.events))
        settle(stream, driver)
        at = next(n for n, event in enumerate(stream.events) if isinstance(event, UntoldMark))
        mark = stream.events[at]
        assert max(event.index for event in stream.events[:at]) < mark.index, "the mark has no place of its own"
        chunks = self.snapshot(driver, tables=[f"{mark.event_schema}.{mark.table}"])
        assert chunks, "nobody can know that the rows are gone"
        assert not any(chunk.rows for chunk in chunks)
        assert min(chunk.index for chunk in chunks) >= mark.index
        bench.write(3, 1)
        stream.until(lambda: not mismatch(apply({}, stream.events[at:]), bench.rows()))
        stream.close()

    def test_a_snapshot_amid_changes_converges(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Chunks reconciled by their watermarks, and the stream, give what the source holds in the end."""
        for n in range(30):
            bench.write(n, 1)
        stream = Stream(driver)
        stop = threading.Event()

        def change() -> None:
            version = 2
            while not stop.is_set():
                for n in range(0, 40, 3):
                    if stop.is_set():
                        return
                    if (n + version) % 5:
                        bench.write(n, version)
                    else:
                        bench.delete(n)
                    time.sleep(0.001)
                version += 1

        writer = threading.Thread(target=change, daemon=True)
        writer.start()
        state: dict[Hashable, dict[str, Any]] = {}
        done = 0
        try:
            for chunk in driver.get_snapshot_iterator(stop_event=threading.Event(), batch_size=5):
                high = driver.high_watermark()
                if high is None:
                    pytest.skip("this driver has no high watermark")
                stream.until_index(high)
                apply(state, stream.events[done:])
                done = len(stream.events)
                touched = apply({}, [_as_insert(event) for event in stream.events if event.index > chunk.index])
                state.update({key: row for key, row in apply({}, [chunk]).items() if key not in touched})
        finally:
            stop.set()
            writer.join(10.0)
        high = driver.high_watermark()
        assert high is not None
        stream.until_index(high)
        stream.until(lambda: not mismatch(apply(dict(state), stream.events[done:]), bench.rows()))
        stream.close()

    def test_values_have_a_wire_mapping_and_are_the_same_on_both_paths(
        self, bench: SourceBench, driver: SourceDriver
    ) -> None:
        """Every value can travel, and the live and the snapshot path give identical ones."""
        stream = Stream(driver)
        bench.write(7, 1)
        stream.until(lambda: any(event.rows and event.event_type is not EventType.DELETE for event in stream.events))
        wanted = bench.rows()
        stream.until(lambda: set(wanted) <= set(apply({}, stream.events)))
        stream.until(lambda: not mismatch({k: v for k, v in apply({}, stream.events).items() if k in wanted}, wanted))
        live = apply({}, stream.events)
        read = apply({}, self.snapshot(driver))
        stream.close()
        for key, columns in wanted.items():
            for name in columns:
                assert encode_value(live[key].get(name)) == encode_value(read[key].get(name)), (key, name)

    def test_tables_to_choose_from_are_those_that_are_read(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Where the driver lists tables, a snapshot's are among them under the same names, and choosing one by `include` works."""
        bench.write(1, 1)
        given: dict[str, Any] = {"uri": driver.config.uri, "credential": driver.config.credential}
        params = {name: value for name, value in driver.config.driver_params.items() if name != "state_dir"}
        tables = asyncio.run(driver.get_available_tables(**given, driver_params=params))
        if tables is None:
            return
        listed = {(table["schema"], table["table"]): table for table in tables}
        read = {(event.event_schema, event.table) for event in driver.get_snapshot_iterator() if event.rows}
        assert read and read <= set(listed)
        schema, name = min(read)
        chosen = asyncio.run(
            driver.get_available_tables(**given, driver_params={**params, "include": [f"{schema}.{name}"]})
        )
        assert [(table["schema"], table["table"]) for table in chosen or ()] == [(schema, name)]
        rows = listed[schema, name].get("rows")
        assert rows is None or not listed[schema, name].get("is_exact") or rows == len(bench.rows())

    def test_estimated_rows_are_of_tables_that_are_read(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Where the driver says about how many rows there are, it says so of the snapshot's tables under their names, and of one alone."""
        bench.write(1, 1)
        estimated = driver.estimate_rows()
        if estimated is None:
            return
        assert all(type(rows) is int and rows >= 0 for rows in estimated.values())
        (name, *_) = sorted(
            f"{event.event_schema}.{event.table}" for event in driver.get_snapshot_iterator() if event.rows
        )
        assert name in estimated
        assert set(driver.estimate_rows([name]) or ()) == {name}

    def test_the_wizard_has_steps(self, driver: SourceDriver) -> None:
        """Each step has an id, a title and a schema, and the checks that it names are there."""
        told = asyncio.run(driver.get_wizard_steps())
        for step in told["steps"]:
            assert step["step_id"] and step["title"] and isinstance(step["schema"], dict)
            assert all(callable(getattr(driver, name)) for name in step.get("validations", ()))

    def test_the_incarnation_is_stable(self, bench: SourceBench, driver: SourceDriver) -> None:
        """Two instances for the same source name the same incarnation."""
        stream = Stream(driver)
        name = driver.incarnation()
        stream.close()
        asyncio.run(driver.close())
        again = bench.make_driver()
        stream = Stream(again)
        assert again.incarnation() == name
        assert isinstance(again.status(), dict)
        stream.close()
        asyncio.run(again.close())


def _as_insert(event: EventBase) -> EventBase:
    return EventBase(
        EventType.INSERT, event.event_schema, event.table, event.rows, event.fields or None, event.index, key=event.key
    )
