"""
Names of files and tables as people can read them, whatever is in them.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")


def visible(name: str) -> str:
    """
    Show what can't be seen in a name: line ends and other control characters, what has no width or turns the reading direction, and spaces
    at its ends. They are written with a backslash, as bytes that are not UTF-8 are in the names of files.
    """
    if not (name.isascii() and name.isprintable()):
        name = "".join(map(_shown, name))
    inner = name.strip(" ")
    if inner == name:
        return name
    left = len(name) - len(name.lstrip(" ")) if inner else 0
    return "\\x20" * left + inner + "\\x20" * (len(name) - left - len(inner))


def _shown(letter: str) -> str:
    if unicodedata.category(letter) not in _HIDDEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
