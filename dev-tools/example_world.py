"""
A small world for pictures: a shop in MariaDB, a laboratory in PostgreSQL, a tree of files, an agent that brings all of them to Fusion, and a
Registry with some people in it. Names, figures and times are made up, and the same every time.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml
from harness.sender import Sender
from harness.stack import AGENT_TOKEN, Stack, wait_for

from fustor_client import AgentClient, RegistryClient
from fustor_client.models import AgentSync
from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

SEED: Final = 7
ORDERS: Final = 20_000
LIVE_EVERY_S: Final = 0.25
REPORT_EVERY_S: Final = 20.0
TILLS: Final = (("till-1", "receipts"), ("till-2", "receipts-2"))
"""
Agents that are none: what sends their rows tells the Registry of them, too.
"""

SHOP: Final = """
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(80), city VARCHAR(40), since DATE);
INSERT INTO customers SELECT seq, ELT(1 + seq % 8, 'Ada Lindqvist', 'Bo Chen', 'Chidi Okafor', 'Dana Novak', '王小明', 'Elif Demir', 'Farid Haddad', 'Grace Kim'),
  CONCAT('customer', seq, '@example.org'), ELT(1 + seq % 5, 'Lisbon', 'Osaka', 'Lagos', '上海', 'Oslo'), DATE('2024-01-01') + INTERVAL seq % 700 DAY FROM seq_1_to_800;
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL, total DECIMAL(10,2) NOT NULL, state ENUM('new','paid','sent','returned') NOT NULL,
  placed_at DATETIME(3) NOT NULL, note TEXT, items INT NOT NULL);
INSERT INTO orders SELECT seq, 1 + seq % 800, ROUND(5 + (seq * 7919 % 90000) / 100, 2), 1 + seq % 4, TIMESTAMP('2026-01-01') + INTERVAL seq * 23 MINUTE,
  IF(seq % 9 = 0, 'leave at the door', NULL), IF(seq = 4711, 0, 1 + seq % 5) FROM seq_1_to_{orders};
CREATE TABLE stock (sku CHAR(8) PRIMARY KEY, title VARCHAR(80) NOT NULL, amount INT NOT NULL, price DECIMAL(8,2) NOT NULL);
INSERT INTO stock SELECT LPAD(seq, 8, '0'), CONCAT('Article ', seq), seq * 37 % 500, ROUND(seq * 1.7, 2) FROM seq_1_to_300;
"""
LAB: Final = """
CREATE TABLE samples (id UUID PRIMARY KEY, taken_at TIMESTAMPTZ NOT NULL, site TEXT NOT NULL, ph NUMERIC(4,2), tags TEXT[], reading JSONB);
INSERT INTO samples SELECT md5(n::text)::uuid, TIMESTAMPTZ '2026-03-01' + n * INTERVAL '17 minutes', (ARRAY['north', 'south', 'river'])[1 + n % 3],
  6 + (n % 250) / 100.0, ARRAY['run ' || n % 12], json_build_object('t', 4 + n % 20, 'ok', n % 11 <> 0) FROM generate_series(1, 6000) n;
CREATE TABLE instruments (name TEXT PRIMARY KEY, serial TEXT NOT NULL, calibrated_on DATE);
INSERT INTO instruments SELECT 'instrument ' || n, 'SN-' || 1000 + n, DATE '2026-01-01' + n FROM generate_series(1, 40) n;
"""
FOLDERS: Final = {
    "microscopy/2025": (".tiff", 60, 900_000),
    "microscopy/2026": (".tiff", 90, 1_200_000),
    "sequencing/run-01": (".fastq", 40, 2_000_000),
    "sequencing/run-02": (".fastq", 40, 2_600_000),
    "notes": (".md", 120, 6_000),
    "figures": (".svg", 50, 40_000),
    "papers": (".pdf", 30, 700_000),
}


@dataclass
class World:
    """
    What there is.

    Attributes:
        stack: The three services.
        mariadb: Whose database `shop` is read.
        postgres: Whose database is read.
    """

    stack: Stack
    mariadb: MariaDbServer
    postgres: PostgresServer

    @property
    def consoles(self) -> dict[str, str]:
        """
        Address of each console.
        """
        return {
            "registry": f"{self.stack.registry.url}/console",
            "agent": f"{self.stack.agent.url}/console",
            "fusion": f"{self.stack.fusion.url}/view",
        }

    @property
    def credentials(self) -> dict[str, dict[str, str]]:
        """
        What is filled in where one signs in.
        """
        return {
            "registry": {"name": "admin", "password": self.stack.admin_password},
            "agent": {"token": AGENT_TOKEN},
            "fusion": {"key": self.stack.key},
        }


@contextmanager
def build_world(folder: Path) -> Iterator[World]:
    """
    Build it, and let something happen in it until it is left.

    Args:
        folder: Where all of it keeps its files.
    """
    with ExitStack() as left:
        mariadb = MariaDbServer.start_new()
        left.callback(mariadb.close)
        mariadb.sql(SHOP.format(orders=ORDERS))
        postgres = PostgresServer.start_new()
        left.callback(postgres.close)
        postgres.sql(LAB)
        tree = folder / "research"
        _make_tree(tree)
        stack = Stack(folder / "services", tree)
        left.callback(stack.close)
        world = World(stack, mariadb, postgres)
        _start(world)
        _people(stack)
        stop = threading.Event()
        happening = threading.Thread(target=_let_it_happen, args=(world, stop), name="what happens")
        happening.start()
        left.callback(happening.join)
        left.callback(stop.set)
        yield world


def _make_tree(tree: Path) -> None:
    chance, now = random.Random(SEED), time.time()
    for name, (suffix, count, size) in FOLDERS.items():
        (tree / name).mkdir(parents=True)
        for at in range(count):
            file = tree / name / f"{name.split('/')[-1]}-{at:03}{suffix}"
            with file.open("wb") as written:
                written.truncate(int(size * (0.3 + chance.random())))  # sparse: takes no room
            when = now - chance.random() * 40 * 86_400
            os.utime(file, (when, when))


def _start(world: World) -> None:
    stack = world.stack
    stack.registry.start()
    stack.key = stack.provision("research")
    stack.fusion.start()
    key_file = stack.folder / "agent-key"
    key_file.write_text(stack.key)
    stack.agent.env |= {
        "FUSTOR_AGENT_REGISTRY_URL": stack.registry.url,
        "FUSTOR_AGENT_REGISTRY_KEY_FILE": str(key_file),
    }
    account = {"user": USER, "passwd": PASSWORD}
    patient: dict[str, Any] = {"disabled": False, "max_retries": 0, "retry_delay_sec": 1}
    fusion = {"driver": "fusion", "endpoint": stack.fusion.url, "credential": {"key": stack.key}, **patient}
    config = {
        "sources": {
            "shop": {"driver": "mysql", "uri": world.mariadb.uri("shop"), "credential": account, **patient},
            "lab": {"driver": "postgres", "uri": world.postgres.uri(), "credential": account, **patient},
            "research": {"driver": "fs", "uri": str(stack.tree), **patient},
        },
        "pushers": {"fusion": fusion, "archive": {**fusion, "endpoint": "http://127.0.0.1:9"}},
        "syncs": {
            "shop": {"source": "shop", "pusher": "fusion", "transforms": _TRANSFORMS},
            "lab": {"source": "lab", "pusher": "fusion"},
            "research": {"source": "research", "pusher": "fusion"},
            "lab-archive": {"source": "lab", "pusher": "archive"},
        },
    }
    stack.agent.folder.mkdir(parents=True, exist_ok=True)
    (stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    state = stack.agent.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "agent-id").write_text("lab-server\n")
    stack.agent.start()
    with AgentClient(stack.agent.url, AGENT_TOKEN) as agent:
        for sync in ("shop", "lab", "research"):
            wait_for(f"{sync} is live", lambda sync=sync: _is_live(agent, sync))
        agent.put_config("pushers", "spare", {**fusion, "batch_size": 500})
        agent.put_config("pushers", "spare", {**fusion, "batch_size": 1000, "disabled": True})
        agent.apply()
        agent.put_config("pushers", "spare", {**fusion, "batch_size": 2000, "disabled": True})


_TRANSFORMS: Final = [
    {"type": "mask", "tables": ["customers"], "fields": ["email"], "method": "redact"},
    # One order has no items: its row is parked as a dead letter.
    {"type": "derive", "tables": ["orders"], "to": "per_item", "value": "total / items"},
]


def _is_live(agent: AgentClient, sync: str) -> bool:
    told = agent.instance(sync)
    return told.snapshot is None and told.sent_rows > 0


def _people(stack: Stack) -> None:
    with RegistryClient(stack.registry.url) as registry:
        registry.login("admin", stack.admin_password)
        for name, role in (("ada", "owner"), ("bo", "member"), ("chidi", "read-only")):
            registry.create_user(name, f"a password of {name}", role=role)
        archive = registry.create_datastore("archive", description="What is kept for good")
        registry.create_key("dashboard of the shop", archive.id, scopes=["read"])
        old = registry.create_key("nightly export", archive.id, scopes=["read"])
        registry.rotate_key(old.id, overlap_s=86_400)
        wait_for(
            "the Registry has heard that shop is live", lambda: "MESSAGE_SYNC" in _reported(registry).get("shop", "")
        )
        registry.logout()  # or the page of one's account would list it


def _reported(registry: RegistryClient) -> dict[str, str]:
    return {sync.id: sync.state for agent in registry.agents() for sync in agent.syncs}


def _let_it_happen(world: World, stop: threading.Event) -> None:
    chance, at = random.Random(SEED), ORDERS
    others = [Sender(world.stack.fusion.url, world.stack.key, task, agent_id=agent) for agent, task in TILLS]
    report_at = 0.0
    while not stop.wait(LIVE_EVERY_S):
        at += 1
        world.mariadb.sql(
            f"INSERT INTO shop.orders VALUES ({at}, {chance.randint(1, 800)}, {chance.randint(500, 90_000) / 100}, 'new', NOW(3), NULL, 2);"
            f"UPDATE shop.stock SET amount = {chance.randint(0, 500)} WHERE sku = LPAD({chance.randint(1, 300)}, 8, '0')"
        )
        for sender in others:
            sender.rows(
                "till", "receipts", ("id", "total"), [(at, f"{chance.randint(1, 99)}.50")], ts=time.time() - 0.02
            )
        if time.monotonic() >= report_at:
            report_at = time.monotonic() + REPORT_EVERY_S
            with RegistryClient(world.stack.registry.url) as registry:
                for agent, task in TILLS:
                    syncs = [AgentSync(task, "MESSAGE_SYNC")]
                    registry.report_agent(
                        world.stack.key, agent, version=version("fustor-agent"), host=agent, syncs=syncs
                    )
    for sender in others:
        sender.close()
