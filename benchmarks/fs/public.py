"""
The public Fustor 0.2.16 from PyPI on the same tree: installed into an environment of its own, started, provisioned, measured.

It holds everything in memory, answers no question while a snapshot is under way, and watches below the folder that is given.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import measure
import psutil
import yaml

VERSION = "0.2.16"
PACKAGES = tuple(
    f"fustor-{name}=={VERSION}"
    for name in (
        "agent", "agent-sdk", "common", "core", "event-model", "fusion", "fusion-sdk", "pusher-echo", "pusher-fusion",
        "registry", "registry-client", "source-fs",
    )
)  # fmt: skip
WATCHDOG = "watchdog<7"  # it imports what later versions moved
APPS = {
    "registry": "fustor_registry.main:app",
    "fusion": "fustor_fusion.main:app",
    "agent": "fustor_agent.api.routes:web_app",
}
KEY_WAIT_S = 1  # how often its Fusion asks for new keys; 60 by default
READY_TIMEOUT_S = 60.0
SYNC_TIMEOUT_S = 180.0
QUERIES = 100
BUSY = 503
LIVE_FILES = 30

Row = tuple[str, str]


class PublicFustor:
    """
    Its three services, on free ports.

    Args:
        folder: Where its environment and files go.
        tree: The folder it watches.
        port: Three free ports from here on.
    """

    def __init__(self, folder: Path, tree: Path, port: int) -> None:
        self._python = folder / "venv/bin/python"
        self._home = folder / "home"
        self._tree = tree
        self._ports = {name: port + number for number, name in enumerate(APPS)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(timeout=120)
        self._home.mkdir(parents=True)

    def install(self) -> None:
        """
        Install it from PyPI.

        Raises:
            RuntimeError: It can't be installed here.
        """
        subprocess.run([sys.executable, "-m", "venv", str(self._python.parents[1])], check=True)
        command = [str(self._python), "-m", "pip", "install", "--quiet", *PACKAGES, WATCHDOG, "setuptools"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"public Fustor can't be installed here: {done.stderr[-2000:]}")

    def _url(self, service: str) -> str:
        return f"http://127.0.0.1:{self._ports[service]}"

    def _start(self, service: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FUSTOR_")}
        env |= {
            "FUSTOR_HOME": str(self._home),
            "HOME": str(self._home),
            "FUSTOR_REGISTRY_CLIENT_TOKEN": "benchmark",
            "FUSTOR_FUSION_REGISTRY_URL": self._url("registry"),
            "FUSTOR_FUSION_API_KEY_CACHE_SYNC_INTERVAL_SECONDS": str(KEY_WAIT_S),
        }
        command = [
            str(self._python),
            "-m",
            "uvicorn",
            APPS[service],
            "--port",
            str(self._ports[service]),
            "--no-access-log",
        ]
        with (self._home / f"{service}.out").open("wb") as out:
            self._processes[service] = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        self._wait(f"{service} answers", lambda: self._http.get(f"{self._url(service)}/openapi.json").is_success)

    def _wait(self, what: str, condition: Callable[[], object], timeout_s: float = READY_TIMEOUT_S) -> None:
        deadline = time.perf_counter() + timeout_s
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass  # not listening yet
            if time.perf_counter() > deadline:
                tails = {
                    name: (self._home / f"{name}.out").read_text("utf-8", "replace")[-1500:] for name in self._processes
                }
                raise RuntimeError(f"public Fustor: {what}: not within {timeout_s} s\n{tails}")
            time.sleep(0.05)

    def _provision(self) -> str:
        api = f"{self._url('registry')}/v1"
        login = self._http.post(f"{api}/auth/login", data={"username": "admin@admin.com", "password": "admin"})
        header = {"Authorization": f"Bearer {login.raise_for_status().json()['access_token']}"}
        store = self._http.post(f"{api}/datastores/", json={"name": "bench"}, headers=header).raise_for_status().json()
        body = {"name": "bench", "datastore_id": store["id"]}
        key: str = self._http.post(f"{api}/keys/", json=body, headers=header).raise_for_status().json()["key"]
        return key

    def _configure(self, key: str) -> None:
        config = {
            "sources": {
                "tree": {
                    "driver": "fs", "uri": str(self._tree), "credential": {"user": "nobody", "passwd": ""}, "disabled": False,
                    "max_queue_size": 100_000, "driver_params": {},
                }
            },
            "pushers": {
                "fusion": {
                    "driver": "fusion", "endpoint": self._url("fusion"), "credential": {"key": key}, "disabled": False,
                    "batch_size": 1000,
                }
            },
            "syncs": {"files": {"source": "tree", "pusher": "fusion", "disabled": False}},
        }  # fmt: skip
        (self._home / "agent-config.yaml").write_text(yaml.safe_dump(config))
        # Its agent disables a source whose schema was not found out by its pages before.
        schemas = self._home / "schemas"
        schemas.mkdir()
        (schemas / "source_tree.schema.json").write_text("{}")
        (schemas / "source_tree.valid").touch()

    def measure(self, files: int) -> list[Row]:
        """
        Start, snapshot, query; return the rows of the table.
        """
        self._start("registry")
        key = self._provision()
        self._configure(key)
        self._start("fusion")
        self._http.headers["X-API-Key"] = key
        stats = f"{self._url('fusion')}/views/fs/stats"
        self._wait("the key is known", lambda: self._http.get(stats).status_code != 401)
        begun = time.perf_counter()
        self._start("agent")
        pids = {name: process.pid for name, process in self._processes.items()}
        with measure.MemoryWatch(pids) as memory:

            def counted() -> bool:
                answer = self._http.get(stats)
                return answer.is_success and answer.json().get("total_files", 0) >= files

            self._wait("every file is counted", counted, SYNC_TIMEOUT_S)
            taken = time.perf_counter() - begun
        what = f"public Fustor {VERSION}"
        rows = [
            (
                f"{what}: start of the agent to last file in the totals (in memory only)",
                f"{taken:.2f} s, {files / taken:,.0f} files/s",
            )
        ]
        rows += [
            (f"{what}: {name}, peak RSS with children", f"{memory.peak_mib[name]:.0f} MiB")
            for name in ("agent", "fusion")
        ]
        return rows + self._queries(what) + self._live(what)

    def _queries(self, what: str) -> list[Row]:
        view = f"{self._url('fusion')}/views/fs"
        folder = next(str(Path(path)) for path, _, files in os.walk(self._tree) if 0 < len(files) < 100)
        questions: tuple[tuple[str, str, dict[str, str | bool]], ...] = (
            ("list a directory", "tree", {"path": folder, "recursive": False}),
            ("substring search, few hits", "search", {"pattern": "_0001234"}),
            ("statistics", "stats", {}),
        )

        def is_ready() -> bool:
            return all(self._http.get(f"{view}/{path}", params=params).is_success for _, path, params in questions)

        self._wait("it answers questions", is_ready)
        rows = []
        for question, path, params in questions:

            def ask(_: int, path: str = path, params: dict[str, str | bool] = params) -> object:
                while (answer := self._http.get(f"{view}/{path}", params=params)).status_code == BUSY:
                    time.sleep(0.01)  # it answers nothing while it takes a snapshot in; waiting for that counts
                return answer.raise_for_status().content

            p50, p99 = measure.time_calls(ask, QUERIES)
            rows.append((f"{what}: {question}, p50 / p99", f"{p50:.2f} / {p99:.2f} ms"))
        return rows

    def _live(self, what: str) -> list[Row]:
        folder = next(Path(path) for path, _, files in os.walk(self._tree) if 0 < len(files) < 100)
        view = f"{self._url('fusion')}/views/fs"
        rows = []
        for name, path in (("tree", "tree"), ("search", "search")):
            taken = []
            for number in range(LIVE_FILES):
                file = folder / f"{name}-{number:05}.dat"

                def seen(file: Path = file, path: str = path) -> bool:
                    tree = {"path": str(file.parent), "recursive": "false"}
                    params = {"pattern": file.name} if path == "search" else tree
                    answer = self._http.get(f"{view}/{path}", params=params)
                    return answer.is_success and file.name in answer.text

                try:
                    taken.append(measure.visible_after(lambda file=file: file.write_bytes(b"now"), seen))  # type: ignore[misc]
                except measure.NotVisible:
                    break
            asked = f"{what}: live, close to visible in {name}, p50 / p99 (n={len(taken)})"
            if len(taken) == LIVE_FILES:
                p50, p99 = measure.quantiles(taken)
                rows.append((asked, f"{p50:.1f} / {p99:.1f} ms"))
            else:
                rows.append((asked, f"file {len(taken) + 1} was not visible within {measure.VISIBLE_TIMEOUT_S:.0f} s"))
        return rows

    def close(self) -> None:
        """
        End its processes.
        """
        self._http.close()
        for process in reversed(self._processes.values()):
            for one in (*psutil.Process(process.pid).children(recursive=True), process):
                one.kill()
            process.wait()
