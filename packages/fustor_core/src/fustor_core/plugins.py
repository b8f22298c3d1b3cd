"""
Drivers and views by entry point: the only way one part of Fustor finds another package.

A plugin that can't be loaded is reported with its name and the reason, and never stops the others.
"""

from __future__ import annotations

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

    Args:
        group: Entry-point group.
        base: The class each plugin must derive from; None = any class.
        points: The entry points to use instead of the installed ones, for tests.
    """

    def __init__(self, group: str, base: type[T] | None = None, points: Iterable[EntryPoint] | None = None) -> None:
        self.group = group
        self._classes: dict[str, type[T]] = {}
        self._plugins: dict[str, Plugin] = {}
        for point in entry_points(group=group) if points is None else points:
            self._add(point, base)

    def _add(self, point: EntryPoint, base: type[T] | None) -> None:
        dist = point.dist
        error: str | None = None
        if point.name in self._classes:
            return  # the same package seen twice on the path
        try:
            loaded: Any = point.load()
            if not isinstance(loaded, type) or (base is not None and not issubclass(loaded, base)):
                error = f"{point.value!r} is not a class derived from {base.__name__ if base else 'type'}"
            else:
                self._classes[point.name] = loaded
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            error = f"{type(exc).__name__}: {exc}"
        self._plugins[point.name] = Plugin(
            name=point.name,
            distribution=dist.name if dist else "",
            version=dist.version if dist else "",
            error=error,
        )

    def list(self) -> list[Plugin]:
        """
        Return every plugin of the group, usable or not, by name.
        """
        return sorted(self._plugins.values(), key=lambda p: p.name)

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
