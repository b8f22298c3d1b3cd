"""
Options that several commands share, and how what was typed becomes what the API takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from fustor_cli import formats
from fustor_client.calls import Filters
from fustor_client.models import FileEntry, Tree
from fustor_core.errors import InvalidRequest
from fustor_core.models.file_row import FILE_TYPES, escape_name

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
Url = Annotated[
    str | None, typer.Option("--url", help="Address of Fusion (or FUSTOR_URL; default: what `fustor up` started).")
]
Key = Annotated[
    str | None, typer.Option("--key", help="API key (or FUSTOR_API_KEY; default: the one `fustor up` made).")
]
TreeId = Annotated[str | None, typer.Option("--tree", help="Only this tree, by the id that `fustor stats` shows.")]
Type = Annotated[str | None, typer.Option("--type", "-t", help="file, dir, symlink or other (f, d, l).")]
MinSize = Annotated[str | None, typer.Option("--min-size", help="At least this large: 4096, 10k, 10M, 1.5G.")]
MaxSize = Annotated[str | None, typer.Option("--max-size", help="At most this large.")]
Newer = Annotated[str | None, typer.Option("--newer", help="Changed since: an age (15m, 6h, 2d, 3w) or a date.")]
Older = Annotated[str | None, typer.Option("--older", help="Not changed since: an age or a date.")]
Sort = Annotated[str | None, typer.Option("--sort", "-s", help="name, size, mtime or type.")]
Reverse = Annotated[bool, typer.Option("--reverse", "-r", help="The other way round: largest or newest first.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Most entries to show.")]

_TYPES = {"f": "file", "d": "dir", "l": "symlink", "link": "symlink", "directory": "dir", "o": "other"}
_SORTS = ("name", "size", "mtime", "type")


def filters(
    *,
    type: str | None,  # noqa: A002 - the option's name
    min_size: str | None,
    max_size: str | None,
    newer: str | None,
    older: str | None,
    sort: str | None,
    reverse: bool,
) -> Filters:
    """
    Turn what was typed into filters of the API.

    Raises:
        InvalidRequest: Something can't be read; says how it is written.
    """
    wanted = Filters()
    if type is not None:
        wanted["type"] = _TYPES.get(type, type)
        if wanted["type"] not in FILE_TYPES:
            raise InvalidRequest(f"{type!r} is not a type", hint=f"one of {', '.join(FILE_TYPES)}, or f, d, l")
    if sort is not None and sort not in _SORTS:
        raise InvalidRequest(f"{sort!r} is not an order", hint=f"one of {', '.join(_SORTS)}")
    if min_size is not None:
        wanted["min_size"] = formats.parse_size(min_size)
    if max_size is not None:
        wanted["max_size"] = formats.parse_size(max_size)
    if newer is not None:
        wanted["newer"] = formats.parse_time(newer)
    if older is not None:
        wanted["older"] = formats.parse_time(older)
    if sort is not None:
        wanted["sort"] = sort
    if reverse:
        wanted["order"] = "desc"
    return wanted


def tree_path(given: str | None) -> str | None:
    """
    Turn a path as typed into one of the API: `/...`, `~`, `.` and `./...` are places on this machine, anything else is
    below the root of the tree.
    """
    if given is None:
        return None
    if given.startswith("~"):
        given = str(Path(given).expanduser())
    if given.startswith(("/", "./", "../")) or given in {".", ".."}:
        return escape_name(os.path.abspath(given))  # noqa: PTH100 - resolves `..` without following links
    return escape_name(given.strip("/"))


def root_path(root: str) -> str:
    """
    Return the path of a tree's root: roots travel as paths or as `file://` URIs. Escaped like a name.
    """
    if root.startswith("file://"):
        return escape_name(unquote(urlsplit(root).path, errors="surrogateescape"))
    return root


def absolute(entry: FileEntry, roots: dict[str, str]) -> str:
    """
    Return the absolute path of an entry, escaped like a name; relative when its root is not known.
    """
    root = roots.get(entry.tree)
    if root is None:
        return entry.path or "."
    return f"{root.rstrip('/')}/{entry.path}" if entry.path else root


def roots_of(trees: list[Tree]) -> dict[str, str]:
    """
    Return the root path by id of tree.
    """
    return {tree.tree: root_path(tree.root) for tree in trees if tree.root}
