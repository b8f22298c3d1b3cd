"""
XA transactions: their rows come when they are committed, whatever lies between, and never when they are rolled back.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pymysql
from mysql_bench import Database, only_mysql

from fustor_core.models.event import EventBase, UntoldMark
from fustor_core.testing.source_contract import chunks_of, rows_of, settle
from fustor_source_mysql.position import Boundary
from fustor_source_mysql.prepared import PreparedPlaces, XaStatement, read_prepare, read_xa

UNKNOWN_XID = 1397


def prepare(database: Database, xid: str, *statements: str, before: str = "DO 0") -> None:
    """
    Prepare a transaction in a session of its own, which goes away.
    """
    session = database.connect()
    with session.cursor() as cursor:
        for statement in (
            before,
            f"USE {database.name}",
            f"XA START {xid}",
            *statements,
            f"XA END {xid}",
            f"XA PREPARE {xid}",
        ):
            cursor.execute(database.own(statement))
    session.close()


def decide(database: Database, statement: str) -> None:
    """
    Commit or roll back; the server lets go of a session that went away in its own time, and does not know its xid before.
    """
    deadline = time.monotonic() + 20
    while True:
        try:
            database.run(statement)
            return
        except pymysql.err.MySQLError as exc:
            if exc.args[0] != UNKNOWN_XID or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def values(events: list[Any]) -> dict[Any, Any]:
    return {key: row["v"] for key, row in rows_of(events).items()}


def test_rows_come_when_they_are_committed(database: Database) -> None:
    """
    In the order of commits, also behind what was written in between and behind a new log; what was rolled back never comes.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 0)")
    driver = database.driver()
    stream = database.stream(driver)
    prepare(database, "'a','b',7", "UPDATE t SET v = 5 WHERE id = 1", "INSERT INTO t VALUES (2, 5)")
    prepare(database, "'gone'", "INSERT INTO t VALUES (3, 5)")
    database.run("INSERT INTO t VALUES (4, 1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (5, 1)")
    assert values(settle(stream, driver)) == {4: 1, 5: 1}, "undecided: not there yet, and the position moves on"
    decide(database, "XA ROLLBACK 'gone'")
    decide(database, "XA COMMIT 'a','b',7")
    database.run("INSERT INTO t VALUES (6, 1)")
    assert values(settle(stream, driver)) == {1: 5, 2: 5, 4: 1, 5: 1, 6: 1}
    indexes = [event.index for event in stream.events]
    assert indexes == sorted(indexes)
    prepare(database, "'a','b',7", "UPDATE t SET v = 9 WHERE id = 2")  # the same name once more
    decide(database, "XA COMMIT 'a','b',7")
    database.run("XA START 'one'", "DELETE FROM t WHERE id = 6", "XA END 'one'", "XA COMMIT 'one' ONE PHASE")
    assert values(settle(stream, driver)) == {1: 5, 2: 9, 4: 1, 5: 1}
    for index in sorted(set(indexes)):
        again = database.driver()
        before = [event for event in stream.events if event.rows and event.index <= index]
        assert values(before + settle(database.stream(again, index), again)) == {1: 5, 2: 9, 4: 1, 5: 1}


def test_a_large_one_does_not_stay_in_memory(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000))")
    driver = database.driver()
    stream = database.stream(driver)
    prepare(database, "'large'", "INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000")
    assert settle(stream, driver) == []
    decide(database, "XA COMMIT 'large'")
    database.run("INSERT INTO t VALUES (0, 'last')")
    events = settle(stream, driver)
    assert sum(len(event.rows) for event in events) == 20_001
    assert len(events) > 10
    assert set(rows_of(events)) == set(range(20_001))
    assert list(events[-1].rows)[-1] == (0, "last")


def test_any_order_of_prepares_decisions_and_restarts_ends_right(database: Database) -> None:
    """
    Six branches prepared and decided at random among plain writes and new logs, and streams begun anew at any index they told.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    known: list[EventBase] = []
    prepared: dict[int, str] = {}

    def finish(slot: int) -> None:
        decide(database, f"XA {chance.choice(('COMMIT', 'ROLLBACK'))} {prepared.pop(slot)}")

    for step in range(50):
        slot, what = chance.randrange(6), chance.random()
        if what < 0.5:
            if slot in prepared:
                finish(slot)
            else:
                xid = f"'slot{slot}','{chance.choice('ab')}'"  # names come again
                ids = {slot * 10 + chance.randrange(10) for _ in range(3)}
                prepare(database, xid, *(f"REPLACE INTO t VALUES ({n}, {step})" for n in ids))
                prepared[slot] = xid
        elif what < 0.8:
            database.run(f"REPLACE INTO t VALUES ({100 + slot}, {step})")
        elif what < 0.9:
            database.run("FLUSH BINARY LOGS")
        else:
            settle(stream, driver)
            index = chance.choice([event.index for event in stream.events])
            known += [event for event in stream.events if event.index <= index]
            stream.close()
            driver = database.driver()
            stream = database.stream(driver, index)
            assert not stream.lost
    for slot in list(prepared):
        finish(slot)
    found = values([event for event in known + settle(stream, driver) if event.rows])
    assert found == dict(database.run("SELECT id, v FROM t"))


@only_mysql
def test_compressed_ones_are_read_too(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    prepare(database, "'small'", "INSERT INTO t VALUES (1, 1)", before="SET binlog_transaction_compression = ON")
    assert settle(stream, driver) == []
    decide(database, "XA COMMIT 'small'")
    assert values(settle(stream, driver)) == {1: 1}


def test_a_commit_whose_rows_are_not_known_asks_for_a_snapshot(database: Database) -> None:
    """
    Prepared before the stream first began.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    prepare(database, "'early'", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2, 2)")
    decide(database, "XA COMMIT 'early'")
    stream.until(lambda: any(isinstance(event, UntoldMark) and not event.table for event in stream.events))
    (chunk,) = chunks_of(driver)
    assert [row[0] for row in chunk.rows] == [1, 2]


def test_statements_and_places_are_read(database: Database) -> None:
    assert read_xa("XA COMMIT X'6162',X'',1") == XaStatement("commit", "6162,,1")
    assert read_xa("XA START X'AB',X'63',7") == XaStatement("start", "ab,63,7")
    assert read_xa("XA RECOVER") is None
    assert read_prepare(bytes((0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0)) + b"abc") == (False, "61,6263,7")
    places = PreparedPlaces(database.folder, "h")
    places.note("x", Boundary(1, 10), has_rows=True)
    places.note("x", Boundary(1, 90), has_rows=False)
    places = PreparedPlaces(database.folder, "h")
    assert places.find("x", Boundary(1, 50)) == (Boundary(1, 10), True)
    assert places.find("x", Boundary(2, 4)) == (Boundary(1, 90), False)
    assert places.find("y", Boundary(2, 4)) is None
    assert PreparedPlaces(database.folder, "another").find("x", Boundary(2, 4)) is None
