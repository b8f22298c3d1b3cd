"""
The row of a file: the vocabulary that tree sources (file systems, object stores) and tree views share.

A tree is one table, `FILES_TABLE`, whose `event_schema` is the root's URI. The key is `path`.

Names that are not valid UTF-8 travel escaped: a backslash that is followed by `x` and two hex digits in the *original* name, or a
byte that is not UTF-8, is written as `\\xNN` (lower-case hex). `escape_name` and `unescape_name` are inverse to each other.
"""

from __future__ import annotations

import os
import re
from typing import Final

FILES_TABLE: Final = "files"
FILE_KEY: Final = ("path",)
FILE_FIELDS: Final = (
    "path",  # relative to the root, "/" between names, "" is the root itself
    "name",  # last part of the path; for the root the name of the root directory
    "parent",  # path of the directory it is in; None for the root
    "type",  # one of FILE_TYPES
    "size",  # bytes; 0 for anything but a file
    "mtime",  # last modification, nanoseconds since the epoch
    "ctime",  # last status change, nanoseconds since the epoch
    "mode",  # st_mode, type bits included
    "uid",
    "gid",
    "inode",
    "target",  # what a symbolic link points at, escaped like a name; else None
)
FILE_TYPES: Final = ("file", "dir", "symlink", "other")
FILE_COLUMNS: Final = {
    "path": {"type": "string"},
    "name": {"type": "string"},
    "parent": {"type": ["string", "null"]},
    "type": {"type": "string", "enum": list(FILE_TYPES)},
    "size": {"type": "integer"},
    "mtime": {"type": "integer", "description": "nanoseconds since the epoch"},
    "ctime": {"type": "integer", "description": "nanoseconds since the epoch"},
    "mode": {"type": "integer"},
    "uid": {"type": "integer"},
    "gid": {"type": "integer"},
    "inode": {"type": "integer"},
    "target": {"type": ["string", "null"]},
}

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_SURROGATE = re.compile("[\udc80-\udcff]")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def escape_name(name: str) -> str:
    """
    Turn a name as the operating system gives it (surrogateescape) into text that is valid UTF-8.

    The fast path, nearly all names, costs one C-level scan.
    """
    if "\\" in name:
        name = _LOOKS_ESCAPED.sub(r"\\x5c", name)
    if name.isascii():
        return name
    return _SURROGATE.sub(lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", name)


def unescape_name(name: str) -> str:
    """
    Undo `escape_name`: give the name back as the operating system knows it (surrogateescape).
    """
    if "\\x" not in name:
        return name
    raw = bytearray()
    at = 0
    for match in _ESCAPE.finditer(name):
        raw += os.fsencode(name[at : match.start()])
        raw.append(int(match[1], 16))
        at = match.end()
    raw += os.fsencode(name[at:])
    return os.fsdecode(bytes(raw))
