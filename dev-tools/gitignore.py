"""
The rules of .gitignore, for trees where git can't be asked. `project_merge.py` uses it; its tests compare it with git.

Source: the manual page gitignore(5). Patterns are turned into regular expressions over the path relative to the folder
of the .gitignore file; the last pattern that matches decides, deeper files after shallower ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": r"\s",
    "xdigit": "0-9a-fA-F",
    "punct": r"!-/:-@\[-`{-~",
}


@dataclass(frozen=True)
class Rule:
    """
    One line of a .gitignore file.
    """

    matches: re.Pattern[str]
    negated: bool
    only_dirs: bool


def parse_rule(line: str) -> Rule | None:
    """
    Read one line; None when it holds no pattern.
    """
    text = line.rstrip("\r\n")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:]
    only_dirs = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    anchored = "/" in text
    body = _translate(text.removeprefix("/"))
    if body is None:
        return None
    return Rule(re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL), negated, only_dirs)


def _translate(pattern: str) -> str | None:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern[at] == "*":
            end = at
            while pattern[end : end + 1] == "*":
                end += 1
            begins_name = at == 0 or pattern[at - 1] == "/"
            # Two or more are the same: any folders.
            if end - at > 1 and begins_name and pattern[end : end + 1] == "/":
                out.append("(?:.*/)?")
                end += 1
            elif end - at > 1 and begins_name and at > 0 and end == len(pattern):
                out.append(".+")
            else:
                out.append("[^/]*")
            at = end
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[":
            piece, at = _bracket(pattern, at)
            if piece is None:
                return None  # an unclosed bracket matches nothing
            out.append(piece)
        elif pattern[at] == "\\":
            if at + 1 == len(pattern):
                return None  # a backslash at the end is invalid and matches nothing
            out.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return "".join(out)


def _bracket(pattern: str, start: int) -> tuple[str | None, int]:
    at = start + 1
    negated = at < len(pattern) and pattern[at] in "!^"
    at += negated
    items: list[str] = []
    first = True
    while at < len(pattern):
        char = pattern[at]
        if char == "]" and not first:
            inside = "".join(items)
            return (f"(?!/)[^{inside}]" if negated else f"(?!/)[{inside}]"), at + 1
        first = False
        named = re.match(r"\[:([a-z]+):\]", pattern[at:])
        if named and named[1] in _CLASSES:
            items.append(_CLASSES[named[1]])
            at += named.end()
            continue
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            char = pattern[at]
        at += 1
        if at + 1 < len(pattern) and pattern[at] == "-" and pattern[at + 1] != "]":
            end_at = at + 1
            if pattern[end_at] == "\\" and end_at + 1 < len(pattern):
                end_at += 1
            if char <= pattern[end_at]:
                items.append(f"{re.escape(char)}-{re.escape(pattern[end_at])}")
            at = end_at + 1
        else:
            items.append(re.escape(char))
    return None, at


class IgnoreTree:
    """
    Answers whether paths below a folder are ignored. Folders are entered from the top down.

    Args:
        root: The folder that paths are relative to. When it lies in a git work tree, the .gitignore files between the
            top of that tree and the folder count too, and so does `.git/info/exclude`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._rules: dict[str, list[Rule]] = {}
        self._above: list[tuple[str, list[Rule]]] = []
        top = next((folder for folder in (self._root, *self._root.parents) if (folder / ".git").exists()), None)
        if top is None:
            return
        prefix = self._root.relative_to(top).as_posix()
        self._above.append((prefix, self._load(top / ".git" / "info" / "exclude")))
        folder = self._root
        between: list[tuple[str, list[Rule]]] = []
        while folder != top:
            folder = folder.parent
            between.append((self._root.relative_to(folder).as_posix(), self._load(folder / ".gitignore")))
        self._above.extend(reversed(between))

    @staticmethod
    def _load(file: Path) -> list[Rule]:
        try:
            text = file.read_text("utf-8", "surrogateescape")
        except OSError:
            return []  # no such file, or not readable: no rules from it
        return [rule for rule in map(parse_rule, text.removeprefix("\ufeff").split("\n")) if rule]

    def enter(self, folder: str) -> None:
        """
        Read the .gitignore of a folder ("" = the root) before its entries are asked about.
        """
        self._rules[folder] = self._load(self._root / folder / ".gitignore")

    def is_ignored(self, path: str, *, is_dir: bool) -> bool:
        """
        Tell whether a path is ignored by a rule about itself. Its folder must have been entered, and not be ignored.
        """
        parts = path.split("/")
        for depth in range(len(parts) - 1, -1, -1):
            verdict = _verdict(self._rules.get("/".join(parts[:depth]), []), "/".join(parts[depth:]), is_dir)
            if verdict is not None:
                return verdict
        for prefix, rules in reversed(self._above):
            verdict = _verdict(rules, path if prefix == "." else f"{prefix}/{path}", is_dir)
            if verdict is not None:
                return verdict
        return False


def _verdict(rules: list[Rule], path: str, is_dir: bool) -> bool | None:
    for rule in reversed(rules):
        if (is_dir or not rule.only_dirs) and rule.matches.fullmatch(path):
            return not rule.negated
    return None
