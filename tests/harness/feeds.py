"""
One source that feeds two consumers at once, over one bus: Fusion, which settles by index, and the guide's consumer, which only upserts and
deletes in the order of arrival.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx
import yaml

from fustor_core.testing.private_server import PASSWORD, USER
from harness.guide_consumer import Consumer
from harness.machine_databases import Held, MachineDatabase, canonical
from harness.stack import Stack

Sync = Literal["indexed", "ordered"]
SYNCS: Final[tuple[Sync, ...]] = ("indexed", "ordered")
Victim = Literal["server", "agent", "fusion", "consumer"]
VICTIMS: Final[tuple[Victim, ...]] = ("server", "agent", "fusion", "consumer")


class Feeds:
    """
    The services, the consumer and the server.

    Attributes:
        down: What does not run now.
    """

    def __init__(self, folder: Path, database: MachineDatabase) -> None:
        folder.mkdir(parents=True)
        self.database = database
        self.stack = Stack(folder, folder / "tree", sync="indexed")
        (folder / "consumer").mkdir()
        self.consumer = Consumer(folder / "consumer")
        self.down: set[Victim] = set()
        patient: dict[str, Any] = {"max_retries": 0, "retry_delay_sec": 1, "disabled": False}
        pushers = {
            "fusion": {**patient, **self.stack.fusion_pusher(), "batch_size": 60},
            "guide": {**patient, "driver": "openapi", "endpoint": self.consumer.url, "batch_size": 60},
        }
        source = {
            **patient,
            **database.source(),
            "credential": {"user": USER, "passwd": PASSWORD},
            "driver_params": {"rows_at_once": 50},
        }
        config = {
            "sources": {"db": source},
            "pushers": pushers,
            "syncs": {
                "indexed": {"source": "db", "pusher": "fusion", "disabled": False},
                "ordered": {"source": "db", "pusher": "guide", "disabled": False},
            },
        }
        self.stack.agent.folder.mkdir(parents=True, exist_ok=True)
        (self.stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))
        self.consumer.start()
        self.stack.agent.start()

    def close(self) -> None:
        """
        End all.
        """
        self.stack.close()
        self.consumer.kill()
        self.database.server.close()

    # Life and death

    def end(self, victim: Victim, *, in_good_order: bool) -> None:
        """
        End one of them, by kill -9 or as its operator would.
        """
        self.down.add(victim)
        if victim == "server":
            (self.database.server.stop if in_good_order else self.database.server.kill)()
        elif victim == "consumer":
            (self.consumer.stop if in_good_order else self.consumer.kill)()
        else:
            service = getattr(self.stack, victim)
            (service.stop if in_good_order else service.kill)()

    def begin(self, victim: Victim) -> None:
        """
        Start one of them; all but the server may still be starting when it returns.
        """
        if victim == "server":
            self.database.server.start()
        elif victim == "consumer":
            self.consumer.start()
        else:
            getattr(self.stack, victim).start(wait=False)
        self.down.discard(victim)

    def begin_all(self) -> None:
        """
        Start what is down and wait until all answer.
        """
        for victim in [one for one in VICTIMS if one in self.down]:
            self.begin(victim)
        self.stack.fusion.wait_ready()
        self.stack.agent.wait_ready()

    # The agent's API

    def status(self, sync: Sync) -> dict[str, Any]:
        """
        Return what the agent says of a sync.
        """
        answer = self.stack.http.get(f"{self.stack.agent.url}/api/instances/{sync}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, sync: Sync, what: str, body: dict[str, Any] | None = None) -> bool:
        """
        Ask the agent for something; False when the sync is in no state for it, or the agent does not answer (yet).
        """
        try:
            answer = self.stack.http.post(f"{self.stack.agent.url}/api/instances/{sync}/{what}", json=body or {})
        except httpx.TransportError:
            return False
        assert answer.is_success or answer.status_code in {404, 409, 503}, f"{answer.status_code} {answer.text}"
        return answer.is_success

    # What the consumers hold

    def held(self, sync: Sync) -> Held:
        """
        Return all rows a consumer holds.
        """
        return self._held_by_fusion() if sync == "indexed" else self._held_by_consumer()

    def _held_by_fusion(self) -> Held:
        held: Held = {}
        for table in self.stack.fusion_get("/views/tables")["rows"]:
            assert table["task_id"] == "indexed", table
            path = f"/views/tables/indexed/{quote(table['schema'])}/{quote(table['table'])}/rows"
            rows: Counter[str] = Counter()
            cursor: str | None = None
            while True:
                page = self.stack.fusion_get(path, limit=5000, **({"cursor": cursor} if cursor else {}))
                rows.update(map(canonical, page["rows"]))
                cursor = page["next"]
                if cursor is None:
                    break
            if rows:
                held[f"{table['schema']}.{table['table']}"] = rows
        return held

    def _held_by_consumer(self) -> Held:
        held: Held = {}
        with sqlite3.connect(self.consumer.folder / "received.db", timeout=10) as store:
            for task, schema, name, doc in store.execute("SELECT task, schema, name, doc FROM row").fetchall():
                assert task == "ordered", task
                held.setdefault(f"{schema}.{name}", Counter())[canonical(json.loads(doc))] += 1
        store.close()
        return held

    def tails(self) -> str:
        """
        Return the last lines of all of them.
        """
        out = self.consumer.folder / "out"
        return f"{self.stack.tails()}\n--- {out}\n{out.read_text()[-3000:]}\n--- server\n{self.database.server.tail()}"


def differences(wanted: Held, held: Held) -> str:
    """
    Return what differs, shortened.
    """
    lines = []
    for table in sorted(wanted.keys() | held.keys()):
        want, have = wanted.get(table, Counter()), held.get(table, Counter())
        if want != have:
            missing, extra = want - have, have - want
            lines.append(f"{table}: {missing.total()} missing, {extra.total()} too many")
            lines += [f"  missing {text[:1500]}" for text in list(missing)[:3]]
            lines += [f"  extra   {text[:1500]}" for text in list(extra)[:3]]
    return "\n".join(lines)
