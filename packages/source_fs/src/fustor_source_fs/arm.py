"""
Places the watches on a tree at the start, looking at directories only.

On file systems that count a directory's subdirectories in its links (a directory without any has two), most directories need not be
listed at all. `find` has long relied on the same for the file systems named here; others report links of their own making.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from typing import Final

from fustor_core.models.file_row import escape_name
from fustor_source_fs.faults import is_gone
from fustor_source_fs.rows import join
from fustor_source_fs.tree import Tree
from fustor_source_fs.watch import Watcher

_COUNTING: Final = frozenset({0xEF53, 0x58465342, 0x01021994})  # ext2/3/4, XFS, tmpfs: <linux/magic.h>
_STATFS_BYTES: Final = 256  # more than `struct statfs` has anywhere; it begins with the type, a long
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


def counts_subdirs(fd: int) -> bool:
    """
    Tell whether the file system of an open directory counts subdirectories in `st_nlink`.
    """
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, found) != 0:
        return False
    return ctypes.c_long.from_buffer(found).value in _COUNTING


def arm(tree: Tree, watcher: Watcher, start: str) -> Generator[None, None, None]:
    """
    Watch a directory and all below it; yields after each directory that was listed.
    """
    waiting = [start]
    counting: bool | None = None
    while waiting:
        path = waiting.pop()
        fd = -1
        try:
            fd = tree.open_dir(path)
            dev = os.fstat(fd).st_dev
            if dev == tree.dev or tree.params.cross_mounts:
                if counting is None:
                    counting = counts_subdirs(fd)
                watcher.ensure(path, fd).dev = dev
                names = _subdirs(fd)
                for name in names:
                    child = join(path, escape_name(name))
                    if tree.wanted is not None and not tree.wanted(child, True):
                        continue
                    if not counting or not _watch_leaf(tree, watcher, fd, name, child):
                        waiting.append(child)
        except OSError as error:
            if not is_gone(error):
                tree.problems.add_error(tree.where(path), "read the directory", error)
        finally:
            if fd >= 0:
                os.close(fd)
        yield


def _subdirs(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _watch_leaf(tree: Tree, watcher: Watcher, above: int, name: str, path: str) -> bool:
    """
    Watch a directory if it has no subdirectories; False when it must be listed.

    It is asked again once the watch is in place: what is made after that tells of itself.
    """
    try:
        fd = os.open(name, _FLAGS, dir_fd=above)
    except OSError:
        return False  # whoever lists it says what is wrong
    try:
        found = os.fstat(fd)
        if found.st_dev != tree.dev or found.st_nlink != 2:
            return False
        watcher.ensure(path, fd).dev = found.st_dev
        return os.fstat(fd).st_nlink == 2
    except OSError:
        return False
    finally:
        os.close(fd)
