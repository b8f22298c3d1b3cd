"""
The message stream against a real server: order, positions, transactions, images, statements, rotation, restarts.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from mysql_bench import Database

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_core.models.event import EventType
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.source_contract import rows_of, settle
from fustor_source_mysql.position import boundary_of


def test_rows_of_many_transactions_come_together_and_in_order(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    for n in range(50):
        database.run(f"INSERT INTO t VALUES ({n}, 0)")
    database.run("UPDATE t SET v = id", "DELETE FROM t WHERE id >= 25")
    events = settle(stream, driver)
    assert rows_of(events) == {n: {"id": n, "v": n} for n in range(25)}
    indexes = [event.index for event in stream.events]
    assert indexes == sorted(indexes)


def test_what_was_rolled_back_never_comes(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("BEGIN", "INSERT INTO t VALUES (1, 1)", "SAVEPOINT s", "INSERT INTO t VALUES (2, 2)")
    database.run("ROLLBACK TO s", "INSERT INTO t VALUES (3, 3)", "COMMIT")
    database.run("BEGIN", "INSERT INTO t VALUES (4, 4)", "ROLLBACK")
    assert rows_of(settle(stream, driver)) == {1: {"id": 1, "v": 1}, 3: {"id": 3, "v": 3}}


def test_a_change_of_key_is_a_delete_and_an_insert(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b VARCHAR(5), v INT, PRIMARY KEY (a, b))", "INSERT INTO t VALUES (1, 'x', 7)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("UPDATE t SET b = 'y'", "UPDATE t SET v = 8")
    events = settle(stream, driver)
    assert [(event.event_type, list(event.rows)) for event in events] == [
        (EventType.DELETE, [(1, "x")]),
        (EventType.INSERT, [(1, "y", 7)]),
        (EventType.UPDATE, [(1, "y", 8)]),
    ]


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_partial_images_leave_out_what_did_not_change(database: Database, image: str) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, w TEXT)", "INSERT INTO t VALUES (1, 1, 'long')")
    driver = database.driver()
    stream = database.stream(driver)
    database.run(f"SET SESSION binlog_row_image = '{image}'", "UPDATE t SET v = 2", "INSERT INTO t VALUES (2, 2, 'b')")
    database.run("DELETE FROM t WHERE id = 2", "SET SESSION binlog_row_image = 'FULL'")
    first, second, third = settle(stream, driver)
    assert first.event_type is EventType.UPDATE
    assert "w" not in first.fields
    assert dict(zip(first.fields, first.rows[0], strict=True)) == {"id": 1, "v": 2}
    assert set(first.columns or ()) == {"id", "v", "w"}
    assert (second.event_type, list(second.rows)) == (EventType.INSERT, [(2, 2, "b")])
    assert (third.event_type, list(third.rows)) == (EventType.DELETE, [(2,)])


def test_a_stream_may_begin_anywhere_and_misses_nothing(database: Database) -> None:
    """
    Whatever index of the first walk it begins at, a second walk brings the rows to the same end.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    for n in range(6):
        database.run("BEGIN", *(f"REPLACE INTO t VALUES ({(n + k) % 5}, {n})" for k in range(3)), "COMMIT")
    database.run("DELETE FROM t WHERE id = 1")
    settle(stream, driver)
    wanted = {key: {"id": key, "v": v} for key, v in database.run("SELECT id, v FROM t")}
    events = list(stream.events)
    for event in events:
        before = rows_of([one for one in events if one.rows and one.index <= event.index])
        again = database.driver()
        later = database.stream(again, event.index)
        assert not later.lost
        assert all(one.index >= boundary_of(event.index).index for one in later.events)
        changes = settle(later, again)
        state = before
        for one in changes:
            for row in one.rows:
                if one.event_type is EventType.DELETE:
                    state.pop(row[0], None)
                else:
                    state[row[0]] = dict(zip(one.fields, row, strict=True))
        assert state == wanted


def test_a_transaction_larger_than_the_buffers_leaves_in_parts(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000))")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000")
    events = settle(stream, driver)
    assert sum(len(event.rows) for event in events) == 20_000
    assert len(events) > 10
    assert len({event.index for event in events}) == 1, "all of one transaction, before its end"
    assert events[0].index < max(event.index for event in stream.events)


def test_the_log_may_be_rotated_and_the_server_restarted(own_server: MariaDbServer, tmp_path: Path) -> None:
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, 2)", "FLUSH BINARY LOGS")
    database.run("INSERT INTO t VALUES (3, 3)")
    assert set(rows_of(settle(stream, driver))) == {1, 2, 3}
    position = max(event.index for event in stream.events)
    name = driver.incarnation()
    own_server.kill()
    with pytest.raises(AssertionError, match="ConnectionLost"):
        stream.until(lambda: False)
    assert isinstance(stream.error, ConnectionLost)
    own_server.start()
    database.again()
    database.run("INSERT INTO t VALUES (4, 4)")
    again = database.driver()
    stream = database.stream(again, position)
    assert not stream.lost
    assert set(rows_of(settle(stream, again))) == {4}
    assert again.incarnation() == name
    database.streams = [stream]
    database.close()


def test_logs_that_were_reset_are_another_history(own_server: MariaDbServer, tmp_path: Path) -> None:
    """
    The same file and offset mean something else after RESET MASTER: that is seen, and said.
    """
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(3000))")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 'x')")
    settle(stream, driver)
    position, name = max(event.index for event in stream.events), driver.incarnation()
    stream.close()
    database.streams.clear()
    database.run("DO SLEEP(1.1)", "RESET MASTER", "REPLACE INTO t SELECT seq, REPEAT('y', 3000) FROM seq_2_to_50")
    again = database.driver()
    stream = database.stream(again, position)  # inside the new log: only its beginning tells
    if not stream.lost:
        with pytest.raises(AssertionError, match="are not those of before"):
            stream.until(lambda: False)
        stream.close()
        stream = database.stream(again, position)
    assert stream.lost
    assert again.incarnation() != name
    database.streams = [stream]
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE TABLE t", "ALTER TABLE t ADD COLUMN w INT DEFAULT 5", "DROP TABLE t", "RENAME TABLE t TO t2",
        "CREATE OR REPLACE TABLE t (id INT PRIMARY KEY)",
    ],
)  # fmt: skip
def test_a_statement_that_changes_rows_untold_asks_for_a_snapshot(database: Database, statement: str) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", statement, "INSERT INTO u VALUES (9)")
    with pytest.raises(AssertionError, match="RowsUntold"):
        stream.until(lambda: False)
    stream.take()
    assert [list(event.rows) for event in stream.events if event.rows] == [[(1, 1)]], "what came before arrives"
    position = max(event.index for event in stream.events)
    stream = database.stream(driver, position)
    assert stream.lost
    events = settle(stream, driver)
    assert [(event.table, list(event.rows)) for event in events] == [("u", [(9,)])], "the stream goes on behind it"


def test_statements_that_change_no_rows_change_nothing(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("CREATE INDEX i ON t (v)", "CREATE TABLE other (id INT PRIMARY KEY)", "INSERT INTO other VALUES (1)")
    database.run("ANALYZE TABLE t", "CREATE TEMPORARY TABLE temp (id INT)", "INSERT INTO t VALUES (1, 1)")
    events = settle(stream, driver)
    assert [(event.table, list(event.rows)) for event in events] == [("other", [(1,)]), ("t", [(1, 1)])]


def test_statements_in_place_of_rows_stop_the_sync_clearly(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    stream = database.stream(database.driver())
    database.run("SET SESSION binlog_format = 'STATEMENT'", "INSERT INTO t VALUES (1, 1)")
    with pytest.raises(AssertionError, match="a statement instead of rows"):
        stream.until(lambda: False)
    assert isinstance(stream.error, ConfigError)
    assert "SET GLOBAL binlog_format = ROW" in stream.error.hint


def test_only_wanted_tables_and_columns_leave_and_the_position_moves_all_the_same(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, secret INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    name = database.name
    driver = database.driver(include=[f"{name}.*"], exclude=["*.u"], exclude_columns=["*.t.secret"])
    stream = database.stream(driver)
    database.run("INSERT INTO u VALUES (1)")
    assert settle(stream, driver) == []
    database.run("INSERT INTO t VALUES (1, 2, 3)")
    (event,) = settle(stream, driver)
    assert (event.fields, list(event.rows), set(event.columns or ())) == (("id", "v"), [(1, 2)], {"id", "v"})
    (chunk,) = driver.get_snapshot_iterator(stop_event=threading.Event())
    assert (chunk.fields, list(chunk.rows)) == (("id", "v"), [(1, 2)])


def test_names_come_from_the_server_when_the_log_has_none(own_server: MariaDbServer, tmp_path: Path) -> None:
    database = Database(own_server, tmp_path)
    database.run(
        "SET GLOBAL binlog_row_metadata = 'NO_LOG'",
        "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, e ENUM('a','b'), b BINARY(4))",
    )
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (4000000000, 'b', 0x01)")
    events = settle(stream, driver)
    assert rows_of(events) == {4_000_000_000: {"id": 4_000_000_000, "e": "b", "b": b"\x01\0\0\0"}}
    position = min(event.index for event in stream.events)
    database.run("ALTER TABLE t DROP COLUMN e")
    stream.close()
    stream = database.stream(database.driver(), position)
    with pytest.raises(AssertionError, match="does not name the columns"):
        stream.until(lambda: False)
    database.streams = [stream]
    database.close()


def test_a_table_without_a_key_is_left_out_and_said(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    assert driver.status()["problems"] == []
    database.run("INSERT INTO t VALUES (1, 1), (1, 1)", "INSERT INTO u VALUES (1)")
    assert [event.table for event in settle(stream, driver)] == ["u"]
    (problem,) = driver.status()["problems"]
    assert problem["where"] == f"{database.name}.t"
    assert "ADD PRIMARY KEY" in problem["hint"]


def test_compressed_events_are_read(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("SET GLOBAL log_bin_compress = ON", "INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20")
    database.run(
        "UPDATE t SET v = REPEAT('y', 2000)", "DELETE FROM t WHERE id > 10", "SET GLOBAL log_bin_compress = OFF"
    )
    assert rows_of(settle(stream, driver)) == {n: {"id": n, "v": "y" * 2000} for n in range(1, 11)}
