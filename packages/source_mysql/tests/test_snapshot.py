"""
Snapshots against a real server: keys of every kind, resuming, narrowing, and commits that are in the log before they can be seen.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from mysql_bench import Database

from fustor_core.models.event import EventBase
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.source_contract import rows_of, settle
from fustor_source_mysql import MysqlDriver


def chunks_of(driver: MysqlDriver, **kwargs: Any) -> list[EventBase]:
    return list(driver.get_snapshot_iterator(stop_event=threading.Event(), **kwargs))


KEYS = {
    "int": ("id INT", "SELECT CAST(seq AS SIGNED) - 50 FROM seq_1_to_100"),
    "bigint unsigned": ("id BIGINT UNSIGNED", "SELECT 18446744073709551615 - seq FROM seq_1_to_60"),
    "text, cases equal": ("id VARCHAR(20) COLLATE utf8mb4_general_ci", "SELECT CONCAT(CHAR(64 + seq % 58 USING utf8mb4), '''', seq) FROM seq_1_to_100"),
    "text, binary": ("id VARCHAR(20) COLLATE utf8mb4_bin", "SELECT CONCAT('\u4e2d\\\\', CHAR(33 + seq USING utf8mb4), seq) FROM seq_1_to_90"),
    "text, latin1": ("id VARCHAR(20) CHARACTER SET latin1", "SELECT CONCAT('caf\u00e9', seq) FROM seq_1_to_60"),
    "bytes": ("id VARBINARY(20)", "SELECT UNHEX(CONCAT(LPAD(HEX(seq), 4, '0'), '0027')) FROM seq_1_to_100"),
    "date": ("id DATE", "SELECT '2024-01-01' + INTERVAL seq DAY FROM seq_1_to_60"),
    "datetime": ("id DATETIME(6)", "SELECT '2024-01-01' + INTERVAL seq MICROSECOND FROM seq_1_to_60"),
    "timestamp": ("id TIMESTAMP(3)", "SELECT '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_60"),
    "time": ("id TIME", "SELECT SEC_TO_TIME((CAST(seq AS SIGNED) - 30) * 100000) FROM seq_1_to_60"),
    "decimal": ("id DECIMAL(20,5)", "SELECT (CAST(seq AS SIGNED) - 30) / 7 FROM seq_1_to_60"),
    "enum": ("id ENUM('z','y','x','w','v','u','t','s','r','q','p')", "SELECT seq FROM seq_1_to_11"),
    "uuid": ("id UUID", "SELECT UUID() FROM seq_1_to_60"),
    "float": ("id FLOAT", "SELECT seq / 3 FROM seq_1_to_60"),
    "double": ("id DOUBLE", "SELECT seq / 3 FROM seq_1_to_60"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_kind_are_read_once_each(database: Database, name: str) -> None:
    declared, rows = KEYS[name]
    database.run(f"CREATE TABLE t ({declared} NOT NULL PRIMARY KEY, v INT)", f"INSERT INTO t (id) {rows}")
    ((count,),) = database.run("SELECT COUNT(*) FROM t")
    driver = database.driver(rows_at_once=7)
    chunks = chunks_of(driver, batch_size=3)
    found = [row[0] for chunk in chunks for row in chunk.rows]
    assert len(found) == len(set(found)) == count
    for at in range(0, len(chunks), 5):
        rest = chunks_of(database.driver(rows_at_once=7), batch_size=3, resume_token=chunks[at].resume_token)
        assert [row[0] for chunk in rest for row in chunk.rows] == found[
            sum(len(chunk.rows) for chunk in chunks[: at + 1]) :
        ]


def test_keys_of_several_columns(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b VARCHAR(5), c DATE, PRIMARY KEY (a, b, c))")
    database.run("INSERT INTO t SELECT seq % 5, CHAR(97 + seq % 7), '2024-01-01' + INTERVAL seq DAY FROM seq_1_to_200")
    driver = database.driver(rows_at_once=11)
    found = [row for chunk in chunks_of(driver, batch_size=4) for row in chunk.rows]
    assert len(found) == len(set(found)) == 200


def test_a_unique_index_without_nulls_is_a_key_too(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b INT NOT NULL UNIQUE, UNIQUE (a))", "INSERT INTO t VALUES (NULL, 1), (2, 2)")
    (chunk,) = chunks_of(database.driver())
    assert chunk.key == ("b",)


def test_tables_without_a_key_are_left_out_and_said(database: Database) -> None:
    database.run("CREATE TABLE t (a INT UNIQUE)", "INSERT INTO t VALUES (1), (NULL), (NULL)")
    database.run("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)")
    driver = database.driver()
    assert {chunk.table for chunk in chunks_of(driver)} == {"u"}
    assert [problem["where"] for problem in driver.status()["problems"]] == [f"{database.name}.t"]


def test_snapshots_are_narrowed(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_10")
    database.run("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)", "CREATE VIEW w AS SELECT * FROM t")
    driver = database.driver()
    assert {chunk.table for chunk in chunks_of(driver)} == {"t", "u"}
    assert {chunk.table for chunk in chunks_of(driver, tables=[f"{database.name}.u"])} == {"u"}
    (chunk,) = chunks_of(driver, tables=["t"], where="v > 3 OR id = 1", required_fields=["v"])
    assert [row[0] for row in chunk.rows] == [1, 4, 5, 6, 7, 8, 9, 10]
    (chunk,) = chunks_of(driver, tables=["u"], required_fields=["nothing"])
    assert chunk.fields == ("id",), "the key comes always"


def test_an_empty_database_has_an_empty_snapshot(database: Database) -> None:
    assert chunks_of(database.driver()) == []


@pytest.fixture
def holding_server() -> Any:
    """
    A server that writes a commit to its log and shows it to others only seconds later: a semi-synchronous primary whose replica
    does not answer.
    """
    made = MariaDbServer.start_new(
        {
            "rpl-semi-sync-master-enabled": "ON",
            "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
            "rpl-semi-sync-master-timeout": "6000",
            "rpl-semi-sync-master-wait-no-slave": "ON",
        }
    )
    yield made
    made.close()


@pytest.mark.timeout(180)
def test_a_commit_in_the_log_that_can_not_be_seen_yet_is_not_lost(
    holding_server: MariaDbServer, tmp_path: Path
) -> None:
    """
    "Current position, then SELECT" loses the row: it is below that position in the log, and the SELECT does not see it. The
    driver's low watermark is below the row.
    """
    holding_server.sql("SET GLOBAL rpl_semi_sync_master_enabled = OFF")
    database = Database(holding_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    holding_server.sql("SET GLOBAL rpl_semi_sync_master_enabled = ON")
    writer = database.connect()

    def write() -> None:
        with writer.cursor() as cursor:
            cursor.execute(f"INSERT INTO {database.name}.t VALUES (2, 2)")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        stream.until(lambda: any(event.rows for event in stream.events))  # it is in the log, and streamed
        assert thread.is_alive(), "the commit is held"
        naive_low = driver.high_watermark()
        assert naive_low is not None
        naive_rows = {row[0] for row in database.run("SELECT id FROM t")}
        (chunk,) = chunks_of(driver)
        assert thread.is_alive(), "still held: the reads above saw the server in that state"
    finally:
        thread.join()
        writer.close()
    (live,) = [event for event in stream.events if event.rows]
    assert naive_rows == {1} and live.index <= naive_low, (
        "the naive way loses row 2: not read, and not after its watermark"
    )
    assert {row[0] for row in chunk.rows} == {1}
    assert live.index > chunk.index, "the stream carries row 2 after the driver's low watermark"
    assert set(rows_of([chunk, live])) == {1, 2}
    holding_server.sql("SET GLOBAL rpl_semi_sync_master_enabled = OFF")
    database.close()
