"""
The house stays in order: folders, names, entry points, who imports whom, and the size of modules.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CONTROL = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEMBERS: list[str] = CONTROL["tool"]["uv"]["workspace"]["members"]
SERVICES = ("agent", "registry", "fusion")
HARD_LINE_LIMIT = 700
ENTRY_POINT_GROUPS = ("fustor.drivers.sources", "fustor.drivers.pushers", "fustor.views")
# Distribution names whose import name is not the same with "-" turned into "_".
IMPORT_NAMES = {
    "pyyaml": "yaml",
    "ruamel.yaml": "ruamel",
    "argon2-cffi": "argon2",
    "prometheus-client": "prometheus_client",
    "python-multipart": "multipart",
}


def project(member: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / member / "pyproject.toml").read_text())
    return found


def import_name(member: str) -> str:
    name = Path(member).name
    return name if name.startswith("fustor_") else f"fustor_{name}"


def sources(member: str) -> list[Path]:
    return sorted((ROOT / member / "src").rglob("*.py"))


def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return sorted(ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists())


def imported(file: Path) -> set[str]:
    """
    Return the top-level names that a module imports, type-checking imports included.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def distribution(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower()


def test_every_folder_with_a_pyproject_is_a_member_and_the_other_way_round() -> None:
    """
    The control centre names each member once, as the contributor guide says: in members, sources and dependencies.
    """
    there = sorted(
        str(path.parent.relative_to(ROOT))
        for pattern in ("*/pyproject.toml", "packages/*/pyproject.toml")
        for path in ROOT.glob(pattern)
    )
    assert sorted(MEMBERS) == there
    names = sorted(project(member)["project"]["name"] for member in MEMBERS)
    workspace_sources = CONTROL["tool"]["uv"]["sources"]
    assert sorted(set(workspace_sources) - {"fustor-workspace"}) == names
    assert all(source == {"workspace": True} for source in workspace_sources.values())
    assert sorted(distribution(item) for item in CONTROL["project"]["dependencies"]) == names


@pytest.mark.parametrize("member", MEMBERS)
def test_names_follow_the_folder(member: str) -> None:
    """
    Folder, distribution, package and wheel carry one name, the package is typed, and src/ is no package.
    """
    data = project(member)
    name = import_name(member)
    assert data["project"]["name"] == name.replace("_", "-")
    assert data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{name}"]
    assert (ROOT / member / "src" / name / "__init__.py").is_file()
    assert (ROOT / member / "src" / name / "py.typed").is_file()
    assert not (ROOT / member / "src" / "__init__.py").exists()
    assert not (ROOT / member / "__init__.py").exists()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_imports_only_what_it_declares(member: str) -> None:
    """
    One shared environment hides a missing dependency; this reads the imports instead.
    """
    data = project(member)["project"]
    declared = {distribution(item) for item in data.get("dependencies", ())}
    declared |= {distribution(item) for extra in data.get("optional-dependencies", {}).values() for item in extra}
    allowed = (
        {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in declared}
        | {import_name(member)}
        | set(sys.stdlib_module_names)
    )
    undeclared = {f"{file.relative_to(ROOT)}: {name}" for file in sources(member) for name in imported(file) - allowed}
    assert not undeclared


@pytest.mark.parametrize("member", MEMBERS)
def test_entry_points_and_commands_load(member: str) -> None:
    """
    Each declared command, driver and view is installed, and exists.
    """
    data = project(member)["project"]
    installed = importlib.metadata.distribution(data["name"]).entry_points
    declared = {("console_scripts", name): value for name, value in data.get("scripts", {}).items()}
    for group, points in data.get("entry-points", {}).items():
        assert group in ENTRY_POINT_GROUPS
        declared |= {(group, name): value for name, value in points.items()}
    assert {(point.group, point.name): point.value for point in installed} == declared
    for point in installed:
        assert callable(point.load())


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("prefix", ["", "{0}.src."], ids=["installed", "from the root"])
def test_both_asgi_targets_serve(service: str, prefix: str, tmp_path: Path) -> None:
    """
    `fustor_agent.main:app` and, from the root, `agent.src.fustor_agent.main:app` import to an application, likewise the two other services.
    """
    target = f"{prefix.format(service)}fustor_{service}.main"
    code = f"import importlib; app = importlib.import_module({target!r}).app; assert callable(app), app; print(len(app.routes))"
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "FUSTOR_CONFIG_DIR": str(tmp_path / "config"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


@pytest.mark.parametrize("service", SERVICES)
def test_the_asgi_target_is_only_a_target(service: str) -> None:
    """
    `main.py` is loaded twice under two names, so it may hold nothing but the import and the application.
    """
    body = ast.parse((ROOT / service / f"src/fustor_{service}/main.py").read_text()).body
    assert [type(node).__name__ for node in body] == ["Expr", "ImportFrom", "Assign"]


def test_the_import_rules_hold() -> None:
    """
    import-linter finds no service that knows another or a driver by name, and no driver that knows more than the core.
    """
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(script), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {
        package
        for contract in CONTROL["tool"]["importlinter"]["contracts"]
        for package in contract.get("source_modules", ())
    }
    assert {import_name(member) for member in MEMBERS} == set(CONTROL["tool"]["importlinter"]["root_packages"])
    assert {import_name(member) for member in MEMBERS if Path(member).name.startswith(("source_", "pusher_"))} <= listed


def test_no_relative_imports_and_no_module_past_the_limit() -> None:
    """
    Imports are absolute, and no module of ours is longer than the hard limit.
    """
    relative, long = [], []
    for file in python_files():
        text = file.read_text("utf-8")
        if text.count("\n") > HARD_LINE_LIMIT:
            long.append(f"{file.relative_to(ROOT)}: {text.count(chr(10))} lines")
        relative += [
            f"{file.relative_to(ROOT)}:{node.lineno}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.level
        ]
    assert not relative
    assert not long


def test_mypy_and_the_linter_see_every_member() -> None:
    """
    A member that no tool looks at would be clean by absence.
    """
    names = {import_name(member) for member in MEMBERS}
    assert set(CONTROL["tool"]["mypy"]["packages"]) == names
    assert set(CONTROL["tool"]["mypy"]["mypy_path"]) == {f"{member}/src" for member in MEMBERS}
    with_tests = {member for member in MEMBERS if (ROOT / member / "tests").is_dir()}
    testpaths = CONTROL["tool"]["pytest"]["ini_options"]["testpaths"]
    assert all(member.startswith("packages/") or f"{member}/tests" in testpaths for member in with_tests)
