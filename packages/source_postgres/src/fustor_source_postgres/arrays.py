"""
Arrays as the server writes them: `{1,NULL,"a \\"quoted\\" one",{2,3}}`, with bounds before them when they do not begin at 1.

Source: PostgreSQL's manual, "Arrays", Array Input and Output Syntax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def parse_array(text: str, element: Callable[[str], Any], delimiter: str = ",") -> list[Any]:
    """
    Return the elements, nested for more dimensions. Bounds other than 1 are dropped.

    Args:
        text: As the server writes it.
        element: Turns an element's text into its value.
        delimiter: Between elements.

    Raises:
        ValueError: It is no array.
    """
    at = text.index("{")
    if '"' not in text and "\\" not in text and text.count("{") == 1:
        inner = text[at + 1 : -1]
        if not inner:
            return []
        return [None if one == "NULL" else element(one) for one in inner.split(delimiter)]
    found, end = _parse(text, at, element, delimiter)
    if end != len(text):
        raise ValueError(f"not an array: {text[:80]!r}")
    return found


def _parse(text: str, at: int, element: Callable[[str], Any], delimiter: str) -> tuple[list[Any], int]:
    found: list[Any] = []
    at += 1
    if text[at] == "}":
        return found, at + 1
    while True:
        first = text[at]
        if first == "{":
            inner, at = _parse(text, at, element, delimiter)
            found.append(inner)
        elif first == '"':
            value, at = _quoted(text, at + 1)
            found.append(element(value))
        else:
            begun = at
            while text[at] != delimiter and text[at] != "}":
                at += 1
            plain = text[begun:at]
            found.append(None if plain == "NULL" else element(plain))
        if text[at] == "}":
            return found, at + 1
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    pieces = []
    while True:
        quote, escape = text.index('"', at), text.find("\\", at)
        if escape < 0 or quote < escape:
            pieces.append(text[at:quote])
            return "".join(pieces), quote + 1
        pieces.append(text[at:escape] + text[escape + 1])
        at = escape + 2
