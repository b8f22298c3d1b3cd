"""
The live tail as server-sent events.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fustor_common.app import Stopping
from fustor_fusion.api.access import ReadStore
from fustor_fusion.live import LiveHub, LiveReader

router = APIRouter(prefix="/views", tags=["views"])


async def _stream(hub: LiveHub, reader: LiveReader, keepalive_s: float, stopping: Stopping) -> AsyncIterator[bytes]:
    frames = cast("AsyncGenerator[bytes]", stopping.until(reader.frames(keepalive_s)))
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
    finally:
        hub.leave(reader)


@router.get("/live", summary="Changes as they are stored, as server-sent events", response_class=StreamingResponse)
async def live(
    request: Request,
    datastore: ReadStore,
    table: Annotated[str | None, Query(description="Only this table")] = None,
    path: Annotated[str | None, Query(description="Only rows whose path is this or below it")] = None,
) -> StreamingResponse:
    """
    Events `change` and, when the reader was too slow, `lost` with a count. Rows of snapshots are not told.
    """
    reader = datastore.live.join(table, path)
    state = request.app.state
    body = _stream(datastore.live, reader, state.settings.live_keepalive_s, state.stopping)
    return StreamingResponse(
        body, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
