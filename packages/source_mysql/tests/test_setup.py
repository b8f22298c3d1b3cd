"""
What a server or an account lacks is said with the SQL to run; addresses, parameters and statements are understood.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mysql_bench import SERVERS, Database, only_mysql

from fustor_core.errors import AuthenticationFailed, ConfigError, ConnectionLost, PermissionMissing
from fustor_core.models.config import PasswdCredential
from fustor_core.outcome import Outcome
from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mysql_server import MysqlServer
from fustor_core.testing.private_server import PASSWORD, USER, free_port
from fustor_core.testing.source_contract import rows_of, settle
from fustor_source_mysql import MysqlDriver
from fustor_source_mysql.compressed import payload_events
from fustor_source_mysql.config import parse_address, parse_params
from fustor_source_mysql.connection import Server
from fustor_source_mysql.control import Control
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
    assert ("MariaDB" in answers[0][1]) is not database.is_mysql


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
    database.run(
        "DROP USER IF EXISTS poor@'%'",
        "CREATE USER poor@'%' IDENTIFIED BY 'p'",
        f"GRANT SELECT ON {database.name}.* TO poor@'%'",
    )
    poor = PasswdCredential(user="poor", passwd="p")
    well, said = await MysqlDriver.check_privileges(uri=database.server.uri(database.name), credential=poor)
    assert not well
    assert "lacks REPLICATION SLAVE, REPLICATION CLIENT" in said
    assert "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'poor'@'%';" in said
    driver = database.driver(user="poor", password="p")
    with pytest.raises(PermissionMissing, match="may not") as caught:
        driver.get_message_iterator(-1)
    assert "GRANT" in caught.value.hint


async def test_rights_are_asked_for_on_the_chosen_databases_alone(database: Database) -> None:
    """
    One is chosen by the address, or some by globs; without either the account needs all. What is given is all that checks, snapshot
    (a table without a key is locked) and stream need; of other databases it sees nothing, whatever stands for `_` in their names.
    """
    strange = r"a_b%c\d`'e"
    others = ["axb%c", f"{database.name}x"]
    quoted = "`" + strange.replace("`", "``") + "`"
    database.run(*(f"CREATE DATABASE {name}" for name in (quoted, *(f"`{other}`" for other in others))))
    own = PasswdCredential(user="narrow", passwd="its own")
    on_log = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'narrow'@'%';"
    uri, globs = database.server.uri(), {"include": [f"{database.name}.*", f"{strange}.t"]}

    def on(name: str) -> str:
        return f"GRANT SELECT, LOCK TABLES ON {name}.* TO 'narrow'@'%';"

    async def remedy(place: str, params: dict[str, Any] | None = None) -> tuple[str, ...]:
        refused = await MysqlDriver.test_connection(uri=place, credential=own, driver_params=params)
        assert isinstance(refused, Outcome) and refused.code == AuthenticationFailed.code
        return refused.remedy[1:]

    everything = ("GRANT SELECT, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'narrow'@'%';",)
    assert await remedy(uri) == everything
    assert await remedy(uri, {"include": ["*.t", f"{database.name}.u"]}) == everything
    assert await remedy(database.server.uri(database.name)) == (on_log, on(f"`{database.name}`"))
    both = await remedy(uri, globs)
    assert both == (on_log, on(r"`a\_b\%c\\d``'e`"), on(f"`{database.name}`"))
    try:
        database.run("CREATE USER narrow@'%' IDENTIFIED BY 'its own'", *both)
        database.run(
            "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE keyless (a INT)", "INSERT INTO keyless VALUES (7)"
        )
        database.run(f"CREATE TABLE {quoted}.t (id INT PRIMARY KEY)", f"INSERT INTO {quoted}.t VALUES (1)")
        for check in (MysqlDriver.test_connection, MysqlDriver.check_privileges, MysqlDriver.check_runtime_params):
            assert (answer := await check(uri=uri, credential=own, driver_params=globs))[0], answer
        seen = await MysqlDriver.get_available_tables(uri=uri, credential=own)
        assert seen is not None and {one["schema"] for one in seen} == {strange, database.name}
        lacking = await MysqlDriver.check_privileges(uri=database.server.uri(others[1]), credential=own)
        assert isinstance(lacking, Outcome) and lacking.reason == f"'narrow' lacks SELECT ON `{others[1]}`.*"
        assert lacking.remedy == (on_log, on(f"`{others[1]}`"))
        driver = database.driver(user="narrow", password="its own")
        stream = database.stream(driver)
        assert [row for chunk in driver.get_snapshot_iterator() for row in chunk.rows] == [(7,)]
        database.run("INSERT INTO t VALUES (2)")
        stream.until(lambda: any(event.table == "t" and event.rows for event in stream.events))
    finally:
        database.run(
            "DROP USER narrow@'%'", *(f"DROP DATABASE {name}" for name in (quoted, *(f"`{one}`" for one in others)))
        )


@only_mysql
async def test_where_names_in_grants_are_no_patterns_the_check_says_so(database: Database) -> None:
    """
    MySQL's `partial_revokes`: what was said before anybody was let in gives nothing there; what the check then says does.
    """
    name, own = f"{database.name}_x", PasswdCredential(user="literal", passwd="its own")
    uri = database.server.uri(name)
    refused = await MysqlDriver.test_connection(uri=uri, credential=own)
    assert isinstance(refused, Outcome)
    database.run(f"CREATE DATABASE {name}", "SET GLOBAL partial_revokes = ON")
    try:
        database.run(*(sql.replace("<password>", "its own") for sql in refused.remedy))
        lacking = await MysqlDriver.check_privileges(uri=uri, credential=own)
        assert isinstance(lacking, Outcome) and lacking.reason == f"'literal' lacks SELECT ON `{name}`.*"
        database.run(*lacking.remedy)
        answers = await checks(uri, own)
        assert [well for well, _ in answers] == [True] * 3, answers
        database.run("DROP USER literal@'%'")
        well, said = await MysqlDriver.create_agent_user(uri=uri, admin_creds=ADMIN, credential=own)
        assert well, said
        answers = await checks(uri, own)
        assert [well for well, _ in answers] == [True] * 3, answers
    finally:
        database.run("SET GLOBAL partial_revokes = OFF", "DROP USER literal@'%'", f"DROP DATABASE {name}")


async def test_the_agents_user_is_made_with_just_enough(database: Database) -> None:
    uri = database.server.uri(database.name)
    own = PasswdCredential(user="agent1", passwd="its own")
    well, said = await MysqlDriver.create_agent_user(uri=uri, admin_creds=ADMIN, credential=own)
    assert well and f"it may read {database.name} and the binary log" in said
    given = [str(row[0]).partition(" TO ")[0] for row in database.run("SHOW GRANTS FOR agent1@'%'")]
    assert f"GRANT SELECT, LOCK TABLES ON `{database.name}`.*" in given and len(given) == 2
    answers = await checks(uri, own)
    assert [well for well, _ in answers] == [True] * 3, answers
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    driver = database.driver(user="agent1", password="its own")
    assert [row for chunk in driver.get_snapshot_iterator() for row in chunk.rows] == [(1,)]
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2)")
    stream.until(lambda: any(event.rows for event in stream.events))


async def test_settings_are_said_with_the_sql(own_server: BinlogServer) -> None:
    """
    And that SQL mends them.
    """
    is_mysql = isinstance(own_server, MysqlServer)
    none = "MINIMAL" if is_mysql else "NO_LOG"
    own_server.sql(f"SET GLOBAL binlog_format = 'MIXED'; SET GLOBAL binlog_row_metadata = '{none}'")
    word = "SET PERSIST" if is_mysql else "SET GLOBAL"
    wrong, sql = (
        f"binlog_format is MIXED; binlog_row_metadata is {none}",
        f"{word} binlog_format = ROW; {word} binlog_row_metadata = FULL;",
    )
    if is_mysql:
        own_server.sql(
            "SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'; SET GLOBAL gtid_mode = ON_PERMISSIVE;"
            "SET GLOBAL gtid_mode = OFF_PERMISSIVE; SET GLOBAL gtid_mode = OFF; SET GLOBAL enforce_gtid_consistency = OFF"
        )
        wrong += "; binlog_row_value_options is PARTIAL_JSON; gtid_mode is OFF"
        sql += (
            " SET PERSIST binlog_row_value_options = ''; SET PERSIST enforce_gtid_consistency = ON;"
            " SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON;"
        )
    well, said = await MysqlDriver.check_runtime_params(uri=own_server.uri(), credential=ADMIN)
    assert not well
    assert wrong in said
    assert sql in said
    own_server.sql(sql)
    well, said = await MysqlDriver.check_runtime_params(uri=own_server.uri(), credential=ADMIN)
    assert well, said


@pytest.mark.parametrize("kind", list(SERVERS))
async def test_a_server_without_a_binary_log(kind: str, tmp_path: Path) -> None:
    off: dict[str, str | None] = {"log-bin": None}
    if kind == "mysql":
        off = {"log-bin": None, "skip-log-bin": "ON"}
    server = SERVERS[kind].start_new(off)
    try:
        well, said = await MysqlDriver.check_runtime_params(uri=server.uri(), credential=ADMIN)
        assert not well and "is off" in said and "log_bin = binlog" in said
        database = Database(server, tmp_path)
        with pytest.raises(ConfigError, match="is off"):
            database.driver().get_message_iterator(-1)
        database.close()
    finally:
        server.close()


@only_mysql
async def test_a_server_that_is_too_old_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Control, "version", "5.6.51-log")
    well, said = await MysqlDriver.test_connection(uri=database.server.uri(), credential=ADMIN)
    assert not well and "the server is 5.6.51-log" in said and "at least MySQL 5.7 is needed" in said


@only_mysql
def test_passwords_of_mysql_are_sent_without_tls_too(database: Database) -> None:
    """
    `caching_sha2_password`, which MySQL has by default: the first sign-in after a restart sends the password encrypted by the
    server's key, or through TLS; later ones send a proof.
    """
    database.run(
        "DROP USER IF EXISTS sha@'%'", "CREATE USER sha@'%' IDENTIFIED WITH caching_sha2_password BY 'a long one 中'"
    )
    database.run(f"GRANT SELECT ON {database.name}.* TO sha@'%'", "CREATE TABLE t (id INT PRIMARY KEY)")
    for tls in ("off", "on", "auto"):
        database.run("FLUSH PRIVILEGES")  # forgets what it knows of passwords
        for _ in range(2):
            driver = database.driver(user="sha", password="a long one 中", tls=tls)
            ((cipher,),) = (driver._control.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1:],)
            assert bool(cipher) is (tls != "off")
            driver._control.close()
    with pytest.raises(AuthenticationFailed, match="does not let 'sha' in"):
        database.driver(user="sha", password="another")._control.query("SELECT 1")


@pytest.mark.parametrize("kind", list(SERVERS))
async def test_tls_is_used_and_the_certificate_checked(kind: str, tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    server = SERVERS[kind]()
    try:
        for name in ("server", "other"):
            server.run_program(
                [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
            )
        here = server.base
        server.settings |= {
            "ssl-ca": f"{here}/server.crt",
            "ssl-cert": f"{here}/server.crt",
            "ssl-key": f"{here}/server.key",
        }
        server.start()
        server.make_users()

        async def check(**params: Any) -> tuple[bool, str]:
            return await MysqlDriver.test_connection(uri=server.uri(), credential=ADMIN, driver_params=params)

        assert (await check(tls="on"))[0]
        assert (await check(tls="on", ca_file=f"{here}/server.crt"))[0]
        assert (await check(tls="off"))[0]
        well, said = await check(ca_file=f"{here}/other.crt")
        assert not well and "certificate verify failed" in said
        well, said = await check(ca_file=f"{here}/none.crt")
        assert not well and "none.crt" in said
        database = Database(server, tmp_path)
        driver = database.driver(tls="on", ca_file=f"{here}/server.crt")
        stream = database.stream(driver)
        database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        assert set(rows_of(settle(stream, driver))) == {1}
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


async def test_tables_to_choose_are_told_with_their_rows(database: Database) -> None:
    """
    Small ones counted, large ones as the server estimates them; what can't be read says why; hostile names are names.
    """
    strange = 'it\'s `a` "b" <c>'
    quoted = strange.replace("`", "``")
    database.run(
        "CREATE TABLE small (id INT PRIMARY KEY, v INT)",
        "INSERT INTO small VALUES (1, 1), (2, 2), (3, 3)",
        f"CREATE TABLE `{quoted}` (id INT PRIMARY KEY)",
        "CREATE TABLE keyless (a INT)",
        "CREATE TABLE memory (a INT) ENGINE = MEMORY",
        "CREATE TABLE large (id INT PRIMARY KEY, v CHAR(255))",
        f"INSERT INTO large VALUES {', '.join(f'({n}, {n})' for n in range(9000))}",
        "ANALYZE TABLE large",
    )
    uri = database.server.uri(database.name)
    tables = await MysqlDriver.get_available_tables(uri=uri, credential=ADMIN)
    assert tables is not None
    by_name = {table["table"]: table for table in tables}
    assert set(by_name) == {"small", strange, "keyless", "memory", "large"}
    assert {table["schema"] for table in tables} == {database.name}
    assert (by_name["small"]["rows"], by_name["small"]["is_exact"], by_name["small"]["columns"]) == (3, True, 2)
    assert (by_name[strange]["rows"], by_name[strange]["key"]) == (0, ["id"])
    assert by_name["keyless"]["key"] == [] and "PRIMARY KEY" in by_name["keyless"]["hint"]
    assert "MEMORY" in by_name["memory"]["problem"] and "ENGINE = InnoDB" in by_name["memory"]["hint"]
    assert not by_name["large"]["is_exact"] and 3000 < by_name["large"]["rows"] < 27_000
    chosen = await MysqlDriver.get_available_tables(uri=uri, credential=ADMIN, driver_params={"include": ["*.small"]})
    assert chosen == [by_name["small"]]
    with pytest.raises(AuthenticationFailed):
        await MysqlDriver.get_available_tables(uri=uri, credential=PasswdCredential(user=USER, passwd="no"))


async def test_a_table_that_is_locked_is_told_with_an_estimate(database: Database) -> None:
    """
    Counting waits for nobody: the list comes all the same.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    holder = Control(Server(parse_address(database.server.uri(database.name)), ADMIN, parse_params({})))
    try:
        holder.query(f"LOCK TABLES {database.name}.t WRITE")
        uri = database.server.uri(database.name)
        tables = await MysqlDriver.get_available_tables(uri=uri, credential=ADMIN)
        assert tables is not None and [table["is_exact"] for table in tables] == [False]
    finally:
        holder.close()


def test_what_the_server_answers_to_a_statement_does_not_cost_the_connection(database: Database) -> None:
    """
    Its settings would go with it: a wait that is bounded by one of them would then be as long as the server's own.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    server = Server(parse_address(database.server.uri(database.name)), ADMIN, parse_params({}))
    holder, waiter = Control(server), Control(server)
    try:
        holder.query(f"LOCK TABLES {database.name}.t WRITE")
        waiter.query("SET SESSION lock_wait_timeout = 1")
        before = waiter.query("SELECT CONNECTION_ID()")
        with pytest.raises(ConnectionLost, match="1205"):
            waiter.query(f"SELECT COUNT(*) FROM {database.name}.t")
        assert waiter.query("SELECT CONNECTION_ID()") == before
        holder.query(f"KILL {before[0][0]}")
        assert waiter.query("SELECT CONNECTION_ID()") != before
    finally:
        holder.close()
        waiter.close()


async def test_what_mends_a_check_is_told_apart(database: Database) -> None:
    """
    SQL as it is to be run, beside the sentence; running it mends what was wrong.
    """
    name = "it's poor"
    literal = name.replace("'", "''")
    database.run(f"DROP USER IF EXISTS '{literal}'@'%'")
    credential = PasswdCredential(user=name, passwd="a password")
    uri = database.server.uri(database.name)
    refused = await MysqlDriver.test_connection(uri=uri, credential=credential)
    assert isinstance(refused, Outcome) and refused.code == AuthenticationFailed.code
    create, *grants = refused.remedy
    database.run(create.replace("<password>", "a password"))
    lacking = await MysqlDriver.check_privileges(uri=uri, credential=credential)
    assert isinstance(lacking, Outcome) and not lacking[0]
    assert lacking.remedy == tuple(grants) and "lacks" in lacking.reason and lacking.hint in lacking[1]
    database.run(*lacking.remedy)
    assert (await MysqlDriver.check_privileges(uri=uri, credential=credential))[0]
    database.run(f"DROP USER '{literal}'@'%'")


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
        ("RENAME TABLE IF EXISTS a WAIT 5 TO b, c NOWAIT TO d;", "rows gone", tuple(("s", name) for name in "abcd")),
        ("rename /* gh-ost */ table `m`.`a,b` to `m`.`_x_del` /* app */", "rows gone", (("m", "a,b"), ("m", "_x_del"))),
        ("ALTER TABLE t COMMENT 'RENAME TO x', ADD w INT", "rows gone", (("s", "t"),)),
        ('ALTER /* a */ TABLE "t" /* b */ RENAME TO "u ""v"', "rows gone", (("s", "t"), ("s", 'u "v'))),
        ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE m.u", "rows gone", (("s", "t"), ("m", "u"))),
        ("truncate -- why\n table /*!40000 t */ # so", "rows gone", (("s", "t"),)),
        ("INSERT /* DROP TABLE t */ INTO t VALUES ('/*')", "rows as text", ()),
        ("CREATE TABLE t (a INT DEFAULT '\\'' COMMENT '-- /* #')", "schema", ()),
        ("/* begins */ BEGIN", "begin", ()),
        ("/* never ends TRUNCATE t", "schema", ()),
        ("CREATE TABLE t (a INT)", "schema", ()),
        ("CREATE TABLE `t` (`a` int) START TRANSACTION", "begin", ()),
        ("CREATE INDEX i ON t (a)", "schema", ()),
        ("INSERT INTO t VALUES (1)", "rows as text", ()),
        ("# comment\nUPDATE t SET a = 1", "rows as text", ()),
        ("SAVEPOINT s", "none", ()),
        ("ROLLBACK TO s", "rollback to", ()),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", "rows gone", (("s", "t"),)),
        ("DELETE FROM `m`.`heap`", "rows gone", (("m", "heap"),)),
        ("", "schema", ()),
    ],
)
def test_statements_are_understood(text: str, effect: str, tables: tuple[tuple[str, str], ...]) -> None:
    found = read_statement(text, "s")
    assert (found.effect, found.tables) == (effect, tables)


def test_of_some_statements_more_is_known_than_their_tables() -> None:
    assert read_statement("DROP /* all */ DATABASE IF EXISTS `gone`", "s").schema_gone == "gone"
    assert read_statement("DROP TABLE t /* generated by server */", "s").is_drop
    assert not read_statement("TRUNCATE t", "s").is_drop
    swap = read_statement("RENAME TABLE a TO tmp, m.b TO a, tmp TO m.b", "s")
    assert swap.renamed == ((("s", "a"), ("s", "tmp")), (("m", "b"), ("s", "a")), (("s", "tmp"), ("m", "b")))
    assert read_statement("ALTER TABLE a ADD v INT, RENAME m.b", "s").renamed == ((("s", "a"), ("m", "b")),)
    assert read_statement("ALTER TABLE a RENAME COLUMN v TO w, RENAME KEY k TO l", "s").renamed == ()


def test_compressed_transactions_that_can_not_be_read_are_said() -> None:
    fields = b"\x02\x01%c\x00"
    with pytest.raises(ConfigError, match="unknown method 7"):
        list(payload_events(fields % 7 + b"xyz"))
    with pytest.raises(ConnectionLost, match="compressed transaction of the binary log is damaged"):
        list(payload_events(fields % 0 + b"not zstd at all"))
    event = bytes(9) + (19).to_bytes(4, "little") + b"\x11\x22\x33\x44\0\0"
    assert (
        list(payload_events(b"\x02\x03\xfc\xff\x00\x00" + event * 2)) == [b"\0" + event[:13] + b"\0\0\0\0\0\0"] * 2
    ), "not compressed; without its place"
