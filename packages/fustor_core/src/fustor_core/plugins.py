"""
Drivers and views by entry point: the only way one part of Fustor finds another package.

A plugin that can't be loaded is reported with its name and the reason, and never stops the others. Of several packages that give the same
name one is used, always the same one, and the others are reported: see `Catalog`.
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, TypeVar

from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import DriverNotUsable

SOURCES: Final = "fustor.drivers.sources"
PUSHERS: Final = "fustor.drivers.pushers"
VIEWS: Final = "fustor.views"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin:
    """
    What is known of one entry point without using it.

    Attributes:
        name: The name that configurations use.
        distribution: The package it came with, and its version ("" when unknown).
        error: Why it can't be used; None when it can.
    """

    name: str
    distribution: str
    version: str
    error: str | None


class Catalog(Generic[T]):
    """
    The plugins of one group, loaded once.

    A name that several packages give means the package that is called after it (`fustor-source-<name>`), else another of ours
    (`fustor-*`), else the first by name: what is installed later takes no name away. The others are not loaded.

    Args:
        group: Entry-point group.
        base: The class each plugin must derive from; None = any class.
        points: The entry points to use instead of the installed ones, for tests.
    """

    def __init__(self, group: str, base: type[T] | None = None, points: Iterable[EntryPoint] | None = None) -> None:
        self.group = group
        self._classes: dict[str, type[T]] = {}
        self._plugins: dict[str, Plugin] = {}
        self._displaced: list[Plugin] = []
        found = sorted(entry_points(group=group) if points is None else points, key=self._rank)
        for point in found:
            used = self._plugins.get(point.name)
            if used is None:
                self._plugins[point.name] = self._load(point, base)
            elif used.distribution != _distribution(point):  # else the same package seen twice on the path
                reason = f"the name {point.name!r} is that of a driver of package {used.distribution!r}: uninstall one of the two"
                self._displaced.append(_plugin(point, reason))

    def _rank(self, point: EntryPoint) -> tuple[str, int, str]:
        package = re.sub(r"[-_.]+", "-", _distribution(point)).lower()
        kind = self.group.rpartition(".")[2].removesuffix("s")
        called_after_it = package == re.sub(r"[-_.]+", "-", f"fustor-{kind}-{point.name}").lower()
        return point.name, 0 if called_after_it else 1 if package.startswith("fustor-") else 2, package

    def _load(self, point: EntryPoint, base: type[T] | None) -> Plugin:
        try:
            loaded: Any = point.load()
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            return _plugin(point, _reason(exc))
        if not isinstance(loaded, type) or (base is not None and not issubclass(loaded, base)):
            return _plugin(point, f"{point.value!r} is not a class derived from {base.__name__ if base else 'type'}")
        if inspect.isabstract(loaded):
            missing = ", ".join(f"`{name}`" for name in sorted(getattr(loaded, "__abstractmethods__", ())))
            return _plugin(point, f"{point.value!r} does not implement {missing}")
        self._classes[point.name] = loaded
        return _plugin(point, None)

    def list(self) -> list[Plugin]:
        """
        Return every plugin of the group, usable or not, by name; of the same name the one that counts first.
        """
        return sorted([*self._plugins.values(), *self._displaced], key=lambda p: p.name)

    def get(self, name: str) -> type[T]:
        """
        Return the class of a plugin.

        Raises:
            DriverNotUsable: It is not installed, or could not be loaded; says why.
        """
        if name in self._classes:
            return self._classes[name]
        if name in self._plugins:
            plugin = self._plugins[name]
            raise DriverNotUsable(
                f"driver {name!r} of package {plugin.distribution!r} could not be loaded: {plugin.error}",
                hint=f"mend or reinstall {plugin.distribution or 'its package'}, then restart",
                context={"group": self.group, "driver": name},
            )
        known = ", ".join(sorted(self._classes)) or "none"
        raise DriverNotUsable(
            f"no driver {name!r} in group {self.group!r}",
            hint=f"install the package that brings it; installed: {known}",
            context={"group": self.group, "driver": name},
        )


def title_of(drivers: Catalog[Any], name: Any) -> str:
    """
    Return what people call a driver: the title it gives itself, else its name; "" when there is no name.
    """
    if not isinstance(name, str):
        return ""
    try:
        return drivers.get(name).title or name
    except DriverNotUsable:
        return name


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _plugin(point: EntryPoint, error: str | None) -> Plugin:
    return Plugin(point.name, _distribution(point), point.dist.version if point.dist else "", error)


def _reason(exc: BaseException) -> str:
    """
    Say what went wrong while a module was imported, and in which line of the package.
    """
    said = f"{type(exc).__name__}: {exc}"
    frames = traceback.extract_tb(exc.__traceback__)
    at = next((frame for frame in reversed(frames) if "importlib" not in frame.filename), None)
    if at is None or at.filename == __file__ or isinstance(exc, SyntaxError):
        return said  # there is no such module or name at all; a SyntaxError says its line itself
    return f"{said} ({at.filename}, line {at.lineno})"


def plugin_modules() -> list[str]:
    """
    Return the names of the modules that the installed plugins of every group are in; none is loaded.
    """
    return sorted({point.module for group in (SOURCES, PUSHERS, VIEWS) for point in entry_points(group=group)})


def source_drivers() -> Catalog[SourceDriver]:
    """
    Load the installed source drivers.
    """
    return Catalog(SOURCES, SourceDriver)


def pusher_drivers() -> Catalog[PusherDriver]:
    """
    Load the installed pusher drivers.
    """
    return Catalog(PUSHERS, PusherDriver)
