"""
The `fustor` command as a newcomer meets it: up, queries from another terminal, down, and up again.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.command import SCRIPT, TIMEOUT_S, Command
from harness.trees import find_tree, make_tree

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """
    A command on a terminal of its own, 100 columns wide, as its only foreground process.
    """

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 100))
        self.before = termios.tcgetattr(theirs)
        self._ours, self._theirs = ours, theirs
        self.screen = b""
        env = {name: value for name, value in env.items() if name not in {"COLUMNS", "NO_COLOR"}}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", str(SCRIPT), *arguments],
            env={**env, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # Tests that run in the background have Ctrl-C turned off; who sits at a terminal has not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def read_until(self, *wanted: str) -> None:
        """
        Read until all these have been drawn.
        """
        end = time.monotonic() + TIMEOUT_S
        while not all(one.encode() in self.screen for one in wanted):
            assert time.monotonic() < end, f"{wanted} never came:\n{self.screen.decode(errors='replace')}"
            self._read(0.1)

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._ours], [], [], wait_s)[0]:
            return False
        self.screen += os.read(self._ours, 65536)
        return True

    def press_ctrl_c(self) -> int:
        """
        Type it, and return the exit code of the command.
        """
        os.write(self._ours, b"\x03")
        end = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.screen.decode(errors="replace")
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def is_restored(self) -> bool:
        """
        Tell whether the cursor shows and the modes of the terminal are what they were.
        """
        cursor = self.screen.rfind(SHOW_CURSOR) > self.screen.rfind(HIDE_CURSOR) >= 0
        return cursor and termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def fustor(tmp_path: Path) -> Iterator[Command]:
    """
    The command; whatever it started is stopped at the end.
    """
    command = Command(tmp_path)
    yield command
    command("down")


def test_up_query_down_and_up_again(fustor: Command, tmp_path: Path) -> None:
    """
    `fustor up -D` returns when the tree is queryable, the queries agree with find, and a second start redoes nothing.
    """
    tree = tmp_path / "tree"
    make_tree(tree, 500)
    fustor("up", str(tree), "-D")
    truth = find_tree(tree)
    for _ in range(2):
        rows = json.loads(fustor("search", "*.h5", "--limit", "1000", "--json"))
        assert isinstance(rows, list)
        assert {row["path"] for row in rows} == {path for path in truth if path.endswith(".h5")}
        (stats,) = json.loads(fustor("stats", "--json"))["trees"]
        assert json.loads(fustor("stats", str(tree), "--json")) == stats
        assert stats["files"] == sum(seen.type == "file" for seen in truth.values())
        assert "project-00" in fustor("tree")
        json.loads(fustor("status", "--json"))
        (table,) = json.loads(fustor("tables", "--json"))
        assert (table["table"], table["rows"]) == ("files", len(truth) + 1), "every entry, and the root itself"
        wanted = json.loads(fustor("rows", "files", "--where", "type:eq:dir", "--limit", "10000", "--json"))
        assert {row["path"] for row in wanted} - {""} == {path for path, seen in truth.items() if seen.type == "dir"}
        assert "files" in fustor("tables") and "path" in fustor("rows", "files", "--limit", "3")
        fustor("down")
        fustor("up", str(tree), "-D")


def test_a_reader_that_goes_away_ends_nothing_that_is_to_go_on(fustor: Command, tmp_path: Path) -> None:
    """
    `fustor up -D | head -1`: the services come up all the same, with their sync, and stay.
    """
    tree = tmp_path / "tree"
    make_tree(tree, 50)
    command = [str(SCRIPT), "up", str(tree), "-D"]
    with subprocess.Popen(command, env=fustor.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as up:
        assert up.stdout is not None and up.stderr is not None
        assert up.stdout.readline().startswith(b"Starting")
        up.stdout.close()
        said = up.stderr.read().decode()
    assert up.returncode == 0, said
    assert "Traceback" not in said and "Broken" not in said
    status = json.loads(fustor("status", "--json"))
    assert {one["state"] for one in status["services"]} == {"running"}
    assert [one["state"] for one in status["syncs"]] == ["live"]


def pushed_rows(fustor: Command) -> int:
    (sync,) = json.loads(fustor("status", "--json"))["syncs"]
    rows: int = sync["pushed_rows"]
    return rows


def test_up_in_the_foreground_shows_progress_and_redoes_nothing(fustor: Command, tmp_path: Path) -> None:
    """
    On a terminal: a bar while the tree is taken in, then the status screen; Ctrl-C stops the services and leaves the
    terminal as it was; what the second start pushes is what changed in between, and nothing else.
    """
    tree = tmp_path / "a tree"
    make_tree(tree, 3000)
    for added in (None, 0, 3):
        for number in range(added or 0):
            (tree / f"added-{number}").touch()
        terminal = Terminal(fustor.env, "up", str(tree))
        try:
            terminal.read_until("● live", "Ctrl-C stops the services")
            pushed = pushed_rows(fustor)
            assert terminal.press_ctrl_c() == 0
            shown = " ".join(terminal.screen.decode(errors="replace").split())  # long paths fold lines
            if added is None:  # afterwards there may be nothing left to wait for, and then no bar is drawn
                assert "entries/s" in shown and "━" in shown, shown
            assert "Stopped. The data stays; go on with: fustor up" in shown
            assert terminal.is_restored()
        finally:
            terminal.close()
        if added is None:
            assert pushed >= len(find_tree(tree))
            assert "live from now on" in shown
        elif added == 0:
            assert pushed == 0
            assert "0 changes since the last run" in shown
        else:
            assert added <= pushed <= added + 1, "the new files, and the folder they are in"
        status = subprocess.run(
            [str(SCRIPT), "status"], env=fustor.env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        assert status.returncode == 1
        assert "The services do not run. Start them: fustor up\n" in status.stderr


def test_doctor_and_help_answer_without_services(fustor: Command) -> None:
    """
    A newcomer may ask for help and for what the machine lacks before anything runs.
    """
    assert "up" in fustor("--help")
    assert json.loads(fustor("doctor", "--json"))
