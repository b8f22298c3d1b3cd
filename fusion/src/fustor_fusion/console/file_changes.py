"""
The live changes below a directory, collected between two looks at them. However many come, what is kept is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from fustor_client.models import Change, Lost
from fustor_core.errors import FustorError
from fustor_core.models.file_row import FILES_TABLE
from fustor_fusion.console.place import Place
from fustor_web_ui.page import Page

KEPT: Final = 50
_DIRS_KEPT: Final = 1000


@dataclass(frozen=True)
class FileChange:
    """
    One change of a file.
    """

    op: str
    path: str
    type: str
    size: int | None
    at: float


@dataclass
class Fresh:
    """
    What came since the last look.

    Attributes:
        count: How many changes.
        changes: The newest of them.
        dirs: The directories they were in; None: in too many to tell.
        folders: Those of them in which a directory itself came or went.
    """

    count: int = 0
    changes: deque[FileChange] = field(default_factory=lambda: deque(maxlen=KEPT))
    dirs: set[str] | None = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def touches(self, path: str) -> bool:
        """
        Tell whether something changed right in a directory.
        """
        return self.dirs is None or path in self.dirs

    def add(self, change: FileChange) -> None:
        """
        Take a change in.
        """
        self.count += 1
        self.changes.append(change)
        parent = change.path.rpartition("/")[0]
        if self.dirs is not None:
            self.dirs.add(parent)
            if len(self.dirs) > _DIRS_KEPT:
                self.dirs = None
        if change.type != "file" and len(self.folders) < _DIRS_KEPT:
            self.folders.add(parent)


class Changes:
    """
    Listens to the live tail below one directory at a time.

    Args:
        page: The page it is for; whoever made it closes it.

    Attributes:
        failure: Why listening ended; None = it did not.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._task: asyncio.Task[None] | None = None
        self._fresh = Fresh()
        self.failure: FustorError | None = None

    def follow(self, place: Place) -> None:
        """
        Listen to another directory.
        """
        self.close()
        self._fresh = Fresh()
        self._task = asyncio.create_task(self._listen(place))

    def take(self) -> Fresh:
        """
        Return what came since the last time.
        """
        taken = self._fresh
        if taken.count:
            self._fresh = Fresh()
        return taken

    def close(self) -> None:
        """
        Stop listening.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _listen(self, place: Place) -> None:
        try:
            async with aclosing(self._page.client.live(table=FILES_TABLE, path=place.path or None)) as told:
                async for one in told:
                    if isinstance(one, Lost):
                        # Some changes were not told: whatever is shown may have changed.
                        self._fresh.count += one.count or 1
                        self._fresh.dirs = None
                    elif one.task_id == place.tree.tree and one.schema == place.tree.root:
                        self._fresh.add(_of(one))
        except FustorError as exc:
            self.failure = exc


def _of(change: Change) -> FileChange:
    row = change.row or {}
    key = change.key
    path = row.get("path", key[0] if isinstance(key, list) and key else key)
    size = row.get("size")
    return FileChange(
        change.op, str(path), str(row.get("type") or ""), size if isinstance(size, int) else None, time.time()
    )
