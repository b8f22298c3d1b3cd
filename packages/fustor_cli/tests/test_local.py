"""
The local set: memory, supervisor, provisioning and the checks of doctor.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fustor_cli.local import checks, control, provision
from fustor_cli.local.board import Board, ServiceNote, last_lines, read_board
from fustor_cli.local.checks import Check
from fustor_cli.local.layout import Layout
from fustor_cli.local.process import ProcessName
from fustor_cli.local.services import ServiceSpec
from fustor_cli.local.state import KnownPath, Ports, UpState, load, save
from fustor_cli.local.targets import FILES, Target
from fustor_core.errors import ConfigError, FustorError, StateConflictError, Unauthorized

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


# --- memory


def test_memory_is_private_and_comes_back_as_it_was(layout: Layout) -> None:
    assert load(layout) is None
    state = UpState(key="secret", paths={"/中 文": KnownPath("t", 5)}, ports=Ports.from_base(9100))
    save(layout, state)
    layout.state.chmod(0o644)
    save(layout, state)
    assert load(layout) == state
    assert layout.state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{bad", b"[]", b'{"ports": 3}', b'{"paths": {"\xff": {}}}', b"\0" * 9])
def test_damaged_memory_says_what_is_lost_and_how_to_go_on(layout: Layout, content: bytes) -> None:
    layout.prepare()
    layout.state.write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged") as caught:
        load(layout)
    assert str(layout.root / "registry.db") in caught.value.hint
    (found,) = [check for check in checks.run_checks(None) if check.name == "memory of fustor up"]
    assert (found.state, found.mend) == ("broken", caught.value.hint)


def test_memory_that_may_not_be_read_is_no_damage(layout: Layout) -> None:
    layout.state.mkdir(parents=True)  # as root, a mode would not keep us out
    with pytest.raises(ConfigError, match="can't be read: Is a directory") as caught:
        load(layout)
    assert "FUSTOR_CONFIG_DIR" in caught.value.hint


def test_config_root_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be written: Not a directory"):
        Layout(tmp_path / "file" / "config").prepare()


# --- supervisor


@pytest.fixture
def start(layout: Layout) -> Iterator[Callable[..., control.Started]]:
    layout.prepare()

    def begin(commands: dict[str, list[str]], mode: Any = "daemon") -> control.Started:
        specs = [ServiceSpec(name, command, {}, 0) for name, command in commands.items()]
        started = control.start_supervisor(layout, specs, mode, backoff_first_s=0.05)
        assert started is not None
        return started

    yield begin
    board = control.running_board(layout)
    if board is not None:
        control.stop(board)
    control.end_orphans(layout)


def note_of(layout: Layout, name: str) -> ServiceNote:
    board = read_board(layout)
    assert board is not None
    return board.services[name]


def process_of(layout: Layout, name: str) -> ProcessName:
    found: ProcessName = wait_for(lambda: note_of(layout, name).process, f"{name} to run")
    return found


def test_killed_service_is_started_again_and_the_others_are_left_alone(
    layout: Layout, start: Callable[..., control.Started]
) -> None:
    start({"registry": SLEEPER, "agent": SLEEPER})
    first, other = process_of(layout, "agent"), process_of(layout, "registry")
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: note_of(layout, "agent").restarts == 1 and note_of(layout, "agent").process, "the new start")
    note = note_of(layout, "agent")
    assert note.last_exit == "killed by SIGKILL"
    assert note.process is not None and note.process != first and note.process.is_alive()
    assert note_of(layout, "registry").process == other
    board = control.running_board(layout)
    assert board is not None and control.stop(board)
    assert control.running_board(layout) is None
    assert not note.process.is_alive() and not other.is_alive()
    after = read_board(layout)
    assert after is not None and after.state == "stopped"


def test_service_that_keeps_ending_is_named_with_its_last_words(
    layout: Layout, start: Callable[..., control.Started]
) -> None:
    start({"fusion": [sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]})
    wait_for(lambda: note_of(layout, "fusion").state == "crash loop", "the crash loop")
    assert note_of(layout, "fusion").last_exit == "exit code 3"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FustorError, match=r"Fusion keeps ending \(exit code 3\)(.|\n)*no disk"):
        provision.wait_ready(
            layout, UpState(ports=Ports(port, port, port)), lambda: control.running_board(layout), print
        )


def test_foreground_set_ends_with_its_command_and_a_second_one_is_not_started(
    layout: Layout, start: Callable[..., control.Started]
) -> None:
    started = start({"agent": SLEEPER}, "foreground")
    service = process_of(layout, "agent")
    assert control.start_supervisor(layout, [], "foreground") is None
    assert started.leash is not None
    os.close(started.leash)
    wait_for(lambda: not control.supervisor_runs(layout), "the supervisor to end")
    assert not service.is_alive()


def test_foreground_set_told_to_go_on_survives_its_command(
    layout: Layout, start: Callable[..., control.Started]
) -> None:
    started = start({"agent": SLEEPER}, "foreground")
    service = process_of(layout, "agent")
    control.keep_running(started.board)
    wait_for(lambda: (read_board(layout) or started.board).mode == "daemon", "the other mode")
    assert started.leash is not None
    os.close(started.leash)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(SLEEPER, timeout=0.3, check=False)  # time in which it would have ended
    assert service.is_alive() and control.supervisor_runs(layout)


def test_services_of_a_killed_supervisor_are_ended(layout: Layout, start: Callable[..., control.Started]) -> None:
    started = start({"agent": SLEEPER})
    service = process_of(layout, "agent")
    os.kill(started.board.supervisor.pid, signal.SIGKILL)
    wait_for(lambda: not control.supervisor_runs(layout), "the supervisor to die")
    assert control.running_board(layout) is None and service.is_alive()
    assert control.end_orphans(layout) == ["agent"]
    assert not service.is_alive() and read_board(layout) is None


def test_number_of_a_process_used_again_is_not_taken_for_the_old_one(layout: Layout) -> None:
    """
    A board from before a restart of the machine: its numbers belong to others now, who must not be harmed.
    """
    layout.prepare()
    with subprocess.Popen(SLEEPER) as bystander:
        stale = ProcessName(bystander.pid, "1")
        Board(stale, "daemon", 0.0, services={"agent": ServiceNote("agent", 1, process=stale)}).write(layout)
        layout.supervisor_lock.touch()
        assert control.running_board(layout) is None
        assert control.end_orphans(layout) == []
        assert bystander.poll() is None
        bystander.kill()
    layout.board.write_bytes(b'{"services": {"\xff": {}}}')
    assert read_board(layout) is None and control.end_orphans(layout) == []


def test_two_commands_do_not_change_the_set_at_once(layout: Layout) -> None:
    layout.prepare()
    with (
        control.exclusive(layout),
        pytest.raises(StateConflictError, match="still at work"),
        control.exclusive(layout, timeout_s=0.1),
    ):
        pass
    with control.exclusive(layout, timeout_s=0.1):
        pass


def test_supervisor_that_can_not_start_tells_why(layout: Layout) -> None:
    layout.prepare()
    layout.supervisor_lock.mkdir()
    with pytest.raises(FustorError, match=r"did not start: .*Is a directory"):
        control.start_supervisor(layout, [], "daemon")


def test_last_lines_of_what_may_not_be_there(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert last_lines(file, 3) == []
    file.write_bytes(b"\xff\n" * 100_000 + b"a\nb\n")
    assert last_lines(file, 2) == ["a", "b"]


# --- provisioning


class House:
    """
    A Registry and an Agent that remember what was made.
    """

    def __init__(self, serve: Callable[..., Any]) -> None:
        self.password = "the-password"
        self.datastores: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.configs: dict[str, Any] = {}
        self.registry = serve(
            {
                "POST /api/v1/login": self._login,
                "GET /api/v1/datastores": lambda *_: self.datastores,
                "POST /api/v1/datastores": self._datastore,
                "GET /api/v1/keys": lambda *_: [{**key, "key": None} for key in self.keys],
                "POST /api/v1/keys": self._key,
                r"DELETE /api/v1/keys/(\d+)": self._revoke,
                "POST /api/v1/keys/verify": lambda _, body: {"valid": body["key"] in self.valid()},
            }
        )
        self.agent = serve(
            {
                r"GET /api/configs/(\w+/[\w.-]+)": lambda m, _: self.configs.get(m[1], (404, {})),
                r"PUT /api/configs/(\w+/[\w.-]+)": lambda m, body: self.configs.update({m[1]: body}),
                "POST /api/configs/apply": lambda *_: {},
                "GET /api/instances": lambda *_: {"syncs": [{"id": "a-b", "pusher": "local-fusion"}, {"id": "mine"}]},
                r"POST /api/instances/(.+)/(start|stop)": lambda m, _: {"id": m[1]},
            }
        )
        self.ports = Ports(self.agent.port, self.registry.port, 1)

    def valid(self) -> list[str]:
        return [key["key"] for key in self.keys if key["revoked_at"] is None]

    def _login(self, _: re.Match[str], body: Any) -> Any:
        if body["password"] == self.password:
            return {"token": "t"}
        return 401, {"code": "request.unauthorized", "message": "wrong name or password", "hint": ""}

    def _datastore(self, _: re.Match[str], body: Any) -> Any:
        self.datastores.append({"id": len(self.datastores) + 1, **body})
        return self.datastores[-1]

    def _key(self, _: re.Match[str], body: Any) -> Any:
        number = len(self.keys) + 1
        self.keys.append({"id": number, "key": f"key-{number}", "revoked_at": None, **body})
        return self.keys[-1]

    def _revoke(self, match: re.Match[str], _: Any) -> Any:
        self.keys[int(match[1]) - 1]["revoked_at"] = "now"
        return {}

    def writes(self) -> list[str]:
        calls = [call for call in self.registry.calls + self.agent.calls if not call.startswith("GET")]
        self.registry.calls.clear()
        self.agent.calls.clear()
        return [call for call in calls if not call.endswith(("/verify", "/login"))]


@pytest.fixture
def house(serve: Callable[..., Any], layout: Layout) -> House:
    layout.prepare()
    return House(serve)


def provide(layout: Layout, state: UpState, path: str | None = "/a/b") -> bool:
    is_key_new = provision.provide_key(layout, state)
    target = None if path is None else Target(path, FILES, path)
    provision.provide_sync(layout, state, target, is_key_new=is_key_new)
    return is_key_new


def test_provisioning_again_writes_nothing(house: House, layout: Layout) -> None:
    state = UpState(ports=house.ports, admin_password=house.password)
    assert provide(layout, state)
    assert set(house.configs) == {"pushers/local-fusion", "sources/a-b", "syncs/a-b"}
    assert layout.key_file.read_text() == state.key == "key-1"
    assert load(layout) == state
    house.writes()
    assert not provide(layout, state)
    assert not provide(layout, load(layout) or UpState(), None)
    assert house.writes() == []


def test_what_a_person_set_stays_and_what_they_broke_is_mended(house: House, layout: Layout) -> None:
    state = UpState(ports=house.ports, admin_password=house.password)
    provide(layout, state)
    house.configs["pushers/local-fusion"]["batch_size"] = 7
    house.configs["sources/a-b"] |= {"uri": "/elsewhere", "driver_params": {"exclude": ["*.tmp"]}}
    house.writes()
    provide(layout, state)
    assert house.writes() == ["PUT /api/configs/sources/a-b", "POST /api/configs/apply"]
    assert house.configs["sources/a-b"]["uri"] == "/a/b"
    assert house.configs["sources/a-b"]["driver_params"] == {"exclude": ["*.tmp"]}
    assert house.configs["pushers/local-fusion"]["batch_size"] == 7


def test_revoked_key_is_replaced_and_the_syncs_that_had_it_start_anew(house: House, layout: Layout) -> None:
    state = UpState(ports=house.ports, admin_password=house.password)
    provide(layout, state)
    house.keys[0]["revoked_at"] = "now"
    house.writes()
    assert provide(layout, state)
    assert state.key == layout.key_file.read_text() == "key-2"
    assert house.writes() == [
        "POST /api/v1/keys",
        "POST /api/configs/apply",
        "POST /api/instances/a-b/stop",
        "POST /api/instances/a-b/start",
    ]


def test_run_cut_off_before_it_remembered_its_key_leaves_no_second_one(house: House, layout: Layout) -> None:
    provide(layout, UpState(ports=house.ports, admin_password=house.password))
    again = UpState(ports=house.ports, admin_password=house.password)
    provide(layout, again)
    assert house.valid() == [again.key]
    assert len(house.datastores) == 1


def test_lost_password_is_told_with_both_ways_out(house: House, layout: Layout) -> None:
    with pytest.raises(Unauthorized, match="does not take the admin password") as caught:
        provision.provide_key(layout, UpState(ports=house.ports, admin_password="another"))
    assert "admin_password" in caught.value.hint and "registry.db" in caught.value.hint


# --- doctor


def found(name: str, made: Iterator[Check]) -> Check:
    return next(check for check in made if check.name.startswith(name))


@pytest.mark.parametrize(
    ("watches", "instances", "queue", "bad"),
    [
        (1048576, 128, 16384, []),
        (8192, 128, 16384, ["inotify max_user_watches"]),
        (1048576, 8, 100, ["inotify max_user_instances", "inotify max_queued_events"]),
    ],
)
def test_doctor_reads_the_limits_of_inotify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watches: int, instances: int, queue: int, bad: list[str]
) -> None:
    for name, value in (("user_watches", watches), ("user_instances", instances), ("queued_events", queue)):
        (tmp_path / f"max_{name}").write_text(f"{value}\n")
    monkeypatch.setattr(checks, "INOTIFY", tmp_path)
    made = list(checks.check_inotify([]))
    assert [check.name for check in made if check.state != "ok"] == bad
    for check in made:
        assert (check.state == "ok") == (not check.mend)
        if check.mend:
            assert f"sudo sysctl fs.{check.name.replace(' ', '.')}=" in check.mend


def test_doctor_counts_the_directories_of_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, limits = tmp_path / "tree", tmp_path / "limits"
    for number in range(20):
        (tree / f"d{number}").mkdir(parents=True)
    (tree / "link").symlink_to(tree)
    limits.mkdir()
    for name in ("user_watches", "user_instances", "queued_events"):
        (limits / f"max_{name}").write_text("22")
    assert checks.count_directories(str(tree)) == (21, True)
    monkeypatch.setattr(checks, "INOTIFY", limits)
    check = found("inotify max_user_watches", checks.check_inotify([str(tree)]))
    assert (check.state, "21 directories" in check.found) == ("warning", True)
    gone = found("tree", checks.check_inotify([str(tree / "gone")]))
    assert "does not exist" in gone.found


@pytest.mark.parametrize(
    ("kind", "state"),
    [("ext4", "ok"), ("nfs4", "broken"), ("tmpfs", "warning"), (None, "ok"), ("fuse.sshfs", "broken")],
)
def test_doctor_knows_where_a_database_does_not_last(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, kind: str | None, state: str
) -> None:
    monkeypatch.setattr(checks, "filesystem_of", lambda path: kind)
    assert found("config root's", checks.check_config_root(layout)).state == state


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "broken"), (1 << 30, "warning"), (1 << 40, "ok")])
def test_doctor_looks_at_the_room_left(layout: Layout, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: checks.shutil._ntuple_diskusage(1 << 41, 0, free))
    assert found("disk space", checks.check_config_root(layout)).state == state


def test_doctor_looks_at_the_ports_that_up_would_take(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("FUSTOR_REGISTRY_PORT", str(port))
        check = found(f"port {port} (Registry)", checks.check_ports(layout, UpState()))
        assert check.state == "broken" and f"(pid {os.getpid()})" in check.found
        assert re.search(r"--port-base \d+", check.mend)
        with pytest.raises(ConfigError, match=f"port {port}, needed by the Fusion, is taken by"):
            control.check_ports(Ports(control.suggested_base(port), control.suggested_base(port) + 1, port))
    monkeypatch.setenv("FUSTOR_REGISTRY_PORT", "many")
    (check,) = checks.check_ports(layout, UpState())
    assert (check.name, check.state) == ("ports", "broken")


def test_doctor_tells_an_old_python_a_low_limit_and_an_unset_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.state for check in (checks.check_python(), checks.check_sqlite(), checks.check_clock())] == ["ok"] * 3
    monkeypatch.setattr(checks.sys, "version_info", (3, 10, 9))
    monkeypatch.setattr(checks.time, "time", lambda: 0.0)
    monkeypatch.setattr(checks.resource, "getrlimit", lambda which: (256, 4096))
    assert checks.check_python().state == checks.check_clock().state == "broken"
    assert checks.check_open_files().state == "warning"


def test_every_check_can_be_told_as_json(layout: Layout) -> None:
    made = checks.run_checks(None)
    assert len({check.name for check in made}) == len(made)
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[Check]) == made
    assert not layout.root.exists()
