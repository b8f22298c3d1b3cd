"""
Snapshots against a real server: keys of every kind, resuming, narrowing, and commits that are in the log before they can be seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres_bench import Database, Holding

from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.source_contract import chunks_of, rows_of, settle
from fustor_source_postgres.snapshot import unescape

KEYS = {
    "int": ("INT", "n - 50"),
    "bigint": ("BIGINT", "9223372036854775807 - n"),
    "text": ("TEXT", r"chr(64 + n % 58) || '''' || chr(92) || n || E'\t\n\\'"),
    "text, own collation": ('TEXT COLLATE "und-x-icu"', "chr(64 + n % 58) || '\u4e2d' || n"),
    "text, cases equal": ("TEXT COLLATE loose", "chr(65 + n % 26) || n"),
    "varchar": ("VARCHAR(20)", "'\u4e2d' || n"),
    "char": ("CHAR(6)", "n::text"),
    "name": ("NAME", "'n' || n"),
    "citext": ("CITEXT", "chr(65 + n % 50) || n"),
    "uuid": ("UUID", "md5(n::text)::uuid"),
    "bytea": ("BYTEA", "decode(lpad(to_hex(n), 4, '0') || '0027', 'hex')"),
    "numeric": ("NUMERIC", "n / 7.0"),
    "real": ("REAL", "n / 3.0"),
    "double": ("DOUBLE PRECISION", "CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE n / 3.0 END"),
    "date": ("DATE", "CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '0044-03-15 BC' ELSE '2024-01-01'::date + n END"),
    "timestamp": ("TIMESTAMP", "'2024-01-01'::timestamp + n * interval '1 microsecond'"),
    "timestamptz": ("TIMESTAMPTZ", "'2024-03-10 01:59:59 America/New_York'::timestamptz + n * interval '1 minute'"),
    "time": ("TIME", "'00:00'::time + n * interval '1 second'"),
    "timetz": ("TIMETZ", "'00:00+03'::timetz + n * interval '1 second'"),
    "interval": ("INTERVAL", "n * interval '1 day 1 second'"),
    "boolean": ("BOOLEAN", "n = 1"),
    "enum": ("letter", "(ARRAY['z','y','x','w','v','u','t']::letter[])[n]"),
    "array": ("INT[]", "ARRAY[n % 7, n]"),
    "inet": ("INET", "'10.0.0.0'::inet + n"),
    "range": ("INT4RANGE", "int4range(n, n + 2)"),
    "bit": ("BIT(8)", "n::bit(8)"),
    "domain": ("positive", "n"),
}
COUNTS = {"boolean": 2, "enum": 7}


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_kind_are_read_once_each(database: Database, name: str) -> None:
    declared, value = KEYS[name]
    database.run(
        "CREATE EXTENSION citext; CREATE TYPE letter AS ENUM ('z','y','x','w','v','u','t'); CREATE DOMAIN positive AS INT;"
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    count = COUNTS.get(name, 100)
    database.run(
        f"CREATE TABLE t (id {declared} PRIMARY KEY, v INT)",
        f"INSERT INTO t (id) SELECT {value} FROM generate_series(1, {count}) n",
    )
    chunks = chunks_of(database.driver(rows_at_once=7), batch_size=3)
    found = [repr(row[0]) for chunk in chunks for row in chunk.rows]
    assert len(found) == len(set(found)) == count
    for at in range(0, len(chunks), 5):
        rest = chunks_of(database.driver(rows_at_once=7), batch_size=3, resume_token=chunks[at].resume_token)
        assert [repr(row[0]) for chunk in rest for row in chunk.rows] == found[
            sum(len(chunk.rows) for chunk in chunks[: at + 1]) :
        ]
    some = [(row[0],) for chunk in chunks for row in chunk.rows][::3]
    read = database.driver().read_rows("public", "t", ("id",), some)
    assert (read is None) == (name in ("array", "citext")), "the others have literals that the server compares itself"
    if read is not None:
        assert [repr(row[0]) for event in read for row in event.rows] == found[::3]


def test_rows_are_read_by_keys_of_several_columns(database: Database) -> None:
    database.run(
        'CREATE TABLE t (a INT, b TEXT, "odd ""name" BOOLEAN, v INT, PRIMARY KEY ("odd ""name", b, a))',
        "INSERT INTO t SELECT n, 'x''' || n, true, n FROM generate_series(1, 2000) n",
    )
    keys = [(True, f"x'{n}", n) for n in range(1, 3000, 9)]
    read = database.driver(rows_at_once=100).read_rows("public", "t", ('odd "name', "b", "a"), keys)
    assert read is not None
    events = list(read)
    assert sorted(row[0] for event in events for row in event.rows) == list(range(1, 2001, 9))
    assert events[0].is_progress_mark


def test_rows_at_once_bounds_a_chunk_too(database: Database) -> None:
    """
    A person who lets few rows be read at once gets chunks as small, also where the agent asks for larger ones.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
    chunks = chunks_of(database.driver(rows_at_once=4), batch_size=2000)
    assert [len(chunk.rows) for chunk in chunks] == [4, 4, 2]


def test_keys_of_several_columns_and_odd_names(database: Database) -> None:
    database.run(
        'CREATE SCHEMA "a.b ""c"',
        'CREATE TABLE "a.b ""c"."T t" ("A" INT, "b\t" TEXT, c DATE, "v\\" INT, PRIMARY KEY (c, "A", "b\t"))',
    )
    database.run(
        """INSERT INTO "a.b ""c"."T t" SELECT n % 5, chr(97 + n % 7), '2024-01-01'::date + n % 11 FROM generate_series(1, 200) n"""
    )
    driver = database.driver(rows_at_once=11)
    stream = database.stream(driver)
    chunks = chunks_of(driver, batch_size=4)
    found = [row for chunk in chunks for row in chunk.rows]
    assert len(found) == len(set(found)) == 200
    assert chunks[0].key == ("c", "A", "b\t")
    database.run('UPDATE "a.b ""c"."T t" SET "v\\" = 1')
    assert sum(len(event.rows) for event in settle(stream, driver)) == 200


def test_a_key_with_a_type_of_an_extension(database: Database) -> None:
    """
    Its operators are not where the server's own are.
    """
    database.run("CREATE EXTENSION citext", "CREATE TABLE t (a INT, b CITEXT, c INT, PRIMARY KEY (a, b, c))")
    database.run("INSERT INTO t SELECT n % 2, chr(65 + n % 50), n FROM generate_series(1, 200) n")
    found = [row for chunk in chunks_of(database.driver(rows_at_once=7), batch_size=4) for row in chunk.rows]
    assert len(found) == len(set(found)) == 200


def test_snapshots_are_narrowed(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t SELECT n, n FROM generate_series(1, 10) n"
    )
    database.run("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)", "CREATE VIEW w AS SELECT * FROM t")
    driver = database.driver()
    assert {chunk.table for chunk in chunks_of(driver)} == {"t", "u"}
    assert {chunk.table for chunk in chunks_of(driver, tables=["public.u"])} == {"u"}
    (chunk,) = chunks_of(driver, tables=["t"], where="v > 3 OR id = 1", required_fields=["v"])
    assert [row[0] for row in chunk.rows] == [1, 4, 5, 6, 7, 8, 9, 10]
    (chunk,) = chunks_of(driver, tables=["u"], required_fields=["nothing"])
    assert chunk.fields == ("id",), "the key comes always"


def test_an_empty_database_has_an_empty_snapshot(database: Database) -> None:
    assert chunks_of(database.driver()) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        (r"a\tb", "a\tb"),
        (r"\\N", r"\N"),
        (r"\\\\", "\\\\"),
        (r"\\t\n", "\\t\n"),
        (r"x\\", "x\\"),
        ("", ""),
    ],
)
def test_escapes_of_copy(text: str, value: str) -> None:
    assert unescape(text) == value


@pytest.mark.timeout(180)
def test_a_commit_in_the_log_that_can_not_be_seen_yet_is_not_lost(own_server: PostgresServer, tmp_path: Path) -> None:
    """
    "Current position, then SELECT" loses the row: it is below that position in the log, and the SELECT does not see it. The
    driver's low watermark is below the row.
    """
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    holding = Holding(own_server, database)
    holding.on()
    try:
        holding.write("INSERT INTO t VALUES (2, 2)")
        stream.until(lambda: any(event.rows for event in stream.events))  # it is in the log, and streamed
        settle(stream, driver)
        naive_low = driver.high_watermark()
        assert naive_low is not None
        naive_rows = {row[0] for row in database.run("SELECT id FROM t")}
        (chunk,) = chunks_of(driver)
        assert holding.thread is not None and holding.thread.is_alive(), "still held: the reads above saw that state"
    finally:
        holding.off()
    (live,) = [event for event in stream.events if event.rows]
    assert naive_rows == {1} and live.index <= naive_low, (
        "the naive way loses row 2: not read, and not after its watermark"
    )
    assert {row[0] for row in chunk.rows} == {1}
    assert live.index > chunk.index, "the stream carries row 2 after the driver's low watermark"
    assert set(rows_of([chunk, live])) == {1, 2}
    settle(stream, driver)
    (after,) = chunks_of(driver)
    assert {row[0] for row in after.rows} == {1, 2} and after.index > live.index
    database.close()


@pytest.mark.timeout(180)
def test_a_commit_that_was_held_before_the_stream_began_is_not_lost(own_server: PostgresServer, tmp_path: Path) -> None:
    """
    The stream begins behind it and a read does not see it: until it can be seen, no chunk is good enough, and says so by a
    watermark before the stream's beginning.
    """
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    holding = Holding(own_server, database)
    holding.on()
    try:
        holding.write("INSERT INTO t VALUES (2, 2)")
        stream.until(lambda: any(event.rows for event in stream.events))
        settle(stream, driver)
        database.end(stream, driver)
        again = database.driver()
        stream = database.stream(again)  # at "now": behind the held commit
        settle(stream, again)
        assert not any(event.rows for event in stream.events)
        first = min(event.index for event in stream.events)
        (chunk,) = chunks_of(again)
        assert holding.thread is not None and holding.thread.is_alive()
        assert {row[0] for row in chunk.rows} == {1}
        assert chunk.index < first
    finally:
        holding.off()
    (chunk,) = chunks_of(again)
    assert {row[0] for row in chunk.rows} == {1, 2} and chunk.index >= first
    database.close()


def test_a_transaction_that_sits_idle_holds_no_snapshot_up(database: Database) -> None:
    """
    It was under way when the stream began; as it sits idle it has not begun to commit, and will come by in the stream.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT)", "INSERT INTO t VALUES (1)")
    driver = database.driver()
    stream = database.stream(driver)  # makes the slot, which would wait
    settle(stream, driver)
    database.end(stream, driver)
    idle = database.connect()
    idle.execute("BEGIN")
    idle.execute("INSERT INTO t VALUES (2)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    first = min(event.index for event in stream.events)
    (chunk,) = chunks_of(driver)
    assert chunk.index >= first
    idle.execute("COMMIT")
    idle.close()
    (live,) = settle(stream, driver)
    assert live.index > chunk.index and list(live.rows) == [(2,)]


def test_tables_are_read_side_by_side_and_gone_on_with_from_any_chunk(database: Database) -> None:
    """
    Four tables at three connections: each row comes once, and the rest from any chunk on is what was not given out yet.
    """
    sizes = {"a": 90, "b": 7, "c": 60, "d": 45}
    for table, size in sizes.items():
        database.run(
            f"CREATE TABLE {table} (id INT PRIMARY KEY)", f"INSERT INTO {table} SELECT generate_series(1, {size})"
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


def test_what_makes_updates_whole_is_said_where_they_are_not(database: Database) -> None:
    """
    Only values that are kept apart for their size are left out, and that can be run which is said; of a partitioned table its partitions count.
    """
    database.run(
        "CREATE TABLE small (id INT PRIMARY KEY, n INT);"
        'CREATE TABLE "la""rge" (id INT PRIMARY KEY, t TEXT);'
        "CREATE TABLE parted (id INT PRIMARY KEY, t TEXT) PARTITION BY RANGE (id);"
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (600);"
    )
    driver = database.driver()
    assert driver.whole_updates("public", "small") == ""
    sql = str(driver.whole_updates("public", 'la"rge')).split("`")[1]
    assert sql == 'ALTER TABLE "public"."la""rge" REPLICA IDENTITY FULL;'
    assert "REPLICA IDENTITY FULL" in str(driver.whole_updates("public", "parted"))
    database.run(sql, "ALTER TABLE parted_1 REPLICA IDENTITY FULL")
    assert driver.whole_updates("public", 'la"rge') == driver.whole_updates("public", "parted") == ""


def test_about_how_many_rows_there_are_is_what_the_statistics_say(database: Database) -> None:
    """
    Of a partitioned table that of its partitions; of those that are asked for.
    """
    database.run(
        "CREATE TABLE many (id INT PRIMARY KEY); INSERT INTO many SELECT generate_series(1, 5000);"
        "CREATE TABLE none (id INT PRIMARY KEY);"
        "CREATE TABLE parted (id INT PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (600);"
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (600) TO (2000);"
        "INSERT INTO parted SELECT generate_series(1, 1000);"
    )
    database.run("ANALYZE")
    driver = database.driver()
    assert driver.estimate_rows() == {"public.many": 5000, "public.none": 0, "public.parted": 1000}
    assert driver.estimate_rows(["many"]) == {"public.many": 5000}
    assert driver.estimate_rows(["public.parted"]) == {"public.parted": 1000}
