"""
What a new driver and its package are called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points

from fustor_core.errors import InvalidRequest, StateConflictError

LONGEST = 30

_PATTERN = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
_PREFIXES = ("fustor", "source", "pusher")


class Kind(StrEnum):
    """
    What a driver does.
    """

    SOURCE = "source"
    PUSHER = "pusher"


@dataclass(frozen=True)
class DriverNames:
    """
    Every name that a driver has.

    Attributes:
        kind: source or pusher.
        name: What configurations call it, and its entry point: `my_shop`.
    """

    kind: Kind
    name: str

    @property
    def distribution(self) -> str:
        """
        Name of the distribution and of its folder: `fustor-source-my-shop`.
        """
        return f"fustor-{self.kind}-{self.name}".replace("_", "-")

    @property
    def package(self) -> str:
        """
        Name to import: `fustor_source_my_shop`.
        """
        return f"fustor_{self.kind}_{self.name}"

    @property
    def class_name(self) -> str:
        """
        Name of the class: `MyShopSource`.
        """
        return "".join(word.capitalize() for word in self.name.split("_")) + self.kind.capitalize()


def driver_names(kind: Kind, given: str) -> DriverNames:
    """
    Check a name that a person typed.

    Raises:
        InvalidRequest: No package can be called that; says what can.
        StateConflictError: An installed driver has this name.
    """
    if len(given) > LONGEST or not _PATTERN.fullmatch(given):
        better = _suggestion(given)
        raise InvalidRequest(
            f"{given!r} can't be the name of a driver: small letters a-z, digits and single dashes or underscores between them,"
            f" beginning with a letter, at most {LONGEST} characters",
            hint=f"call it {better!r}"
            if better
            else "choose a short word for what it reads from or writes to: shop, my_queue",
        )
    name = given.replace("-", "_")
    first, _, rest = name.partition("_")
    if first in _PREFIXES:
        raise InvalidRequest(
            f"{given!r} begins with {first!r}, which the names of the package bring along",
            hint=f"call it {_without_prefixes(rest)!r}"
            if _without_prefixes(rest)
            else "name what it reads from or writes to",
        )
    for point in entry_points(group=f"fustor.drivers.{kind}s"):
        if point.name == name:
            package = point.dist.name if point.dist else "another package"
            raise StateConflictError(
                f"a {kind} driver {name!r} is installed already, from {package}",
                hint="choose another name: only one of the two could be used",
            )
    return DriverNames(kind, name)


def _suggestion(given: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", given).lower())
    return _without_prefixes("_".join(words).lstrip("0123456789_")[:LONGEST].rstrip("_"))


def _without_prefixes(name: str) -> str:
    while name.partition("_")[0] in _PREFIXES:
        name = name.partition("_")[2].lstrip("0123456789_")
    return name
