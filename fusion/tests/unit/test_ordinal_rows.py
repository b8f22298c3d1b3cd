"""
Copies of rows of tables without a key, settled by ordinals: whatever comes twice, grouped otherwise or overtakes, the count is right.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ingest_bench import Fusion

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_fusion.views.base import Database, Stream
from fustor_fusion.views.tables import TablesView

Bag = Counter[int]


class Store:
    """
    The view over a database in memory.
    """

    def __init__(self) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        self.view = TablesView(cast(Database, SimpleNamespace(datastore_id="d", folder=Path())))
        self.view.create(self.conn)

    def push(self, event: WireEvent, run: int | None = None, epoch: int = 0) -> None:
        self.view.apply(self.conn, Stream("s", epoch, run), event, listening=False)

    def sweep(self, run: int, start: int, epoch: int = 0) -> int:
        return self.view.sweep(self.conn, Stream("s", epoch, run), start, None)

    def fold(self, checkpoint: int, epoch: int = 0, limit: int = 1000) -> int:
        return self.view.collect_garbage(self.conn, "s", epoch, checkpoint, limit)

    def bag(self) -> Bag:
        rows = self.conn.execute("SELECT json_extract(doc, '$.n'), copies FROM tables_row WHERE copies > 0")
        return Counter(dict(rows.fetchall()))

    def count(self, table: str) -> int:
        return int(self.conn.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def rows(kind: Any, index: int, ordinal: int, *numbers: int) -> WireEvent:
    return WireEvent(kind, "db", "t", ["n"], [[n] for n in numbers], index, ordinal=ordinal)


def end(index: int, count: int) -> WireEvent:
    return WireEvent("insert", "db", "t", ["n"], [], index, ordinal=count)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.conn.close()


def test_a_row_counts_once_however_it_is_grouped_and_however_often_it_comes(store: Store) -> None:
    """Rows of one transaction in several events and pushes, sent again cut otherwise, are the rows they were."""
    store.push(rows("insert", 5, 0, 1, 1, 2))
    store.push(rows("insert", 5, 3, 1))
    store.push(rows("insert", 5, 2, 2, 1))
    store.push(rows("insert", 5, 0, 1, 1, 2, 1))
    assert store.bag() == {1: 3, 2: 1}


def test_a_delete_that_overtakes_its_insert_is_remembered(store: Store) -> None:
    """Below zero is kept, and shown as nothing."""
    store.push(rows("delete", 6, 0, 1, 1))
    assert store.bag() == {}
    store.push(rows("insert", 5, 0, 1, 1, 1))
    assert store.bag() == {1: 1}


def test_a_reading_replaces_what_was_counted_up_to_its_place_at_once(store: Store) -> None:
    """Old counts stay until the table was read to its end; then live rows behind it are added, older ones are not."""
    store.push(rows("insert", 5, 0, 7, 7))
    store.push(rows("insert", 6, 0, 1), run=1)
    store.push(end(6, 1), run=1)
    assert store.bag() == {1: 1}
    store.push(rows("insert", 9, 0, 2))
    store.push(rows("insert", 8, 1, 3), run=2)
    assert store.bag() == {1: 1, 2: 1}, "half a reading shows nothing where a base is known"
    store.push(end(8, 2), run=2)
    store.push(rows("insert", 8, 0, 3), run=2)
    assert store.bag() == {2: 1, 3: 2}
    store.push(rows("delete", 8, 0, 3))
    assert store.bag() == {2: 1, 3: 2}, "a late live row that the reading has seen counts no more"


def test_a_reading_begun_anew_makes_what_was_read_before_void(store: Store) -> None:
    """After a restart the table is read at a newer place: nothing of the older reading counts, also when it still comes."""
    store.push(rows("insert", 4, 0, 1, 1), run=1)
    assert store.bag() == {1: 2}, "a first snapshot shows while it comes"
    store.push(rows("delete", 5, 0, 1))
    store.push(rows("insert", 6, 0, 2), run=1)
    store.push(rows("insert", 4, 2, 1), run=1)
    store.push(end(6, 1), run=1)
    assert store.bag() == {2: 1}
    assert store.sweep(1, 4) == 0


def test_an_empty_table_is_empty_at_the_place_where_it_was_read(store: Store) -> None:
    """Live rows before that place are in the reading; the snapshot's beginning would be the wrong place."""
    store.push(rows("insert", 3, 0, 1))
    store.push(rows("delete", 6, 0, 1, 1))  # one of them from before the gap
    store.push(end(7, 0), run=1)
    store.push(rows("insert", 8, 0, 1))
    assert store.sweep(1, 5) == 0
    assert store.bag() == {1: 1}


def test_a_table_that_a_complete_snapshot_did_not_read_is_gone(store: Store) -> None:
    """Like rows that a snapshot did not confirm; what came since it began stays."""
    store.push(rows("insert", 3, 0, 1, 2), run=1)
    store.push(end(3, 2), run=1)
    store.push(rows("insert", 9, 0, 5))
    assert store.sweep(2, 8) == 2
    assert store.bag() == {5: 1}


def test_a_snapshot_given_up_changes_nothing(store: Store) -> None:
    """A base stays what it was; what was read in vain is forgotten."""
    store.push(rows("insert", 3, 0, 1, 2), run=1)
    store.push(end(3, 2), run=1)
    store.sweep(1, 3)
    store.push(rows("insert", 5, 0, 9), run=2)
    store.push(rows("insert", 6, 0, 1))
    assert store.fold(10) == 1
    assert store.bag() == {1: 2, 2: 1}
    assert store.count("tables_copy") == 0


def test_a_reading_older_than_what_was_folded_confirms_it(store: Store) -> None:
    """A commit that was streamed long before it could be seen: the base is newer than the reading, and stays."""
    store.push(rows("insert", 3, 0, 1), run=1)
    store.push(end(3, 1), run=1)
    store.push(rows("insert", 7, 0, 2))
    assert store.fold(8) == 1
    store.push(rows("insert", 5, 0, 1), run=2)
    store.push(end(5, 1), run=2)
    assert store.sweep(2, 4) == 0
    assert store.bag() == {1: 1, 2: 1}


def test_rows_of_older_clients_and_numbered_ones_are_not_mixed(store: Store) -> None:
    """A table whose rows were not numbered begins anew with those that are; the other way round is refused."""
    store.push(WireEvent("insert", "db", "t", ["n"], [[1], [1]], 3))
    assert store.bag() == {1: 2}
    store.push(rows("insert", 4, 0, 2))
    assert store.bag() == {2: 1}
    with pytest.raises(InvalidRequest, match="ordinal"):
        store.push(WireEvent("insert", "db", "t", ["n"], [[1]], 5))
    with pytest.raises(InvalidRequest, match="can't be updated"):
        store.push(rows("update", 5, 0, 2))


def test_an_older_store_gets_the_new_column(tmp_path: Path) -> None:
    """A database made before there were ordinals is opened and used."""
    conn = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    conn.execute(
        "CREATE TABLE tables_row(id INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, key TEXT NOT NULL, doc TEXT, epoch INTEGER NOT NULL,"
        " idx INTEGER NOT NULL, run INTEGER NOT NULL, image INTEGER NOT NULL, late TEXT, copies INTEGER NOT NULL DEFAULT 1, UNIQUE(table_id, key))"
    )
    store = Store()
    store.conn.close()
    store.conn = conn
    store.view.create(conn)
    store.push(rows("insert", 3, 0, 1))
    assert store.bag() == {1: 1}
    conn.close()


class History:
    """
    A log, and what an agent sends of it: cut and ordered at random, again and again.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.log: list[tuple[int, list[tuple[int, int]]]] = []
        self.newest = 0

    def bag(self, through: int) -> Bag:
        bag: Bag = Counter()
        for index, changes in self.log:
            for step, n in changes if index <= through else ():
                bag[n] += step
        return +bag

    def write(self) -> None:
        chance, bag = self.chance, self.bag(self.newest)
        changes = []
        for _ in range(chance.randint(1, 5)):
            n = chance.randrange(4)
            step = -1 if bag[n] and chance.random() < 0.45 else 1
            bag[n] += step
            changes.append((step, n))
        self.newest += 2
        self.log.append((self.newest - 1, changes))  # an even place lies between transactions

    def events(self, after: int) -> list[WireEvent]:
        """Return the live rows after a place, cut at random."""
        events = []
        for index, changes in self.log:
            at = 0
            while at < len(changes) and index > after:
                step, size = changes[at][0], 1
                while at + size < len(changes) and changes[at + size][0] == step and self.chance.random() < 0.6:
                    size += 1
                kind = "insert" if step > 0 else "delete"
                events.append(rows(kind, index, at, *(n for _, n in changes[at : at + size])))
                at += size
        return events

    def reading(self, place: int) -> list[WireEvent]:
        """Return a reading at a place, cut at random; rows in the same order whenever it is read there."""
        numbers = sorted(self.bag(place).elements())
        events, at = [], 0
        while at < len(numbers):
            size = self.chance.randint(1, 4)
            events.append(rows("insert", place, at, *numbers[at : at + size]))
            at += size
        return [*events, end(place, len(numbers))]


def disorder(chance: random.Random, events: list[Any]) -> list[Any]:
    """Return events with some overtaken and some sent twice."""
    keyed = [(at + chance.uniform(0, 6), event) for at, event in enumerate(events)]
    keyed += [(at + chance.uniform(0, 12), event) for at, event in enumerate(events) if chance.random() < 0.3]
    return [event for _, event in sorted(keyed, key=lambda one: one[0])]


@pytest.mark.parametrize("seed", range(150))
def test_the_count_is_right_whatever_happens(seed: int) -> None:
    """Random work, restarts, gaps, readings begun anew, given up or ended, and folding: in the end it is what the source has."""
    chance = random.Random(seed)
    store, history = Store(), History(chance)
    passed, run, complete = 0, 0, False
    for _ in range(chance.randint(1, 8)):
        for _ in range(chance.randint(0, 6)):
            history.write()
        gap = chance.random() < 0.2
        if gap:
            passed = history.newest
            for _ in range(chance.randint(0, 3)):
                history.write()
        live: list[tuple[WireEvent, int | None]] = [(event, None) for event in history.events(passed)]
        lives = gap or not complete or chance.random() < 0.5
        sent = live
        if lives:
            run += 1
            start = history.newest if gap else passed
            places = [history.newest]
            for _ in range(chance.randint(0, 2)):
                for _ in range(chance.randint(0, 2)):
                    history.write()
                places.append(history.newest)
            live = [(event, None) for event in history.events(passed)]
            chunks: list[tuple[WireEvent, int | None]] = []
            for place in places[:-1]:
                part = history.reading(place)
                chunks += [(event, run) for event in part[: chance.randint(0, len(part))]]
            whole = [(event, run) for event in history.reading(places[-1])]
            given_up = complete and not gap and chance.random() < 0.3
            chunks += whole[: chance.randrange(len(whole))] if given_up else whole
            sent = [*live, *chunks] if chance.random() < 0.5 else [*chunks, *live]
            ends = not given_up
        else:
            start, ends = 0, False
        for event, of in disorder(chance, sent):
            store.push(event, of)
        if ends:
            store.sweep(run, start)
            complete = True
        passed = history.newest
        assert store.bag() == history.bag(history.newest), f"seed {seed}"
        if complete and chance.random() < 0.5:
            while store.fold(passed, limit=chance.randint(1, 5)):
                assert store.bag() == history.bag(history.newest), f"seed {seed}, folded"
        passed = chance.choice([passed, max(0, passed - 4)])  # a restart: some of it comes again
    store.conn.close()


async def test_through_the_api(fusion: Fusion) -> None:
    """Ordinals travel in pushes, slices of a snapshot push keep them, and a row comes once for each copy."""
    sid = (await fusion.open())["session_id"]
    numbers = [n % 3 for n in range(5000)]
    mark = WireEvent(index=4)
    await fusion.push(sid, mark, source_type="snapshot", snapshot_id="a", seq=1)
    for seq in (2, 3):
        answer = await fusion.push(
            sid, rows("insert", 5, 0, *numbers), end(5, 5000), source_type="snapshot", snapshot_id="a", seq=seq
        )
        assert answer.get("applied", 0) == (5000 if seq == 2 else 0)
    await fusion.push(sid, source_type="snapshot", snapshot_id="a", is_snapshot_end=True, seq=4)
    await fusion.push(sid, rows("delete", 7, 0, *[0] * 1600, 2), seq=5)
    assert Counter(row["n"] for row in await fusion.rows("t")) == {0: 67, 1: 1667, 2: 1665}
    (table,) = (await fusion.http.get("/views/tables")).json()["rows"]
    assert table["rows"] == 3399 and table["key"] is None
