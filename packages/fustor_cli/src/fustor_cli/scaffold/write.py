"""
The files of a new driver package, from the templates beside this module.

A template is an ordinary text in which `$name`, `$package` and the like stand for the driver's own (`string.Template`). Those in `common` belong to
every package; the folder of the kind adds its own.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final

from fustor_cli.scaffold.names import DriverNames, Kind
from fustor_core.errors import ConfigError, StateConflictError

SUFFIX: Final = ".tmpl"
ABOUT: Final = {Kind.SOURCE: "one table of a SQLite database", Kind.PUSHER: "rows of any tables into a SQLite database"}


def write_driver(names: DriverNames, parent: Path) -> Path:
    """
    Write the package of a new driver into a new folder.

    Args:
        names: What it is called.
        parent: The folder in which to make its folder.

    Returns:
        The folder that was made.

    Raises:
        StateConflictError: There is something of that name; it is left as it is.
        ConfigError: The folder can't be made, or not be written.
    """
    folder = parent / names.distribution
    try:
        folder.mkdir()
    except FileExistsError:
        raise StateConflictError(
            f"{str(folder)!r} exists already, and was left as it is", hint="choose another name, or another --dir"
        ) from None
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    try:
        for path, text in package_files(names):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)  # half a package would only look like one
        raise _unwritable(folder, exc) from exc
    return folder


def package_files(names: DriverNames) -> Iterator[tuple[PurePosixPath, str]]:
    """
    Return the files of a package: each path below its folder, and the text.
    """
    values = {
        "kind": names.kind,
        "name": names.name,
        "distribution": names.distribution,
        "package": names.package,
        "class_name": names.class_name,
        "about": ABOUT[names.kind],
        "core_bounds": compatible_with(version("fustor-core")),
    }
    templates = files("fustor_cli.scaffold") / "templates"
    for part in ("common", names.kind):
        for path, template in _walk(templates / part, PurePosixPath()):
            own = PurePosixPath(*(names.package if one == "package" else one for one in path.parts))
            yield own, Template(template.read_text("utf-8")).substitute(values)


def compatible_with(installed: str) -> str:
    """
    Return the bounds of versions that keep the contract of the one that is installed: up to the next minor one before 1.0, then the next major one.
    """
    numbers = re.match(r"(\d+)\.(\d+)", installed)
    if numbers is None:
        return f"=={installed}"
    major, minor = int(numbers[1]), int(numbers[2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _walk(entry, path / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield path / entry.name.removesuffix(SUFFIX), entry


def _unwritable(folder: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"{str(folder)!r} can't be written: {exc.strerror or exc}",
        hint="name another folder with --dir, or make that one",
    )
