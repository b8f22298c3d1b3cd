"""
What the first run sets up through the services' own APIs: datastore, API key, source, pusher and sync. Each step looks
first whether it is done, so that a run that was cut off is finished by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fustor_cli.local.board import Board, last_lines
from fustor_cli.local.layout import Layout
from fustor_cli.local.paths import ids_of
from fustor_cli.local.services import SERVICES
from fustor_cli.local.state import KnownPath, UpState, restore_hint, save, write_private
from fustor_cli.local.targets import Target
from fustor_client.agent import AgentClient, Kind
from fustor_client.models import Datastore
from fustor_client.registry import RegistryClient
from fustor_client.transport import StdlibTransport
from fustor_common.agent_token import read_token
from fustor_core.errors import ConnectionLost, FustorError, StateConflictError, Unauthorized

KEY_NAME = "fustor-up"
PUSHER = "local-fusion"
READY_TIMEOUT_S = 90.0


def wait_ready(layout: Layout, state: UpState, board: Callable[[], Board | None], tell: Callable[[str], None]) -> None:
    """
    Wait until all three services say that they are ready.

    Raises:
        FustorError: One keeps crashing, the supervisor is gone, or `READY_TIMEOUT_S` have passed; with the log's last lines.
    """
    waiting, end = list(SERVICES), time.monotonic() + READY_TIMEOUT_S
    while waiting:
        for service in list(waiting):
            try:
                url = state.ports.url(service)
                ready = RegistryClient(url, transport=StdlibTransport(url, 5.0)).is_ready()
            except ConnectionLost:
                ready = False
            if ready:
                waiting.remove(service)
                tell(service)
        if not waiting:
            return
        now = board()
        if now is None:
            raise FustorError(
                "the services were stopped while they started", hint=f"see {str(layout.supervisor_log)!r}"
            )
        for note in now.services.values():
            if note.state == "crash loop":
                raise FustorError(
                    f"the {note.name.capitalize()} keeps ending ({note.last_exit}); its last words:\n"
                    + "\n".join("    " + line for line in service_words(layout, note.name)),
                    hint=f"the whole log is {layout.log(note.name)}; `fustor doctor` looks for the usual causes",
                    context={"service": note.name},
                )
        if time.monotonic() > end:
            raise FustorError(
                f"not ready after {READY_TIMEOUT_S:.0f} s: {', '.join(waiting)}",
                hint=f"see {layout.log(waiting[0])}; `fustor doctor` looks for the usual causes",
            )
        time.sleep(0.05)


def service_words(layout: Layout, service: str, count: int = 8) -> list[str]:
    """
    Return the last lines a service printed, else the last of its log.
    """
    return last_lines(layout.output(service), count) or last_lines(layout.log(service), count)


def provide_key(layout: Layout, state: UpState) -> bool:
    """
    See that there is a datastore and a valid API key for it, known to us and in the file that the agent's pusher reads.

    Returns:
        Whether that file holds another key than before.

    Raises:
        FustorError: The Registry refuses; says what to do.
    """
    url = state.ports.url("registry")
    with RegistryClient(url, transport=StdlibTransport(url)) as registry:
        if state.key is None or not registry.verify_key(state.key).valid:
            _login(registry, layout, state)
            _datastore(registry, state)
            for old in registry.keys():  # noqa: SIM118 - a call to the Registry, no dict
                # Left by a run that was cut off between making a key and remembering it.
                if old.name == KEY_NAME and old.revoked_at is None and old.datastore_id == state.datastore_id:
                    registry.revoke_key(old.id)
            if state.datastore_id is None:
                raise FustorError("the Registry gave no datastore", hint=f"see {layout.log('registry')}")
            made = registry.create_key(KEY_NAME, state.datastore_id, scopes=["ingest", "read"])
            state.key_id, state.key = made.id, made.key
            save(layout, state)
    if state.key is None or _content(layout.key_file) == state.key:
        return False
    write_private(layout.key_file, state.key.encode())
    return True


def _login(registry: RegistryClient, layout: Layout, state: UpState) -> None:
    try:
        registry.login(state.admin_name, state.admin_password)
    except Unauthorized as exc:
        raise Unauthorized(
            f"the Registry does not take the admin password in {str(layout.state)!r}",
            hint="if you changed it, put it into `admin_password` of that file and run `fustor up` again; "
            f"if the file was lost, {restore_hint(layout)}",
        ) from exc


def _datastore(registry: RegistryClient, state: UpState) -> None:
    def find() -> Datastore | None:
        return next((one for one in registry.datastores() if one.name == state.datastore_name), None)

    found = find()
    if found is None:
        try:
            found = registry.create_datastore(state.datastore_name, description="made by `fustor up`")
        except StateConflictError:
            found = find()
    state.datastore_id = None if found is None else found.id


def _content(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def provide_sync(layout: Layout, state: UpState, target: Target | None, *, is_key_new: bool) -> KnownPath | None:
    """
    See that the agent has a pusher for our Fusion and, when a target is given, a source and a sync for it.

    Args:
        is_key_new: The agent may have read the old key when it started, and may be about to be refused with it.

    Returns:
        The target as remembered; None when none was given.
    """
    url = state.ports.url("agent")
    with AgentClient(url, read_token(layout.root), transport=StdlibTransport(url)) as agent:
        pusher = {
            "driver": "fusion",
            "endpoint": state.ports.url("fusion"),
            "credential": {"key": f"file:{layout.key_file}"},
            "max_retries": 0,
            "batch_size": 5000,
            "disabled": False,
        }
        changed = _put(agent, "pushers", PUSHER, pusher, keep=("batch_size", "max_retries"))
        known = None
        anew: set[str] = set()
        if target is not None:
            known = state.paths.get(target.key)
            if known is None:
                known = KnownPath(target.sync_id(ids_of(state.paths)), driver=target.driver)
            state.paths[target.key] = known
            save(layout, state)
            if _provide_password(layout, known.sync, target):
                anew.add(known.sync)
            changed |= _put(agent, "sources", known.sync, _source(layout, known.sync, target), keep=("max_retries",))
            sync = {"source": known.sync, "pusher": PUSHER, "disabled": False}
            changed |= _put(agent, "syncs", known.sync, sync)
        if changed or is_key_new:
            agent.apply()
        if is_key_new or anew:
            for sync_state in agent.instances().syncs:
                if sync_state.id in anew or (is_key_new and sync_state.pusher == PUSHER):
                    agent.stop(sync_state.id)
                    agent.start(sync_state.id)
        return known


def _source(layout: Layout, name: str, target: Target) -> dict[str, Any]:
    source: dict[str, Any] = {"driver": target.driver, "uri": target.uri, "max_retries": 0, "disabled": False}
    if target.is_database:
        credential = {"user": target.user}
        if layout.password_file(name).exists():
            credential["passwd"] = f"file:{layout.password_file(name)}"
        source["credential"] = credential
    return source


def _provide_password(layout: Layout, name: str, target: Target) -> bool:
    """
    Write the password of a source where only its owner reads it; return whether it differs from one the agent may have read.
    """
    file = layout.password_file(name)
    before = _content(file)
    if not target.password or before == target.password:
        return False
    write_private(file, target.password.encode())
    return before is not None


def _put(agent: AgentClient, kind: Kind, name: str, wanted: dict[str, Any], keep: tuple[str, ...] = ()) -> bool:
    """
    Write one configuration unless it is there as wanted; what a person added or set in `keep` stays.
    """
    there = agent.config(kind, name)
    if there is not None:
        there = there.get("config", there)
        if all(there.get(field) == value for field, value in wanted.items() if field not in keep):
            return False
        wanted = {**there, **{field: value for field, value in wanted.items() if field not in keep}}
    agent.put_config(kind, name, wanted)
    return True
