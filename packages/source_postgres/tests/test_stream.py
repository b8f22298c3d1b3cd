"""
The message stream against a real server: order, positions, transactions, identities, tables that change, restarts.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from postgres_bench import Database, Holding, until_marked

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_core.models.event import EventType
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.source_contract import Stream, chunks_of, rows_of, settle
from fustor_source_postgres import PostgresDriver
from fustor_source_postgres.position import boundary_of, inside, lsn_of


def last(stream: Stream) -> int:
    return max(event.index for event in stream.events)


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
    assert all(abs((event.ts or 0) - time.time()) < 60 for event in events)


def test_what_was_rolled_back_never_comes(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("BEGIN", "INSERT INTO t VALUES (1, 1)", "SAVEPOINT s", "INSERT INTO t VALUES (2, 2)")
    database.run("ROLLBACK TO s", "INSERT INTO t VALUES (3, 3)", "COMMIT")
    database.run("BEGIN", "INSERT INTO t VALUES (4, 4)", "ROLLBACK")
    database.run("BEGIN", "INSERT INTO t VALUES (5, 5)", "PREPARE TRANSACTION 'kept'")
    database.run("BEGIN", "INSERT INTO t VALUES (6, 6)", "PREPARE TRANSACTION 'gone'", "ROLLBACK PREPARED 'gone'")
    settle(stream, driver)
    database.run("COMMIT PREPARED 'kept'")
    assert set(rows_of(settle(stream, driver))) == {1, 3, 5}


def test_transactions_come_in_the_order_of_their_commits(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    other = database.connect()
    other.execute("BEGIN")
    other.execute("INSERT INTO t VALUES (1, 1)")
    database.run("INSERT INTO t VALUES (2, 2)")
    other.execute("COMMIT")
    other.close()
    rows = [row for event in settle(stream, driver) for row in event.rows]
    assert rows == [(2, 2), (1, 1)]


def test_a_change_of_key_is_a_delete_and_an_insert(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b VARCHAR(5), v INT, PRIMARY KEY (b, a))", "INSERT INTO t VALUES (1, 'x', 7)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("UPDATE t SET b = 'y'", "UPDATE t SET v = 8")
    events = settle(stream, driver)
    assert [(event.event_type, event.key, list(event.rows)) for event in events] == [
        (EventType.DELETE, ("b", "a"), [("x", 1)]),
        (EventType.INSERT, ("b", "a"), [(1, "y", 7)]),
        (EventType.UPDATE, ("b", "a"), [(1, "y", 8)]),
    ]


LARGE = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)"


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL", "USING INDEX t_u"])
def test_large_values_that_did_not_change(database: Database, identity: str) -> None:
    """
    The log leaves them out: an update leaves them out too, and a changed key brings them along.
    """
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, u INT NOT NULL, v INT, big TEXT)",
        "CREATE UNIQUE INDEX t_u ON t (u)",
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
        f"INSERT INTO t VALUES (1, 1, 1, {LARGE})",
    )
    ((big,),) = database.run("SELECT big FROM t")
    assert len(big) == 64_000
    driver = database.driver()
    stream = database.stream(driver)
    database.run("UPDATE t SET v = 2", "UPDATE t SET id = 5, u = 5")
    settle(stream, driver)
    # Amid a moment in which the commit is in the log and not yet to be seen, the large value follows in an event of its own.
    stream.until(lambda: rows_of(stream.events).get(5, {}).get("big") == big)
    database.run("DELETE FROM t")
    key = "u" if "INDEX" in identity else "id"
    update, gone, there, *late, deleted = settle(stream, driver)
    assert update.key == (key,) and update.event_type is EventType.UPDATE
    assert dict(zip(update.fields, update.rows[0], strict=True)) == {"id": 1, "u": 1, "v": 2} | (
        {"big": big} if identity == "FULL" else {}
    )
    assert set(update.columns or ()) == {"id", "u", "v", "big"}
    assert (gone.event_type, gone.rows) == (EventType.DELETE, [(1,)])
    assert there.event_type is EventType.INSERT and len(there.rows) == 1
    assert rows_of([there, *late]) == {5: {"id": 5, "u": 5, "v": 2, "big": big}}
    assert [event.event_type for event in late] == [EventType.UPDATE] * ("big" not in there.fields)
    assert (deleted.event_type, deleted.rows) == (EventType.DELETE, [(5,)])


def test_a_changed_key_whose_row_has_gone_on_meanwhile(database: Database) -> None:
    """
    The stream is behind, so the large values are not where it looks for them; what became of the rows it tells later. One row moves
    again, one is deleted, one gets new values; another is hidden by a commit that is held, over a restart of the driver.
    """
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, big TEXT)",
        f"INSERT INTO t SELECT n, 0, {LARGE} FROM generate_series(1, 3) n",
    )
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    position = last(stream)
    database.end(stream, driver)
    database.run(
        "UPDATE t SET id = id + 10",
        "UPDATE t SET v = 1",
        "UPDATE t SET id = 21 WHERE id = 11",
        "DELETE FROM t WHERE id = 12",
    )
    database.run("UPDATE t SET big = 'new', id = 23 WHERE id = 13")
    again = database.driver()
    stream = database.stream(again, position)
    wanted = {key: {"id": key, "v": v, "big": big} for key, v, big in database.run("SELECT id, v, big FROM t")}
    assert set(wanted) == {21, 23} and len(wanted[21]["big"]) == 64_000
    settle(stream, again)
    stream.until(lambda: rows_of(stream.events) == wanted)
    indexes = [event.index for event in stream.events]
    assert indexes == sorted(indexes)


def test_large_values_of_a_commit_that_is_held_are_read_when_it_can_be_seen(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, big TEXT)", f"INSERT INTO t SELECT 1, 0, {LARGE}")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    holding = Holding(own_server, database)
    holding.on()
    try:
        holding.write("UPDATE t SET id = 2")
        stream.until(lambda: any(event.event_type is EventType.INSERT and event.rows for event in stream.events))
        first = rows_of(stream.events)
        assert first == {2: {"id": 2, "v": 0}}
        settle(stream, driver)
        position = last(stream)
        database.end(stream, driver)  # what is missing is remembered
        driver = database.driver()
        stream = database.stream(driver, position)
        settle(stream, driver)
    finally:
        holding.off()
    stream.until(lambda: len(rows_of(stream.events).get(2, {}).get("big", "")) == 64_000)
    driver.acknowledge(last(stream))
    database.close()


def test_a_stream_may_begin_anywhere_and_misses_nothing(database: Database) -> None:
    """
    Whatever index of the first walk it begins at, a second walk brings the rows to the same end.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    for n in range(6):
        database.run(
            "BEGIN",
            *(f"INSERT INTO t VALUES ({(n + k) % 5}, {n}) ON CONFLICT (id) DO UPDATE SET v = {n}" for k in range(3)),
            "COMMIT",
        )
    database.run("DELETE FROM t WHERE id = 1")
    settle(stream, driver)
    wanted = {key: {"id": key, "v": v} for key, v in database.run("SELECT id, v FROM t")}
    events = list(stream.events)
    database.end(stream, driver)
    for event in events:
        before = rows_of([one for one in events if one.rows and one.index <= event.index])
        again = database.driver()
        later = database.stream(again, event.index)
        assert not later.lost
        changes = settle(later, again)
        assert all(one.index >= boundary_of(event.index) for one in later.events)
        for one in changes:
            for row in one.rows:
                if one.event_type is EventType.DELETE:
                    before.pop(row[0], None)
                else:
                    before[row[0]] = dict(zip(one.fields, row, strict=True))
        assert before == wanted
        database.end(later, again)


def test_a_transaction_larger_than_the_buffers_leaves_in_parts(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
    events = settle(stream, driver)
    assert sum(len(event.rows) for event in events) == 20_000
    assert len(events) > 10
    assert len({event.index for event in events}) == 1, "all of one transaction, before its end"
    assert events[0].index < last(stream)


def test_the_server_may_be_killed_and_restarted(own_server: PostgresServer, tmp_path: Path) -> None:
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 1)")
    assert set(rows_of(settle(stream, driver))) == {1}
    position, name = last(stream), driver.incarnation()
    own_server.kill()
    with pytest.raises(AssertionError, match=r"ConnectionLost|ServerSaid"):
        stream.until(lambda: False)
    assert isinstance(stream.error, ConnectionLost)
    own_server.start()
    database.again()
    database.run("INSERT INTO t VALUES (4, 4)")
    stream = database.stream(driver, position)
    assert not stream.lost
    assert set(rows_of(settle(stream, driver))) == {4}
    assert driver.incarnation() == name
    database.close()


def test_what_is_acknowledged_lets_the_server_forget_and_nothing_else_does(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)

    def confirmed() -> int:
        ((lsn,),) = database.run(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE database = current_database()"
        )
        return int(lsn)

    begun = confirmed()
    database.run("INSERT INTO t VALUES (1)")
    settle(stream, driver)
    settle(stream, driver)
    assert confirmed() == begun, "passed is not acknowledged"
    passed = last(stream)
    driver.acknowledge(passed)
    deadline = time.monotonic() + 20
    while confirmed() < boundary_of(passed):
        assert time.monotonic() < deadline
        settle(stream, driver)


def test_an_idle_database_moves_on_while_another_one_writes(database: Database, server: PostgresServer) -> None:
    """
    Marks follow the end of the log, so that the slot does not pin what it has no use for.
    """
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    before = last(stream)
    server.sql("CREATE TABLE IF NOT EXISTS noise (n INT); INSERT INTO noise SELECT generate_series(1, 10000)")
    stream.until(lambda: last(stream) > before + 100_000)


def test_a_rename_of_a_column_never_shifts_a_value(database: Database) -> None:
    """
    Rows written before and after a change of the table, read in one go: each has the names of its time.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    position = last(stream)
    database.end(stream, driver)
    database.run(
        "INSERT INTO t VALUES (1, 10, 11)",
        "ALTER TABLE t RENAME COLUMN a TO c",
        "INSERT INTO t VALUES (2, 20, 21)",
        "ALTER TABLE t DROP COLUMN c",
        "INSERT INTO t VALUES (3, 31)",
    )
    again = database.driver()
    stream = database.stream(again, position)
    rows = rows_of(settle(stream, again))
    assert rows == {1: {"id": 1, "a": 10, "b": 11}, 2: {"id": 2, "c": 20, "b": 21}, 3: {"id": 3, "b": 31}}


def test_partitions_are_rows_of_their_table(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT, d DATE, v INT, PRIMARY KEY (id, d)) PARTITION BY RANGE (d)",
        "CREATE TABLE t_2023 PARTITION OF t FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
        "CREATE TABLE t_2024 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY HASH (id)",
        "CREATE TABLE t_2024_0 PARTITION OF t_2024 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t SELECT n, '2023-06-01'::date + n * 30, n FROM generate_series(1, 10) n")
    database.run("UPDATE t SET d = '2023-01-01' WHERE id = 10", "DELETE FROM t WHERE id = 9")
    events = settle(stream, driver)
    assert {event.table for event in events} == {"t"}
    found = rows_of(events)
    chunks = chunks_of(driver)
    assert found == rows_of(chunks) and len(found) == 9
    database.run("TRUNCATE t_2023")  # the log of changes does not tell it
    until_marked(stream, "t")


def test_old_style_children_are_tables_of_their_own(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE c (PRIMARY KEY (id)) INHERITS (t)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1)", "INSERT INTO c VALUES (2)")
    events = settle(stream, driver)
    chunks = chunks_of(driver)
    for found in (events, chunks):
        assert set(rows_of(found, "t")) == {1} and set(rows_of(found, "c")) == {2}


def test_only_wanted_tables_and_columns_leave(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, secret INT)", "CREATE TABLE u (id INT PRIMARY KEY)", "CREATE SCHEMA s",
        "CREATE TABLE s.t (id INT PRIMARY KEY)",
    )  # fmt: skip
    driver = database.driver(include=["public.*"], exclude=["*.u"], exclude_columns=["*.t.secret"])
    stream = database.stream(driver)
    database.run("INSERT INTO u VALUES (1)", "INSERT INTO s.t VALUES (1)")
    assert settle(stream, driver) == []
    database.run("INSERT INTO t VALUES (1, 2, 3)")
    (event,) = settle(stream, driver)
    assert (event.fields, list(event.rows), set(event.columns or ())) == (("id", "v"), [(1, 2)], {"id", "v"})
    (chunk,) = chunks_of(driver)
    assert (chunk.fields, list(chunk.rows)) == (("id", "v"), [(1, 2)])
    ((columns,),) = database.run(
        f"SELECT attnames::text FROM pg_publication_tables WHERE pubname = 'fustor_{database.name}'"
    )
    assert columns == "{id,v}", "the server itself leaves the column out"


def test_tables_that_can_not_be_read_are_left_out_said_and_left_in_peace(database: Database) -> None:
    """
    Publishing the updates of a table without an identity would make the server refuse them: the application comes first.
    """
    database.run(
        "CREATE TABLE keyless (a INT)", "CREATE UNLOGGED TABLE unlogged (id INT PRIMARY KEY)",
        "CREATE TABLE nothing (id INT PRIMARY KEY)", "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "CREATE TABLE late (id INT PRIMARY KEY DEFERRABLE)", "CREATE TABLE t (id INT PRIMARY KEY)",
    )  # fmt: skip
    driver = database.driver()
    stream = database.stream(driver)
    for table in ("keyless", "unlogged", "nothing", "late", "t"):
        database.run(f"INSERT INTO {table} VALUES (1)", f"UPDATE {table} SET {'a' if table == 'keyless' else 'id'} = 2")
    assert {event.table for event in settle(stream, driver)} == {"t"}
    assert {chunk.table for chunk in chunks_of(driver)} == {"t"}
    problems = {problem["where"]: problem for problem in driver.status()["problems"]}
    assert set(problems) == {"public.keyless", "public.unlogged", "public.nothing", "public.late"}
    assert "ADD PRIMARY KEY" in problems["public.keyless"]["hint"]
    assert "REPLICA IDENTITY FULL" in problems["public.keyless"]["hint"]
    assert "SET LOGGED" in problems["public.unlogged"]["hint"]
    database.run("ALTER TABLE keyless ADD PRIMARY KEY (a)")
    until_marked(stream, "keyless")
    assert "public.keyless" not in {problem["where"] for problem in driver.status()["problems"]}
    database.run("INSERT INTO keyless VALUES (7)")
    assert set(rows_of(settle(stream, driver), "keyless")) == {7}


def test_a_key_that_is_dropped_does_not_stop_the_application(database: Database) -> None:
    """
    A table that has lost its key is taken out of the publication as soon as that is seen.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey")
    until_marked(stream, "t")
    database.run("UPDATE t SET id = 2")
    settle(stream, driver)
    assert [problem["where"] for problem in driver.status()["problems"]] == ["public.t"]


def test_a_publication_of_the_administrator_is_used_as_it_is(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)"
    )
    database.run("CREATE PUBLICATION fustor FOR TABLE t")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (2)")
    assert {event.table for event in settle(stream, driver)} == {"t"}
    assert {chunk.table for chunk in chunks_of(driver)} == {"t"}
    (problem,) = driver.status()["problems"]
    assert problem["where"] == "public.u"
    assert problem["hint"] == 'ALTER PUBLICATION "fustor" ADD TABLE ONLY "public"."u";'
    database.run(problem["hint"])
    until_marked(stream, "u")
    assert driver.status()["problems"] == []
    database.run("INSERT INTO u VALUES (3)")
    assert rows_of(settle(stream, driver), "u") == {3: {"id": 3}}
    with pytest.raises(ConfigError, match="has no publication 'other'"):
        database.driver(publication="other").get_message_iterator(-1)


def test_a_second_reader_reads_a_copy_of_the_slot(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    first = database.driver()
    stream = database.stream(first)
    settle(stream, first)
    position = last(stream)
    database.run("INSERT INTO t VALUES (1)")
    settle(stream, first)
    second = database.driver()
    assert second.is_position_available(position)
    other = database.stream(second, position)
    assert not other.lost
    assert set(rows_of(settle(other, second))) == {1}
    assert sorted(database.slots()) == [f"fustor_{database.name}", f"fustor_{database.name}_2"]
    database.end(other, second)
    assert database.slots() == [f"fustor_{database.name}"]


async def test_what_the_driver_has_made_goes_with_the_source(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    stream.close()
    await driver.close()
    database.streams.clear()
    assert database.slots() and database.run("SELECT 1 FROM pg_publication")
    gone = database.driver()
    await gone.clean_up()
    await gone.clean_up()
    assert not database.slots() and not database.run("SELECT 1 FROM pg_publication")


def test_a_slot_in_use_by_another_process_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import fustor_source_postgres.driver as module
    import fustor_source_postgres.slot as slots

    monkeypatch.setattr(module, "_LONGEST_TAKEN_S", 0.2)
    first = database.driver()
    database.stream(first)
    monkeypatch.setattr(slots, "_in_use", set())  # as if it were another process
    with pytest.raises(ConnectionLost, match="another connection reads the replication slot"):
        database.driver().get_message_iterator(-1)


def test_a_slot_that_was_dropped_or_invalidated_is_a_lost_position(own_server: PostgresServer, tmp_path: Path) -> None:
    own_server.stop()
    own_server.settings |= {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    own_server.start()
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    driver = database.driver()
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (1, 'x')")
    settle(stream, driver)
    position = last(stream)
    database.end(stream, driver)
    deadline = time.monotonic() + 60
    while database.run("SELECT wal_status FROM pg_replication_slots") != [("lost",)]:
        assert time.monotonic() < deadline
        database.run(
            "CREATE TABLE IF NOT EXISTS fill (v TEXT)",
            "INSERT INTO fill SELECT repeat('x', 1000) FROM generate_series(1, 20000)",
        )
        database.run("SELECT pg_switch_wal()", "CHECKPOINT")
    driver = database.driver()
    assert not driver.is_position_available(position)
    stream = database.stream(driver, position)
    assert stream.lost
    database.run("INSERT INTO t VALUES (2, 'y')")
    assert set(rows_of(settle(stream, driver))) == {2}
    database.end(stream, driver)
    database.drop_slots()
    stream = database.stream(database.driver(), position)
    assert stream.lost
    database.close()


def test_a_publication_that_was_made_anew_is_a_lost_position(database: Database) -> None:
    """
    The server looks for it at the place of the log that it reads: before it was made there is none.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    position = last(stream)
    database.end(stream, driver)
    database.run(f"DROP PUBLICATION fustor_{database.name}", "INSERT INTO t VALUES (1)")
    driver = database.driver()
    stream = database.stream(driver, position)
    with pytest.raises(AssertionError, match="does not exist"):
        stream.until(lambda: False)
    stream = database.stream(driver, position)
    assert stream.lost
    database.run("INSERT INTO t VALUES (2)")
    assert 2 in rows_of(settle(stream, driver))


def test_a_stream_that_is_not_walked_keeps_its_connection(own_server: PostgresServer, tmp_path: Path) -> None:
    """
    A slow consumer stops the walk for longer than the server waits for an answer.
    """
    own_server.sql("ALTER SYSTEM SET wal_sender_timeout = '4s'; SELECT pg_reload_conf()")
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    driver = database.driver()
    iterator, _ = driver.get_message_iterator(-1, stop_event=threading.Event())
    database.run("INSERT INTO t SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 60000) n")
    seen = [next(iterator)]
    pids = database.run("SELECT active_pid FROM pg_replication_slots")
    time.sleep(9)  # the absence itself is what is tested
    assert pids == database.run("SELECT active_pid FROM pg_replication_slots")
    while sum(len(event.rows) for event in seen) < 60_000:
        seen.append(next(iterator))
    database.close()


def test_a_server_that_falls_silent_is_left(own_server: PostgresServer, tmp_path: Path) -> None:
    """
    A network or a server that takes everything in and answers nothing: stopped processes of the server stand in for it.
    """
    database = Database(own_server, tmp_path)
    driver = database.driver(read_timeout_s=4)
    stream = database.stream(driver)
    settle(stream, driver)
    ((pid,),) = database.run("SELECT active_pid FROM pg_replication_slots")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(AssertionError, match="nothing was heard for 4 s"):
            stream.until(lambda: False)
    finally:
        os.kill(pid, signal.SIGCONT)
    stream = database.stream(driver, last(stream))
    assert not stream.lost
    settle(stream, driver)
    database.close()


def test_the_own_publication_is_changed_only_when_the_tables_are_others(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, g INT GENERATED ALWAYS AS (v) STORED)",
        "CREATE TABLE u (id INT PRIMARY KEY, secret INT)",
    )

    def version() -> Any:
        return database.run("SELECT xmin::text FROM pg_publication_rel ORDER BY prrelid")

    versions = []
    for params in ({}, {}, {"exclude_columns": ["*.secret"]}, {"exclude_columns": ["*.secret"]}, {"exclude": ["*.u"]}):
        driver = database.driver(**params)
        stream = database.stream(driver)
        settle(stream, driver)
        versions.append(version())
        database.end(stream, driver)
    assert versions[0] == versions[1] != versions[2] == versions[3] != versions[4]
    assert [len(one) for one in versions] == [2, 2, 2, 2, 1]


def test_a_plain_user_can_read_what_others_have_set_up(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'pw'",
        "GRANT SELECT ON t TO reader",
        "CREATE PUBLICATION fustor FOR TABLE t",
    )
    try:
        driver = database.driver(user="reader", password="pw")
        stream = database.stream(driver)
        database.run("INSERT INTO t VALUES (1)")
        assert set(rows_of(settle(stream, driver))) == {1}
        assert set(rows_of(chunks_of(driver))) == {1}
        assert driver.incarnation()
        database.end(stream, driver)
    finally:
        database.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_positions_are_written_as_the_server_does() -> None:
    here = lsn_of("16/B374D848")
    assert PostgresDriver.position_text(here) == PostgresDriver.position_text(inside(here)) == "16/B374D848"
    assert PostgresDriver.bytes_between(here, inside(here + 4096)) == 4096
