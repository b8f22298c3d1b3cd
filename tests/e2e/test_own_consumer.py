"""
The consumer of docs/how-to/send-to-your-own-service.md: a few lines that know UPSERT and DELETE, and end up right all the same.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.guide_consumer import Consumer
from harness.stack import Stack, wait_for
from harness.trees import RandomWork, find_tree, make_tree

from fustor_core.models.config import PusherConfig
from fustor_core.testing.pusher_contract import PusherConformance
from fustor_pusher_openapi import OpenApiPusher

WORK_S = 8.0


@pytest.fixture
def consumer(tmp_path: Path) -> Iterator[Consumer]:
    folder = tmp_path / "consumer"
    folder.mkdir()
    made = Consumer(folder)
    made.start()
    yield made
    made.kill()


class Bench:
    """
    What the conformance suite asks of the guide's consumer.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def make_driver(self) -> OpenApiPusher:
        return OpenApiPusher("p", PusherConfig(driver="openapi", endpoint=self._consumer.url))

    async def rows(self) -> Mapping[int, Mapping[str, Any]] | None:
        return {row["id"]: row for row in map(json.loads, self._consumer.documents())}

    async def fail_next(self, fault: str) -> bool:
        if fault == "away":
            self._consumer.kill()
        elif fault == "superseded":
            with sqlite3.connect(self._consumer.folder / "received.db") as store:
                store.execute("UPDATE sync SET session = 'another'")
        else:
            return False
        return True


class TestGuideConsumer(PusherConformance):
    @pytest.fixture
    async def bench(self, consumer: Consumer) -> Bench:
        return Bench(consumer)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_plain_upsert_converges_over_kills(make_stack: Callable[..., Stack], consumer: Consumer, seed: int) -> None:
    """
    Random work on a tree, snapshots, and kill -9 of agent and consumer: at the end the consumer has what find has.
    """
    stack = make_stack()
    make_tree(stack.tree, 1500)
    config = {
        "sources": {"tree": {"driver": "fs", "uri": str(stack.tree), "disabled": False}},
        "pushers": {
            "mine": {
                "driver": "openapi",
                "endpoint": consumer.url,
                "batch_size": 500,
                "max_retries": 0,
                "retry_delay_sec": 1,
                "disabled": False,
            }
        },
        "syncs": {stack.sync: {"source": "tree", "pusher": "mine", "disabled": False}},
    }
    stack.agent.folder.mkdir(parents=True)
    (stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))
    stack.agent.start()
    chance = random.Random(seed)
    kills = 0
    until = time.monotonic() + WORK_S
    with RandomWork(stack.tree, seed) as work:
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.2, 1.5))  # of random length: it chooses the moment of the kill
            if chance.random() < 0.5:
                stack.agent.kill()
                stack.agent.start(wait=False)
            else:
                consumer.kill()
                consumer.start()
            kills += 1
    stack.agent.wait_ready()
    print(f"seed {seed}: {work.done} operations, {kills} kills")

    def held() -> dict[str, tuple[str, int]]:
        rows = map(json.loads, consumer.documents())
        return {row["path"]: (row["type"], row["size"]) for row in rows if row["path"]}

    truth = {path: (seen.type, seen.size if seen.type == "file" else 0) for path, seen in find_tree(stack.tree).items()}

    def differs() -> str:
        here = held()
        wrong = {path for path in truth.keys() | here.keys() if truth.get(path) != here.get(path)}
        return (
            f"{len(wrong)} differ: {[(p, truth.get(p), here.get(p)) for p in sorted(wrong)[:10]]}\n{stack.agent.tail()}"
        )

    wait_for("the consumer has the tree", lambda: held() == truth, timeout_s=120, on_timeout=differs)
    wait_for("a snapshot can be asked for", stack.ask_snapshot)
    wait_for("one more snapshot ends", lambda: not stack.sync_status().get("snapshot"))
    assert held() == truth
