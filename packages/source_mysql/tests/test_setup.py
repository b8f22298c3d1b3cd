"""
What a server or an account lacks is said with the SQL to run; addresses, parameters and statements are understood.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mysql_bench import Database

from fustor_core.errors import AuthenticationFailed, ConfigError, ConnectionLost, PermissionMissing
from fustor_core.models.config import PasswdCredential
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.private_server import PASSWORD, USER, free_port
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.config import parse_address, parse_params
from fustor_source_mysql.statements import read_statement

ADMIN = PasswdCredential(user=USER, passwd=PASSWORD)


async def checks(uri: str, credential: Any = ADMIN) -> list[tuple[bool, str]]:
    return [
        await check(uri=uri, credential=credential)
        for check in (MysqlDriver.test_connection, MysqlDriver.check_privileges, MysqlDriver.check_runtime_params)
    ]


async def test_a_server_that_is_set_up_passes(database: Database) -> None:
    answers = await checks(database.server.uri(database.name))
    assert [well for well, _ in answers] == [True] * 3, answers
    assert "MariaDB" in answers[0][1]


async def test_what_is_wrong_is_said(database: Database) -> None:
    uri = database.server.uri()
    wrong = PasswdCredential(user=USER, passwd="wrong-one")
    well, said = await MysqlDriver.test_connection(uri=uri, credential=wrong)
    assert not well and "does not let 'admin' in" in said and "wrong-one" not in said
    well, said = await MysqlDriver.test_connection(uri=database.server.uri("nothing"), credential=ADMIN)
    assert not well and "has no database 'nothing'" in said
    well, said = await MysqlDriver.test_connection(uri=f"mysql://127.0.0.1:{free_port()}/x", credential=ADMIN)
    assert not well and "refused" in said
    well, said = await MysqlDriver.test_connection(uri=uri)
    assert not well and "has no user" in said


async def test_a_right_that_is_missing_is_said_with_the_grant(database: Database) -> None:
    database.run("CREATE OR REPLACE USER poor@'%' IDENTIFIED BY 'p'", f"GRANT SELECT ON {database.name}.* TO poor@'%'")
    poor = PasswdCredential(user="poor", passwd="p")
    well, said = await MysqlDriver.check_privileges(uri=database.server.uri(database.name), credential=poor)
    assert not well
    assert "lacks REPLICATION SLAVE, REPLICATION CLIENT" in said
    assert "GRANT SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'poor'@'%';" in said
    driver = database.driver(user="poor", password="p")
    with pytest.raises(PermissionMissing, match="may not") as caught:
        driver.get_message_iterator(-1)
    assert "GRANT" in caught.value.hint


async def test_the_agents_user_is_made_with_just_enough(database: Database) -> None:
    uri = database.server.uri(database.name)
    own = PasswdCredential(user="agent1", passwd="its own")
    well, said = await MysqlDriver.create_agent_user(uri=uri, admin_creds=ADMIN, credential=own)
    assert well, said
    answers = await checks(uri, own)
    assert [well for well, _ in answers] == [True] * 3, answers
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    driver = database.driver(user="agent1", password="its own")
    assert [row for chunk in driver.get_snapshot_iterator() for row in chunk.rows] == [(1,)]
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2)")
    stream.until(lambda: any(event.rows for event in stream.events))


async def test_settings_are_said_with_the_sql(own_server: MariaDbServer) -> None:
    own_server.sql("SET GLOBAL binlog_format = 'MIXED'; SET GLOBAL binlog_row_metadata = 'NO_LOG'")
    well, said = await MysqlDriver.check_runtime_params(uri=own_server.uri(), credential=ADMIN)
    assert not well
    assert "binlog_format is MIXED; binlog_row_metadata is NO_LOG" in said
    assert "SET GLOBAL binlog_format = ROW; SET GLOBAL binlog_row_metadata = FULL;" in said


async def test_a_server_without_a_binary_log(tmp_path: Path) -> None:
    server = MariaDbServer.start_new({"log-bin": None})
    try:
        well, said = await MysqlDriver.check_runtime_params(uri=server.uri(), credential=ADMIN)
        assert not well and "is off" in said and "log_bin = binlog" in said
        database = Database(server, tmp_path)
        with pytest.raises(ConfigError, match="is off"):
            database.driver().get_message_iterator(-1)
        database.close()
    finally:
        server.close()


async def test_fields_and_steps_of_the_wizard(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a'))")
    fields = await MysqlDriver.get_available_fields(uri=database.server.uri(database.name), credential=ADMIN)
    assert fields["properties"] == {
        f"{database.name}.t.id": {"type": "integer", "x-key": True},
        f"{database.name}.t.e": {"type": "string", "enum": ["", "a"], "x-key": False},
    }
    assert [step["step_id"] for step in (await MysqlDriver.get_wizard_steps())["steps"]] == ["connection", "tables"]


def test_errors_at_run_time_are_of_the_right_kind(database: Database) -> None:
    with pytest.raises(AuthenticationFailed):
        database.driver(password="no").get_message_iterator(-1)
    driver = database.driver()
    object.__setattr__(driver._address, "port", free_port())
    with pytest.raises(ConnectionLost, match="refused"):
        driver.get_message_iterator(-1)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://h/d", "is not the address"),
        ("mysql://u:p@h/d", "must not carry"),
        ("mysql:///d", "is not the address"),
        ("mysql://h:x/", "can't be read"),
    ],
)
def test_addresses_that_are_none(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_address(uri)
    assert "mysql://host" in caught.value.hint or "credential" in caught.value.hint


def test_parameters_that_are_unknown() -> None:
    with pytest.raises(ConfigError, match="inclde"):
        parse_params({"inclde": []})


@pytest.mark.parametrize(
    ("text", "effect", "tables"),
    [
        ("BEGIN", "begin", ()),
        ("COMMIT", "commit", ()),
        ("/* a note */ TRUNCATE `a b`.`c``d`", "rows gone", (("a b", "c`d"),)),
        ("truncate table t", "rows gone", (("s", "t"),)),
        ("DROP TABLE IF EXISTS t, x.u /* generated by server */", "rows gone", (("s", "t"), ("x", "u"))),
        ("ALTER TABLE t ADD w INT", "rows gone", (("s", "t"),)),
        ("RENAME TABLE a TO b, c TO x.d", "rows gone", (("s", "a"), ("s", "b"), ("s", "c"), ("x", "d"))),
        ("CREATE TABLE t (a INT)", "schema", ()),
        ("CREATE INDEX i ON t (a)", "schema", ()),
        ("INSERT INTO t VALUES (1)", "rows as text", ()),
        ("# comment\nUPDATE t SET a = 1", "rows as text", ()),
        ("SAVEPOINT s", "none", ()),
        ("ROLLBACK TO s", "rollback to", ()),
        ("XA START 'x'", "xa", ()),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", "rows gone", (("s", "t"),)),
        ("DELETE FROM `m`.`heap`", "rows gone", (("m", "heap"),)),
        ("", "schema", ()),
    ],
)
def test_statements_are_understood(text: str, effect: str, tables: tuple[tuple[str, str], ...]) -> None:
    found = read_statement(text, "s")
    assert (found.effect, found.tables) == (effect, tables)
    assert read_statement("DROP DATABASE IF EXISTS `gone`", "s").schema_gone == "gone"
