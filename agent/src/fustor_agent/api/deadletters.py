"""
`/api/dead-letters`: what consumers refused for good; replayed or deleted by a person.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from fustor_agent.api.access import Access, Running

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"], dependencies=[Access])


@router.get("")
async def read_letters(
    service: Running,
    sync: str | None = None,
    after: int = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """
    Return letters, oldest first, without their rows; `next` is the `after` of the page that follows.
    """
    letters = service.supervisor.parts.dead_letters
    found = letters.page(sync, after=after, limit=limit)
    return {
        "rows": [letter.to_dict() for letter in found],
        "next": found[-1].id if len(found) == limit else None,
        "counts": letters.counts(),
        "limit_rows": letters.max_rows,
        "full": letters.is_full,
    }


@router.get("/{letter_id}")
async def read_letter(letter_id: int, service: Running) -> dict[str, Any]:
    """
    Return one letter with its event.
    """
    letter, event = service.supervisor.parts.dead_letters.get(letter_id)
    return {**letter.to_dict(), "event": msgspec.to_builtins(event)}


@router.post("/{letter_id}/replay")
async def replay(letter_id: int, service: Running, force: bool = False) -> dict[str, Any]:
    """
    Push a letter once more; it is deleted when the consumer takes it.
    """
    return await service.supervisor.replay(letter_id, force=force)


@router.delete("/{letter_id}", status_code=204)
async def delete(letter_id: int, service: Running) -> None:
    """
    Delete a letter for good.
    """
    service.supervisor.parts.dead_letters.delete(letter_id)
