"""
Reads YAML so that everything in it can be pointed at: the data, and the line and column of each key.

YAML 1.2 by ruamel.yaml, aliases and merge keys included. What the reader says is never passed on as it is: its messages quote
the text, and the text may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """
    A place in a text; line and column are counted from 1.
    """

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """
    A YAML document.

    Attributes:
        data: What it says.
        spots: Where each key stands, by its path; items of a list by their number.
    """

    data: Any = None
    spots: dict[Place, Spot] = field(default_factory=dict)

    def spot(self, place: Place) -> Spot | None:
        """
        Return where a key stands, or the nearest one that it is in.
        """
        while place:
            if place in self.spots:
                return self.spots[place]
            place = place[:-1]
        return None


class NotYaml(Exception):
    """
    A text is no YAML; shows nothing of it but the key it happened at.

    Attributes:
        spot: Where; None when that can't be told.
        key: The key it stands at or below, "" when there is none.
        message, hint: What is wrong, and what is allowed.
    """

    def __init__(self, spot: Spot | None, key: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.spot = spot
        self.key = key
        self.message = message
        self.hint = hint


DEEPEST: Final = 40
"""
Most levels of keys.
"""

_MOST_KEYS: Final = 100_000
_QUOTE: Final = 'allowed: a value in quotes, such as "...", when it holds `: `, ` #` or begins with @ ` * & ! % { ['
_INDENT: Final = "allowed: spaces only, the same number for all keys of one level"
# What the reader says begins with (context, problem); the first that fits.
_MEANINGS: Final = (
    ("", "found duplicate key", "the key is there twice", "allowed: each key once; remove or rename one of them"),
    ("", "found undefined alias", "it begins with `*`, and there is no anchor of that name", _QUOTE),
    ("", "could not determine a constructor", "it begins with `!`, which is a tag that is not known", _QUOTE),
    ("", "found character '\\t'", "a tab", _INDENT),
    ("", "found character", "a value can't begin with this character", _QUOTE),
    ("", "mapping values are not allowed", "a `:` where no key can be", f"{_INDENT}; {_QUOTE}"),
    ("while scanning a quoted", "", "a quote is opened and not closed", "allowed: text that ends with the same quote"),
    ("while scanning a single", "", "a quote is opened and not closed", "allowed: text that ends with the same quote"),
    (
        "while scanning a double-quoted",
        "found unknown escape",
        "an unknown `\\` in double quotes",
        'allowed: \\\\, \\", \\n, \\t; or single quotes, in which `\\` is itself',
    ),
    ("while scanning a double", "", "a quote is opened and not closed", "allowed: text that ends with the same quote"),
    ("while scanning a simple key", "", "a line that is neither `key: value` nor `- item`", "allowed: `key: value`"),
    (
        "while parsing a flow mapping",
        "",
        "a `{` is not closed, or a comma is missing",
        "allowed: {key: value, key: value}",
    ),
    ("while parsing a flow sequence", "", "a `[` is not closed, or a comma is missing", "allowed: [item, item]"),
    ("while parsing a flow node", "", "a `{` or `[` is not closed", "allowed: {key: value} and [item, item]"),
    ("while parsing a block", "", "a line that does not fit to those above it", f"{_INDENT}; a list or keys, not both"),
    ("expected a single document", "", "a second document", "allowed: one document; remove the line `---`"),
)


def read(text: str) -> Document:
    """
    Read a text.

    Raises:
        NotYaml: It is none.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        data = None if node is None else YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as exc:
        raise _told(exc, text) from None
    except ReaderError as exc:
        before = text[: int(exc.position)]
        spot = Spot(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise NotYaml(
            spot, key_at(text, spot.line), "a character that can't be seen", "allowed: text, without control characters"
        ) from None
    except (YAMLError, RecursionError, ValueError) as exc:
        raise NotYaml(None, "", f"not valid YAML ({type(exc).__name__})", "allowed: YAML 1.2") from None
    document = Document(data)
    if node is not None:
        for place, spot in _spots(node, ()):
            document.spots[place] = spot
            if len(place) > DEEPEST or len(document.spots) > _MOST_KEYS:
                # Aliases can be nested without end, or to the power of their depth.
                raise NotYaml(
                    spot, ".".join(place[:3]), "nested too deeply", f"allowed: {DEEPEST} levels and {_MOST_KEYS} keys"
                )
    return document


def _told(exc: MarkedYAMLError, text: str) -> NotYaml:
    context, problem = str(exc.context or ""), str(exc.problem or "")
    mark = exc.problem_mark or exc.context_mark
    # An open quote or bracket is noticed at the end: where it was opened says more.
    opened = (
        re.match(r"while (scanning a (quoted|single|double|simple key)|parsing a flow)", context)
        and "escape" not in problem
    )
    if opened and exc.context_mark is not None:
        mark = exc.context_mark
    spot = None if mark is None else Spot(mark.line + 1, mark.column + 1)
    if isinstance(exc, DuplicateKeyError) or "found duplicate" in problem:
        problem = "found duplicate key"
    message, hint = next(
        (
            (says, allowed)
            for begins, contains, says, allowed in _MEANINGS
            if context.startswith(begins) and problem.replace("\t", "\\t").startswith(contains)
        ),
        ("not valid YAML", _INDENT),
    )
    return NotYaml(spot, "" if spot is None else key_at(text, spot.line), message, hint)


_KEY = re.compile(r"""( *)(?:- +)?(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_.-]+)) *:(?: |$)""")


def key_at(text: str, line: int) -> str:
    """
    Return the path of the key at a line or above it, by indentation alone: the text may be broken.
    """
    path: list[str] = []
    deepest: int | None = None
    for above in reversed(text.splitlines()[:line]):
        match = _KEY.match(above)
        if match is None:
            continue
        indent = len(match[1])
        if deepest is None or indent < deepest:
            path.insert(0, match[2] or match[3] or match[4] or "")
            deepest = indent
        if indent == 0:
            break
    return ".".join(path)


def _spots(node: Node, place: Place) -> Iterator[tuple[Place, Spot]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, ScalarNode):
                continue
            below = (*place, str(key.value))
            yield below, Spot(key.start_mark.line + 1, key.start_mark.column + 1)
            yield from _spots(value, below)
    elif isinstance(node, SequenceNode):
        for at, value in enumerate(node.value):
            below = (*place, str(at))
            yield below, Spot(value.start_mark.line + 1, value.start_mark.column + 1)
            yield from _spots(value, below)
