"""
Every distribution of the workspace as a wheel, built once for a whole run of the tests, and empty environments to install them into.
"""

from __future__ import annotations

import ast
import email
import fcntl
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
import uv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
UV = uv.find_uv_bin()
BUILT = "built"


def clean_environment(**more: str) -> dict[str, str]:
    """
    Return this process's environment without what points into the workspace.
    """
    foreign = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
    ours = ("FUSTOR_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if name not in foreign and not name.startswith(ours)}
    return {**kept, "UV_LINK_MODE": "copy", **more}


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, check: bool = True) -> str:
    """
    Run a command outside of the workspace's environment; return what it printed.

    Raises:
        AssertionError: It failed; shows its output.
    """
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env or clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """
    Return a folder that all processes of this run of the tests have in common.
    """
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def build_wheels(folder: Path) -> dict[str, Path]:
    """
    Build a wheel of every distribution into a folder, unless another process of the same run has done so.

    Returns:
        Name of the distribution to its wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / BUILT).exists():
            run(UV, "build", "--all-packages", "--wheel", "--no-sources", "--quiet", "--out-dir", folder, cwd=ROOT)
            (folder / BUILT).touch()
    return {canonicalize_name(wheel.name.split("-")[0]): wheel for wheel in sorted(folder.glob("*.whl"))}


@dataclass
class Wheel:
    """
    What is inside a wheel.
    """

    names: list[str]
    metadata: Message
    imports: set[str]
    """
    The first parts of the names of all modules that its modules import, wherever in them.
    """

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """
        Look into a file.
        """
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
            imports: set[str] = set()
            for name in names:
                if name.endswith(".py"):
                    imports |= imported(archive.read(name).decode())
            return cls(names, email.message_from_bytes(archive.read(metadata)), imports)

    @property
    def requirements(self) -> list[Requirement]:
        """
        Everything that it asks for, extras included.
        """
        return [Requirement(one) for one in self.metadata.get_all("Requires-Dist", [])]

    @property
    def packages(self) -> set[str]:
        """
        The import names that it brings.
        """
        return {name.split("/")[0] for name in self.names if ".dist-info/" not in name}


def imported(source: str) -> set[str]:
    """
    Return the first parts of the names of the modules that a module imports.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def make_environment(folder: Path) -> Path:
    """
    Make an empty virtual environment; return the folder of its commands.
    """
    run(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    return folder / "bin"


def install_locked(commands: Path, *members: str, index: Path) -> None:
    """
    Install distributions of ours from their wheels alone, and from the package index only what others make, at the locked versions.

    Args:
        commands: Of `make_environment`.
        members: Names of distributions, with an extra if need be.
        index: The folder of the wheels.
    """
    packages = [part for name in members for part in ("--package", name.split("[")[0])]
    locked = run(
        UV, "export", "--frozen", "--no-emit-workspace", "--no-hashes", "--no-header", "--quiet", *packages, cwd=ROOT
    )
    listed = commands.parent / "locked.txt"
    listed.write_text(locked)
    python = commands / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "-r", listed, cwd=commands.parent)
    ours = ["--no-index", "--find-links", str(index), *members]
    run(UV, "pip", "install", "--quiet", "--python", python, *ours, cwd=commands.parent)
