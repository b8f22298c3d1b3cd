"""
Tables without a key against a real server, besides the conformance kit.
"""

from __future__ import annotations

import threading

import pytest
from postgres_bench import Database, until_marked

from fustor_core.errors import ConnectionLost
from fustor_core.testing.source_contract import settle
from fustor_source_postgres import keyless


def test_rows_of_a_table_without_a_key_are_numbered_and_updates_come_in_two(database: Database) -> None:
    """Copies are told apart by their ordinals; the new row of an update has its large values, which the log does not repeat."""
    database.run(
        "CREATE TABLE t (a INT, b TEXT)",
        "ALTER TABLE t ALTER b SET STORAGE EXTERNAL",
        "ALTER TABLE t REPLICA IDENTITY FULL",
    )
    database.run("CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    with database.admin.transaction():
        database.run("INSERT INTO t VALUES (1, repeat('x', 9000)), (2, NULL)", "INSERT INTO u VALUES (1)")
        database.run("UPDATE t SET a = 3 WHERE a = 1", "DELETE FROM t WHERE a = 2")
    database.run("INSERT INTO t VALUES (4, 'y')")
    events = [event for event in settle(stream, driver) if event.table == "t"]
    large = "x" * 9000
    # What arrives of a transaction in two parts comes in two events: the rows are what counts.
    rows = [
        (event.index, event.event_type.value, (event.ordinal or 0) + at, row)
        for event in events
        for at, row in enumerate(event.rows)
    ]
    assert [row[1:] for row in rows] == [
        ("insert", 0, (1, large)),
        ("insert", 1, (2, None)),
        ("delete", 2, (1, large)),
        ("insert", 3, (3, large)),
        ("delete", 4, (2, None)),
        ("insert", 0, (4, "y")),
    ]
    first = rows[0][0]
    assert {index for index, *_ in rows[:5]} == {first} and rows[5][0] > first
    assert not driver.status()["problems"]


def test_partitions_of_a_table_without_a_key_need_whole_old_rows_too(database: Database) -> None:
    """The server would refuse the application's updates of a partition that lacks them; with them the table is read."""
    database.run(
        "CREATE TABLE p (a INT) PARTITION BY RANGE (a)", "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "ALTER TABLE p REPLICA IDENTITY FULL", "INSERT INTO p VALUES (1), (1)",
    )  # fmt: skip
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    (problem,) = driver.status()["problems"]
    assert problem["where"] == "public.p" and "ALTER TABLE public.p1 REPLICA IDENTITY FULL" in problem["hint"]
    database.run("UPDATE p SET a = 2", "ALTER TABLE p1 REPLICA IDENTITY FULL")
    until_marked(stream, "p")
    database.run("DELETE FROM p")
    events = settle(stream, driver)
    assert {(event.table, event.event_type.value) for event in events} == {("p", "delete")}
    numbered = [(event.ordinal or 0) + at for event in events for at in range(len(event.rows))]
    assert numbered == [0, 1], "in one event or in two"


def test_a_transaction_that_stays_open_keeps_a_reading_waiting_for_a_bounded_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table without a key can't be read while a writer stays open; the error says who that is, and nothing is left behind."""
    monkeypatch.setattr(keyless, "_LONGEST_MAKING_S", 1.0)
    database.run("CREATE TABLE t (a INT)", "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1), (1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    writer = database.connect()
    writer.execute("BEGIN")
    writer.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(ConnectionLost, match=f"open transactions: pid {writer.info.backend_pid}"):
        list(driver.get_snapshot_iterator(stop_event=threading.Event()))
    writer.execute("COMMIT")
    writer.close()
    chunks = list(driver.get_snapshot_iterator(stop_event=threading.Event()))
    assert sum(len(chunk.rows) for chunk in chunks) == 3
    # The server drops them once it has noticed that the connection is closed.
    stream.until(lambda: database.run("SELECT slot_name FROM pg_replication_slots WHERE temporary") == [])
