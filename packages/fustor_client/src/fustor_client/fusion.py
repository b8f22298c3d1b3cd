"""
The synchronous client of Fusion: trees, search, totals, tables, and the live stream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Unpack

from fustor_client import calls, models
from fustor_client.base import BaseClient
from fustor_client.calls import (
    Call,
    ExportParams,
    RowParams,
    SearchParams,
    Sorted,
    StreamFilters,
    SyncFilters,
    TableFilters,
    TimelineParams,
    TreeParams,
    Where,
    header_value,
)
from fustor_client.live import ChangeReader, Reconnect
from fustor_client.sse import IDLE_S
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

    def datastore(self) -> models.OpenedDatastore:
        """
        Return the datastore that the key opens, and what the key may do.
        """
        return self._send(calls.datastore())

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

    def sizes(self, path: str | None = None, *, tree: str | None = None, limit: int | None = None) -> models.Sizes:
        """
        Return what takes the space in a directory.
        """
        return self._send(calls.sizes(path, tree, limit))

    def timeline(self, path: str | None = None, **params: Unpack[TimelineParams]) -> models.Timeline:
        """
        Return a histogram of when what is below a directory was last modified; `next` of the answer is the cursor of what is left to count.
        """
        return self._send(calls.timeline(path, params))

    def syncs(self) -> list[models.SyncInfo]:
        """
        Return the syncs that feed the datastore.
        """
        return self._send(calls.syncs())

    def flow(self) -> models.FlowSummary:
        """
        Return what flows into the datastore now.
        """
        return self._send(calls.flow())

    def flow_agents(self, **params: Unpack[Sorted]) -> models.Page[models.AgentNow]:
        """
        Return a page of the agents that feed the datastore, who needs somebody most first unless `sort` says otherwise.
        """
        return self._send(calls.flow_agents(params))

    def flow_syncs(self, **params: Unpack[SyncFilters]) -> models.Page[models.SyncNow]:
        """
        Return a page of the syncs that feed the datastore, as they are now.
        """
        return self._send(calls.flow_syncs(params))

    def streams(self, **params: Unpack[StreamFilters]) -> models.Page[models.StreamNow]:
        """
        Return a page of the tables and trees, and how fresh each is.
        """
        return self._send(calls.streams(params))

    def tables(self) -> list[models.TableInfo]:
        """
        Return the tables of the datastore.
        """
        return self._send(calls.tables()).rows

    def tables_page(self, **params: Unpack[TableFilters]) -> models.Page[models.TableInfo]:
        """
        Return a page of the tables, sorted by name, task, rows, bytes or changed.
        """
        return self._send(calls.tables(params))

    def table(self, task_id: str, schema: str, table: str) -> models.TableInfo:
        """
        Return one table.
        """
        return self._send(calls.table(task_id, schema, table))

    def rows(self, task_id: str, schema: str, table: str, **params: Unpack[RowParams]) -> models.RowPage:
        """
        Return one page of rows; when it is `partial` it may be short, or empty, and goes on with `next`.
        """
        return self._send(calls.rows(task_id, schema, table, params))

    def count_rows(
        self, task_id: str, schema: str, table: str, *, where: Sequence[Where] | None = None, cursor: str | None = None
    ) -> models.RowCount:
        """
        Count the rows that fit, for as long as Fusion takes for one answer; go on with `next`, and add up.
        """
        return self._send(calls.count_rows(task_id, schema, table, where, cursor))

    def export_rows(
        self,
        task_id: str,
        schema: str,
        table: str,
        format: Literal["csv", "jsonl"],  # noqa: A002 - its name in the API
        **params: Unpack[ExportParams],
    ) -> Iterator[bytes]:
        """
        Yield all rows that fit, as CSV or as JSON Lines, piece by piece.

        Raises:
            FustorError: Fusion refuses, or the answer was broken off.
        """
        call = calls.export_rows(task_id, schema, table, format, params)
        yield from self._transport.download(call.target(), self._headers, IDLE_S)

    def row(self, task_id: str, schema: str, table: str, key: Any) -> dict[str, Any]:
        """
        Return the row with this key (a list for a key of several columns).
        """
        return self._send(calls.row(task_id, schema, table, key))

    def live(
        self,
        *,
        table: str | None = None,
        path: str | None = None,
        task_id: str | None = None,
        schema: str | None = None,
        reconnect: Reconnect | None = None,
    ) -> Iterator[models.Change | models.Lost]:
        """
        Yield changes as they are stored, for ever. A broken connection is made anew and told by a `Lost` without a count.

        Args:
            table: Only this table.
            path: Only what is below this path.
            task_id: Only what this sync brings.
            schema: Only tables of this schema.
            reconnect: The waits between tries.

        Raises:
            FustorError: Fusion refuses (a wrong key), or the first connection fails.
        """
        waits = reconnect or Reconnect()
        wanted = {"table": table, "path": path, "task_id": task_id, "schema": schema}
        target = Call[None]("GET", "/views/live", None, wanted).target()
        headers = {**self._headers, "Accept": "text/event-stream"}
        connected, is_gap_told = False, False
        while True:
            failure: ConnectionLost | OverloadedError | None = None
            reader = ChangeReader(self.url + target)
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
