"""
What is published: a wheel of every member, complete in itself, and all of them at work where nothing but wheels is installed.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from harness.wheels import (
    ROOT,
    Wheel,
    build_wheels,
    clean_environment,
    install_locked,
    make_environment,
    run,
    shared_folder,
)
from packaging.utils import canonicalize_name

MEMBERS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
NAMES = sorted(tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]["name"] for member in MEMBERS)
NEVER_IMPORTED = {
    "uvloop": "uvicorn takes it when it is there",
    "httptools": "uvicorn takes it when it is there",
    "python-multipart": "fastapi and starlette take it for forms",
    "websockets": "uvicorn takes it when it is there",
    "psycopg": "SQLAlchemy takes it for the URL of a PostgreSQL",
}
MOST_UNPACKED_MIB = 2
NO_MESSAGES = ("fustor-cli", "fustor-web-ui")
"""
What they say reaches no page, or stands in the consoles' own catalogs.
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_wheels(shared_folder(tmp_path_factory) / "wheels")


def test_every_member_becomes_a_wheel(wheels: dict[str, Path]) -> None:
    """
    One command builds all distributions.
    """
    assert sorted(wheels) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_carries_what_its_users_need(wheels: dict[str, Path], name: str) -> None:
    """
    Licence, description, typing marker, and no files that are not part of the package.
    """
    wheel = Wheel.read(wheels[name])
    package = name.replace("-", "_")
    (info,) = {first.split("/")[0] for first in wheel.names if ".dist-info/" in first}
    assert wheel.packages == {package}
    assert f"{package}/py.typed" in wheel.names
    assert name in NO_MESSAGES or f"{package}/messages.zh.json" in wheel.names
    assert f"{info}/licenses/LICENSE" in wheel.names
    assert wheel.metadata["License-Expression"] == "Apache-2.0"
    assert wheel.metadata["Requires-Python"] == ">=3.11"
    assert wheel.metadata["Description-Content-Type"] == "text/markdown"
    assert wheel.metadata.get_payload().startswith(f"# {name}\n")
    assert wheel.metadata["Summary"]
    own = [file for file in wheel.names if "/templates/" not in file]
    assert not [file for file in own if re.search(r"(^|/)tests?/|__pycache__|\.pyc$", file)]
    assert wheels[name].stat().st_size < MOST_UNPACKED_MIB * 2**20


@pytest.mark.parametrize("member", MEMBERS)
def test_licences_are_the_one_licence(member: str) -> None:
    """
    A wheel can only hold a file of its own folder, so there are copies; none differs.
    """
    assert (ROOT / member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_declares_just_what_it_imports(wheels: dict[str, Path], name: str) -> None:
    """
    Nothing that is imported comes by luck with something else, nothing is installed for nothing, and other distributions of ours are
    taken in versions that fit: the names alone would admit any.
    """
    wheel = Wheel.read(wheels[name])
    bring = packages_distributions()
    foreign = wheel.imports - wheel.packages - set(sys.stdlib_module_names)
    imported = {canonicalize_name(dist) for module in foreign for dist in bring.get(module, [module])}
    declared = {canonicalize_name(requirement.name) for requirement in wheel.requirements}
    assert imported <= declared
    assert declared - imported <= set(NEVER_IMPORTED)
    version = wheel.metadata["Version"]
    for requirement in wheel.requirements:
        assert requirement.specifier or requirement.name in bring, f"{requirement} has no bound"
        if requirement.name in NAMES:
            assert version in requirement.specifier, f"{requirement} does not fit {version}"
            assert "0.2.0" not in requirement.specifier, f"{requirement} has no upper bound"


def test_all_of_it_installs_from_wheels_alone_and_runs(wheels: dict[str, Path], tmp_path: Path) -> None:
    """
    In an empty environment, outside of the clone: every command answers, every driver and view is found, and a service starts and stops.
    """
    commands = make_environment(tmp_path / "env")
    install_locked(commands, *NAMES, index=wheels[NAMES[0]].parent)
    env = clean_environment(FUSTOR_CONFIG_DIR=str(tmp_path / "config"), HOME=str(tmp_path), COLUMNS="200")

    def output(*command: str) -> str:
        return run(commands / command[0], *command[1:], cwd=tmp_path, env=env)

    shown = json.loads(output("fustor", "version", "--json"))
    assert {name for name in shown if name.startswith("fustor-")} == set(NAMES)
    for command in ("fustor-agent", "fustor-registry", "fustor-fusion"):
        assert "start" in output(command, "--help")
    where = output(
        "python", "-c", "import fustor_core, fustor_agent; print(fustor_core.__file__, fustor_agent.__file__)"
    )
    assert all(path.startswith(str(tmp_path / "env")) for path in where.split()), where
    found = output(
        "python",
        "-c",
        "from fustor_core.plugins import *\n"
        "for catalog in (source_drivers(), pusher_drivers(), Catalog(VIEWS)):\n"
        "    for plugin in catalog.list(): print(plugin.name, plugin.error)",
    )
    assert set(found.splitlines()) == {
        f"{name} None" for name in ("fs", "mysql", "postgres", "echo", "fusion", "openapi", "tables")
    }
    try:
        for service in ("agent", "registry", "fusion"):
            started = json.loads(output(f"fustor-{service}", "start", "-D", "--port", "0", "--json"))
            assert started["running"]
    finally:
        for service in ("agent", "registry", "fusion"):
            output(f"fustor-{service}", "stop")
