"""
The asynchronous client of Fusion: trees, search, totals, tables, and the live stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Unpack

import httpx

from fustor_client import calls, models
from fustor_client.base_async import AsyncBaseClient
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
from fustor_client.faults import error_from, unreachable
from fustor_client.live import ChangeReader, Reconnect
from fustor_client.sse import IDLE_S
from fustor_core.errors import ConnectionLost, OverloadedError


class AsyncFusionClient(AsyncBaseClient):
    """
    Queries one datastore: the one that the key opens.

    Every method raises the `FustorError` that Fusion answered with, `ConnectionLost` when it can't be reached.

    Args:
        url: Address of Fusion.
        key: API key with the scope `read`.
        timeout_s: How long an answer may take, seconds.
        client: An httpx client to use instead of an own one; it is not closed.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 30.0, client: httpx.AsyncClient | None = None) -> None:
        sent = header_value(key)  # refused before anything is opened
        super().__init__(url, timeout_s=timeout_s, client=client)
        self._headers["X-API-Key"] = sent

    async def datastore(self) -> models.OpenedDatastore:
        """
        Return the datastore that the key opens, and what the key may do.
        """
        return await self._send(calls.datastore())

    async def trees(self) -> list[models.Tree]:
        """
        Return the trees of the datastore.
        """
        return (await self._send(calls.trees())).rows

    async def tree(self, path: str | None = None, **params: Unpack[TreeParams]) -> models.FileEntry:
        """
        Return a directory with its children, nested down to `depth`; `next` of the answer is the cursor of what follows.
        """
        return await self._send(calls.tree(path, params))

    async def entry(self, path: str, *, tree: str | None = None) -> models.FileEntry:
        """
        Return one entry.

        Raises:
            NotFoundError: There is none.
        """
        return await self._send(calls.entry(path, tree))

    async def search(self, q: str, **params: Unpack[SearchParams]) -> models.Page[models.FileEntry]:
        """
        Return one page of the entries that match.
        """
        return await self._send(calls.search(q, params))

    async def search_all(self, q: str, **params: Unpack[SearchParams]) -> AsyncIterator[models.FileEntry]:
        """
        Yield every entry that matches, up to `limit` (no limit by default), page by page.
        """
        left = params.get("limit")
        while True:
            params["limit"] = 1000 if left is None else min(left, 1000)
            page = await self.search(q, **params)
            rows = page.rows if left is None else page.rows[:left]
            for row in rows:
                yield row
            left = None if left is None else left - len(rows)
            if page.next is None or left == 0:
                return
            params["cursor"] = page.next

    async def stats(self, path: str | None = None, *, tree: str | None = None) -> models.Stats:
        """
        Return the totals of a directory.
        """
        return await self._send(calls.stats(path, tree))

    async def sizes(
        self, path: str | None = None, *, tree: str | None = None, limit: int | None = None
    ) -> models.Sizes:
        """
        Return what takes the space in a directory.
        """
        return await self._send(calls.sizes(path, tree, limit))

    async def timeline(self, path: str | None = None, **params: Unpack[TimelineParams]) -> models.Timeline:
        """
        Return a histogram of when what is below a directory was last modified; `next` of the answer is the cursor of what is left to count.
        """
        return await self._send(calls.timeline(path, params))

    async def syncs(self) -> list[models.SyncInfo]:
        """
        Return the syncs that feed the datastore.
        """
        return await self._send(calls.syncs())

    async def flow(self) -> models.FlowSummary:
        """
        Return what flows into the datastore now.
        """
        return await self._send(calls.flow())

    async def flow_agents(self, **params: Unpack[Sorted]) -> models.Page[models.AgentNow]:
        """
        Return a page of the agents that feed the datastore, who needs somebody most first unless `sort` says otherwise.
        """
        return await self._send(calls.flow_agents(params))

    async def flow_syncs(self, **params: Unpack[SyncFilters]) -> models.Page[models.SyncNow]:
        """
        Return a page of the syncs that feed the datastore, as they are now.
        """
        return await self._send(calls.flow_syncs(params))

    async def streams(self, **params: Unpack[StreamFilters]) -> models.Page[models.StreamNow]:
        """
        Return a page of the tables and trees, and how fresh each is.
        """
        return await self._send(calls.streams(params))

    async def tables(self) -> list[models.TableInfo]:
        """
        Return the tables of the datastore.
        """
        return (await self._send(calls.tables())).rows

    async def tables_page(self, **params: Unpack[TableFilters]) -> models.Page[models.TableInfo]:
        """
        Return a page of the tables, sorted by name, task, rows, bytes or changed.
        """
        return await self._send(calls.tables(params))

    async def table(self, task_id: str, schema: str, table: str) -> models.TableInfo:
        """
        Return one table.
        """
        return await self._send(calls.table(task_id, schema, table))

    async def rows(self, task_id: str, schema: str, table: str, **params: Unpack[RowParams]) -> models.RowPage:
        """
        Return one page of rows; when it is `partial` it may be short, or empty, and goes on with `next`.
        """
        return await self._send(calls.rows(task_id, schema, table, params))

    async def count_rows(
        self, task_id: str, schema: str, table: str, *, where: Sequence[Where] | None = None, cursor: str | None = None
    ) -> models.RowCount:
        """
        Count the rows that fit, for as long as Fusion takes for one answer; go on with `next`, and add up.
        """
        return await self._send(calls.count_rows(task_id, schema, table, where, cursor))

    async def export_rows(
        self,
        task_id: str,
        schema: str,
        table: str,
        format: Literal["csv", "jsonl"],  # noqa: A002 - its name in the API
        **params: Unpack[ExportParams],
    ) -> AsyncIterator[bytes]:
        """
        Yield all rows that fit, as CSV or as JSON Lines, piece by piece.

        Raises:
            FustorError: Fusion refuses, or the answer was broken off.
        """
        target = calls.export_rows(task_id, schema, table, format, params).target()
        timeout = httpx.Timeout(10, read=IDLE_S)
        try:
            async with self._client.stream("GET", self.url + target, headers=self._headers, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    raise error_from(answer.status_code, answer.headers, await answer.aread(), self.url + target)
                async for piece in answer.aiter_bytes():
                    yield piece
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self.url, exc) from exc

    async def row(self, task_id: str, schema: str, table: str, key: Any) -> dict[str, Any]:
        """
        Return the row with this key (a list for a key of several columns).
        """
        return await self._send(calls.row(task_id, schema, table, key))

    async def live(
        self,
        *,
        table: str | None = None,
        path: str | None = None,
        task_id: str | None = None,
        schema: str | None = None,
        reconnect: Reconnect | None = None,
    ) -> AsyncIterator[models.Change | models.Lost]:
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
                async for line in self._lines(target, headers):
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
            await asyncio.sleep(waits.wait_s(failure))

    async def _lines(self, target: str, headers: dict[str, str]) -> AsyncIterator[str]:
        timeout = httpx.Timeout(10, read=IDLE_S)
        try:
            async with self._client.stream("GET", self.url + target, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    raise error_from(answer.status_code, answer.headers, await answer.aread(), self.url + target)
                async for line in answer.aiter_lines():
                    yield line
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self.url, exc) from exc
