"""
Random transactions, schema changes and truncates on real servers, snapshots all along, and kill -9 of the server, the agent and
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
import pytest
import yaml
from harness.databases import MariaDbWork, PostgresWork, Rows, Work, Writer, comparable
from harness.stack import Stack, wait_for

from fustor_core.testing.private_server import PASSWORD, USER

pytestmark = [pytest.mark.timeout(900), pytest.mark.torture]

FIRST = int(os.environ.get("FUSTOR_TORTURE_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FUSTOR_TORTURE_SEEDS", "2")))
SECONDS = float(os.environ.get("FUSTOR_TORTURE_SECONDS", "12"))
CALM_TIMEOUT_S = 40.0


@pytest.fixture(params=[MariaDbWork, PostgresWork], ids=["mariadb", "postgres"])
def work(request: pytest.FixtureRequest) -> Iterator[Work]:
    made = request.param()
    yield made
    made.server.close()


def configure(stack: Stack, work: Work) -> None:
    config = {
        "sources": {
            "db": {
                **work.source(),
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


def truth(work: Work) -> dict[str, Rows]:
    return {table: work.read(table) for table in work.tables}


def held(stack: Stack, work: Work) -> dict[str, Rows]:
    found = {}
    there = {table["table"] for table in stack.fusion_get("/views/tables")["rows"]}
    for table in work.tables:
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while table in there:
            more = {"cursor": cursor} if cursor else {}
            page = stack.fusion_get(f"/views/tables/{stack.sync}/{quote(work.schema)}/{table}/rows", limit=5000, **more)
            rows += page["rows"]
            cursor = page["next"]
            if cursor is None:
                break
        found[table] = Counter(map(comparable, rows))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rows_are_right_after_random_work_and_kills(
    make_stack: Callable[..., Stack], work: Work, seed: int
) -> None:
    """
    Nothing is lost, nothing is left over, nothing comes twice.
    """
    chance = random.Random(seed)
    work.prepare()
    stack = make_stack()
    stack.registry.start()
    stack.key = stack.provision("rows")
    stack.fusion.start()
    configure(stack, work)
    stack.agent.start()
    stop = threading.Event()
    writers = [Writer(work, seed * 100 + n, stop) for n in range(3)]
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
            work.server.kill()
            work.server.start()
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
    wanted = truth(work)

    def differences() -> str:
        have = held(stack, work)
        lines = [
            f"{table}: missing {list((wanted[table] - have[table]).items())[:5]}, extra {list((have[table] - wanted[table]).items())[:5]}"
            for table in work.tables
            if wanted[table] != have[table]
        ]
        return "\n".join([*lines, str(stack.sync_status()), stack.tails()])

    wait_for(
        "Fusion has the server's rows",
        lambda: held(stack, work) == wanted,
        timeout_s=CALM_TIMEOUT_S,
        every_s=0.3,
        on_timeout=differences,
    )
    stack.one_more_snapshot(CALM_TIMEOUT_S)
    assert held(stack, work) == wanted, differences()
