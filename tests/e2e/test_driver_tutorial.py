"""
docs/tutorial-drivers.md, typed as it stands: from wheels alone to an agent that runs a source and a pusher of one's own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness.stack import free_port
from harness.wheels import ROOT, UV, build_wheels, clean_environment, shared_folder

TUTORIAL = (ROOT / "docs/tutorial-drivers.md").read_text("utf-8")
BUILD = "uv build --all-packages --wheel --quiet --out-dir ~/fustor-wheels\n"
BETWEEN = "@@@@"
LONGEST_S = 840


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    The home of a newcomer who has built the wheels: the first command of the tutorial, which other tests need too.
    """
    build_wheels(shared_folder(tmp_path_factory) / "wheels")
    (tmp_path / "fustor-wheels").symlink_to(shared_folder(tmp_path_factory) / "wheels")
    yield tmp_path
    command = tmp_path / "agent/bin/fustor-agent"
    if command.exists():
        subprocess.run([command, "stop"], env=environment(tmp_path), capture_output=True, check=False)


def environment(home: Path) -> dict[str, str]:
    real = Path.home()
    return clean_environment(
        HOME=str(home),
        # What was downloaded once, and how the package index is reached, are this machine's.
        XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", str(real / ".cache")),
        XDG_CONFIG_HOME=os.environ.get("XDG_CONFIG_HOME", str(real / ".config")),
        PIP_NO_COMPILE="1",
        PATH=os.pathsep.join([str(Path(os.path.realpath(sys.executable)).parent), os.environ["PATH"]]),
        FUSTOR_CONFIG_DIR=str(home / "agent/config"),
        FUSTOR_AGENT_PORT=str(free_port()),
    )


def type_it(home: Path, commands: list[str]) -> list[str]:
    """
    Run blocks of commands in one shell, as a person types them; return what each printed.
    """
    script = "set -euo pipefail\n" + f"\necho; echo {BETWEEN}\n".join(commands)
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            said, _ = shell.communicate()
            log = home / "agent/config/fustor_agent.log"
            pytest.fail(f"it goes on for ever:\n{said}\n{log.read_text() if log.exists() else ''}")
    assert shell.returncode == 0, said
    return said.split(f"\n{BETWEEN}\n")


@pytest.mark.timeout(900)
def test_the_tutorial_as_it_stands(home: Path) -> None:
    """
    Each command works, the agent finds both drivers and runs them, and the code that is explained is the code that is written.
    """
    first, *commands = blocks("bash")
    assert first == BUILD
    assert Path(UV).exists()
    said = type_it(home, commands)

    assert sum(" passed" in one for one in said) == 3
    assert not [one for one in said if re.search(r"\d failed|\d error", one)]

    (listed,) = [json.loads(line) for one in said for line in one.splitlines() if line.startswith('{"sources"')]
    assert listed["sources"] == [
        {"name": "shop", "title": "shop", "distribution": "fustor-source-shop", "version": "0.1.0", "error": None}
    ]
    assert [plugin["name"] for plugin in listed["pushers"]] == ["echo"]

    events = (home / "agent/events.jsonl").read_text()
    assert "snapshot_end" in events
    assert "Ada" not in events, "a column that was left out was sent"
    assert said[-1].splitlines()[0] == "[('pear', 0.6), ('fig', 0.3)]"
    with closing(sqlite3.connect(home / "agent/ledger.db")) as db:
        assert db.execute("SELECT complete, checkpoint >= 0 FROM syncs").fetchall() == [(1, 1)]

    written = "\n".join(
        path.read_text() for path in (home / "drivers").glob("fustor-*/**/*.py") if ".venv" not in path.parts
    )
    for code in blocks("python"):
        assert code in written, f"the tutorial explains code that is not there:\n{code}"
