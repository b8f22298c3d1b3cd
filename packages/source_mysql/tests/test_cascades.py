"""
Foreign keys whose actions the log does not tell: the tables they act on are named, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_bench import Database, only_mariadb, only_mysql

from fustor_core.models.event import UntoldMark
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.source_contract import Stream, settle
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.cascades import ForeignKey, read_keys
from fustor_source_mysql.rights import log_grant


@pytest.fixture
def family(database: Database) -> Database:
    """
    p <- c (deleted with it, NULL when its code changes) <- g (deleted with it); p <- n (NULL); p <- r (nothing is done to it).
    """
    database.run(
        "CREATE TABLE p (id INT PRIMARY KEY, code INT UNIQUE, note VARCHAR(9))",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, code INT, FOREIGN KEY (P) REFERENCES p (ID) ON DELETE CASCADE,"
        " FOREIGN KEY (code) REFERENCES p (code) ON UPDATE SET NULL ON DELETE NO ACTION)",
        "CREATE TABLE g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE n (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE SET NULL)",
        "CREATE TABLE r (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE RESTRICT)",
        "INSERT INTO p VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')",
        "INSERT INTO c VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, 30)",
        "INSERT INTO g VALUES (1, 1), (2, 2), (3, 3)",
        "INSERT INTO n VALUES (1, 1), (2, 2), (3, 3)",
    )
    return database


@pytest.fixture
def reader(database: Database) -> Iterator[str]:
    """
    An account that may do no more than it has to.
    """
    name = f"kin_{database.name}"
    database.run(
        f"CREATE USER {name} IDENTIFIED BY 'pw'", log_grant(name), f"GRANT SELECT ON {database.name}.* TO {name}"
    )
    yield name
    database.run(f"DROP USER {name}")


def marked(stream: Stream, driver: MysqlDriver) -> set[str]:
    """
    Return the tables that may be read again later, of those that the stream has called untold since the last time.
    """
    settle(stream, driver)
    marks = [event for event in stream.events if isinstance(event, UntoldMark)]
    assert all(mark.may_wait for mark in marks)
    stream.events.clear()
    return {mark.table for mark in marks}


@only_mariadb
def test_what_a_change_of_a_parent_does_is_marked_and_nothing_else(family: Database, reader: str) -> None:
    driver = family.driver(user=reader, password="pw")
    stream = family.stream(driver)
    family.run(
        "UPDATE p SET note = 'z'", "INSERT INTO p VALUES (4, 40, 'd')", "DELETE FROM r", "DELETE FROM g WHERE id = 3"
    )
    assert marked(stream, driver) == set()
    family.run("DELETE FROM p WHERE id = 1")
    assert marked(stream, driver) == {"c", "g", "n"}
    assert family.run("SELECT id, p FROM n ORDER BY id") == [(1, None), (2, 2), (3, 3)], "it was done"
    family.run("UPDATE p SET code = 31 WHERE id = 3")
    assert marked(stream, driver) == {"c"}, "nothing refers to the column that became NULL"
    family.run("UPDATE c SET id = 9 WHERE id = 2")
    assert marked(stream, driver) == {"g"}
    family.run("SET foreign_key_checks = 0", "DELETE FROM p WHERE id = 2", "SET foreign_key_checks = 1")
    assert marked(stream, driver) == set(), "the server did nothing else"
    problems = {one["where"].partition(".")[2]: one for one in driver.status()["problems"]}
    assert set(problems) == {"c", "g", "n"}
    assert f"{family.name}.p" in problems["n"]["what"] and "read again" in problems["n"]["what"]


@only_mariadb
def test_keys_that_come_and_go_count_from_then_on(family: Database) -> None:
    driver = family.driver()
    stream = family.stream(driver)
    family.run("DELETE FROM p WHERE id = 1")
    assert marked(stream, driver) == {"c", "g", "n"}
    family.run("CREATE TABLE late (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)")
    family.run("DROP TABLE g", "DELETE FROM p WHERE id = 2")
    settle(stream, driver)
    assert {event.table for event in stream.events if isinstance(event, UntoldMark) and event.may_wait} == {
        "c",
        "n",
        "late",
    }


@only_mariadb
@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
@pytest.mark.parametrize("metadata", ["FULL", "NO_LOG"])
def test_parents_that_are_not_wanted_are_looked_at_all_the_same(family: Database, image: str, metadata: str) -> None:
    driver = family.driver(include=[f"{family.name}.g", f"{family.name}.n"])
    before = family.run("SELECT @@GLOBAL.binlog_row_metadata")[0][0]
    family.run(f"SET GLOBAL binlog_row_metadata = {metadata}", f"SET SESSION binlog_row_image = {image}")
    try:
        stream = family.stream(driver)
        family.run("UPDATE c SET p = NULL WHERE id = 3", "UPDATE p SET note = 'y'")
        assert marked(stream, driver) == set()
        family.run("UPDATE c SET id = 8 WHERE id = 3")
        assert marked(stream, driver) == {"g"}
        family.run("DELETE FROM p WHERE id = 1")
        assert marked(stream, driver) == {"g", "n"}, "also through a table that is not wanted"
    finally:
        family.run(f"SET GLOBAL binlog_row_metadata = {before}")


@only_mariadb
def test_a_tree_in_one_table_and_a_ring_of_tables(database: Database) -> None:
    database.run(
        "CREATE TABLE node (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES node (id) ON DELETE CASCADE)",
        "INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2)",
        "CREATE TABLE x (id INT PRIMARY KEY, y INT)",
        "CREATE TABLE y (id INT PRIMARY KEY, x INT, FOREIGN KEY (x) REFERENCES x (id) ON DELETE CASCADE)",
        "ALTER TABLE x ADD FOREIGN KEY (y) REFERENCES y (id) ON DELETE SET NULL",
        "INSERT INTO x VALUES (1, NULL)",
        "INSERT INTO y VALUES (1, 1)",
        "UPDATE x SET y = 1",
    )
    driver = database.driver()
    stream = database.stream(driver)
    database.run("DELETE FROM node WHERE id = 1")
    assert marked(stream, driver) == {"node"}
    assert database.run("SELECT COUNT(*) FROM node") == [(0,)]
    database.run("DELETE FROM y")
    assert marked(stream, driver) == {"x"}, "NULL there refers to nothing"
    database.run("DELETE FROM x")
    assert marked(stream, driver) == {"x", "y"}


@only_mariadb
def test_a_prepared_transaction_acts_when_it_is_committed(family: Database) -> None:
    driver = family.driver(include=[f"{family.name}.n"])
    stream = family.stream(driver)
    family.run("XA START 'kin'", "DELETE FROM p WHERE id = 1", "XA END 'kin'", "XA PREPARE 'kin'")
    assert marked(stream, driver) == set()
    family.run("XA COMMIT 'kin'")
    assert marked(stream, driver) == {"n"}


@only_mysql
def test_a_server_that_logs_them_has_nothing_marked(family: Database) -> None:
    driver = family.driver()
    stream = family.stream(driver)
    family.run("DELETE FROM p WHERE id = 1")
    events = settle(stream, driver)
    assert {(event.table, event.event_type.value) for event in events} == {
        ("p", "delete"), ("c", "delete"), ("g", "delete"), ("n", "update")
    }  # fmt: skip
    assert marked(stream, driver) == set()


def test_a_mysql_that_leaves_them_to_innodb(tmp_path: Path) -> None:
    server = MysqlServer.start_new({"innodb_native_foreign_keys": "ON"})
    try:
        database = Database(server, tmp_path)
        database.run(
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "INSERT INTO p VALUES (1), (2)",
            "INSERT INTO c VALUES (1, 1), (2, 2)",
        )
        driver = database.driver()
        stream = database.stream(driver)
        database.run("DELETE FROM p WHERE id = 1")
        assert marked(stream, driver) == {"c"}
        database.run("UPDATE p SET id = 3")
        assert marked(stream, driver) == {"c"}
        database.close()
    finally:
        server.close()


def test_keys_are_read_from_what_the_server_says() -> None:
    text = """CREATE TABLE `c``d` (
  `a` int DEFAULT NULL COMMENT 'CONSTRAINT `x` FOREIGN KEY (`a`) REFERENCES `y` (`z`) ON DELETE CASCADE',
  KEY `a` (`a`),
  CONSTRAINT `1` FOREIGN KEY (`A`, `b)`) REFERENCES `o``e`.`p` (`Id`, `x`) ON DELETE NO ACTION ON UPDATE CASCADE,
  CONSTRAINT `2` FOREIGN KEY (`a`) REFERENCES `q` (`id`) ON DELETE SET NULL,
  CONSTRAINT `3` FOREIGN KEY (`a`) REFERENCES `r` (`id`) ON UPDATE SET NULL,
  CONSTRAINT `4` FOREIGN KEY (`a`) REFERENCES `s` (`id`) ON DELETE RESTRICT ON UPDATE NO ACTION,
  CONSTRAINT `5` FOREIGN KEY (`a`) REFERENCES `t` (`id`)
) ENGINE=InnoDB"""
    child, a, of_id = ("m", "c`d"), frozenset({"a"}), frozenset({"id"})
    assert read_keys(text, child) == [
        (("o`e", "p"), ForeignKey(child, a | {"b)"}, of_id | {"x"}, "NO ACTION", "CASCADE")),
        (("m", "q"), ForeignKey(child, a, of_id, "SET NULL", "")),
        (("m", "r"), ForeignKey(child, a, of_id, "", "SET NULL")),
    ]
