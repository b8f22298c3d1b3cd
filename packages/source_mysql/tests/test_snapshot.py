"""
Snapshots against a real server: keys of every kind, resuming, narrowing, and commits that are in the log before they can be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_bench import SERVERS, Database, only_mysql

from fustor_core.errors import ConnectionLost, PermissionMissing
from fustor_core.testing.source_contract import chunks_of, rows_of, settle
from fustor_source_mysql import keyless
from fustor_source_mysql.control import Control
from fustor_source_mysql.rights import grants
from fustor_source_mysql.visibility import Gate, owned_of

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


@pytest.mark.parametrize(
    ("server", "name"),
    [(server, name) for server in SERVERS for name in KEYS if not (server == "mysql" and name == "uuid")],
    indirect=["server"],
)
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
    some = [(value,) for value in found[::3]]
    read = driver.read_rows(chunks[0].event_schema, "t", ("id",), some)
    assert (read is None) == (name == "float"), "a FLOAT as text is rounded"
    if read is not None:
        assert [row[0] for event in read for row in event.rows] == found[::3]


def test_rows_are_read_by_keys_of_several_columns(database: Database) -> None:
    database.run(
        "CREATE TABLE t (a INT, b VARCHAR(20), `odd ``name` INT, v INT, PRIMARY KEY (`odd ``name`, b, a))",
        "INSERT INTO t SELECT seq, CONCAT('x''', seq), 7, seq FROM seq_1_to_2000",
    )
    driver = database.driver(rows_at_once=100)
    keys = [(7, f"x'{n}", n) for n in range(1, 3000, 9)]
    read = driver.read_rows(chunks_of(driver)[0].event_schema, "t", ("odd `name", "b", "a"), keys)
    assert read is not None
    events = list(read)
    assert sorted(row[0] for event in events for row in event.rows) == list(range(1, 2001, 9))
    assert len({event.index for event in events}) == 1 and events[0].is_progress_mark


def test_rows_at_once_bounds_a_chunk_too(database: Database) -> None:
    """
    A person who lets few rows be read at once gets chunks as small, also where the agent asks for larger ones.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_10")
    chunks = chunks_of(database.driver(rows_at_once=4), batch_size=2000)
    assert [len(chunk.rows) for chunk in chunks] == [4, 4, 2]


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


def test_a_table_without_a_key_nor_consistent_snapshots_is_left_out_and_said(database: Database) -> None:
    """An engine that can't show a table as it was at one place of the log is named, with the SQL, on both paths."""
    database.run("CREATE TABLE t (a INT UNIQUE) ENGINE = MyISAM", "INSERT INTO t VALUES (1), (NULL), (NULL)")
    database.run("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)")
    driver = database.driver()
    stream = database.stream(driver)
    assert {chunk.table for chunk in chunks_of(driver)} == {"u"}
    database.run("INSERT INTO t VALUES (2)", "INSERT INTO u VALUES (2)")
    assert {event.table for event in settle(stream, driver)} == {"u"}
    (problem,) = driver.status()["problems"]
    assert problem["where"] == f"{database.name}.t" and "ENGINE = InnoDB" in problem["hint"]


def test_a_table_without_a_key_is_not_read_in_part(database: Database) -> None:
    """A snapshot narrowed by `where` leaves such a table out: part of it says nothing about copies."""
    database.run("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1), (1)", "CREATE TABLE u (a INT PRIMARY KEY)")
    database.run("INSERT INTO u VALUES (1)")
    assert {chunk.table for chunk in chunks_of(database.driver(), where="a = 1")} == {"u"}


def test_a_lock_that_can_not_be_had_is_said_with_the_remedy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL's way: without the right to lock the GRANT is named; an open transaction is waited for a bounded time."""
    monkeypatch.setattr(Control, "tells_snapshot_place", False)
    monkeypatch.setattr(keyless, "_LONGEST_LOCK_WAIT_S", 1)
    database.run("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)")
    name = f"reader_{database.name}"
    database.run(f"CREATE USER {name} IDENTIFIED BY 'pw'", *grants(name))
    database.run(f"REVOKE LOCK TABLES ON *.* FROM {name}")
    with pytest.raises(PermissionMissing) as refused:
        chunks_of(database.driver(user=name, password="pw"))
    assert f"GRANT LOCK TABLES ON `{database.name}`.*" in refused.value.hint
    writer = database.connect()
    with writer.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute(f"INSERT INTO {database.name}.t VALUES (2)")
        with pytest.raises(ConnectionLost, match="stays open") as waited:
            chunks_of(database.driver())
        assert "INNODB_TRX" in waited.value.hint
        cursor.execute("COMMIT")
    writer.close()
    assert sum(len(chunk.rows) for chunk in chunks_of(database.driver())) == 2
    database.run(f"DROP USER {name}")


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


HOLDING: dict[str, dict[str, str | None]] = {
    "mariadb": {
        "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
        "rpl-semi-sync-master-timeout": "6000",
        "rpl-semi-sync-master-wait-no-slave": "ON",
    },
    "mysql": {
        "plugin-load-add": "semisync_source.so",
        "rpl-semi-sync-source-wait-point": "AFTER_SYNC",
        "rpl-semi-sync-source-timeout": "6000",
        "rpl-semi-sync-source-wait-no-replica": "ON",
    },
}


class Holding:
    """
    A server that writes a commit to its log and shows it to others only seconds later: a semi-synchronous primary whose replica
    does not answer.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.server = SERVERS[kind].start_new(HOLDING[kind])
        self._name = {"mariadb": "rpl_semi_sync_master_enabled", "mysql": "rpl_semi_sync_source_enabled"}[kind]
        self.database = Database(self.server, folder)
        self.database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
        self.writer = self.database.connect()
        self.thread = threading.Thread(target=self._write)
        self.commit = f"INSERT INTO {self.database.name}.t VALUES (2, 2)"

    def prepare(self) -> None:
        """
        Prepare row 2 as an XA transaction, which `hold` then commits.
        """
        insert, self.commit = self.commit, "XA COMMIT 'x'"
        with self.writer.cursor() as cursor:
            for statement in ("XA START 'x'", insert, "XA END 'x'", "XA PREPARE 'x'"):
                cursor.execute(statement)

    def _write(self) -> None:
        with self.writer.cursor() as cursor:
            cursor.execute(self.commit)

    def hold(self) -> None:
        """
        Begin to write row 2; return when it is in the log.
        """
        self.server.sql(f"SET GLOBAL {self._name} = ON")
        driver = self.database.driver()
        before = driver.high_watermark()
        self.thread.start()
        while driver.high_watermark() == before:
            self.thread.join(0.01)
            assert self.thread.is_alive(), "the commit is held"

    def close(self) -> None:
        if self.thread.is_alive():
            self.thread.join()
        self.writer.close()
        self.server.sql(f"SET GLOBAL {self._name} = OFF")
        self.database.close()
        self.server.close()


@pytest.fixture(params=list(SERVERS))
def holding(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holding]:
    made = Holding(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_prepared", [False, True], ids=["plain", "xa"])
def test_a_commit_in_the_log_that_can_not_be_seen_yet_is_not_lost(holding: Holding, is_prepared: bool) -> None:
    """
    "Current position, then SELECT" loses the row: it is below that position in the log, and the SELECT does not see it. MariaDB
    tells a lower place, so that the stream brings the row; with MySQL the read waits until the row can be seen.
    """
    database = holding.database
    driver = database.driver()
    stream = database.stream(driver)
    if is_prepared:
        holding.prepare()
    settle(stream, driver)
    holding.hold()
    stream.until(lambda: any(event.rows for event in stream.events))  # it is in the log, and streamed
    naive_low = driver.high_watermark()
    assert naive_low is not None
    naive_rows = {row[0] for row in database.run("SELECT id FROM t")}
    assert holding.thread.is_alive(), "still held: the naive read saw the server in that state"
    (chunk,) = chunks_of(driver)
    was_held = holding.thread.is_alive()
    (live,) = [event for event in stream.events if event.rows]
    assert naive_rows == {1} and live.index <= naive_low, (
        "the naive way loses row 2: not read, and not after its watermark"
    )
    if database.is_mysql:
        assert {row[0] for row in chunk.rows} == {1, 2}, "the read waited for row 2"
    else:
        assert was_held, "the read saw the server in that state"
        assert {row[0] for row in chunk.rows} == {1}
        assert live.index > chunk.index, "the stream carries row 2 after the driver's low watermark"
    assert set(rows_of([chunk, live])) == {1, 2}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("holding", ["mysql"], indirect=True)
def test_a_commit_logged_before_the_stream_began_is_not_lost_either(holding: Holding) -> None:
    """
    The stream begins behind the row, and never carries it: the read must show it.
    """
    holding.hold()
    driver = holding.database.driver()
    stream = holding.database.stream(driver)
    assert holding.thread.is_alive(), "still held when the stream began"
    (chunk,) = chunks_of(driver)
    assert {row[0] for row in chunk.rows} == {1, 2}
    assert settle(stream, driver) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("holding", ["mysql"], indirect=True)
def test_a_read_that_waits_too_long_for_a_commit_says_so(holding: Holding) -> None:
    holding.hold()
    gate = Gate(holding.database.driver()._control, threading.Event(), patience_s=0.3)
    with pytest.raises(ConnectionLost, match=r"1 transactions at .* can't be seen after 0 s") as caught:
        gate.open()
    assert "gtid_owned" in caught.value.hint
    holding.thread.join()
    assert gate.open().index == holding.database.driver().high_watermark()


@only_mysql
def test_gtids_with_holes_and_tags_do_not_hold_up_a_snapshot(database: Database) -> None:
    """
    Numbers that were never used, other servers' numbers and tags are no transactions to wait for.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    stream = database.stream(driver)
    other = "11111111-2222-3333-4444-555555555555"
    for at, gtid in enumerate((f"{other}:7", f"{other}:3", f"{other}:night_jobs:5", "AUTOMATIC:by_day")):
        database.run(f"SET gtid_next = '{gtid}'", f"INSERT INTO t VALUES ({at})", "SET gtid_next = 'AUTOMATIC'")
    assert set(rows_of(settle(stream, driver))) == {0, 1, 2, 3}
    (chunk,) = chunks_of(driver)
    assert [row[0] for row in chunk.rows] == [0, 1, 2, 3]


def test_owned_gtids_are_read() -> None:
    assert owned_of("") == set()
    assert owned_of("u:5#12:7#13#14, v:tag:2#15:3#16,\nu:other:5#12") == {
        "u:5",
        "u:7",
        "v:tag:2",
        "v:tag:3",
        "u:other:5",
    }


def test_tables_are_read_side_by_side_and_gone_on_with_from_any_chunk(database: Database) -> None:
    """
    Four tables at three connections: each row comes once, and the rest from any chunk on is what was not given out yet.
    """
    sizes = {"a": 90, "b": 7, "c": 60, "d": 45}
    for table, size in sizes.items():
        database.run(
            f"CREATE TABLE {table} (id INT PRIMARY KEY)", f"INSERT INTO {table} SELECT seq FROM seq_1_to_{size}"
        )
    everything = {(table, n) for table, size in sizes.items() for n in range(1, size + 1)}
    chunks = chunks_of(database.driver(rows_at_once=20, tables_at_once=3), batch_size=5)
    rows = [(chunk.table, row[0]) for chunk in chunks for row in chunk.rows]
    assert len(rows) == len(everything)
    assert set(rows) == everything
    for at in range(0, len(chunks), 4):
        done = {(chunk.table, row[0]) for chunk in chunks[: at + 1] for row in chunk.rows}
        token = chunks[at].resume_token
        rest = chunks_of(database.driver(rows_at_once=20, tables_at_once=2), batch_size=5, resume_token=token)
        assert {(chunk.table, row[0]) for chunk in rest for row in chunk.rows} == everything - done


def test_what_makes_updates_whole_is_said_where_they_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = database.driver()
    assert driver.whole_updates(database.name, "t") == "", "the server logs whole rows"
    monkeypatch.setattr(Control, "variable", lambda _, name: {"binlog_row_image": "MINIMAL"}[name])
    assert "`binlog_row_image = FULL`" in str(driver.whole_updates(database.name, "t"))


def test_about_how_many_rows_there_are_is_what_the_statistics_say(database: Database) -> None:
    """
    Of wanted tables only, and of those that are asked for.
    """
    database.run("CREATE TABLE many (id INT PRIMARY KEY)", "INSERT INTO many SELECT seq FROM seq_1_to_5000")
    database.run("CREATE TABLE none (id INT PRIMARY KEY)", "ANALYZE TABLE many, none")
    driver = database.driver()
    (schema,) = {str(name) for ((name,),) in [database.run("SELECT DATABASE()")]}
    estimated = driver.estimate_rows()
    assert estimated is not None and set(estimated) == {f"{schema}.many", f"{schema}.none"}
    assert 2500 < estimated[f"{schema}.many"] < 10_000 and estimated[f"{schema}.none"] < 100
    assert driver.estimate_rows(["many"]) == {f"{schema}.many": estimated[f"{schema}.many"]}
    assert driver.estimate_rows([f"{schema}.none"]) == {f"{schema}.none": estimated[f"{schema}.none"]}
