"""
`/api/logs`: the last lines of the agent's log.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query

from fustor_agent.api.access import Access, Running
from fustor_common.logging import scrub

router = APIRouter(prefix="/api/logs", tags=["logs"], dependencies=[Access])

_BLOCK = 64 * 1024
_MOST_BYTES = 4 * 1024 * 1024


@router.get("")
async def read_logs(service: Running, lines: Annotated[int, Query(ge=1, le=10_000)] = 200) -> dict[str, Any]:
    """
    Return the last lines, oldest first.
    """
    path = service.settings.log_file
    return {"path": str(path), "lines": await asyncio.to_thread(last_lines, path, lines)}


def last_lines(path: Path, count: int) -> list[str]:
    """
    Return the last lines of a file, reading from its end and at most 4 MiB.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    with file:
        at = file.seek(0, os.SEEK_END)
        data = b""
        while at > 0 and data.count(b"\n") <= count and len(data) < _MOST_BYTES:
            step = min(_BLOCK, at)
            at = file.seek(at - step)
            data = file.read(step) + data
    found = data.decode("utf-8", "replace").splitlines()
    return [scrub(line) for line in found[-count:]]
