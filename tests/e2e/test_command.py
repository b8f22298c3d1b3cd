"""
The `fustor` command as a newcomer meets it: up, queries from another terminal, down, and up again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.stack import free_port
from harness.trees import find_tree, make_tree

TIMEOUT_S = 120


class Command:
    """
    Calls the `fustor` command with an empty home and ports of its own.
    """

    def __init__(self, home: Path) -> None:
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FUSTOR_")}
        self.env |= {"HOME": str(home), "FUSTOR_CONFIG_DIR": str(home / "config"), "COLUMNS": "160"}
        self.env |= {f"FUSTOR_{name}_PORT": str(free_port()) for name in ("AGENT", "REGISTRY", "FUSION")}

    def __call__(self, *arguments: str) -> str:
        script = Path(sys.executable).with_name("fustor")
        done = subprocess.run(
            [str(script), *arguments], env=self.env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, f"fustor {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


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
        fustor("down")
        fustor("up", str(tree), "-D")


def test_doctor_and_help_answer_without_services(fustor: Command) -> None:
    """
    A newcomer may ask for help and for what the machine lacks before anything runs.
    """
    assert "up" in fustor("--help")
    assert json.loads(fustor("doctor", "--json"))
