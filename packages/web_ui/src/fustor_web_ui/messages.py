"""
What services and drivers say (messages, hints, reasons), in Chinese: by the templates that the packages which say it bring along.

A package's `messages.zh.json` holds English templates and their Chinese: `{}` is a value in English, `{0}`, `{1}` … the same values in
Chinese, in any order. All other braces are text. A text is compared with the templates literal by literal, which takes a time in
proportion to its length whatever it holds; and so seldom that a text made to take long does not.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fustor_core.plugins import plugin_modules

log = logging.getLogger(__name__)

CATALOG: Final = "messages.zh.json"
HOLE: Final = "{}"
_PLACE: Final = re.compile(r"\{(\d+)\}")
_LETTER: Final = re.compile(r"[A-Za-z]")
_SHARED: Final = ("fustor_core", "fustor_common", "fustor_client")
_LONGEST: Final = 10_000
_KEPT: Final = 2_000
_KEPT_LENGTH: Final = 1_000
_DEPTH: Final = 5
_MOST_FITTING: Final = 3
_MOST_LOOKS: Final = 100


@dataclass(frozen=True, slots=True)
class Template:
    """
    One thing that is said.

    Attributes:
        literals: What stands around its values: one more than there are values.
        chinese: Texts, and the numbers of the values between them.
        has_words: Whether it says anything itself. One that does not only joins what others say.
    """

    literals: tuple[str, ...]
    chinese: tuple[str | int, ...]
    has_words: bool

    @property
    def weight(self) -> int:
        """
        How many characters of it have a meaning.
        """
        return sum(map(len, self.literals)) if self.has_words else 0

    @property
    def begins_with(self) -> str:
        """
        Its first words.
        """
        return next(filter(None, self.literals), "")

    def values(self, text: str) -> list[str] | None:
        """
        Return the values in a text; None when it does not fit. Each is as short as it can be, but for the last.
        """
        first, last = self.literals[0], self.literals[-1]
        if len(self.literals) == 1:
            return [] if text == first else None
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        found = []
        for literal in self.literals[1:-1]:
            begin = text.find(literal, at, end)
            if begin < 0:
                return None
            found.append(text[at:begin])
            at = begin + len(literal)
        return [*found, text[at:end]]

    def fill(self, values: list[str]) -> str:
        """
        Say it in Chinese.
        """
        return "".join(part if isinstance(part, str) else values[part] for part in self.chinese)


def read_template(english: str, chinese: str) -> Template:
    """
    Read a line of a catalog.

    Raises:
        ValueError: The Chinese names a value that the English does not have.
    """
    literals = tuple(english.strip().split(HOLE))  # a part of a text is looked up without the spaces around it
    parts = [int(part) if at % 2 else part for at, part in enumerate(_PLACE.split(chinese))]
    if any(isinstance(part, int) and part >= len(literals) - 1 for part in parts):
        raise ValueError(f"{chinese!r} has a value that is not in {english!r}")
    return Template(literals, tuple(part for part in parts if part != ""), any(map(_LETTER.search, literals)))


@dataclass(frozen=True, slots=True)
class _Known:
    """
    What can be said in Chinese.

    Attributes:
        whole: What has no values, by its text.
        parted: What has some: what begins with words first, and the most literal of those.
    """

    whole: Mapping[str, Template]
    parted: Sequence[Template]


class _Reading:
    """
    One text being put into Chinese. A text may fit several templates; the one counts that leaves the least of it in English.
    """

    def __init__(self, known: _Known) -> None:
        self._known = known
        self.looks = 0

    def best(self, text: str, depth: int = _DEPTH) -> tuple[str, int] | None:
        """
        Return a text in Chinese, and how many characters of it had a meaning; None when nothing fits.
        """
        if text in self._known.whole:
            return self._known.whole[text].fill([]), len(text)
        if self.looks == _MOST_LOOKS:
            return None
        self.looks += 1
        best: tuple[str, int] | None = None
        rank: tuple[int, int] | None = None
        left = _MOST_FITTING
        for template in self._known.parted:
            values = template.values(text)
            if values is None:
                continue
            # A value is often what somebody else has said: what a consumer answers, or the reason that something failed.
            inner = [self.best(value.strip(), depth - 1) if value and depth else None for value in values]
            meant = sum(one[1] for one in inner if one is not None)
            if not template.has_words and not meant:
                continue
            # Of those that leave as much, what begins first holds the others, as in "'ann' lacks what ...".
            its_rank = template.weight + meant, -text.find(template.begins_with)
            if rank is None or its_rank > rank:
                said = [value if one is None else one[0] for value, one in zip(values, inner, strict=True)]
                best, rank = (template.fill(said), its_rank[0]), its_rank
            left -= 1
            if not left:
                break
        return best


class Messages:
    """
    Says in Chinese what was said in English.

    Args:
        catalogs: Files. Of the same template in several of them the first counts. They are read when they are first needed.
    """

    def __init__(self, catalogs: Iterable[Path]) -> None:
        self._catalogs = catalogs
        self._said = functools.lru_cache(_KEPT)(self._translated)

    def in_chinese(self, text: str) -> str:
        """
        Return a text in Chinese; as it is when nobody has put it into Chinese.
        """
        if len(text) > _LONGEST:
            return text  # nobody says so much; it would take its time and be no better
        found = self._said(text) if len(text) <= _KEPT_LENGTH else self._translated(text)
        return text if found is None else found

    @functools.cached_property
    def _known(self) -> _Known:
        known: dict[str, Template] = {}
        for file in self._catalogs:
            for english, template in _read(file):
                known.setdefault(english, template)
        whole = {one.literals[0]: one for one in known.values() if len(one.literals) == 1}
        parted = [one for one in known.values() if len(one.literals) > 1]
        return _Known(whole, sorted(parted, key=lambda one: (not one.literals[0], -one.weight, one.literals)))

    def _translated(self, text: str) -> str | None:
        found = _Reading(self._known).best(text)
        return None if found is None else found[0]


def catalogs_for(service: str) -> Iterator[Path]:
    """
    Find the catalogs of what is installed: of a service, of what all share, and of every driver and view. None is imported for it.

    Args:
        service: A module of the service.
    """
    seen: set[Path] = set()
    for module in (service, *_SHARED, *plugin_modules()):
        for file in _beside(module):
            if file not in seen:
                seen.add(file)
                yield file


def _beside(module: str) -> Iterator[Path]:
    """
    Find the catalogs in the package of a module, and in the packages that one is in.
    """
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError) as exc:
        log.warning("the package %r can't be found: %s", top, exc)
        return
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for depth in range(len(inner) + 1):
            file = Path(folder, *inner[:depth], CATALOG)
            if file.is_file():
                yield file


def _read(file: Path) -> Iterator[tuple[str, Template]]:
    """
    Read a catalog. It may be anybody's, so what is wrong with it keeps no page from being shown.
    """
    try:
        lines: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        log.warning("the catalog %s can't be read: %s", file, exc)
        return
    for english, chinese in lines.items() if isinstance(lines, dict) else ():
        try:
            yield english, read_template(english, str(chinese))
        except ValueError as exc:
            log.warning("a line of the catalog %s can't be used: %s", file, exc)
