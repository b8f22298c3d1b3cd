"""
How one entry of a tree is shown: in a table and as JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fustor_cli import formats
from fustor_cli.output import paint
from fustor_client.models import FileEntry
from fustor_core.models.file_row import FILE_FIELDS


def shown_size(entry: FileEntry) -> str:
    """
    Show the size; directories and links have none.
    """
    return formats.size(entry.size) if entry.type == "file" else "-"


def shown_name(entry: FileEntry, text: str) -> str:
    """
    Show a name or path in the colour of its type, `/` behind directories and where links point.
    """
    safe = formats.name(text)
    if entry.type == "dir":
        return paint(safe, "blue", "bold") + ("" if safe.endswith("/") else "/")
    if entry.type == "symlink":
        return paint(safe, "cyan") + (f" -> {formats.name(entry.target)}" if entry.target is not None else "")
    if entry.type == "other":
        return paint(safe, "yellow")
    return paint(safe, "green") if entry.mode & 0o111 else safe


def as_row(entry: FileEntry) -> dict[str, Any]:
    """
    Return an entry as a row: every field of a file and the tree it is in.
    """
    row: dict[str, Any] = {name: getattr(entry, name) for name in FILE_FIELDS}
    row["tree"] = entry.tree
    return row


def encodable(value: Any) -> Any:
    """
    Return structs as plain data.
    """
    return msgspec.to_builtins(value)
