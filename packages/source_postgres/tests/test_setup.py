"""
What a server or an account lacks is said with the SQL to run; addresses and parameters are understood.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_bench import Database

from fustor_core.errors import AuthenticationFailed, ConfigError, ConnectionLost, PermissionMissing
from fustor_core.models.config import PasswdCredential
from fustor_core.outcome import Outcome
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER, free_port
from fustor_core.testing.source_contract import rows_of, settle
from fustor_source_postgres import PostgresDriver
from fustor_source_postgres.config import own_name, parse_address, parse_params

ADMIN = PasswdCredential(user=USER, passwd=PASSWORD)


async def checks(uri: str, credential: Any = ADMIN) -> list[tuple[bool, str]]:
    return [
        await check(uri=uri, credential=credential)
        for check in (
            PostgresDriver.test_connection,
            PostgresDriver.check_privileges,
            PostgresDriver.check_runtime_params,
        )
    ]


@contextlib.contextmanager
def role(database: Database, name: str, attributes: str) -> Iterator[PasswdCredential]:
    database.run(f"CREATE ROLE {name} LOGIN {attributes} PASSWORD 'p'")
    yield PasswdCredential(user=name, passwd="p")
    database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_a_server_that_is_set_up_passes(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE keyless (a INT)")
    answers = await checks(database.server.uri(database.name))
    assert [well for well, _ in answers] == [True] * 3, answers
    assert "PostgreSQL 15" in answers[0][1]
    assert "1 tables are wanted; 1 more can't be read: public.keyless" in answers[2][1]
    assert "max_slot_wal_keep_size is unlimited" in answers[2][1]


async def test_what_is_wrong_is_said(database: Database) -> None:
    uri = database.server.uri(database.name)
    wrong = PasswdCredential(user=USER, passwd="wrong-one")
    well, said = await PostgresDriver.test_connection(uri=uri, credential=wrong)
    assert not well and "does not let 'admin' in" in said and "wrong-one" not in said
    nobody = PasswdCredential(user="nobody", passwd="x")
    well, said = await PostgresDriver.test_connection(uri=uri, credential=nobody)
    assert not well and "does not let 'nobody' in: FATAL: " in said
    well, said = await PostgresDriver.test_connection(uri=database.server.uri("nothing"), credential=ADMIN)
    assert not well and 'database "nothing" does not exist' in said and "mend the database's name" in said
    well, said = await PostgresDriver.test_connection(uri=f"postgresql://127.0.0.1:{free_port()}/x", credential=ADMIN)
    assert not well and "refused" in said
    well, said = await PostgresDriver.test_connection(uri=uri)
    assert not well and "has no user" in said
    well, said = await PostgresDriver.test_connection(uri=uri, credential=ADMIN, driver_params={"tls": "on"})
    assert not well and "does not support SSL" in said and "`tls`" in said


async def test_rights_that_are_missing_are_said_with_all_the_sql(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    uri = database.server.uri(database.name)
    with role(database, "poor", "") as poor:
        well, said = await PostgresDriver.check_privileges(uri=uri, credential=poor)
        assert not well
        sql = [
            'ALTER ROLE "poor" REPLICATION;',
            'GRANT USAGE ON SCHEMA "public" TO "poor";',
            'GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "poor";',
            'CREATE PUBLICATION "fustor" FOR TABLE ONLY "public"."t" WITH (publish_via_partition_root = true);',
        ]
        assert all(one in said for one in sql), said
        database.run(*sql)
        answers = await checks(uri, poor)
        assert [well for well, _ in answers] == [True] * 3, answers
        database.run("CREATE TABLE u (id INT PRIMARY KEY)", "GRANT SELECT ON u TO poor")
        well, said = await PostgresDriver.check_privileges(uri=uri, credential=poor)
        assert not well and 'ALTER PUBLICATION "fustor" ADD TABLE ONLY "public"."u";' in said


async def test_the_agents_user_is_made_with_just_enough(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    uri = database.server.uri(database.name)
    own = PasswdCredential(user="agent1", passwd="its 'own'")
    well, said = await PostgresDriver.create_agent_user(uri=uri, admin_creds=ADMIN, credential=own)
    assert well, said
    answers = await checks(uri, own)
    assert [well for well, _ in answers] == [True] * 3, answers
    driver = database.driver(user="agent1", password="its 'own'")
    stream = database.stream(driver)
    database.run("INSERT INTO t VALUES (2)")
    assert set(rows_of(settle(stream, driver))) == {2}
    assert [row for chunk in driver.get_snapshot_iterator() for row in chunk.rows] == [(1,), (2,)]
    database.end(stream, driver)
    database.run("DROP OWNED BY agent1", "DROP ROLE agent1")


async def test_settings_are_said_with_the_sql(tmp_path: Path) -> None:
    server = PostgresServer.start_new({"wal_level": "replica", "max_replication_slots": "1"})
    try:
        well, said = await PostgresDriver.check_runtime_params(uri=server.uri(), credential=ADMIN)
        assert not well
        assert "wal_level is replica" in said and "ALTER SYSTEM SET wal_level = logical;" in said
        database = Database(server, tmp_path)
        with pytest.raises(ConfigError, match=r"wal_level of .* is not logical"):
            database.driver().get_message_iterator(-1)
        database.close()
        server.stop()
        server.settings["wal_level"] = "logical"
        server.start()
        server.sql("SELECT pg_create_physical_replication_slot('other')")
        well, said = await PostgresDriver.check_runtime_params(uri=server.uri(), credential=ADMIN)
        assert not well and "no replication slot is left: 1 of 1" in said
        assert "ALTER SYSTEM SET max_replication_slots = 11;" in said
        database = Database(server, tmp_path)
        with pytest.raises(ConfigError, match="all replication slots are in use"):
            database.driver().get_message_iterator(-1)
        with pytest.raises(ConfigError, match="is one of physical replication"):
            database.driver(slot="other").get_message_iterator(-1)
        server.sql("SELECT pg_drop_replication_slot('other')")
        database.close()
    finally:
        server.close()


async def test_fields_and_steps_of_the_wizard(database: Database) -> None:
    database.run("CREATE TYPE e AS ENUM ('a')", "CREATE TABLE t (id INT PRIMARY KEY, e e[])")
    fields = await PostgresDriver.get_available_fields(uri=database.server.uri(database.name), credential=ADMIN)
    assert fields["properties"] == {
        "public.t.id": {"type": "integer", "x-key": True},
        "public.t.e": {"type": "array", "items": {"type": "string", "enum": ["a"]}, "x-key": False},
    }
    assert [step["step_id"] for step in (await PostgresDriver.get_wizard_steps())["steps"]] == ["connection", "tables"]


async def test_tables_to_choose_are_told_with_their_rows(database: Database) -> None:
    """
    Small ones counted, also of partitions; large ones as the server estimates them; what can't be read says why.
    """
    database.run(
        "CREATE TABLE small (id INT PRIMARY KEY, v INT, g INT GENERATED ALWAYS AS (v) STORED)",
        "INSERT INTO small VALUES (1, 1), (2, 2), (3, 3)",
        'CREATE TABLE "it\'s <a> ""b""" (id INT PRIMARY KEY)',
        "CREATE TABLE keyless (a INT)",
        "CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parts VALUES (1), (2)",
        "CREATE TABLE large (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO large SELECT n, repeat('x', 300) FROM generate_series(1, 9000) n",
        "ANALYZE large",
    )
    uri = database.server.uri(database.name)
    tables = await PostgresDriver.get_available_tables(uri=uri, credential=ADMIN)
    assert tables is not None
    by_name = {table["table"]: table for table in tables}
    assert set(by_name) == {"small", 'it\'s <a> "b"', "keyless", "parts", "large"}
    assert (by_name["small"]["rows"], by_name["small"]["is_exact"], by_name["small"]["columns"]) == (3, True, 2)
    assert (by_name["parts"]["rows"], by_name["parts"]["is_exact"]) == (2, True)
    assert "nothing identifies its rows" in by_name["keyless"]["problem"] and by_name["keyless"]["hint"]
    assert (by_name["large"]["rows"], by_name["large"]["is_exact"]) == (9000, False)
    chosen = await PostgresDriver.get_available_tables(
        uri=uri, credential=ADMIN, driver_params={"include": ["public.small"]}
    )
    assert chosen == [by_name["small"]]
    with role(database, "blind", "") as blind:
        seen = await PostgresDriver.get_available_tables(uri=uri, credential=blind)
        assert seen is not None and {table["table"] for table in seen if table["is_exact"]} == set()


async def test_what_mends_a_check_is_told_apart(database: Database) -> None:
    """
    SQL as it is to be run, beside the sentence; and an account that is there gets what it lacks.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    uri = database.server.uri(database.name)
    with role(database, "poor2", "") as poor:
        lacking = await PostgresDriver.check_privileges(uri=uri, credential=poor)
        assert isinstance(lacking, Outcome) and not lacking[0]
        assert lacking.remedy[0] == 'ALTER ROLE "poor2" REPLICATION;' and lacking.hint in lacking[1]
        well, said = await PostgresDriver.create_agent_user(uri=uri, admin_creds=ADMIN, credential=poor)
        assert well, said
        answers = await checks(uri, poor)
        assert [well for well, _ in answers] == [True] * 3, answers
        database.run("DROP OWNED BY poor2")
    refused = await PostgresDriver.test_connection(
        uri=uri, credential=PasswdCredential(user='a"b', passwd="a password")
    )
    assert isinstance(refused, Outcome) and refused.code == AuthenticationFailed.code
    # No right to read everything: the check of rights, once it is let in, names the schemas of the wanted tables.
    assert refused.remedy == ("""CREATE ROLE "a""b" LOGIN REPLICATION PASSWORD '<password>';""",)


async def test_the_agents_user_may_read_the_schemas_of_the_wanted_tables_alone(database: Database) -> None:
    """
    By whichever way it was given its rights: by the driver, or by what the check says.
    """
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE SCHEMA other", "CREATE TABLE other.u (id INT PRIMARY KEY)"
    )
    uri, wanted = database.server.uri(database.name), {"include": ["public.*"]}
    own = PasswdCredential(user="agent2", passwd="its own")
    well, said = await PostgresDriver.create_agent_user(
        uri=uri, admin_creds=ADMIN, credential=own, driver_params=wanted
    )
    assert well, said
    with role(database, "agent3", "REPLICATION") as by_hand:
        lacking = await PostgresDriver.check_privileges(uri=uri, credential=by_hand, driver_params=wanted)
        assert isinstance(lacking, Outcome)
        database.run(*lacking.remedy)
        for one in (own, by_hand):
            well, said = await PostgresDriver.check_privileges(uri=uri, credential=one, driver_params=wanted)
            assert well, said
            may = (
                "SELECT has_table_privilege('{0}', 'public.t', 'SELECT'), has_schema_privilege('{0}', 'other', 'USAGE')"
            )
            assert [tuple(row) for row in database.run(may.format(one.user))] == [(True, False)]
        database.run("DROP OWNED BY agent2, agent3", "DROP ROLE agent2")


async def test_a_right_that_the_check_does_not_know_sends_there(database: Database) -> None:
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    with role(database, "poor3", "REPLICATION"):
        driver = database.driver(user="poor3", password="p")
        with pytest.raises(PermissionMissing, match="may not") as refused:
            list(driver.get_snapshot_iterator())
        assert "the check of rights" in refused.value.hint and "pg_read_all_data" not in str(refused.value)


def test_errors_at_run_time_are_of_the_right_kind(database: Database) -> None:
    with pytest.raises(AuthenticationFailed):
        database.driver(password="no").get_message_iterator(-1)
    driver = database.driver()
    object.__setattr__(driver._control.server.address, "port", free_port())
    with pytest.raises(ConnectionLost, match="refused"):
        driver.get_message_iterator(-1)
    object.__setattr__(driver._control.server.address, "port", database.server.port)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mysql://h/d", "is not the address"),
        ("postgresql://u:p@h/d", "must not carry"),
        ("postgresql:///d", "is not the address"),
        ("postgresql://h/", "is not the address"),
        ("postgresql://h:x/d", "can't be read"),
    ],
)
def test_addresses_that_are_none(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_address(uri)
    assert "postgresql://host" in caught.value.hint or "credential" in caught.value.hint


def test_parameters_that_are_unknown_or_wrong() -> None:
    with pytest.raises(ConfigError, match="inclde"):
        parse_params({"inclde": []})
    with pytest.raises(ConfigError, match="slot"):
        parse_params({"slot": "Not-A-Slot"})


def test_names_of_slots_fit_the_server() -> None:
    assert own_name("Shop DB-1") == "fustor_shop_db_1"
    assert own_name("\u4e2d\u6587") == "fustor_source"
    assert len(own_name("x" * 100)) <= 58


async def test_tls_is_used_and_the_certificate_checked(tmp_path: Path) -> None:
    server = PostgresServer.start_new()
    try:
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        for name in ("server", "other"):
            server.run_program(
                [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
            )
        server.stop()
        here = server.base
        server.settings |= {"ssl": "on", "ssl_cert_file": f"{here}/server.crt", "ssl_key_file": f"{here}/server.key"}
        server.start()

        async def check(**params: Any) -> tuple[bool, str]:
            return await PostgresDriver.test_connection(uri=server.uri(), credential=ADMIN, driver_params=params)

        assert (await check(tls="on"))[0]
        assert (await check(tls="on", ca_file=f"{here}/server.crt"))[0]
        assert (await check(tls="off"))[0]
        well, said = await check(ca_file=f"{here}/other.crt")
        assert not well and "certificate verify failed" in said and "`ca_file`" in said
        well, said = await check(ca_file=f"{here}/none.crt")
        assert not well and "none.crt" in said
        database = Database(server, tmp_path)
        driver = database.driver(tls="on", ca_file=f"{here}/server.crt")
        stream = database.stream(driver)
        settle(stream, driver)
        used = database.run(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'fustor'"
        )
        assert used and set(used) == {(True,)}, "the replication connection too"
        database.close()
    finally:
        server.close()
