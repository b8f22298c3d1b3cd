"""
What changes rows without telling them: marks in the stream, table by table, that survive restarts and reads that are behind.
"""

from __future__ import annotations

import threading

import pytest
from postgres_bench import Database, marks_of, until_marked

from fustor_core.testing.source_contract import Stream, chunks_of, rows_of, settle


def last(stream: Stream) -> int:
    return max(event.index for event in stream.events)


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("TRUNCATE t", ["t"]),
        ("ALTER TABLE t ADD COLUMN w INT DEFAULT 5", ["t"]),
        ("DROP TABLE t", ["t"]),
        ("ALTER TABLE t RENAME TO t2", ["t", "t2"]),
        ("ALTER TABLE t ALTER COLUMN v TYPE BIGINT USING v + 1", ["t"]),
        ("ALTER TABLE t DROP COLUMN v", ["t"]),
        ("ALTER TABLE t RENAME COLUMN v TO w", ["t"]),
        ("CREATE TABLE t3 (id INT PRIMARY KEY)", ["t3"]),
    ],
)
def test_what_changes_rows_untold_is_marked_and_the_stream_goes_on(
    database: Database, statement: str, tables: list[str]
) -> None:
    """One mark for each table concerned, at a place of its own; the others are read on as if nothing had happened."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", statement, "INSERT INTO u VALUES (9)")
    mark = until_marked(stream, *tables)
    assert {(one.event_schema, one.table) for one in marks_of(stream)} == {("public", table) for table in tables}
    at = stream.events.index(marks_of(stream)[0])
    assert max(event.index for event in stream.events[:at]) < mark.index
    database.run("INSERT INTO u VALUES (10)")
    events = settle(stream, driver)
    assert [list(event.rows) for event in events if event.table == "t"] == [[(1, 1)]], "what came before arrives"
    assert rows_of(events, "u") == {9: {"id": 9}, 10: {"id": 10}}, "the stream goes on"
    assert len(marks_of(stream)) == len(tables), "told once"
    # A read from now on shows the change, at or past the mark; what is not there is known by the watermark alone.
    names = [f"public.{table}" for table in tables]
    read = list(driver.get_snapshot_iterator(stop_event=threading.Event(), tables=names))
    assert not read[0].rows and all(event.index >= mark.index for event in read)
    assert {event.table for event in read[1:]} <= set(tables)


def test_rows_have_the_names_and_types_of_the_table_after_a_mark(database: Database) -> None:
    """The stream decodes with the catalog of now once it is past the change: new columns, another key, a new table."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TYPE mood AS ENUM ('bad', 'good')")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", "ALTER TABLE t ADD COLUMN m mood DEFAULT 'good'")
    database.run("CREATE TABLE fresh (code TEXT PRIMARY KEY)")
    until_marked(stream, "t", "fresh")
    database.run("INSERT INTO t VALUES (2, 2, 'bad')", "INSERT INTO fresh VALUES ('x')")
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)")
    stream.until(lambda: len(marks_of(stream)) == 3)
    database.run("UPDATE t SET id = 7 WHERE v = 2")
    events = settle(stream, driver)
    (inserted,) = [event for event in events if event.table == "t" and 2 in [row[0] for row in event.rows]]
    assert (inserted.fields, list(inserted.rows)) == (("id", "v", "m"), [(2, 2, "bad")])
    assert [list(event.rows) for event in events if event.table == "fresh"] == [[("x",)]]
    assert (events[-1].key, list(events[-1].rows)) == (("v",), [(7, 2, "bad")])


def test_tables_that_changed_while_nobody_looked_are_marked(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2, 2)")
    settle(stream, driver)
    position = last(stream)
    driver.acknowledge(position)
    database.end(stream, driver)
    driver = database.driver()
    stream = database.stream(driver, position)
    settle(stream, driver)
    assert not stream.lost and not marks_of(stream)
    database.end(stream, driver)
    database.run("ALTER TABLE t ADD COLUMN w INT DEFAULT 5", "CREATE TABLE u (id INT PRIMARY KEY)")
    for _ in range(2):  # also when it was told and not taken note of
        driver = database.driver()
        stream = database.stream(driver, position)
        assert not stream.lost
        mark = until_marked(stream, "t", "u")
        database.end(stream, driver)
    driver = database.driver()
    stream = database.stream(driver, position)
    mark = until_marked(stream, "t", "u")
    settle(stream, driver)
    driver.acknowledge(last(stream))
    database.end(stream, driver)
    driver = database.driver()
    stream = database.stream(driver, mark.index)
    settle(stream, driver)
    assert not marks_of(stream), "what was taken note of is not told again"


def test_a_snapshot_after_untold_changes_does_not_give_way_to_what_was_before_them(database: Database) -> None:
    """
    The stream is behind: an update from before the tables were rewritten must not look newer than a chunk that shows the rewrite.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2, 2)")
    settle(stream, driver)
    position = last(stream)
    driver.acknowledge(position)
    database.end(stream, driver)
    database.run("UPDATE t SET v = 5", "ALTER TABLE t ALTER COLUMN v TYPE BIGINT USING v * 100")
    driver = database.driver()
    stream = database.stream(driver, position)
    mark = until_marked(stream, "t")
    settle(stream, driver)
    (chunk,) = chunks_of(driver, tables=["public.t"])
    assert list(chunk.rows) == [(1, 500), (2, 500)]
    assert chunk.index >= mark.index
    told = [event for event in stream.events if event.rows]
    assert told and all(event.index < mark.index for event in told), "nothing after the mark touches these rows"


@pytest.mark.parametrize("restarted", [False, True], ids=["watched", "restarted"])
def test_a_new_table_is_told_again_when_transactions_of_its_beginning_have_ended(
    database: Database, restarted: bool
) -> None:
    """
    A transaction that wrote to the table before it was published, and commits after it was read, is in no stream: only one more
    mark makes somebody read what it wrote.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    with database.connect() as writer:
        writer.autocommit = False
        database.run("CREATE TABLE fresh (id INT PRIMARY KEY)")
        writer.execute("INSERT INTO fresh VALUES (1)")
        mark = until_marked(stream, "fresh")
        assert not chunks_of(driver, tables=["public.fresh"]), "it can't be seen yet"
        if restarted:
            database.run("INSERT INTO t VALUES (1)")
            settle(stream, driver)
            driver.acknowledge(last(stream))
            database.end(stream, driver)
            driver = database.driver()
            stream = database.stream(driver, mark.index)
            settle(stream, driver)
            assert not marks_of(stream), "what was told is told again only when it can be right"
        writer.commit()
    told = len(marks_of(stream))
    stream.until(lambda: len(marks_of(stream)) > told)
    again = marks_of(stream)[-1]
    assert (again.table, again.index > mark.index) == ("fresh", True)
    (chunk,) = chunks_of(driver, tables=["public.fresh"])
    assert list(chunk.rows) == [(1,)] and chunk.index >= again.index
    database.run("INSERT INTO t VALUES (2)")
    settle(stream, driver)
    assert marks_of(stream)[-1] is again, "and not a third time"
