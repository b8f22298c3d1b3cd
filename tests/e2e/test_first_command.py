"""
The first command of README.md, word by word, from a bare clone with an empty home: all of `/usr`, entry by entry.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.stack import free_port
from harness.trees import Seen, differences, find_tree

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 600  # most of it is the installation


def first_command() -> list[str]:
    """
    Return the first command that README.md shows, without its comment.
    """
    block = re.search(r"```bash\n(.+)\n", (ROOT / "README.md").read_text("utf-8"))
    assert block is not None, "README.md begins with a block of commands"
    return shlex.split(block[1], comments=True)


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_from_a_bare_clone_to_a_queryable_tree(tmp_path: Path) -> None:
    """
    `./fustor up /usr -D` installs what it needs, and its queries agree with `find`, path by path.
    """
    clone = tmp_path / "clone"
    # What is checked out now, committed or not: a clone of the last commit would test something else.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in map(os.fsdecode, listed.stdout.split(b"\0")[:-1]):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)

    home = tmp_path / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FUSTOR_", "VIRTUAL_ENV"))}
    own = str(Path(sys.executable).parent)  # ./test put it in front; a newcomer has none
    env["PATH"] = os.pathsep.join(part for part in env["PATH"].split(os.pathsep) if part != own)
    env |= {"HOME": str(home)} | {f"FUSTOR_{name}_PORT": str(free_port()) for name in ("AGENT", "REGISTRY", "FUSION")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=clone, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"{shlex.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    command = first_command()
    root = Path(command[-1])
    try:
        run(*command, "-D")
        rows = json.loads(run("./fustor", "tree", str(root), "--depth", "1000", "--limit", "100000000", "--json"))
        had = {row["path"]: Seen(row["type"], row["size"], row["mtime"]) for row in rows}
        truth = find_tree(root)
        assert len(truth) > 10_000, "this is a real tree"
        assert not differences(truth, had)
        stats = json.loads(run("./fustor", "stats", str(root), "--json"))
        assert stats["files"] == sum(seen.type == "file" for seen in truth.values())
    finally:
        run("./fustor", "down")
