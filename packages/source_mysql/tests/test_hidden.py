"""
Tables and columns that the account may not read: named with the GRANT, never left out silently, and read once they may be.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mysql_bench import Database, marks

from fustor_core.errors import PermissionMissing
from fustor_core.models.event import EventBase
from fustor_core.outcome import REMEDY
from fustor_core.testing.source_contract import chunks_of, settle
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.rights import grants, log_grant


@pytest.fixture
def reader(database: Database) -> Iterator[str]:
    """
    A user who may read the log, and of two tables one.
    """
    name = f"reader_{database.name}"
    database.run("CREATE TABLE t (a INT PRIMARY KEY, b INT)", "INSERT INTO t VALUES (1, 1)")
    database.run("CREATE TABLE secret (a INT PRIMARY KEY, b INT)", "INSERT INTO secret VALUES (1, 1)")
    database.run(f"CREATE USER {name} IDENTIFIED BY 'pw'", log_grant(name), f"GRANT SELECT ON t TO {name}")
    yield name
    database.run(f"DROP USER {name}")


def read(driver: MysqlDriver, **kwargs: object) -> tuple[list[EventBase], PermissionMissing | None]:
    """
    Return the chunks of a snapshot, and what was said at its end.
    """
    found: list[EventBase] = []
    try:
        for event in driver.get_snapshot_iterator(**kwargs):
            found += [event] if event.rows else []
    except PermissionMissing as exc:
        return found, exc
    return found, None


@pytest.mark.parametrize("right", ["", "GRANT SELECT (a) ON secret TO {}"], ids=["table", "column"])
def test_what_may_not_be_read_costs_a_snapshot_that_says_so_until_it_may(
    database: Database, reader: str, right: str
) -> None:
    if right:
        database.run(right.format(reader))
    driver = database.driver(user=reader, password="pw")
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)", "INSERT INTO t VALUES (2, 2)")
    assert marks(stream, driver) == ["secret"]
    database.run("INSERT INTO secret VALUES (3, 3)")
    assert marks(stream, driver) == ["secret"], "once"
    for narrowed in ([f"{database.name}.secret"], None):
        found, refused = read(driver, tables=narrowed)
        assert refused is not None and f"'{reader}' may not: " in refused.message
        assert {event.table for event in found} == ({"t"} if narrowed is None else set()), "others are read before"
        (named,) = refused.context["tables"]
        assert (named["schema"], named["table"]) == (database.name, "secret")
        wanted = grants(reader, [database.name])
        assert refused.context[REMEDY] == wanted and all(sql in named["hint"] for sql in wanted)
        assert not any("SELECT" in sql and "ON *.*" in sql for sql in wanted), "not on all that the server has"
        assert "`exclude`" in named["hint"]
    assert driver.read_rows(database.name, "secret", ["a"], [[1]]) is None
    database.run(f"GRANT SELECT ON secret TO {reader}")
    found, refused = read(driver, tables=[f"{database.name}.secret"])
    assert refused is None and [event.rows for event in found] == [[(1, 1), (2, 2), (3, 3)]]
    database.run("INSERT INTO secret VALUES (4, 4)")
    assert marks(stream, driver) == ["secret"], "no more than before"


def test_a_right_that_is_taken_away_is_told_each_time(database: Database, reader: str) -> None:
    driver = database.driver(user=reader, password="pw")
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)")
    assert marks(stream, driver) == ["secret"]
    database.run(f"GRANT SELECT ON secret TO {reader}")
    assert read(driver)[1] is None
    database.run(f"REVOKE SELECT ON secret FROM {reader}", "INSERT INTO secret VALUES (3, 3)")
    assert marks(stream, driver) == ["secret", "secret"]
    assert read(driver)[1] is not None


def test_it_is_known_over_a_restart(database: Database, reader: str) -> None:
    first = database.driver(user=reader, password="pw")
    stream = database.stream(first)
    database.run("INSERT INTO secret VALUES (2, 2)")
    assert marks(stream, first) == ["secret"]
    stream.close()
    driver = database.driver(user=reader, password="pw")
    assert read(driver)[1] is not None
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (3, 3)")
    assert marks(stream, driver) == ["secret"], "the first mark may not have been heard"


def test_a_source_that_names_no_database_leaves_out_what_the_account_may_not_read(
    database: Database, reader: str
) -> None:
    """
    It is to read whatever the account may; what that is can grow, also while no agent runs.
    """
    driver = database.driver(user=reader, password="pw", everywhere=True)
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)", "INSERT INTO t VALUES (2, 2)")
    assert {event.table for event in settle(stream, driver)} == {"t"}
    assert marks(stream, driver) == []
    (problem,) = driver.status()["problems"]
    assert problem["where"] == database.name and "1 of its tables" in problem["what"] and "`include`" in problem["hint"]
    assert read(driver)[1] is None
    stream.close()
    database.run(f"GRANT SELECT ON secret TO {reader}")
    driver = database.driver(user=reader, password="pw", everywhere=True)
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (3, 3)")
    assert {event.table for event in settle(stream, driver)} == {"secret"}
    assert marks(stream, driver) == ["secret"], "a snapshot is to bring what was there"
    assert driver.status()["problems"] == []
    assert {event.table for event in read(driver)[0]} == {"t", "secret"}


def test_a_right_that_is_granted_counts_at_once(database: Database, reader: str) -> None:
    driver = database.driver(user=reader, password="pw", everywhere=True)
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)")
    assert settle(stream, driver) == []
    database.run(f"GRANT SELECT ON secret TO {reader}", "INSERT INTO secret VALUES (3, 3)")
    assert [event.rows for event in settle(stream, driver)] == [[(3, 3)]]
    assert marks(stream, driver) == ["secret"]


def test_what_is_not_there_is_not_called_unreadable(database: Database, reader: str) -> None:
    """
    The server refuses a table that was dropped like one that is there; it was dropped all the same, and is done.
    """
    driver = database.driver(user=reader, password="pw")
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)")
    assert marks(stream, driver) == ["secret"]
    database.run("DROP TABLE secret")
    assert marks(stream, driver) == ["secret", "secret"]
    assert read(driver, tables=[f"{database.name}.secret"]) == ([], None)
    database.run("CREATE TABLE secret (a INT PRIMARY KEY)", "INSERT INTO secret VALUES (1)")
    settle(stream, driver)
    assert read(driver)[1] is not None, "there is a new one"


@pytest.mark.parametrize("statement", ["RENAME TABLE secret TO {}", "ALTER TABLE secret RENAME TO {}"])
def test_it_is_known_under_its_new_name(database: Database, reader: str, statement: str) -> None:
    """
    The server refuses the old name like one that is there; a snapshot that asked for it could never end.
    """
    driver = database.driver(user=reader, password="pw", exclude=[f"{database.name}.unwanted"])
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)", statement.format("hushed"))
    assert marks(stream, driver) == ["secret", "secret", "hushed"]
    assert read(driver, tables=[f"{database.name}.secret"]) == ([], None)
    found, refused = read(driver)
    assert {event.table for event in found} == {"t"}
    assert refused is not None and [one["table"] for one in refused.context["tables"]] == ["hushed"]
    database.run("RENAME TABLE hushed TO unwanted")
    settle(stream, driver)
    assert read(driver)[1] is None


def test_columns_that_are_left_out_need_no_right(database: Database, reader: str) -> None:
    database.run(f"GRANT SELECT (a) ON secret TO {reader}")
    driver = database.driver(user=reader, password="pw", exclude_columns=["*.secret.b"])
    stream = database.stream(driver)
    database.run("INSERT INTO secret VALUES (2, 2)")
    assert marks(stream, driver) == []
    assert {event.table: event.fields for event in chunks_of(driver)} == {"t": ("a", "b"), "secret": ("a",)}
