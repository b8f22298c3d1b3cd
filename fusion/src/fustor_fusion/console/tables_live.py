"""
The changes of one table as they are stored. However many come, what is kept is bounded, and a window that can't keep up is told what it lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from fustor_client.models import Change, Lost, TableInfo
from fustor_core.errors import FustorError
from fustor_web_ui.page import Page

KEPT: Final = 100
_KEYS_KEPT: Final = 1_000
_AT_ONCE: Final = 200
_PAUSE_S: Final = 0.05


@dataclass(frozen=True)
class Told:
    """
    A change, and when this window heard of it.
    """

    number: int
    change: Change
    at: float


@dataclass
class Fresh:
    """
    What came since the last look.

    Attributes:
        count: How many changes.
        newest: The newest of them.
        keys: Keys of rows that are there; None: too many to tell.
        deleted: Keys of rows that are gone.
        lost: How many were not told.
    """

    count: int = 0
    newest: deque[Told] = field(default_factory=lambda: deque(maxlen=KEPT))
    keys: set[str] | None = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    lost: int = 0


class TableChanges:
    """
    Listens to one table.

    Args:
        page: The page it is for; whoever made it closes it.
        info: The table.

    Attributes:
        failure: Why listening ended; None = it did not.
    """

    def __init__(self, page: Page, info: TableInfo) -> None:
        self._page = page
        self._fresh = Fresh()
        self._number = 0
        self.failure: FustorError | None = None
        self._task = asyncio.create_task(self._listen(info))

    def take(self) -> Fresh:
        """
        Return what came since the last time.
        """
        taken, self._fresh = self._fresh, Fresh()
        return taken

    def close(self) -> None:
        """
        Stop listening.
        """
        self._task.cancel()

    async def _listen(self, info: TableInfo) -> None:
        live = self._page.client.live(table=info.table, task_id=info.task_id, schema=info.schema)
        try:
            async with aclosing(live) as told:
                async for one in told:
                    self._take_in(one)
                    if self._fresh.count % _AT_ONCE == 0:
                        # A flood of changes takes its turns with all else; what can't wait is told as lost.
                        await asyncio.sleep(_PAUSE_S)
        except FustorError as exc:
            self.failure = exc

    def _take_in(self, one: Change | Lost) -> None:
        fresh = self._fresh
        fresh.count += 1
        if isinstance(one, Lost):
            fresh.lost += one.count or 0
            fresh.keys = None
            return
        self._number += 1
        fresh.newest.append(Told(self._number, one, time.time()))
        key = key_text(one.key)
        if one.op == "delete":
            if len(fresh.deleted) < _KEYS_KEPT:
                fresh.deleted.add(key)
        else:
            fresh.deleted.discard(key)
        if fresh.keys is not None:
            fresh.keys.add(key)
            if len(fresh.keys) > _KEYS_KEPT:
                fresh.keys = None


def key_text(key: Any) -> str:
    """
    Write a key, to compare with others.
    """
    return repr(key if isinstance(key, list) else [key])
