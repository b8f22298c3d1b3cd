"""
The synchronous client of Fusion: trees, search, totals, tables, and the live stream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Unpack

from fustor_client import calls, models
from fustor_client.base import BaseClient
from fustor_client.calls import Call, SearchParams, TreeParams, header_value
from fustor_client.live import IDLE_S, Reconnect, SseReader
from fustor_client.transport import Transport
from fustor_core.errors import ConnectionLost, OverloadedError


class FusionClient(BaseClient):
    """
    Queries one datastore: the one that the key opens.

    Every method raises the `FustorError` that Fusion answered with, `ConnectionLost` when it can't be reached.

    Args:
        url: Address of Fusion.
        key: API key with the scope `read`.
        timeout_s: How long an answer may take, seconds.
        transport: How requests travel; httpx by default.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 30.0, transport: Transport | None = None) -> None:
        sent = header_value(key)  # refused before anything is opened
        super().__init__(url, timeout_s=timeout_s, transport=transport)
        self._headers["X-API-Key"] = sent

    def trees(self) -> list[models.Tree]:
        """
        Return the trees of the datastore.
        """
        return self._send(calls.trees()).rows

    def tree(self, path: str | None = None, **params: Unpack[TreeParams]) -> models.FileEntry:
        """
        Return a directory with its children, nested down to `depth`; `next` of the answer is the cursor of what follows.
        """
        return self._send(calls.tree(path, params))

    def entry(self, path: str, *, tree: str | None = None) -> models.FileEntry:
        """
        Return one entry.

        Raises:
            NotFoundError: There is none.
        """
        return self._send(calls.entry(path, tree))

    def search(self, q: str, **params: Unpack[SearchParams]) -> models.Page[models.FileEntry]:
        """
        Return one page of the entries that match.
        """
        return self._send(calls.search(q, params))

    def search_all(self, q: str, **params: Unpack[SearchParams]) -> Iterator[models.FileEntry]:
        """
        Yield every entry that matches, up to `limit` (no limit by default), page by page.
        """
        left = params.get("limit")
        while True:
            params["limit"] = 1000 if left is None else min(left, 1000)
            page = self.search(q, **params)
            rows = page.rows if left is None else page.rows[:left]
            yield from rows
            left = None if left is None else left - len(rows)
            if page.next is None or left == 0:
                return
            params["cursor"] = page.next

    def stats(self, path: str | None = None, *, tree: str | None = None) -> models.Stats:
        """
        Return the totals of a directory.
        """
        return self._send(calls.stats(path, tree))

    def syncs(self) -> list[models.SyncInfo]:
        """
        Return the syncs that feed the datastore.
        """
        return self._send(calls.syncs())

    def tables(self) -> list[models.TableInfo]:
        """
        Return the tables of the datastore.
        """
        return self._send(calls.tables()).rows

    def rows(self, task_id: str, schema: str, table: str, **params: Any) -> models.Page[dict[str, Any]]:
        """
        Return one page of rows. Takes `where` (a list of `column:op:value`), `order`, `limit`, `cursor`.
        """
        return self._send(calls.rows(task_id, schema, table, params))

    def row(self, task_id: str, schema: str, table: str, key: Any) -> dict[str, Any]:
        """
        Return the row with this key (a list for a key of several columns).
        """
        return self._send(calls.row(task_id, schema, table, key))

    def live(
        self, *, table: str | None = None, path: str | None = None, reconnect: Reconnect | None = None
    ) -> Iterator[models.Change | models.Lost]:
        """
        Yield changes as they are stored, for ever. A broken connection is made anew and told by a `Lost` without a count.

        Args:
            table: Only this table.
            path: Only what is below this path.
            reconnect: The waits between tries.

        Raises:
            FustorError: Fusion refuses (a wrong key), or the first connection fails.
        """
        waits = reconnect or Reconnect()
        target = Call[None]("GET", "/views/live", None, {"table": table, "path": path}).target()
        headers = {**self._headers, "Accept": "text/event-stream"}
        connected, is_gap_told = False, False
        while True:
            failure: ConnectionLost | OverloadedError | None = None
            reader = SseReader(self.url + target)
            try:
                for line in self._transport.stream(target, headers, IDLE_S):
                    connected, is_gap_told = True, False
                    waits.reset()
                    told = reader.feed(line)
                    if told is not None:
                        yield told
            except (ConnectionLost, OverloadedError) as exc:
                if not connected:
                    raise
                failure = exc
            if connected and not is_gap_told:  # once for a gap, however many tries it takes to end it
                is_gap_told = True
                yield models.Lost(None)
            time.sleep(waits.wait_s(failure))
