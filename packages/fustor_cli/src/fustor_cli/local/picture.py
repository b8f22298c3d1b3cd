"""
How everything fares right now, put together from the supervisor, the agent and Fusion.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec

from fustor_cli import formats
from fustor_cli.local.board import Board
from fustor_cli.local.layout import Layout
from fustor_cli.local.process import ProcessName
from fustor_cli.local.services import SERVICES
from fustor_cli.local.state import UpState
from fustor_cli.local.targets import FILES
from fustor_cli.options import root_path
from fustor_client.agent import AgentClient
from fustor_client.fusion import FusionClient
from fustor_client.models import SyncInfo, SyncState, Tree
from fustor_client.transport import StdlibTransport
from fustor_common.agent_token import read_token
from fustor_core.errors import FustorError

TIMEOUT_S = 5.0


class ServiceView(msgspec.Struct):
    """
    One service as a person sees it. `state`: running, starting, restarting, crash loop, not answering, stopped.
    """

    name: str
    url: str
    state: str
    pid: int | None = None
    up_s: float | None = None
    restarts: int = 0
    last_exit: str | None = None
    memory: int | None = None


class SyncView(msgspec.Struct):
    """
    One sync as a person sees it.

    Attributes:
        state: In a word or two: starting, snapshot, catching up, live, error, stopped, away.
        complete: Everything that the tree has can be queried.
        driver: Which driver reads the source.
        entries: Rows that can be queried now.
        tables: How many tables a database has here.
        snapshot_rows: Rows the running snapshot has brought.
        pushed_rows: Rows sent since the agent started.
        events_per_s, lag_s: None when not known.
    """

    id: str
    root: str
    state: str
    complete: bool = False
    ready: bool = False
    entries: int = 0
    files: int = 0
    dirs: int = 0
    bytes: int = 0
    snapshot_rows: int = 0
    pushed_rows: int = 0
    events_per_s: float | None = None
    lag_s: float | None = None
    reason: str | None = None
    hint: str | None = None
    problems: list[str] = []
    dead_letters: int = 0
    driver: str = FILES
    tables: int = 0

    @property
    def kind(self) -> str:
        """
        What the source is: tree or database.
        """
        return "tree" if self.driver == FILES else "database"

    @property
    def unit(self) -> str:
        """
        What is counted, in the plural: entries or rows.
        """
        return "entries" if self.driver == FILES else "rows"

    def counted(self) -> str:
        """
        Say how many entries or rows there are.
        """
        return formats.some(self.entries, "entry" if self.driver == FILES else "row", self.unit)

    def amounts(self) -> list[str]:
        """
        Say how much there is, in words.
        """
        if self.driver != FILES:
            return [formats.some(self.tables, "table", "tables"), self.counted()]
        return [
            formats.some(self.files, "file", "files"),
            formats.some(self.dirs, "directory", "directories"),
            formats.size(self.bytes),
        ]


class Picture(msgspec.Struct):
    """
    Everything at one moment.
    """

    at: float
    mode: str | None
    services: list[ServiceView]
    syncs: list[SyncView]
    trouble: list[str] = []


class Painter:
    """
    Takes pictures of one local set, over kept connections.
    """

    def __init__(self, layout: Layout, state: UpState) -> None:
        self._state = state
        agent_url, fusion_url = state.ports.url("agent"), state.ports.url("fusion")
        self._agent = AgentClient(agent_url, read_token(layout.root), transport=StdlibTransport(agent_url, TIMEOUT_S))
        self._fusion = FusionClient(fusion_url, state.key or "", transport=StdlibTransport(fusion_url, TIMEOUT_S))

    def take(self, board: Board | None) -> Picture:
        """
        Take a picture. What does not answer is told in it, never raised.
        """
        trouble: list[str] = []
        answering: set[str] = set()
        agent_syncs: dict[str, SyncState] = {}
        fusion_syncs: dict[str, SyncInfo] = {}
        trees: dict[str, Tree] = {}
        tables: Counter[str] = Counter()
        try:
            agent_syncs = {sync.id: sync for sync in self._agent.instances().syncs}
            answering.add("agent")
        except FustorError as exc:
            trouble.append(f"Agent: {exc.message}")
        try:
            fusion_syncs = {sync.task_id: sync for sync in self._fusion.syncs()}
            trees = {tree.tree: tree for tree in self._fusion.trees()}
            if any(known.driver != FILES for known in self._state.paths.values()):
                tables = Counter(table.task_id for table in self._fusion.tables())
            answering.add("fusion")
        except FustorError as exc:
            trouble.append(f"Fusion: {exc.message}")
        paths = {known.sync: path for path, known in self._state.paths.items()}
        names = list(dict.fromkeys([*paths, *agent_syncs, *trees]))
        views = [
            view_of(name, paths.get(name), agent_syncs.get(name), fusion_syncs.get(name), trees.get(name))
            for name in names
        ]
        for view in views:
            known = self._state.paths.get(view.root)
            if known is not None:
                view.driver, view.tables = known.driver, tables[view.id]
        if board is None:
            for view in views:
                view.state = "stopped"
                view.entries = view.entries or self._last_known(view.root)
        return Picture(
            time.time(),
            None if board is None else board.mode,
            self._services(board, answering),
            views,
            trouble if board is not None else [],
        )

    def _last_known(self, path: str) -> int:
        known = self._state.paths.get(path)
        return 0 if known is None else known.entries or 0

    def _services(self, board: Board | None, answering: set[str]) -> list[ServiceView]:
        views = []
        for name in SERVICES:
            note = None if board is None else board.services.get(name)
            view = ServiceView(name, self._state.ports.url(name), "stopped" if note is None else note.state)
            if note is not None:
                view.restarts, view.last_exit = note.restarts, note.last_exit
                if note.process is not None:
                    view.pid, view.memory = note.process.pid, memory_of(note.process)
                if note.state == "running":
                    view.up_s = None if note.started_at is None else time.time() - note.started_at
                    if name != "registry" and name not in answering:
                        view.state = "not answering"
            views.append(view)
        return views

    def close(self) -> None:
        """
        Let go of the connections.
        """
        self._agent.close()
        self._fusion.close()


def memory_of(process: ProcessName) -> int | None:
    """
    Return the resident memory of a process in bytes, None when it can't be read.
    """
    try:
        with open(f"/proc/{process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def view_of(
    name: str, path: str | None, agent: SyncState | None, fusion: SyncInfo | None, tree: Tree | None
) -> SyncView:
    """
    Put together what the agent and Fusion say of one sync.
    """
    view = SyncView(name, path or ("" if tree is None else root_path(tree.root)), "away")
    if tree is not None:
        view.files, view.dirs, view.bytes, view.complete = tree.files, tree.dirs, tree.bytes, tree.complete
        view.entries = tree.files + tree.dirs
    if fusion is not None:
        view.entries = fusion.rows or view.entries
        snapshot = fusion.snapshot
        if snapshot is not None:
            view.snapshot_rows = snapshot.rows
            view.complete = view.complete or bool(snapshot.ended_at)
    if agent is None:
        return view
    view.pushed_rows, view.dead_letters = agent.pushed_rows, agent.dead_letters
    view.events_per_s = agent.events_per_s if agent.events_per_s is not None else agent.rows_per_s
    view.lag_s = agent.lag_s
    source = agent.source_status or {}
    view.problems = [text for one in source.get("problems") or [] if (text := _problem(one))]
    view.state = _state(agent, view.complete, source)
    if view.state not in {"live", "snapshot", "catching up"}:
        view.reason, view.hint = agent.reason, agent.hint
        if (
            view.reason and view.hint
        ):  # the agent tells the reason with the hint behind it; whoever shows it adds the hint
            view.reason = view.reason.removesuffix(f" ({view.hint})")
    view.ready = view.complete and view.state == "live"
    return view


def _state(agent: SyncState, complete: bool, source: dict[str, Any]) -> str:
    flags = {flag.strip().upper() for one in (*agent.states, agent.state) for flag in one.split("|")}
    if "ERROR" in flags:
        return "error"
    if flags & {"STOPPED", "STOPPING"}:
        return "stopped"
    if not flags & {"MESSAGE_SYNC", "SNAPSHOT_SYNC"} or agent.session_id is None:
        return "starting"
    if "SNAPSHOT_SYNC" in flags or not complete:
        return "snapshot"
    if is_catching_up(source):
        return "catching up"
    return "live"


def is_catching_up(source: dict[str, Any]) -> bool:
    """
    Tell whether a source says that it still compares what is there with what it had sent.
    """
    return bool(source.get("catching_up") or source.get("scanning") or source.get("phase") in {"arming", "scanning"})


def _problem(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    where, what, hint = (str(one.get(field) or "") for field in ("where", "what", "hint"))
    return f"{where}: {what}" + (f" ({hint})" if hint else "") if where else what
