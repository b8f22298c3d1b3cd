"""
What an OSError of a tree means: something is gone, or it can't be told.

Only a positive "there is no such name" is a deletion. No right to look, an I/O error, a stale handle: the state is
unknown, what was known stays, and the directory is listed under `problems` until it can be read again.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from fustor_core.errors import ConfigError, ConnectionLost, FustorError, PermissionMissing

# ELOOP: a name is looked at without following it, so the links that lead in a circle stand above it.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_KEPT = 1000

_HINTS = {
    errno.EACCES: "give the agent's user the right to read and enter the directory, or exclude it",
    errno.EPERM: "give the agent's user the right to read and enter the directory, or exclude it",
    errno.EIO: "check the disk: the kernel's log says more",
    errno.ESTALE: "check the network file system: its server no longer knows the directory",
    errno.ENAMETOOLONG: "the path is longer than the system takes; shorten it, or exclude it",
}

SYSCTL_COMMAND = "sysctl fs.inotify.max_user_watches=1048576"
SYSCTL_HINT = (
    f"raise the limit: `{SYSCTL_COMMAND}`, and put the line "
    "`fs.inotify.max_user_watches=1048576` in /etc/sysctl.d/60-fustor.conf to keep it"
)


def is_gone(error: OSError) -> bool:
    """
    Tell whether an error says for sure that the name does not exist.
    """
    return error.errno in GONE


class Problems:
    """
    The parts of a tree whose state can't be told now. Safe from every thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, str]] = {}
        self._more: set[int] = set()

    def add(self, where: str, what: str, hint: str = "") -> None:
        """
        Note one; the newest said of a place replaces the older. Past 1000 places no new ones are kept.
        """
        with self._lock:
            if where in self._found or len(self._found) < _KEPT:
                self._found[where] = {"where": where, "what": what, "hint": hint}

    def add_error(self, where: str, doing: str, error: OSError) -> None:
        """
        Note that doing something somewhere failed.
        """
        reason = os.strerror(error.errno) if error.errno else str(error)
        self.add(where, f"{doing}: {reason}", _HINTS.get(error.errno or 0, ""))

    def clear(self, where: str) -> None:
        """
        Take back what was said of a place: it works again, or is gone.
        """
        if where in self._found:
            with self._lock:
                self._found.pop(where, None)

    def clear_below(self, where: str) -> None:
        """
        Take back what was said of a directory and of all below it: it is gone.
        """
        if self._found:
            below = where.rstrip("/") + "/"
            with self._lock:
                for place in [p for p in self._found if p == where or p.startswith(below)]:
                    del self._found[place]

    def __contains__(self, where: str) -> bool:
        return where in self._found

    def __len__(self) -> int:
        return len(self._found)

    def all(self) -> list[dict[str, str]]:
        """
        Return them all.
        """
        with self._lock:
            return list(self._found.values())


def root_fault(root: str, error: OSError, known_before: bool) -> FustorError:
    """
    Turn the failure to open the root into the error that says what to do.

    Args:
        root: The root.
        error: What happened.
        known_before: An earlier run has read this root; so it may come back (a disk that is not mounted yet).
    """
    context = {"root": root}
    if is_gone(error):
        if known_before:
            return ConnectionLost(
                f"the directory {root!r} is not there",
                hint="mount its file system, or create it; nothing is deleted at the consumer meanwhile",
                context=context,
            )
        return ConfigError(
            f"the directory {root!r} does not exist", hint="check the path in the source's `uri`", context=context
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionMissing(
            f"the directory {root!r} can't be read: {os.strerror(error.errno)}",
            hint="give the agent's user the right to read and enter it",
            context=context,
        )
    return ConnectionLost(
        f"the directory {root!r} can't be read: {error.strerror}",
        hint=_HINTS.get(error.errno or 0, ""),
        context=context,
    )


def open_root(root: str, known_before: bool) -> os.stat_result:
    """
    Check that the root is a directory that can be read.

    Raises:
        ConfigError: It does not exist, or is no directory.
        PermissionMissing: It can't be read.
        ConnectionLost: It was there in an earlier run and may come back.
    """
    try:
        found = Path(root).stat()
        if found.st_mode >> 12 == 4:
            with os.scandir(root) as entries:
                next(entries, None)
    except OSError as error:
        raise root_fault(root, error, known_before) from error
    if found.st_mode >> 12 != 4:
        raise ConfigError(
            f"{root!r} is not a directory", hint="give the directory that holds the file", context={"root": root}
        )
    return found
