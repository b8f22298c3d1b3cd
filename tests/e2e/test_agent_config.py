"""
The agent's configuration is changed while everything runs: what is right is applied without a gap, what is wrong changes nothing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pymysql
import pytest
import yaml
from harness.stack import AGENT_TOKEN, Service, Stack, wait_for

from fustor_agent.config_file import parse
from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

OLD, NEW = "first-password-of-reader", "second-password-of-reader"
Server = BinlogServer | PostgresServer


@pytest.fixture(params=[MariaDbServer, PostgresServer], ids=["mariadb", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = request.param.start_new()
    yield made
    made.close()


def connect(server: Server) -> Any:
    if isinstance(server, PostgresServer):
        return psycopg.connect(
            host="127.0.0.1", port=server.port, dbname="shop", user=USER, password=PASSWORD, autocommit=True
        )
    return pymysql.connect(
        host="127.0.0.1", port=server.port, database="shop", user=USER, password=PASSWORD, autocommit=True
    )


def run(server: Server, sql: str) -> list[tuple[Any, ...]]:
    connection = connect(server)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@contextmanager
def load(server: Server) -> Iterator[Callable[[], int]]:
    """
    Change rows of both tables all the time; gives how many statements were run so far.
    """
    stop = threading.Event()
    done = [0]
    failure: list[BaseException] = []

    def work() -> None:
        chance = random.Random(7)
        try:
            connection = connect(server)
            with connection.cursor() as cursor:
                while not stop.is_set():
                    table, id_ = chance.choice(("goods", "orders")), chance.randrange(1, 4000)
                    cursor.execute(f"DELETE FROM {table} WHERE id = {id_}")
                    if chance.random() < 0.8:
                        cursor.execute(f"INSERT INTO {table} VALUES ({id_}, 'made {done[0]}', {chance.randrange(9)})")
                    cursor.execute(f"UPDATE {table} SET n = n + 1 WHERE id = {chance.randrange(1, 4000)}")
                    done[0] += 1
            connection.close()
        except BaseException as exc:
            failure.append(exc)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        worker.join()
    assert not failure, failure


def held(stack: Stack, schema: str, table: str) -> list[dict[str, Any]]:
    """
    Return every row that Fusion has of a table of the sync.
    """
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = stack.http.get(
            f"{stack.fusion.url}/views/tables/{stack.sync}/{schema}/{table}/rows",
            params={"limit": 5000, **more},
            headers={"X-API-Key": stack.key},
        )
        if answer.status_code == 404:
            return []
        page = answer.json()
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            return sorted(rows, key=lambda row: int(row["id"]))


@pytest.mark.timeout(300)
def test_edits_under_load_lose_double_and_misshape_no_row(make_stack: Callable[..., Stack], server: Server) -> None:
    """
    A field is renamed, a table added and the password changed while rows change all the time. In the end Fusion has exactly the rows of the
    server, all in the new shape; and a sync that none of the edits concerns was never restarted.
    """
    is_postgres = isinstance(server, PostgresServer)
    schema = "public" if is_postgres else "shop"
    if not is_postgres:
        server.sql("CREATE DATABASE shop")
    for table in ("goods", "orders"):
        run(server, f"CREATE TABLE {table} (id INT PRIMARY KEY, name VARCHAR(40), n INT)")
        values = ", ".join(f"({n}, 'first {n}', 0)" for n in range(1, 3001))
        run(server, f"INSERT INTO {table} VALUES {values}")
    if is_postgres:
        run(server, f"CREATE ROLE reader LOGIN SUPERUSER PASSWORD '{OLD}'")
    else:
        run(server, f"CREATE USER reader@'%' IDENTIFIED BY '{OLD}'")
        run(server, "GRANT ALL ON *.* TO reader@'%'")
    change_password = f"ALTER {'ROLE reader PASSWORD' if is_postgres else 'USER reader@`%` IDENTIFIED BY'} '{NEW}'"

    stack = make_stack(sync="shop")
    pusher = stack.fusion_pusher()
    stack.tree.joinpath("a file").write_text("x")
    secret = stack.folder / "password"
    secret.write_text(f"{OLD}\n")
    source = {
        "driver": "postgres" if is_postgres else "mysql",
        "uri": server.uri("shop"),
        "credential": {"user": "reader", "passwd": f"file:{secret}"},
        "driver_params": {"include": [f"{schema}.goods"]},
    }
    stack.write_source_config(source, pusher)
    path = stack.agent.folder / "agent-config.yaml"
    config = yaml.safe_load(path.read_text())
    config["sources"]["tree"] = {"driver": "fs", "uri": str(stack.tree), "disabled": False}
    config["syncs"]["aside"] = {"source": "tree", "pusher": "to"}
    config["syncs"]["shop"]["fields_mapping"] = [
        {"to": "title", "source": ["goods.name"]},
        {"to": "n", "source": ["goods.n"]},
    ]
    path.write_text("# ours\n" + yaml.safe_dump(config))
    stack.agent.start()
    api = f"{stack.agent.url}/api"

    def instance(sync: str) -> dict[str, Any]:
        found: dict[str, Any] = stack.http.get(f"{api}/instances/{sync}").json()
        return found

    def applied() -> dict[str, list[str]]:
        answer = stack.http.post(f"{api}/configs/apply")
        assert answer.status_code == 200, answer.text
        done: dict[str, list[str]] = answer.json()["applied"]
        return done

    def wait_for_more_load(statements: Callable[[], int]) -> None:
        before = statements()
        wait_for("the load goes on", lambda: statements() > before + 100)

    wait_for("the rows are there", lambda: len(held(stack, schema, "goods")) == 3000, on_timeout=stack.tails)
    wait_for("the tree is there", lambda: instance("aside")["session_id"])
    aside = instance("aside")["session_id"]
    assert set(held(stack, schema, "goods")[0]) == {"id", "title", "n"}

    with load(server) as statements:
        wait_for_more_load(statements)
        sync = stack.http.get(f"{api}/configs/syncs/shop").json()
        sync["fields_mapping"][0]["to"] = "label"
        assert stack.http.put(f"{api}/configs/syncs/shop", json=sync).status_code == 200
        assert "RUNNING_CONF_OUTDATE" in instance("shop")["states"]
        assert applied()["restarted"] == ["shop"]
        wait_for_more_load(statements)

        text = path.read_text()
        assert text.startswith("# ours\n")
        path.write_text(text.replace(f"- {schema}.goods\n", f"- {schema}.goods\n      - {schema}.orders\n"))
        assert path.read_text() != text
        before = instance("shop")["session_id"]
        assert stack.agent.process is not None
        os.kill(stack.agent.process.pid, signal.SIGHUP)
        wait_for("the sync is restarted", lambda: instance("shop").get("session_id") not in (None, before))
        wait_for_more_load(statements)

        run(server, change_password)
        secret.write_text(f"{NEW}\n")
        assert applied()["restarted"] == ["shop"]
        wait_for("the sync runs", lambda: instance("shop")["state"].startswith("MESSAGE_SYNC"), on_timeout=stack.tails)
        wait_for_more_load(statements)

    def differing() -> str:
        for table, fields in (("goods", ("id", "label", "n")), ("orders", ("id", "name", "n"))):
            wanted = [dict(zip(fields, row, strict=True)) for row in run(server, f"SELECT id, name, n FROM {table}")]
            wanted.sort(key=lambda row: row["id"])
            have = held(stack, schema, table)
            if have != wanted:
                odd = [row for row in have if row not in wanted][:3]
                return f"{table}: {len(have)} rows for {len(wanted)}; not so at the server: {odd}"
        return ""

    try:
        wait_for("Fusion has what the server has", lambda: not differing(), timeout_s=90, every_s=1)
    except AssertionError:
        raise AssertionError(f"{differing()}\n{stack.tails()}") from None
    assert instance("aside")["session_id"] == aside, "no edit concerns it"
    assert all(instance(one)["dead_letters"] == 0 for one in ("shop", "aside"))
    said = "".join(file.read_text("utf-8", "replace") for file in stack.agent.folder.glob("*.log"))
    assert OLD not in said and NEW not in said


GOOD = """\
# yaml-language-server: $schema=./agent-config.schema.json
sources:
  tree:
    driver: fs
    uri: {tree}
    disabled: false
    driver_params:
      rescan_interval_s: 3600
pushers:
  out:
    driver: echo
    endpoint: echo://out
    credential: {{user: me, passwd: "${{ECHO_PASSWORD}}"}}
    driver_params: {{file: {out}}}
    batch_size: 500
    disabled: false
syncs:
  main:
    source: tree
    pusher: out
    fields_mapping: []
"""

# What is written instead of what; then the line, where, and what the message and what is allowed must say.
MISTAKES: list[tuple[tuple[str, str], int, str, str, str]] = [
    (("driver: fs", "driver: fss"), 4, "sources.tree.driver", "'fss'", "did you mean `fs`? installed: fs, mysql"),
    (("    uri:", "    url:"), 5, "sources.tree.url", "unknown key", "did you mean `uri`? allowed keys: driver"),
    (("    driver: fs\n", ""), 3, "sources.tree.driver", "required", "allowed: text that is not empty; Name of"),
    (
        ("disabled: false\n    driver_p", "disabled: perhaps\n    driver_p"),
        6,
        "sources.tree.disabled",
        "'perhaps'",
        "true or",
    ),
    (("rescan_interval_s: 3600", "rescan_interval_s: -1"), 8, "rescan_interval_s", "not -1", "at least 0"),
    (
        ("rescan_interval_s:", "rescan_intervals:"),
        8,
        "rescan_intervals",
        "unknown key",
        "did you mean `rescan_interval_s`",
    ),
    (("batch_size: 500", "batch_size: 0"), 15, "pushers.out.batch_size", "greater than", "a whole number at least 1"),
    (("batch_size: 500", "batch_size: lots"), 15, "pushers.out.batch_size", "'lots'", "allowed: a whole number"),
    (("user: me, passwd:", "user: me, password:"), 13, "credential.password", "unknown key", "did you mean `passwd`"),
    (('"${ECHO_PASSWORD}"', '"${ECHO_PASSWORD"'), 13, "credential.passwd", "not closed", "allowed: `${NAME}`"),
    (('"${ECHO_PASSWORD}"', '"${ECHO PASSWORD}"'), 13, "credential.passwd", "no name", "allowed: `${NAME}`"),
    (
        ("source: tree", "source: tee"),
        19,
        "syncs.main.source",
        "no source 'tee'",
        "did you mean `tree`? known sources: tree",
    ),
    (("pusher: out", "pusher: [out]"), 20, "syncs.main.pusher", "string", "allowed: text"),
    (
        ("fields_mapping: []", "fields_mapping: [{to: a}]"),
        21,
        "fields_mapping.0.source",
        "required",
        "a list with at least",
    ),
    (("syncs:", "snycs:"), 17, "snycs", "unknown key", "did you mean `syncs`? allowed keys: sources, pushers, syncs"),
    (("  main:", "  main sync:"), 18, "syncs.main sync", "can't be an id", "allowed: up to 100 letters"),
    (("  main:\n", "  main: yes\n  other:\n"), 18, "syncs.main", "keys and values", "allowed: `main: {source: id-of"),
    (
        ("    pusher: out", "    pusher: out\n    pusher: out"),
        21,
        "syncs.main.pusher",
        "twice",
        "allowed: each key once",
    ),
    (("    driver: echo", "\tdriver: echo"), 11, "", "a tab", "allowed: spaces only"),
    (("    pusher: out", "   pusher: out"), 20, "syncs.main.pusher", "does not fit", "allowed: spaces only"),
    (("{user: me, ", "{user: me  "), 13, "pushers.out.credential", "", "allowed: "),
    (("uri: ", "uri: @"), 5, "sources.tree.uri", "can't begin", "allowed: a value in quotes"),
]


@pytest.mark.timeout(300)
def test_twenty_mistakes_give_twenty_messages_and_stop_nothing(tmp_path: Path) -> None:
    """
    Each wrong edit by hand is refused by `fustor-agent check` and by apply with line, key and what is allowed, while the sync goes on
    streaming with the last good configuration; the mended file is taken.
    """
    tree, out = tmp_path / "tree", tmp_path / "out.jsonl"
    tree.mkdir()
    good = GOOD.format(tree=tree, out=out)
    agent = Service("agent", tmp_path / "agent", {"ECHO_PASSWORD": "never-shown"})
    agent.folder.mkdir()
    path = agent.folder / "agent-config.yaml"
    path.write_text(good)
    assert parse(good).problems == []
    agent.start()
    try:
        with httpx.Client(
            base_url=f"{agent.url}/api/", timeout=30, headers={"Authorization": f"Bearer {AGENT_TOKEN}"}
        ) as api:

            def streams(name: str) -> None:
                tree.joinpath(name).write_text("x")
                wait_for(f"{name} is pushed", lambda: out.exists() and name in out.read_text(), on_timeout=agent.tail)

            streams("before")
            session = api.get("instances/main").json()["session_id"]
            messages: set[str] = set()
            for number, (change, line, where, says, allowed) in enumerate(MISTAKES):
                assert change[0] in good, change
                path.write_text(good.replace(*change, 1))
                answer = api.post("configs/apply")
                assert answer.status_code == 409, (change, answer.text)
                problems = {(one["line"], one["where"]): one for one in answer.json()["context"]["problems"]}
                found = [one for (at, place), one in problems.items() if at == line and place.endswith(where)]
                assert found, (change, problems)
                assert says in found[0]["message"] and allowed in found[0]["hint"], (change, found)
                assert found[0]["column"] >= 1
                messages.add(f"{found[0]['line']} {found[0]['where']} {found[0]['message']}")
                streams(f"file-{number}")
            assert len(messages) == len(MISTAKES) >= 20
            assert api.get("instances/main").json()["session_id"] == session, "it was never restarted"
            checked = subprocess.run(
                [str(Path(sys.executable).with_name("fustor-agent")), "check"],
                env=agent.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 1 and f"{path}:5:10: `sources.tree.uri`" in checked.stdout
            path.write_text(good.replace("batch_size: 500", "batch_size: 600"))
            assert api.post("configs/apply").json()["applied"]["restarted"] == ["main"]
            streams("after")
        assert "never-shown" not in agent.tail(1000)
    finally:
        agent.stop()
