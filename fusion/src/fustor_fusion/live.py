"""
The live tail: committed changes handed to readers of `GET /views/live`.

The applier publishes after a commit; each reader has a bounded queue on the event loop. A reader that is too slow loses
the oldest changes and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()


class LiveReader:
    """
    One reader and what it wants.

    Args:
        limit: Most changes that wait.
        table: Only this table.
        path: Only rows whose `path` is this or below it.
        task_id: Only what this sync brings.
        schema: Only tables of this schema.
    """

    def __init__(
        self,
        limit: int,
        table: str | None = None,
        path: str | None = None,
        *,
        task_id: str | None = None,
        schema: str | None = None,
    ) -> None:
        self._limit = limit
        wanted = {"table": table, "task_id": task_id, "schema": schema}
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self._path = None if path is None else path.strip("/")
        self._queue: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._refusal: dict[str, Any] | None = None

    def wants(self, change: dict[str, Any]) -> bool:
        """
        Tell whether a change passes the filters.
        """
        if any(change.get(name) != value for name, value in self._wanted.items()):
            return False
        if not self._path:
            return True
        path = path_of(change)
        return path is not None and (path == self._path or path.startswith(self._path + "/"))

    def offer(self, changes: list[dict[str, Any]]) -> None:
        """
        Queue changes. Event loop only.
        """
        for change in changes:
            if self.wants(change):
                if len(self._queue) >= self._limit:
                    self._queue.popleft()
                    self._lost += 1
                self._queue.append(change)
        if self._queue:
            self._wake.set()

    def close(self) -> None:
        """
        End the reader's stream. Event loop only.
        """
        self._closed = True
        self._wake.set()

    def refuse(self, error: dict[str, Any]) -> None:
        """
        End the reader's stream, and tell it why. Event loop only.
        """
        self._refusal = error
        self.close()

    async def frames(self, keepalive_s: float) -> AsyncIterator[bytes]:
        """
        Yield server-sent events until closed; a comment when nothing happened for `keepalive_s`.
        """
        yield b": connected\n\n"
        while not self._closed:
            try:
                async with asyncio.timeout(keepalive_s):
                    await self._wake.wait()
            except TimeoutError:
                yield b": alive\n\n"
                continue
            self._wake.clear()
            if self._refusal is not None:
                break
            if self._lost:
                lost, self._lost = self._lost, 0
                yield b'event: lost\ndata: {"count":%d}\n\n' % lost
            batch, self._queue = self._queue, deque()
            if batch:
                yield b"".join(b"event: change\ndata: " + _encoder.encode(c) + b"\n\n" for c in batch)
        if self._refusal is not None:
            yield b"event: refused\ndata: " + _encoder.encode(self._refusal) + b"\n\n"


def path_of(change: dict[str, Any]) -> str | None:
    """
    Return the path a change is about: the row's `path`, else the first value of its key, when that is text.
    """
    row = change.get("row")
    found = row.get("path") if isinstance(row, dict) else None
    if found is None:
        key = change.get("key")
        found = key[0] if isinstance(key, list | tuple) and key else key
        if isinstance(key, dict):
            found = key.get("path")
    return found if isinstance(found, str) else None


class LiveHub:
    """
    The readers of one datastore.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers: set[LiveReader] = set()
        self._closed = False

    @property
    def listening(self) -> bool:
        """
        Whether anyone reads. Any thread.
        """
        return bool(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def join(
        self,
        table: str | None = None,
        path: str | None = None,
        *,
        task_id: str | None = None,
        schema: str | None = None,
    ) -> LiveReader:
        """
        Add a reader. Event loop only.
        """
        reader = LiveReader(self._limit, table, path, task_id=task_id, schema=schema)
        self._loop = asyncio.get_running_loop()
        if self._closed:
            reader.close()
        else:
            self._readers.add(reader)
        return reader

    def leave(self, reader: LiveReader) -> None:
        """
        Remove a reader. Event loop only.
        """
        self._readers.discard(reader)

    def publish(self, changes: list[dict[str, Any]]) -> None:
        """
        Hand changes to the readers. Any thread.
        """
        loop = self._loop
        if changes and self._readers and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._offer, changes)

    def _offer(self, changes: list[dict[str, Any]]) -> None:
        for reader in self._readers:
            reader.offer(changes)

    def close(self) -> None:
        """
        End every stream, and those that join later. Event loop only.
        """
        self._closed = True
        for reader in self._readers:
            reader.close()
