"""
The message stream against a real server: order, positions, transactions, images, statements, rotation, restarts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mysql_bench import SERVERS, Database, only_mariadb, only_mysql

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_core.models.event import EventType, UntoldMark
from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.source_contract import chunks_of, rows_of, settle
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.position import boundary_of, index_of, inside


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


def test_the_log_may_be_rotated_and_the_server_restarted(own_server: BinlogServer, tmp_path: Path) -> None:
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


def test_logs_that_were_reset_are_another_history(own_server: BinlogServer, tmp_path: Path) -> None:
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
    ("server", "statement", "tables"),
    [
        (server, statement, tables)
        for server in SERVERS
        for statement, tables in (
            ("TRUNCATE TABLE t", ["t"]),
            ("ALTER TABLE t ADD COLUMN w INT DEFAULT 5", ["t"]),
            ("DROP TABLE t", ["t"]),
            ("RENAME TABLE t TO t2", ["t", "t2"]),
            ("ALTER TABLE t ADD COLUMN w INT, RENAME TO t2", ["t", "t2"]),
            ("TRUNCATE /* by an app */ TABLE t", ["t"]),
            ("alter /* gh-ost */ table `t` add column w INT DEFAULT 5 # why", ["t"]),
            ("rename /* gh-ost */ table `t` to `_t_del` /* done */", ["t", "_t_del"]),
            ("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY)", ["t"]),
            ("RENAME TABLE t WAIT 5 TO t2", ["t", "t2"]),
        )
        if server == "mariadb" or ("OR REPLACE" not in statement and "WAIT" not in statement)
    ],
    indirect=["server"],
)
def test_a_statement_that_changes_rows_untold_is_marked_and_the_stream_goes_on(
    database: Database, statement: str, tables: list[str]
) -> None:
    """One mark for each table concerned, behind all that came before it and before all that follows."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)", statement, "INSERT INTO u VALUES (9)")
    events = settle(stream, driver)
    assert [(event.table, list(event.rows)) for event in events] == [("t", [(1, 1)]), ("u", [(9,)])]
    marks = [event for event in stream.events if isinstance(event, UntoldMark)]
    assert [(mark.event_schema, mark.table) for mark in marks] == [(database.name, table) for table in tables]
    assert all(mark.reason.split()[0] == statement.split()[0] for mark in marks)
    at = stream.events.index(marks[0])
    assert max(event.index for event in stream.events[:at]) < marks[0].index < events[-1].index
    again = database.stream(database.driver(), marks[0].index)
    assert not again.lost, "a stream may begin behind the mark"


def test_what_is_done_to_unwanted_tables_costs_nothing(database: Database) -> None:
    """Statements about tables that are left out give no mark; nor do those about temporary ones."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
    driver = database.driver(exclude=[f"{database.name}.other"])
    stream = database.stream(driver)
    database.run("TRUNCATE TABLE other", "ALTER TABLE other ADD COLUMN v INT", "CREATE TEMPORARY TABLE temp (id INT)")
    database.run("DROP TEMPORARY TABLE temp", "DROP TABLE other", "INSERT INTO t VALUES (1)")
    settle(stream, driver)
    assert not [event for event in stream.events if isinstance(event, UntoldMark)]


@only_mariadb
def test_rows_undone_in_a_transaction_are_marked_behind_it(database: Database) -> None:
    """
    A savepoint is rolled back after a table without transactions was written: the log keeps all rows, those of the other table are undone.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("BEGIN", "INSERT INTO t VALUES (1)", "SAVEPOINT s", "INSERT INTO t VALUES (2)")
    database.run("INSERT INTO m SELECT id FROM t WHERE id = 2", "ROLLBACK TO s", "COMMIT", "INSERT INTO t VALUES (3)")
    settle(stream, driver)
    assert set(rows_of(stream.events)) == {1, 2, 3}, "the log tells the row that was undone"
    assert "t" in {event.table for event in stream.events if isinstance(event, UntoldMark)}
    assert sorted(database.run("SELECT id FROM t")) == [(1,), (3,)]


def test_a_key_that_changes_in_minimal_images_is_marked(database: Database) -> None:
    """The log tells neither the rest of the row nor stops there: a mark, and the stream goes on."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run(
        "SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET id = 9 WHERE id = 1", "UPDATE t SET v = 3 WHERE id = 2"
    )
    settle(stream, driver)
    assert [event.table for event in stream.events if isinstance(event, UntoldMark)] == ["t"]
    assert rows_of(stream.events) == {2: {"id": 2, "v": 3}}


def test_a_database_that_is_dropped_is_marked_as_a_whole(database: Database) -> None:
    """Which tables it had, nobody knows any more: one mark without a table."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run(f"DROP DATABASE {database.name}", f"CREATE DATABASE {database.name}", f"USE {database.name}")
    settle(stream, driver)
    (mark,) = [event for event in stream.events if isinstance(event, UntoldMark) and not event.table]
    assert "DROP DATABASE" in mark.reason


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
    (chunk,) = chunks_of(driver)
    assert (chunk.fields, list(chunk.rows)) == (("id", "v"), [(1, 2)])


def test_names_come_from_the_server_when_the_log_has_none(own_server: BinlogServer, tmp_path: Path) -> None:
    database = Database(own_server, tmp_path)
    database.run(
        f"SET GLOBAL binlog_row_metadata = '{'MINIMAL' if database.is_mysql else 'NO_LOG'}'",
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


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
def test_rows_of_a_table_without_a_key_are_numbered_and_updates_come_in_two(database: Database, image: str) -> None:
    """Copies are told apart by their ordinals, old and new rows are whole, whatever the log leaves out of images."""
    database.run("CREATE TABLE t (a INT, b TEXT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run(f"SET SESSION binlog_row_image = {image}")
    database.run("BEGIN", "INSERT INTO t VALUES (1, 'x'), (1, 'x')", "INSERT INTO u VALUES (1)")
    database.run("INSERT INTO t VALUES (2, NULL)", "UPDATE t SET a = 3 WHERE a = 1", "COMMIT")
    database.run("INSERT INTO t VALUES (4, 'y')")
    events = [event for event in settle(stream, driver) if event.table == "t"]
    assert [(event.event_type.value, event.ordinal, event.rows) for event in events] == [
        ("insert", 0, [(1, "x"), (1, "x")]),
        ("insert", 2, [(2, None)]),
        ("delete", 3, [(1, "x"), (1, "x")]),
        ("insert", 5, [(3, "x"), (3, "x")]),
        ("insert", 0, [(4, "y")]),
    ]
    assert {event.index for event in events[:4]} < {event.index for event in events}
    assert all(event.key is None and event.columns for event in events)
    assert driver.status()["problems"] == []
    database.run("SET SESSION binlog_row_image = FULL")


@only_mariadb
def test_compressed_events_are_read(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("SET GLOBAL log_bin_compress = ON", "INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20")
    database.run(
        "UPDATE t SET v = REPEAT('y', 2000)", "DELETE FROM t WHERE id > 10", "SET GLOBAL log_bin_compress = OFF"
    )
    assert rows_of(settle(stream, driver)) == {n: {"id": n, "v": "y" * 2000} for n in range(1, 11)}


@only_mysql
def test_compressed_transactions_are_read(database: Database) -> None:
    """
    MySQL's: rows of several tables and kinds, one larger than the buffers, plain ones before and behind; a stream that begins at
    any index brings the same end.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO u VALUES (1)", "SET SESSION binlog_transaction_compression = ON")
    database.run("INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000")
    database.run("BEGIN", "UPDATE t SET v = CONCAT('y', id) WHERE id <= 10", "INSERT INTO u VALUES (2)")
    database.run("DELETE FROM t WHERE id > 10", "INSERT INTO t VALUES (0, 'zero')", "COMMIT")
    database.run("SET SESSION binlog_transaction_compression = OFF", "INSERT INTO u VALUES (3)")
    events = settle(stream, driver)
    assert rows_of(events) == {
        0: {"id": 0, "v": "zero"},
        **{n: {"id": n, "v": f"y{n}"} for n in range(1, 11)},
    }
    assert set(rows_of(events, "u")) == {1, 2, 3}
    for index in sorted({event.index for event in stream.events}):
        again = database.driver()
        later = settle(database.stream(again, index), again)
        before = [event for event in events if event.index <= index]
        assert rows_of(before + later).keys() == set(range(11))
        assert set(rows_of(before + later, "u")) == {1, 2, 3}


@only_mysql
def test_a_table_made_from_a_query_arrives_with_its_rows(database: Database) -> None:
    """
    MySQL logs it as one transaction: the statement, then the rows.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("CREATE TABLE u (PRIMARY KEY (id)) SELECT id FROM t", "INSERT INTO t VALUES (3)")
    events = settle(stream, driver)
    assert [(event.table, list(event.rows)) for event in events] == [("u", [(1,), (2,)]), ("t", [(3,)])]


@only_mysql
def test_keys_and_columns_that_the_server_hides(database: Database) -> None:
    """
    A generated invisible primary key is a key like any other; invisible and generated columns leave like the rest.
    """
    database.run(
        "SET SESSION sql_generate_invisible_primary_key = ON", "CREATE TABLE t (v INT, w INT INVISIBLE DEFAULT 5)"
    )
    database.run("SET SESSION sql_generate_invisible_primary_key = OFF")
    database.run("CREATE TABLE u (id INT PRIMARY KEY, v INT AS (id + 1) VIRTUAL, w INT AS (id + 2) STORED)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t (v) VALUES (7), (8)", "INSERT INTO u (id) VALUES (1)", "UPDATE u SET id = 2")
    events = settle(stream, driver)
    chunks = chunks_of(driver)
    for name, key, wanted in (
        ("t", "my_row_id", {1: {"my_row_id": 1, "v": 7, "w": 5}, 2: {"my_row_id": 2, "v": 8, "w": 5}}),
        ("u", "id", {2: {"id": 2, "v": 3, "w": 4}}),
    ):
        for path in (events, chunks):
            mine = [event for event in path if event.table == name]
            assert rows_of(mine, name) == wanted
            assert {event.key for event in mine} == {(key,)}


@only_mysql
def test_partial_updates_of_json_stop_the_sync_clearly(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v JSON)", "INSERT INTO t VALUES (1, JSON_OBJECT('a', REPEAT('x', 500)))"
    )
    stream = database.stream(database.driver())
    database.run("SET SESSION binlog_row_value_options = 'PARTIAL_JSON'", "UPDATE t SET v = JSON_SET(v, '$.a', 'y')")
    with pytest.raises(AssertionError, match="a partial update of JSON"):
        stream.until(lambda: False)
    assert isinstance(stream.error, ConfigError)
    assert "SET GLOBAL binlog_row_value_options = ''" in stream.error.hint


def test_positions_are_written_as_number_of_the_file_and_bytes() -> None:
    here = index_of(12, 345)
    assert MysqlDriver.position_text(here) == MysqlDriver.position_text(inside(12, 345)) == "000012:345"
    assert MysqlDriver.bytes_between(here, inside(12, 1345)) == 1000
    assert MysqlDriver.bytes_between(here, index_of(13, 4)) is None, "how long file 12 is no position tells"
