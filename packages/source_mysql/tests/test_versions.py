"""
System-versioned tables and sequences of MariaDB: the consumer has what is true now, no history and no counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from mysql_bench import Database, marks, only_mariadb

from fustor_core.models.event import EventBase, EventType
from fustor_core.testing.source_contract import chunks_of, settle
from fustor_source_mysql.tables import Images
from fustor_source_mysql.versions import as_images, rows_true_now, updates_true_now

PERIOD = "s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME(s, e)"
SHAPES = {
    "implicit": "id INT PRIMARY KEY, v INT, w TEXT",
    "explicit": f"id INT PRIMARY KEY, v INT, {PERIOD}, w TEXT",
    "unique": "v INT, w TEXT, id INT NOT NULL UNIQUE",
    "keyless": "id INT, v INT, w TEXT",
}


@pytest.fixture(params=["FULL", "NO_LOG"])
def metadata(database: Database, request: pytest.FixtureRequest) -> Iterator[str]:
    before = database.run("SELECT @@GLOBAL.binlog_row_metadata")[0][0]
    database.run(f"SET GLOBAL binlog_row_metadata = {request.param}")
    yield request.param
    database.run(f"SET GLOBAL binlog_row_metadata = {before}")


def result_of(events: list[EventBase]) -> Counter[Any]:
    """
    Return the rows that the events leave at a consumer.
    """
    keyed: dict[Any, dict[str, Any]] = {}
    bag: Counter[Any] = Counter()
    for event in events:
        for row in event.rows:
            named = dict(zip(event.fields or (), row, strict=True))
            if not event.key:
                bag[frozenset(named.items())] += -1 if event.event_type is EventType.DELETE else 1
                continue
            key = tuple(named[name] for name in event.key)
            if event.event_type is EventType.DELETE:
                del keyed[key]
            else:
                keyed[key] = {**keyed.get(key, {}), **named} if event.event_type is EventType.UPDATE else named
    return +bag + Counter(frozenset(row.items()) for row in keyed.values())


@only_mariadb
@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_true_now_arrives_and_no_history(database: Database, metadata: str, shape: str, image: str) -> None:
    if shape == "keyless" and image != "FULL":
        image = "FULL"  # the others are refused, as of every table without a key
    database.run(
        f"SET SESSION binlog_row_image = {image}",
        "SET SESSION system_versioning_alter_history = KEEP",
        f"CREATE TABLE t ({SHAPES[shape]}) WITH SYSTEM VERSIONING",
    )
    driver = database.driver()
    stream = database.stream(driver)
    database.run(
        "INSERT INTO t (id, v, w) VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd')",
        "UPDATE t SET v = 9 WHERE id = 1",
        "UPDATE t SET v = 10, w = 'z' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t (id, v, w) VALUES (2, 22, 'again')",
        "DELETE HISTORY FROM t",
        "REPLACE INTO t (id, v, w) VALUES (3, 33, 'new')",
        "BEGIN",
        "UPDATE t SET v = v + 1",
        "DELETE FROM t WHERE id = 4",
        "COMMIT",
    )
    if image == "FULL":
        database.run("UPDATE t SET id = 7 WHERE id = 1")
    events = [event for event in settle(stream, driver) if event.rows]
    expected = result_of(chunks_of(driver))
    assert len(list(expected.elements())) == len(database.run("SELECT * FROM t")) > 0
    assert result_of(events) == expected
    assert marks(stream, driver) == []
    names = {name for event in events for name in event.fields or ()}
    assert names == {"id", "v", "w"} | ({"s", "e"} if shape == "explicit" else set())
    assert all(event.key == (None if shape == "keyless" else ("id",)) for event in events)


@only_mariadb
def test_a_table_that_gets_versions_and_loses_them_again(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver(exclude_columns=["*.t.e"])
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", "ALTER TABLE t ADD SYSTEM VERSIONING", "UPDATE t SET v = 2")
    database.run("ALTER TABLE t DROP SYSTEM VERSIONING", "UPDATE t SET v = 3", "INSERT INTO t VALUES (2, 2)")
    rows = [(event.event_type.value, list(event.rows)) for event in settle(stream, driver)]
    assert rows == [("insert", [(1, 1)]), ("update", [(1, 2)]), ("update", [(1, 3)]), ("insert", [(2, 2)])]


@only_mariadb
def test_a_parent_with_versions_acts_on_its_children_too(database: Database) -> None:
    database.run(
        "CREATE TABLE p (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        "INSERT INTO p VALUES (1, 1), (2, 2)",
        "INSERT INTO c VALUES (1, 1), (2, 2)",
    )
    driver = database.driver()
    stream = database.stream(driver)
    database.run("UPDATE p SET v = 5")
    assert marks(stream, driver) == []
    database.run("DELETE FROM p WHERE id = 1")
    assert database.run("SELECT id FROM c") == [(2,)]
    assert marks(stream, driver) == ["c"]


@only_mariadb
def test_sequences_are_no_tables(database: Database, metadata: str) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE SEQUENCE old")
    driver = database.driver()
    stream = database.stream(driver)
    database.run(
        "CREATE SEQUENCE s", "INSERT INTO t VALUES (NEXTVAL(s)), (NEXTVAL(s))", "DO NEXTVAL(old)", "DROP SEQUENCE old"
    )
    database.run("ALTER SEQUENCE s RESTART 5000", "INSERT INTO t VALUES (NEXTVAL(s))")
    events = [event for event in settle(stream, driver) if event.rows]
    assert {event.table for event in events} == {"t"}
    assert [row for event in events for row in event.rows] == database.run("SELECT id FROM t ORDER BY id")
    assert driver.status()["keyless"] == [] and driver.status()["problems"] == []


def test_the_latest_time_is_that_of_old_and_of_new_servers() -> None:
    rows: list[Any] = [
        (1, "2038-01-19T03:14:07.999999Z"),
        (2, "2106-02-07T06:28:15.999999Z"),
        (3, "2026-01-01T00:00:00Z"),
    ]
    images = Images(lambda _, at: (rows[at], at + 1), ("id", "e"), ("id",), is_whole=True)
    assert rows_true_now(b"", 0, 3, "e", images) == [(1,), (2,)]
    rows.append((2, "2026-01-01T00:00:00Z"))
    ended, changed = updates_true_now(b"", 0, 2, "e", images, images)
    assert (ended, changed) == ([], [(1,), (2,)])
    rows[:] = [rows[0], rows[2]]
    ended, changed = updates_true_now(b"", 0, 2, "e", images, images)
    assert (ended, changed) == ([(1,)], [])
    assert as_images([(5,)], images).read(b"", 0) == ((5,), 1)
