"""
The live tail as server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Final, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fustor_common.app import Stopping
from fustor_common.openapi import error_answers
from fustor_core.errors import FustorError
from fustor_fusion.api.access import KeyHeader, ReadStore, open_datastore
from fustor_fusion.live import LiveHub, LiveReader

router = APIRouter(prefix="/views", tags=["views"], responses=error_answers(400, 401, 403, 503))


KEY_AGAIN_S: Final = 5.0
"""
How often the key of an open stream is looked at again: a revoked one must not go on reading.
"""


async def _stream(
    hub: LiveHub, reader: LiveReader, keepalive_s: float, stopping: Stopping, check: Callable[[], Awaitable[object]]
) -> AsyncIterator[bytes]:
    frames = cast("AsyncGenerator[bytes]", stopping.until(reader.frames(keepalive_s)))
    watch = asyncio.create_task(_watch_key(reader, check))
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
    finally:
        watch.cancel()
        hub.leave(reader)


async def _watch_key(reader: LiveReader, check: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(KEY_AGAIN_S)
        try:
            await check()
        except FustorError as exc:
            reader.refuse(exc.to_dict())
            return


@router.get("/live", summary="Changes as they are stored, as server-sent events", response_class=StreamingResponse)
async def live(
    request: Request,
    datastore: ReadStore,
    table: Annotated[str | None, Query(description="Only this table")] = None,
    path: Annotated[str | None, Query(description="Only rows whose path is this or below it")] = None,
    task_id: Annotated[str | None, Query(description="Only what this sync brings")] = None,
    schema: Annotated[str | None, Query(description="Only tables of this schema")] = None,
    key: KeyHeader = None,
) -> StreamingResponse:
    """
    Events `change` and, when the reader was too slow, `lost` with a count. Rows of snapshots are not told. When the key no longer
    opens the datastore, the last event is `refused`, with the error that any other request would get.
    """
    reader = datastore.live.join(table, path, task_id=task_id, schema=schema)
    state = request.app.state
    body = _stream(
        datastore.live,
        reader,
        state.settings.live_keepalive_s,
        state.stopping,
        lambda: open_datastore(request, key, "read"),
    )
    return StreamingResponse(
        body, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
