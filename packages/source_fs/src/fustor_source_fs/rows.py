"""
From `os.stat` to a row, and to the signature that the local index keeps of it.

A signature is all that a row says beside names: (mode, size, mtime, ctime, uid, gid, inode). Two equal signatures of
one path are one row, so "nothing changed" is exact and not a guess by time stamps.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from fustor_core.models.file_row import escape_name

Signature = tuple[int, int, int, int, int, int, int]

_TYPES: list[str] = ["other"] * 16
_TYPES[stat.S_IFREG >> 12] = "file"
_TYPES[stat.S_IFDIR >> 12] = "dir"
_TYPES[stat.S_IFLNK >> 12] = "symlink"
TYPE_OF: Final = tuple(_TYPES)
"""
File type by `st_mode >> 12`.
"""


def signature(found: os.stat_result) -> Signature:
    """
    Take the signature of what `os.lstat` returned.
    """
    mode = found.st_mode
    size = found.st_size if mode >> 12 == 8 else 0  # 8: a regular file
    return (mode, size, found.st_mtime_ns, found.st_ctime_ns, found.st_uid, found.st_gid, found.st_ino)


def is_dir(sig: Signature) -> bool:
    """
    Tell whether a signature is a directory's.
    """
    return sig[0] >> 12 == 4


def join(parent: str, name: str) -> str:
    """
    Join relative paths; "" is the root.
    """
    return f"{parent}/{name}" if parent else name


def split(path: str) -> tuple[str, str]:
    """
    Split a relative path that is not the root's into parent and name.
    """
    parent, _, name = path.rpartition("/")
    return parent, name


def build_row(path: str, sig: Signature, target: str | None, root_name: str) -> tuple[Any, ...]:
    """
    Build a row in the order of `FILE_FIELDS`.

    Args:
        path: Escaped and relative; "" for the root.
        sig: Its signature.
        target: What a symbolic link points at, escaped.
        root_name: Name of the root directory, escaped.
    """
    parent: str | None
    parent, name = split(path) if path else (None, root_name)
    mode, size, mtime, ctime, uid, gid, inode = sig
    return (path, name, parent, TYPE_OF[mode >> 12], size, mtime, ctime, mode, uid, gid, inode, target)


def read_target(where: str, dir_fd: int | None = None) -> str | None:
    """
    Read a symbolic link, escaped; None when it is gone or no link any more (its own event follows).
    """
    try:
        return escape_name(os.readlink(where, dir_fd=dir_fd))
    except OSError:
        return None
