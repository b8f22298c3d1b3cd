"""
The directory that `fustor up` is given: checked, named, compared with the ones already known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from fustor_cli.local.state import KnownPath
from fustor_core.errors import ConfigError


def checked_path(given: str) -> str:
    """
    Return the real, absolute path of a directory that this user can read.

    Raises:
        ConfigError: It does not exist, is no directory, or can't be read; one clear line.
    """
    path = Path(given).expanduser()
    shown = ascii_safe(str(path))
    try:
        real = path.resolve(strict=True)
        if not real.is_dir():
            raise ConfigError(
                f"{shown!r} is a file, not a directory",
                hint=f"give the directory it is in: {ascii_safe(str(real.parent))}",
            )
        with os.scandir(real):
            pass
    except FileNotFoundError:
        raise ConfigError(f"{shown!r} does not exist", hint=_nearest(path)) from None
    except PermissionError:
        raise ConfigError(
            f"{shown!r} can't be read by this user", hint="run as a user who may read it, or choose another directory"
        ) from None
    except (OSError, RuntimeError) as exc:
        raise ConfigError(f"{shown!r} can't be opened: {exc}", hint="choose another directory") from None
    if not os.access(real, os.R_OK | os.X_OK):
        raise ConfigError(
            f"{shown!r} can't be entered by this user", hint="its mode lacks r or x for this user; see `ls -ld`"
        )
    return str(real)


def _nearest(path: Path) -> str:
    there = next((p for p in path.absolute().parents if p.is_dir()), Path("/"))
    return f"check how it is written; the part that exists is {ascii_safe(str(there))}"


def ascii_safe(text: str) -> str:
    """
    Return text that any terminal and file takes: what is not valid Unicode is escaped.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def uri_of(path: str) -> str:
    """
    Return the address of a tree for the source driver: the path itself, or a `file://` URI when it has odd characters.
    """
    return (
        path if re.fullmatch(r"/[\w./@+,=: -]*", path, re.ASCII) else "file://" + quote(path, errors="surrogateescape")
    )


def sync_id(path: str, taken: Iterable[str]) -> str:
    """
    Return an id for the sync of a path: its last parts, readable, and not one of those taken.
    """
    parts = [re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-._") for part in path.split("/")]
    base = "-".join([part for part in parts if part][-2:])[:60] or "root"
    used, number, name = set(taken), 2, base
    while name in used:
        name, number = f"{base}-{number}", number + 1
    return name


def overlapping(path: str, known: Iterable[str]) -> list[str]:
    """
    Return the known paths that hold this one or lie in it.
    """
    me = Path(path)
    return [other for other in known if other != path and (me.is_relative_to(other) or Path(other).is_relative_to(me))]


def key_of(path: str) -> str:
    """
    Return how a path stands in the memory of `fustor up`, which is JSON: bytes that are no UTF-8 are escaped.
    """
    return ascii_safe(path)


def ids_of(known: dict[str, KnownPath]) -> list[str]:
    """
    Return the ids of the syncs of all known paths.
    """
    return [one.sync for one in known.values()]
