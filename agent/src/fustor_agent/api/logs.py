"""
`/api/logs`: the agent's log, backwards in pages, and as it grows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from fustor_agent.api.access import Access, Running
from fustor_agent.log_reader import LogFilter, follow, read_page
from fustor_common.app import Stopping
from fustor_common.openapi import error_answers
from fustor_core.errors import OverloadedError

router = APIRouter(prefix="/api/logs", tags=["logs"], dependencies=[Access], responses=error_answers(401))

_MOST_FOLLOWERS: Final = 20


class LogLine(BaseModel):
    """
    One line of the log.
    """

    timestamp: str
    level: str
    component: str
    message: str
    fields: dict[str, Any]


class LogLines(BaseModel):
    """
    Some lines, oldest first.
    """

    path: str
    rows: list[LogLine]
    next: str | None = Field(description="Give it as `before` to go on backwards; null = there are no older lines.")


def _filter(
    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None, Query(description="This severity or worse.")
    ] = None,
    component: Annotated[
        str | None, Query(description="A logger and those below it.", examples=["fustor_agent.sync"])
    ] = None,
    text: Annotated[
        str | None, Query(max_length=1000, description="What must be in the line, in capitals or not.")
    ] = None,
) -> LogFilter:
    return LogFilter(level, component or None, text or None)


Wanted = Annotated[LogFilter, Depends(_filter)]


@router.get("", response_model=LogLines)
async def read_logs(
    service: Running,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 200,
    before: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> dict[str, Any]:
    """
    Return the newest lines that are wanted. A page may hold fewer than `limit` lines, also none, and still have a `next`: so much is
    looked through at a time.
    """
    path = service.settings.log_file
    page = await asyncio.to_thread(read_page, path, wanted, limit, before)
    return {"path": str(path), "rows": [asdict(line) for line in page.lines], "next": page.before}


@router.get(
    "/follow",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `line`, as in `rows` of `GET /api/logs`; comments keep the connection alive",
            "content": {"text/event-stream": {"example": 'event: line\ndata: {"level": "INFO", "message": "..."}\n\n'}},
        },
    },
)
async def follow_logs(request: Request, service: Running, wanted: Wanted) -> StreamingResponse:
    """
    Tell lines as they are written, from now on.
    """
    followers: set[object] = service.log_followers
    if len(followers) >= _MOST_FOLLOWERS:
        raise OverloadedError(f"{_MOST_FOLLOWERS} readers follow the log already", hint="close one of them")
    stopping: Stopping = request.app.state.stopping
    me = object()
    followers.add(me)

    async def body() -> AsyncIterator[str]:
        try:
            yield ": following\n\n"
            async for line in stopping.until(follow(service.settings.log_file, wanted)):
                if line is None:
                    yield ": still here\n\n"
                else:
                    yield f"event: line\ndata: {json.dumps(asdict(line), default=str)}\n\n"
        finally:
            followers.discard(me)

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
