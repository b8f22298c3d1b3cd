"""
Random transactions, schema changes and truncates on a real MariaDB, snapshots all along, and kill -9 of the server, the agent and
Fusion: at the end Fusion has what the server has, row for row.

`FUSTOR_TORTURE_SEEDS` says how many seeds (default 2), `FUSTOR_TORTURE_SECONDS` how long each works (default 12), `FUSTOR_TORTURE_FIRST_SEED` where to
begin: a failure names its seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pymysql
import pytest
import yaml
from harness.stack import Stack, wait_for

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.private_server import PASSWORD, USER

pytestmark = [pytest.mark.timeout(900), pytest.mark.torture]

FIRST = int(os.environ.get("FUSTOR_TORTURE_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FUSTOR_TORTURE_SEEDS", "2")))
SECONDS = float(os.environ.get("FUSTOR_TORTURE_SECONDS", "12"))
CALM_TIMEOUT_S = 40.0
SCHEMA = "work"
TABLES = {
    "plain": "id INT PRIMARY KEY, v VARCHAR(40), n DECIMAL(20,6)",
    "composed": "a VARCHAR(10) COLLATE utf8mb4_general_ci, b INT, v VARCHAR(40), PRIMARY KEY (a, b)",
}


class Writer(threading.Thread):
    """
    Writes at random until told to stop; connects again when the server was killed.
    """

    def __init__(self, server: MariaDbServer, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._chance = random.Random(seed)
        self._stop_asked = stop
        self.done = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                connection = pymysql.connect(
                    host="127.0.0.1", port=self._server.port, user=USER, password=PASSWORD, database=SCHEMA
                )
            except pymysql.err.OperationalError:
                self._stop_asked.wait(0.05)  # the server is down
                continue
            try:
                with connection.cursor() as cursor:
                    while not self._stop_asked.is_set():
                        self._transaction(cursor)
            except (pymysql.err.OperationalError, pymysql.err.IntegrityError, pymysql.err.InterfaceError):
                continue  # killed, a deadlock, or a key that is there already: what was not committed is gone
            except BaseException as exc:
                self.error = exc
                raise
            finally:
                with contextlib.suppress(pymysql.err.Error):
                    connection.close()

    def _transaction(self, cursor: Any) -> None:
        chance = self._chance
        roll = chance.random()
        if roll < 0.01:
            cursor.execute(f"TRUNCATE TABLE {chance.choice(list(TABLES))}")
            return
        if roll < 0.02:
            with contextlib.suppress(pymysql.err.OperationalError, pymysql.err.ProgrammingError):
                change = chance.choice(("ADD COLUMN extra INT DEFAULT 7", "DROP COLUMN extra", "MODIFY v VARCHAR(60)"))
                cursor.execute(f"ALTER TABLE plain {change}")
            return
        cursor.execute("BEGIN")
        for _ in range(chance.randint(1, 5)):
            if chance.random() < 0.1:
                cursor.execute("SAVEPOINT s")
                cursor.execute(self._statement())
                cursor.execute("ROLLBACK TO s")
            else:
                cursor.execute(self._statement())
        cursor.execute("ROLLBACK" if chance.random() < 0.15 else "COMMIT")
        self.done += 1

    def _statement(self) -> str:
        chance = self._chance
        n, m, word = chance.randrange(300), chance.randrange(300), f"v{chance.randrange(10**6)}"
        letter = chance.choice("aBcDe")
        return chance.choice(
            (
                f"REPLACE INTO plain (id, v, n) VALUES ({n}, '{word}', {n}/7)",
                f"INSERT INTO plain (id, v, n) VALUES ({n}, '{word}', 1) ON DUPLICATE KEY UPDATE v = '{word}', n = n + 1",
                f"UPDATE plain SET v = '{word}' WHERE id BETWEEN {n} AND {n + 20}",
                f"UPDATE IGNORE plain SET id = {m} WHERE id = {n}",
                f"DELETE FROM plain WHERE id = {n}",
                f"REPLACE INTO composed VALUES ('{letter}{n}', {m % 5}, '{word}')",
                f"UPDATE IGNORE composed SET a = UPPER(a), b = {m % 5} WHERE a = '{letter}{n}'",
                f"DELETE FROM composed WHERE a < '{letter}' LIMIT 3",
            )
        )


@pytest.fixture
def server() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new(
        {"innodb-lock-wait-timeout": "2", "innodb-flush-log-at-trx-commit": "1", "sync-binlog": "1"}
    )
    yield made
    made.close()


def configure(stack: Stack, server: MariaDbServer) -> None:
    config = {
        "sources": {
            "db": {
                "driver": "mysql",
                "uri": server.uri(SCHEMA),
                "credential": {"user": USER, "passwd": PASSWORD},
                "max_retries": 0,
                "retry_delay_sec": 1,
                "disabled": False,
                "driver_params": {"rows_at_once": 200},
            }
        },
        "pushers": {
            "fusion": {
                "driver": "fusion",
                "endpoint": stack.fusion.url,
                "credential": {"key": stack.key},
                "batch_size": 50,
                "max_retries": 0,
                "retry_delay_sec": 1,
                "disabled": False,
            }
        },
        "syncs": {stack.sync: {"source": "db", "pusher": "fusion", "disabled": False}},
    }
    stack.agent.folder.mkdir(parents=True, exist_ok=True)
    (stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))


def truth(server: MariaDbServer) -> dict[str, Counter[tuple[tuple[str, Any], ...]]]:
    connection = pymysql.connect(host="127.0.0.1", port=server.port, user=USER, password=PASSWORD, database=SCHEMA)
    try:
        found = {}
        for table in TABLES:
            with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                cursor.execute(f"SELECT * FROM {table}")
                found[table] = Counter(_row(row) for row in cursor.fetchall())
        return found
    finally:
        connection.close()


def held(stack: Stack) -> dict[str, Counter[tuple[tuple[str, Any], ...]]]:
    found = {}
    there = {table["table"] for table in stack.fusion_get("/views/tables")["rows"]}
    for table in TABLES:
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while table in there:
            more = {"cursor": cursor} if cursor else {}
            page = stack.fusion_get(f"/views/tables/{stack.sync}/{quote(SCHEMA)}/{table}/rows", limit=5000, **more)
            rows += page["rows"]
            cursor = page["next"]
            if cursor is None:
                break
        found[table] = Counter(_row(row) for row in rows)
    return found


def _row(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, None if value is None else str(value)) for name, value in row.items()))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rows_are_right_after_random_work_and_kills(
    make_stack: Callable[..., Stack], server: MariaDbServer, seed: int
) -> None:
    """
    Nothing is lost, nothing is left over, nothing comes twice.
    """
    chance = random.Random(seed)
    server.sql(
        f"CREATE DATABASE {SCHEMA}; USE {SCHEMA}; " + "; ".join(f"CREATE TABLE {t} ({c})" for t, c in TABLES.items())
    )
    stack = make_stack()
    stack.registry.start()
    stack.key = stack.provision("rows")
    stack.fusion.start()
    configure(stack, server)
    stack.agent.start()
    stop = threading.Event()
    writers = [Writer(server, seed * 100 + n, stop) for n in range(3)]
    for writer in writers:
        writer.start()
    kills = Counter[str]()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        pause_until = time.monotonic() + chance.uniform(0.1, 2.0)  # of random length: it chooses the moment of the kill
        while time.monotonic() < pause_until:
            # The agent may be dead or starting: then nobody can be asked.
            with contextlib.suppress(httpx.TransportError, AssertionError):
                stack.ask_snapshot()
            time.sleep(0.05)
        victim = chance.choice(("agent", "fusion", "server"))
        kills[victim] += 1
        if victim == "server":
            server.kill()
            server.start()
        else:
            service = stack.agent if victim == "agent" else stack.fusion
            service.kill()
            service.start(wait=False)
    stop.set()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
        assert writer.error is None
    for service in stack.services:
        service.wait_ready()
    print(f"seed {seed}: {sum(writer.done for writer in writers)} transactions, killed {dict(kills)}")
    wanted = truth(server)

    def differences() -> str:
        have = held(stack)
        lines = [
            f"{table}: missing {list((wanted[table] - have[table]).items())[:5]}, extra {list((have[table] - wanted[table]).items())[:5]}"
            for table in TABLES
            if wanted[table] != have[table]
        ]
        return "\n".join([*lines, str(stack.sync_status()), stack.tails()])

    wait_for(
        "Fusion has the server's rows",
        lambda: held(stack) == wanted,
        timeout_s=CALM_TIMEOUT_S,
        every_s=0.3,
        on_timeout=differences,
    )
    stack.one_more_snapshot(CALM_TIMEOUT_S)
    assert held(stack) == wanted, differences()
