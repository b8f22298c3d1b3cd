"""
What a search asks for, made into a test of one entry and into texts that every hit must hold (for the index).

Without `case`, names and patterns are compared folded (`schema.fold`), in the index and in every test alike; regular expressions use the
rule of Python's `re.IGNORECASE`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from re import _constants as _sre  # type: ignore[attr-defined]  # the only way to read a pattern as `re` itself does
from re import _parser as _sre_parser  # type: ignore[attr-defined]
from typing import Any, Final, Literal

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.fs.schema import fold

Mode = Literal["auto", "glob", "substring", "regex"]
Where = Literal["auto", "name", "path"]
MOST_PATTERN: Final = 1000  # characters

# Letters whose `re.IGNORECASE` partners do not fold to them (Turkish i).
_FICKLE: Final = frozenset("iI")


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A search pattern.

    Attributes:
        in_path: Whether the whole path is tested, or the name alone.
        test: Tells whether a text (path or name) is a hit.
        names: Folded texts that the name of every hit holds.
        path: For `in_path`: a folded text that the path of every hit holds, alone or over the last `/`.
        slow: Whether a single test may take long.
    """

    in_path: bool
    test: Callable[[str], Any]
    names: tuple[str, ...] = ()
    path: str = ""
    slow: bool = False


def parse(q: str, mode: Mode = "auto", where: Where = "auto", case: bool = False) -> Pattern:
    """
    Read a pattern.

    Raises:
        InvalidRequest: It is empty, too long, or not a regular expression that can be run safely.
    """
    if not q or len(q) > MOST_PATTERN or "\0" in q:
        raise InvalidRequest(
            f"`q` must have 1 to {MOST_PATTERN} characters and no NUL, and has {len(q)}", hint="give a text to look for"
        )
    if mode == "auto":
        mode = "glob" if any(c in q for c in "*?[") else "substring"
    in_path = where == "path" or (where == "auto" and "/" in q)
    if mode == "regex":
        return _regex(q, in_path, case)
    if mode == "glob":
        return _glob(q, in_path, case)
    folded = fold(q)
    test: Callable[[str], Any] = (lambda text: q in text) if case else (lambda text: folded in text.casefold())
    return Pattern(in_path, test, path=folded) if in_path else Pattern(in_path, test, names=(folded,))


def _glob(q: str, in_path: bool, case: bool) -> Pattern:
    if in_path:
        q = q.removeprefix("/")
    text = q if case else fold(q)
    regex, literals = _translate(text)
    try:
        match = re.compile(regex, re.DOTALL).fullmatch
    except re.error as e:
        raise InvalidRequest(f"the glob {q!r} can't be read: {e}", hint="a range in `[...]` must go upwards") from e
    test: Callable[[str], Any] = match if case else (lambda name: match(name.casefold()))
    folded = tuple(fold(literal) for literal in literals)
    if not in_path:
        return Pattern(False, test, names=tuple(part for part in folded if "/" not in part))
    # What follows the last `/` or `**` can only be in the name.
    cut = max(text.rfind("/") + 1, text.rfind("**") + 2 if "**" in text else 0)
    if "[" in text[:cut]:  # the cut may lie inside of brackets
        return Pattern(True, test)
    tail = tuple(fold(literal) for literal in _translate(text[cut:])[1])
    head = max(folded, key=len, default="")
    return Pattern(True, test, names=tail, path="" if tail else head)


def _translate(glob: str) -> tuple[str, list[str]]:
    """
    Turn a glob into a regular expression and the literal texts in it.
    """
    out: list[str] = []
    literals: list[str] = []
    run: list[str] = []

    def end_run() -> None:
        if run:
            literals.append("".join(run))
            run.clear()

    i, n = 0, len(glob)
    while i < n:
        c = glob[i]
        i += 1
        if c == "*":
            end_run()
            if glob[i : i + 1] == "*":
                while glob[i : i + 1] == "*":
                    i += 1
                at_start = len(out) == 0 or out[-1] == "/"
                if at_start and glob[i : i + 1] == "/":  # `**/` also stands for no directory at all
                    i += 1
                    out.append("(?:.*/)?")
                else:
                    out.append(".*")
            elif not out or out[-1] != "[^/]*":
                out.append("[^/]*")
        elif c == "?":
            end_run()
            out.append("[^/]")
        elif c == "[":
            j = i + 1 if glob[i : i + 1] in ("!", "^") else i
            j = glob.find("]", j + 1)
            if j < 0:
                run.append(c)
                out.append(r"\[")
                continue
            end_run()
            inside = glob[i:j]
            i = j + 1
            negated = inside[:1] in ("!", "^")
            body = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[1:] if negated else inside)
            out.append(f"(?!/)[{'^' if negated else ''}{body}]")
        else:
            run.append(c)
            out.append(re.escape(c))
    end_run()
    return "".join(out), literals


def _regex(q: str, in_path: bool, case: bool) -> Pattern:
    hint = "see the documentation of Python's `re` module for what can be written"
    try:
        compiled = re.compile(q, 0 if case else re.IGNORECASE)
        tree = _sre_parser.parse(q, 0 if case else re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as e:
        raise InvalidRequest(f"{q!r} is not a regular expression: {e}", hint=hint) from e
    if _explodes(tree, False):
        raise InvalidRequest(
            f"{q!r} repeats something that itself repeats or has alternatives, which can take for ever on a long name",
            hint="write it without a repeat inside of a repeat: `a+` in place of `(a+)+`",
        )
    ignoring = bool(compiled.flags & re.IGNORECASE)
    literals = [fold(text) for text in _required(tree, ignoring)]
    longest = max((text for text in literals if "/" not in text), key=len, default="")
    if in_path:
        return Pattern(True, compiled.search, path=longest, slow=True)
    return Pattern(False, compiled.search, names=(longest,) if longest else (), slow=True)


def _required(tree: Any, ignoring: bool) -> list[str]:
    """
    Return texts that every match holds, as far as that is plain to see.
    """
    found: list[str] = []
    run: list[str] = []
    for op, value in tree:
        if op is _sre.LITERAL:
            letter = chr(value)
            if not ignoring or (letter.isascii() and letter not in _FICKLE):
                run.append(letter)
                continue
        found.append("".join(run))
        run = []
        if op is _sre.SUBPATTERN and not value[1] and not value[2]:
            found += _required(value[3], ignoring)
        elif op is _sre.MAX_REPEAT and value[0] >= 1:
            found += _required(value[2], ignoring)
    found.append("".join(run))
    return [text for text in found if text]


def _explodes(tree: Any, repeated: bool) -> bool:
    repeats = (_sre.MAX_REPEAT, _sre.MIN_REPEAT)
    for op, value in tree:
        if op in repeats:
            many = value[1] > 1
            if repeated and many and value[1] != value[0]:
                return True
            if _explodes(value[2], repeated or (many and value[1] > 8)):
                return True
        elif op is _sre.BRANCH:
            if repeated or any(_explodes(branch, repeated) for branch in value[1]):
                return True
        elif op is _sre.SUBPATTERN:
            if _explodes(value[3], repeated):
                return True
        elif op in (_sre.ASSERT, _sre.ASSERT_NOT):
            if _explodes(value[1], repeated):
                return True
        elif op is _sre.GROUPREF_EXISTS:
            if any(branch is not None and _explodes(branch, repeated) for branch in value[1:]):
                return True
        elif op is getattr(_sre, "ATOMIC_GROUP", None) and _explodes(value, repeated):
            return True
    return False
