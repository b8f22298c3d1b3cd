"""
Random transactions, schema changes and truncates on real servers, snapshots all along, and kill -9 of the server, the agent and
the consumer: at the end the consumer has what the server has, row for row. The consumer is Fusion, or the one of the guide, which
only upserts and deletes by key, in the order of arrival.

`FUSTOR_TORTURE_SEEDS` says how many seeds (default 1), `FUSTOR_TORTURE_SECONDS` how long each works (default 8), `FUSTOR_TORTURE_FIRST_SEED` where to
begin: a failure names its seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from harness.databases import MariaDbWork, MysqlWork, PostgresWork, Rows, Work, Writer, comparable
from harness.guide_consumer import Consumer
from harness.stack import Stack, wait_for

from fustor_core.testing.private_server import PASSWORD, USER

pytestmark = [pytest.mark.timeout(900), pytest.mark.torture]

FIRST = int(os.environ.get("FUSTOR_TORTURE_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FUSTOR_TORTURE_SEEDS", "1")))
SECONDS = float(os.environ.get("FUSTOR_TORTURE_SECONDS", "8"))
CALM_TIMEOUT_S = 40.0


@pytest.fixture(params=[MariaDbWork, MysqlWork, PostgresWork], ids=["mariadb", "mysql", "postgres"])
def work(request: pytest.FixtureRequest) -> Iterator[Work]:
    made = request.param()
    yield made
    made.server.close()


class FusionSink:
    """
    Fusion, settling by index.
    """

    counts_copies = True

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack

    def start(self) -> dict[str, Any]:
        """
        Start it; return the pusher's configuration.
        """
        return self._stack.fusion_pusher()

    def kill(self) -> None:
        """
        Kill it and start it again.
        """
        self._stack.fusion.kill()
        self._stack.fusion.start(wait=False)

    def wait_ready(self) -> None:
        """
        Wait until it answers.
        """
        self._stack.fusion.wait_ready()

    def one_more_snapshot(self) -> None:
        """
        Take a snapshot to its end.
        """
        self._stack.one_more_snapshot(CALM_TIMEOUT_S)

    def held(self, work: Work) -> dict[str, Rows]:
        """
        Return the rows it holds.
        """
        stack, found = self._stack, {}
        there = {table["table"] for table in stack.fusion_get("/views/tables")["rows"]}
        for table in work.tables:
            rows: list[dict[str, Any]] = []
            cursor: str | None = None
            while table in there:
                more = {"cursor": cursor} if cursor else {}
                path = f"/views/tables/{stack.sync}/{quote(work.schema)}/{table}/rows"
                page = stack.fusion_get(path, limit=5000, **more)
                rows += page["rows"]
                cursor = page["next"]
                if cursor is None:
                    break
            found[table] = Counter(map(comparable, rows))
        return found


class UpsertSink:
    """
    The guide's consumer: no versions, the order of arrival is all it has. Tables without a key are left out for it.
    """

    counts_copies = False

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        folder = folder / "consumer"
        folder.mkdir()
        self._consumer = Consumer(folder)

    def start(self) -> dict[str, Any]:
        """
        Start it; return the pusher's configuration.
        """
        self._consumer.start()
        return {"driver": "openapi", "endpoint": self._consumer.url}

    def kill(self) -> None:
        """
        Kill it and start it again.
        """
        self._consumer.kill()
        self._consumer.start()

    def wait_ready(self) -> None:
        """
        It answers since `kill` has returned.
        """

    def one_more_snapshot(self) -> None:
        """
        Take a snapshot to its end.
        """
        stack = self._stack
        wait_for("no snapshot is under way", lambda: not stack.sync_status().get("snapshot"), timeout_s=CALM_TIMEOUT_S)
        wait_for("one more is accepted", stack.ask_snapshot, timeout_s=CALM_TIMEOUT_S)
        wait_for("it ends", lambda: not stack.sync_status().get("snapshot"), timeout_s=CALM_TIMEOUT_S)

    def held(self, work: Work) -> dict[str, Rows]:
        """
        Return the rows it holds.
        """
        found: dict[str, Rows] = {table: Counter() for table in work.tables}
        with sqlite3.connect(self._consumer.folder / "received.db") as store:
            for table, doc in store.execute("SELECT name, doc FROM row"):
                if table in found:
                    found[table][comparable(json.loads(doc))] += 1
        return found

    def close(self) -> None:
        """
        End it.
        """
        self._consumer.kill()


@pytest.fixture(params=[FusionSink, UpsertSink], ids=["fusion", "upsert"])
def make_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Stack], FusionSink | UpsertSink]]:
    made: list[FusionSink | UpsertSink] = []

    def make(stack: Stack) -> FusionSink | UpsertSink:
        made.append(request.param(stack, tmp_path))
        return made[0]

    yield make
    for sink in made:
        if isinstance(sink, UpsertSink):
            sink.close()


def truth(work: Work, *, counts_copies: bool) -> dict[str, Rows]:
    """Return what the consumer should hold."""
    left_out = frozenset() if counts_copies else work.keyless
    return {table: Counter() if table in left_out else work.read(table) for table in work.tables}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rows_are_right_after_random_work_and_kills(
    make_stack: Callable[..., Stack],
    make_sink: Callable[[Stack], FusionSink | UpsertSink],
    work: Work,
    seed: int,
) -> None:
    """
    Nothing is lost, nothing is left over, nothing comes twice.
    """
    chance = random.Random(seed)
    work.prepare()
    stack = make_stack()
    sink = make_sink(stack)
    source = {
        **work.source(),
        "credential": {"user": USER, "passwd": PASSWORD},
        "driver_params": {"rows_at_once": 200},
    }
    stack.write_source_config(source, {**sink.start(), "batch_size": 50})
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
        victim = chance.choice(("agent", "consumer", "server"))
        kills[victim] += 1
        if victim == "server":
            work.server.kill()
            work.server.start()
        elif victim == "agent":
            stack.agent.kill()
            stack.agent.start(wait=False)
        else:
            sink.kill()
    stop.set()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
        assert writer.error is None
    stack.agent.wait_ready()
    sink.wait_ready()
    print(f"seed {seed}: {sum(writer.done for writer in writers)} transactions, killed {dict(kills)}")
    wanted = truth(work, counts_copies=sink.counts_copies)

    def differences() -> str:
        have = sink.held(work)
        lines = [
            f"{table}: missing {list((wanted[table] - have[table]).items())[:5]}, extra {list((have[table] - wanted[table]).items())[:5]}"
            for table in work.tables
            if wanted[table] != have[table]
        ]
        return "\n".join([*lines, str(stack.sync_status()), stack.tails()])

    wait_for(
        "the consumer has the server's rows",
        lambda: sink.held(work) == wanted,
        timeout_s=CALM_TIMEOUT_S,
        every_s=0.3,
        on_timeout=differences,
    )
    sink.one_more_snapshot()
    assert sink.held(work) == wanted, differences()
