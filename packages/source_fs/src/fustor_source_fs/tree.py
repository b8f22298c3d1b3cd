"""
What the parts of the driver share about one tree: its root, its index, and which directories a snapshot is reading.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from fustor_core.errors import ConnectionLost
from fustor_core.models.file_row import escape_name, unescape_name
from fustor_source_fs.config import FsParams, Wanted, own_paths, schema_of, wanted_of
from fustor_source_fs.faults import Problems, open_root
from fustor_source_fs.index import Index
from fustor_source_fs.position import Clock


@dataclass
class Reading:
    """
    A directory that a snapshot is reading: what the live stream did to it meanwhile.
    """

    touched: set[str] = field(default_factory=set)
    gone: bool = False
    readers: int = 0


class Tree:
    """
    One root, opened.

    Args:
        root: Its absolute path.
        params: The source's parameters.
        state_dir: Where the index is kept.
        config_dir: Fustor's own folder; left out when it is below the root.

    Raises:
        ConfigError: The root does not exist, or the state folder can't be used.
        ConnectionLost: The root was there in an earlier run and is away.
    """

    def __init__(self, root: str, params: FsParams, state_dir: Path, config_dir: Path) -> None:
        self.root = root
        self.params = params
        self.schema = schema_of(root)
        self.name = escape_name(os.path.basename(root))
        self.prefix = root.rstrip("/") + "/"
        self.problems = Problems()
        self.wanted: Wanted | None = wanted_of(params, own_paths(root, [state_dir, config_dir]))
        self.reading: dict[str, Reading] = {}
        self.walks: dict[int, int] = {}
        self.sent_live: dict[str, int] = {}
        self.index = Index(state_dir, root, params.journal_entries)
        self.clock: Clock = self.index.clock
        try:
            self.check_root()
        except BaseException:
            self.index.close()
            raise

    def check_root(self) -> None:
        """
        Find out whether the root is the directory the index was made of; if it is another one, begin the index anew.

        Raises:
            ConfigError, PermissionMissing: It can't be read.
            ConnectionLost: Its file system seems not to be mounted.
        """
        index = self.index
        found = open_root(self.root, known_before=index.root_inode != 0)
        above = Path(self.root).parent.stat()
        is_mount = above.st_dev != found.st_dev
        with index.lock:
            if index.root_inode and index.root_inode != found.st_ino:
                if index.root_was_mount and not is_mount:
                    raise ConnectionLost(
                        f"the file system of {self.root!r} seems not to be mounted",
                        hint=f"mount it; if the directory is meant to be another one now, remove {str(index.folder)!r}",
                        context={"root": self.root},
                    )
                index.start_anew()
            index.set_root(found.st_ino, is_mount)
        self._paths_told = False
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._paths_told = os.readlink(f"/proc/self/fd/{fd}") == self.root
        except OSError:
            self._paths_told = False
        finally:
            os.close(fd)
        self.dev = found.st_dev
        self.inode = found.st_ino
        self.above_dev = above.st_dev

    def where(self, path: str) -> str:
        """
        Return the path on this machine of a relative, escaped path.
        """
        return self.prefix + unescape_name(path) if path else self.root

    def open_dir(self, path: str) -> int:
        """
        Open a directory, symbolic links nowhere on the way followed; return the descriptor.

        Raises:
            OSError: It is not there (also when a link stands on the way), or must not be read.
        """
        where = self.where(path)
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not self.stands_at(fd, where):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
        return fd

    def stands_at(self, fd: int, where: str) -> bool:
        """
        Tell whether an open directory is, by its real path, the one at `where` now.

        Where the system can't say (no /proc), the answer is yes.
        """
        if not self._paths_told:
            return True
        try:
            return os.readlink(f"/proc/self/fd/{fd}") == where
        except OSError:
            return False

    def root_is_same(self) -> bool:
        """
        Tell whether the root is still the directory it was: else nothing that is missing below it was deleted.
        """
        try:
            found = os.stat(self.root)
        except OSError:
            return False
        return found.st_ino == self.inode and found.st_dev == self.dev

    def begin_reading(self, path: str) -> None:
        """
        Note that a snapshot is about to read a directory.
        """
        with self.index.lock:
            self.reading.setdefault(path, Reading()).readers += 1

    def end_reading(self, path: str) -> None:
        """
        Note that it has read it. The index's lock must be held.
        """
        reading = self.reading.get(path)
        if reading is not None:
            reading.readers -= 1
            if reading.readers <= 0:
                del self.reading[path]

    def note_low(self, walk: int, low: int | None) -> None:
        """
        Note the low watermark of the chunk that a snapshot is reading; None when the snapshot has ended.

        While one is under way, what is sent live is remembered: the agent drops a chunk's row that the live stream touched
        after the low watermark, so the live stream must then have the path's last state.
        """
        with self.index.lock:
            if low is None:
                self.walks.pop(walk, None)
            else:
                self.walks[walk] = low
            if not self.walks:
                self.sent_live = {}
            elif self.sent_live:
                least = min(self.walks.values())
                self.sent_live = {path: index for path, index in self.sent_live.items() if index > least}

    def mark_gone(self, path: str) -> None:
        """
        Tell a snapshot that is reading below a path that the directory is no longer there. The index's lock is held.
        """
        if self.reading:
            below = path + "/"
            for where, reading in self.reading.items():
                if not path or where == path or where.startswith(below):
                    reading.gone = True

    def close(self) -> None:
        """
        Let go of the index. May be called twice.
        """
        self.index.close()
