"""
Replace a file so that a crash at any moment leaves either the old or the new content.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """
    Write `data` to `path`: temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: Its folder must exist. A symlink is followed, so that the link stays.
        data: The whole content.
        mode: Permissions of the file, when it is new; those of an existing file are kept.

    Raises:
        OSError: Nothing was changed.
    """
    path = path.resolve()
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o7777
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - the temporary name is a str
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108
        raise
    sync_dir(path.parent)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """
    Like `write_bytes`, for text as UTF-8.
    """
    write_bytes(path, text.encode(), mode=mode)


def sync_dir(path: Path) -> None:
    """
    Make the entries of a folder durable (a rename is on disk only after this).
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
