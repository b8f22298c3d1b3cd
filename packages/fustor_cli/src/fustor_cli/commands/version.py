"""
`fustor version`: what is installed.
"""

from __future__ import annotations

import platform
import sqlite3
from importlib import metadata

from fustor_cli import options, output

PARTS = (
    "fustor-cli",
    "fustor-client",
    "fustor-web-ui",
    "fustor-common",
    "fustor-core",
    "fustor-agent",
    "fustor-registry",
    "fustor-fusion",
)
HELP = "Show the versions of everything installed."


def command(as_json: options.Json = False) -> None:
    """
    Show the versions of everything installed: this command, the services, the drivers.
    """
    found = {name: version for name in PARTS if (version := _version(name)) is not None}
    for group in ("fustor.drivers.sources", "fustor.drivers.pushers", "fustor.views"):
        for point in metadata.entry_points(group=group):
            if point.dist is not None:
                found.setdefault(point.dist.name, point.dist.version)
    machine = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    if as_json:
        output.json_document({**found, **machine})
        return
    output.line(f"fustor {found.get('fustor-cli', 'unknown')}")
    output.table(("Part", "Version"), [*found.items(), *machine.items()])


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
