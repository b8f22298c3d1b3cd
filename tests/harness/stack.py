"""
Registry, Fusion and Agent as real processes on free ports, each with a folder of its own, to be stopped, killed and started again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 120.0
INOTIFY_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

T = TypeVar("T")


def free_port() -> int:
    """
    Return a port of the loopback that nobody listens on.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(
    what: str,
    condition: Callable[[], T],
    *,
    timeout_s: float = 180.0,
    every_s: float = 0.05,
    on_timeout: Callable[[], str] | None = None,
) -> T:
    """
    Ask again until the condition holds, and return what it answered.

    A connection error counts as "not yet": a service may just be starting again.

    Raises:
        AssertionError: It did not hold within `timeout_s`; carries what was awaited and `on_timeout()`.
    """
    deadline = time.monotonic() + timeout_s
    last: object = None
    while True:
        try:
            answer = condition()
            if answer:
                return answer
            last = answer
        except httpx.TransportError as exc:
            last = exc
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what}: not within {timeout_s} s; last seen {last!r}\n{on_timeout() if on_timeout else ''}"
            )
        time.sleep(every_s)


def end_with_parent() -> None:
    """
    Let the kernel end the process that is just being made when the one that makes it ends, however that ends: a test run that
    is cut off leaves no services behind.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def inotify_queue_limit(events: int) -> Iterator[None]:
    """
    Let inotify queues that are opened meanwhile hold few events (needs root); the limit is put back at the end.
    """
    before = INOTIFY_QUEUE.read_text()
    INOTIFY_QUEUE.write_text(f"{events}\n")
    try:
        yield
    finally:
        INOTIFY_QUEUE.write_text(before)


AGENT_TOKEN = "the-token-of-every-agent-of-these-tests"
"""
What the stack's own client sends to any service; Registry and Fusion are asked with credentials of their own.
"""


@dataclass
class Service:
    """
    One service as a process of its own.

    Args:
        name: agent, registry or fusion.
        folder: Its FUSTOR_CONFIG_DIR.
        env: More environment for it.
    """

    name: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        return self.folder / f"{self.name}.out"

    def environment(self) -> dict[str, str]:
        upper = self.name.upper()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FUSTOR_")}
        return kept | {
            "FUSTOR_CONFIG_DIR": str(self.folder),
            f"FUSTOR_{upper}_PORT": str(self.port),
            **({"FUSTOR_AGENT_API_TOKEN": AGENT_TOKEN} if self.name == "agent" else {}),
            **self.env,
        }

    def start(self, *, wait: bool = True) -> None:
        """
        Start it, and wait until it answers that it is ready.
        """
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name(f"fustor-{self.name}")), "start"]
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=self.environment(), stdout=out, stderr=out, cwd=self.folder, preexec_fn=end_with_parent
            )
        self.starts += 1
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process is not None and self.process.poll() is None, (
                f"{self.name} ended by itself\n{self.tail()}"
            )
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200

        wait_for(f"{self.name} is ready", ready, timeout_s=START_TIMEOUT_S, on_timeout=self.tail)

    def kill(self) -> None:
        """
        kill -9: nothing of it runs another instruction.
        """
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """
        SIGTERM, and wait until it has ended in good order.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_TIMEOUT_S)

    def tail(self, lines: int = 40) -> str:
        """
        Return the last lines it wrote, for the message of a failed test.
        """
        files = [file for file in (self.output, *sorted(self.folder.glob("*.log"))) if file.exists()]
        return "\n".join(
            f"--- {file}\n" + "\n".join(file.read_text("utf-8", "replace").splitlines()[-lines:]) for file in files
        )


@dataclass
class Stack:
    """
    The three services, a datastore, a key, and a sync of one tree.

    Args:
        folder: Where all of it keeps its files.
        tree: The folder that is watched.
        source_params: `driver_params` of the source.
    """

    folder: Path
    tree: Path
    source_params: dict[str, Any] = field(default_factory=dict)
    sync: str = "files"
    agent_env: dict[str, str] = field(default_factory=dict)
    fusion_env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin_password = secrets.token_urlsafe(16)
        self.registry = Service(
            "registry", self.folder / "registry", {"FUSTOR_REGISTRY_ADMIN_PASSWORD": self.admin_password}
        )
        self.fusion = Service(
            "fusion", self.folder / "fusion", {"FUSTOR_FUSION_REGISTRY_URL": self.registry.url, **self.fusion_env}
        )
        self.agent = Service("agent", self.folder / "agent", dict(self.agent_env))
        self.key = ""
        self.http = httpx.Client(timeout=30, headers={"Authorization": f"Bearer {AGENT_TOKEN}"})

    @property
    def services(self) -> tuple[Service, Service, Service]:
        return self.registry, self.fusion, self.agent

    # Life

    def start(self) -> None:
        """
        Start everything, with a datastore, a key and the sync.
        """
        self.registry.start()
        self.key = self.provision("tree")
        self.fusion.start()
        self.write_agent_config()
        self.agent.start()

    def close(self) -> None:
        """
        End whatever still runs.
        """
        self.http.close()
        for service in reversed(self.services):
            service.kill()

    def provision(self, datastore: str, scopes: tuple[str, ...] = ("ingest", "read")) -> str:
        """
        Make a datastore and return a key of it.
        """
        api = f"{self.registry.url}/api/v1"
        login = self.http.post(f"{api}/login", json={"name": "admin", "password": self.admin_password})
        assert login.status_code == 200, login.text
        header = {"Authorization": f"Bearer {login.json()['token']}"}
        made = self.http.post(f"{api}/datastores", json={"name": datastore}, headers=header)
        assert made.is_success, made.text
        key = self.http.post(
            f"{api}/keys",
            json={"name": "test", "datastore_id": made.json()["id"], "scopes": list(scopes)},
            headers=header,
        )
        assert key.is_success, key.text
        text: str = key.json()["key"]
        self.http.post(f"{api}/logout", headers=header)
        return text

    def write_agent_config(
        self,
        *,
        key: str | None = None,
        tree: Path | None = None,
        service: Service | None = None,
        sync_disabled: bool = False,
    ) -> None:
        """
        Write the agent's configuration file.
        """
        folder = (service or self.agent).folder
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "sources": {
                "tree": {
                    "driver": "fs",
                    "uri": str(tree or self.tree),
                    "disabled": False,
                    "driver_params": self.source_params,
                }
            },
            "pushers": {
                "fusion": {
                    "driver": "fusion",
                    "endpoint": self.fusion.url,
                    "credential": {"key": key or self.key},
                    "disabled": False,
                    "max_retries": 0,
                    "retry_delay_sec": 1,
                }
            },
            "syncs": {self.sync: {"source": "tree", "pusher": "fusion", "disabled": sync_disabled}},
        }
        (folder / "agent-config.yaml").write_text(yaml.safe_dump(config))

    def fusion_pusher(self) -> dict[str, Any]:
        """
        Start Registry and Fusion with a datastore; return the configuration of a pusher to it.
        """
        self.registry.start()
        self.key = self.provision("rows")
        self.fusion.start()
        return {"driver": "fusion", "endpoint": self.fusion.url, "credential": {"key": self.key}}

    def write_source_config(self, source: dict[str, Any], pusher: dict[str, Any]) -> None:
        """
        Write a configuration of one sync from any source to any pusher; both try again for ever.
        """
        patient = {"max_retries": 0, "retry_delay_sec": 1, "disabled": False}
        config = {
            "sources": {"db": {**patient, **source}},
            "pushers": {"to": {**patient, **pusher}},
            "syncs": {self.sync: {"source": "db", "pusher": "to", "disabled": False}},
        }
        self.agent.folder.mkdir(parents=True, exist_ok=True)
        (self.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))

    def enable_sync(self) -> None:
        """
        Turn a sync that was configured as disabled on, through the API, as a console would.
        """
        api = f"{self.agent.url}/api/configs"
        body = {"source": "tree", "pusher": "fusion", "disabled": False}
        for answer in (self.http.put(f"{api}/syncs/{self.sync}", json=body), self.http.post(f"{api}/apply")):
            assert answer.is_success, answer.text

    # Questions

    def fusion_get(self, view: str, /, **params: Any) -> Any:
        """
        Ask a view; the answer's JSON.
        """
        answer = self.http.get(f"{self.fusion.url}{view}", params=params, headers={"X-API-Key": self.key})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return answer.json()

    def sync_status(self, service: Service | None = None) -> dict[str, Any]:
        """
        Return what the agent says of the sync.
        """
        answer = self.http.get(f"{(service or self.agent).url}/api/instances/{self.sync}")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    def fusion_sync(self) -> dict[str, Any]:
        """
        Return what Fusion says of the sync.
        """
        found = [item for item in self.fusion_get("/ingestor-api/v1/syncs/") if item["task_id"] == self.sync]
        return found[0] if found else {}

    def ask_snapshot(self) -> bool:
        """
        Ask for a snapshot; False when one is under way.
        """
        answer = self.http.post(f"{self.agent.url}/api/instances/{self.sync}/snapshot", json={})
        assert answer.status_code in {200, 202, 409}, answer.text
        return answer.is_success

    def wait_snapshot_ended(self, timeout_s: float = 120.0) -> None:
        """
        Wait until Fusion has a complete snapshot of the tree.
        """
        wait_for(
            "the snapshot has ended",
            lambda: ((self.fusion_sync().get("snapshot") or {}).get("ended_at")) is not None,
            timeout_s=timeout_s,
            on_timeout=self.tails,
        )

    def one_more_snapshot(self, timeout_s: float = 120.0) -> None:
        """
        Ask for a snapshot until it is accepted, and wait for its end.
        """
        before = (self.fusion_sync().get("snapshot") or {}).get("ended_at")
        wait_for("one more snapshot is accepted", self.ask_snapshot, timeout_s=timeout_s, on_timeout=self.tails)
        wait_for(
            "it ends",
            lambda: (self.fusion_sync().get("snapshot") or {}).get("ended_at") not in {None, before},
            timeout_s=timeout_s,
            on_timeout=self.tails,
        )

    def tails(self) -> str:
        """
        Return the last lines of all services.
        """
        return "\n".join(service.tail() for service in self.services)
