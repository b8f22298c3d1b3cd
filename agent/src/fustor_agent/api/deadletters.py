"""
`/api/dead-letters`: what consumers refused for good; replayed or deleted by a person.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fustor_agent.api.access import Access, Running, Service
from fustor_agent.api.path_parts import LARGEST, LETTER, RowId
from fustor_agent.deadletters import LetterFilter
from fustor_agent.transforms.letters import shown
from fustor_common.openapi import error_answers
from fustor_core.errors import FustorError
from fustor_core.models.config import SyncConfig

router = APIRouter(
    prefix="/api/dead-letters", tags=["dead letters"], dependencies=[Access], responses=error_answers(401)
)


class Letter(BaseModel):
    """
    One event that was parked, without its rows.
    """

    id: int
    sync: str
    ts: float = Field(description="When it was parked, epoch seconds.")
    epoch: int
    code: str = Field(description="Code of the error that it was refused with.")
    reason: str
    hint: str = Field(description='What to do about it; "" when nobody knows.')
    event_type: str
    event_schema: str
    table: str
    rows: int = Field(description="How many rows it has.")
    replayable: bool


class LetterDetails(Letter):
    """
    One letter with its event, as the transforms of its sync let it out. What they hide, and what can't be transformed, is `***`.
    """

    event: dict[str, Any]
    position: str | None = Field(
        description="The event's place as its source's own tools write it; null when the sync or the driver is gone."
    )


class Letters(BaseModel):
    """
    Some letters, oldest first.
    """

    rows: list[Letter]
    next: int | None = Field(description="Give it as `after` for the page that follows.")
    counts: dict[str, int] = Field(description="Rows parked, by sync.")
    limit_rows: int
    full: bool


class Replayed(BaseModel):
    """
    A letter that the consumer has taken.
    """

    replayed: int
    answer: dict[str, Any]


class Replays(BaseModel):
    """
    Letters that the consumer has taken, and the one that ended it.
    """

    replayed: list[int]
    failed: int | None
    error: dict[str, Any] | None


class Dropped(BaseModel):
    """
    How many letters were deleted.
    """

    deleted: int


Sync = Annotated[str | None, Query(description="Only of this sync.")]
Table = Annotated[str | None, Query(description="Only of this table, without its schema.")]
Code = Annotated[str | None, Query(description="Only with this code.")]


@router.get("", response_model=Letters)
async def read_letters(
    service: Running,
    sync: Sync = None,
    table: Table = None,
    code: Code = None,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """
    Return letters, oldest first, without their rows.
    """
    letters = service.supervisor.parts.dead_letters
    found = letters.page(LetterFilter(sync, table, code), after=after, limit=limit)
    return {
        "rows": [letter.to_dict() for letter in found],
        "next": found[-1].id if len(found) == limit else None,
        "counts": letters.counts(),
        "limit_rows": letters.max_rows,
        "full": letters.is_full,
    }


@router.delete("", response_model=Dropped, responses=error_answers(409))
async def delete_letters(
    service: Running, sync: Annotated[str, Query(min_length=1)], table: Table = None, code: Code = None
) -> dict[str, Any]:
    """
    Delete all letters of a sync for good, or those of one table or code.
    """
    return {"deleted": service.supervisor.parts.dead_letters.delete_all(LetterFilter(sync, table, code))}


@router.post("/_replay", response_model=Replays, responses=error_answers(404, 409))
async def replay_all(
    service: Running,
    sync: Annotated[str, Query(min_length=1)],
    table: Table = None,
    code: Code = None,
    force: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """
    Push letters of a sync once more, oldest first, until one is refused again.
    """
    service.supervisor.sync_status(sync)
    done: list[int] = []
    wanted = LetterFilter(sync, table, code)
    for letter in service.supervisor.parts.dead_letters.page(wanted, limit=limit):
        try:
            await service.supervisor.replay(letter.id, force=force)
        except FustorError as exc:
            return {"replayed": done, "failed": letter.id, "error": exc.to_dict()}
        done.append(letter.id)
    return {"replayed": done, "failed": None, "error": None}


@router.get(LETTER, response_model=LetterDetails, responses=error_answers(404))
async def read_letter(letter_id: RowId, service: Running) -> dict[str, Any]:
    """
    Return one letter with its event.
    """
    letter, event = service.supervisor.parts.dead_letters.get(letter_id)
    sync = _sync_of(service, letter.sync)
    return {**letter.to_dict(), "event": shown(event, sync), "position": _position(service, sync, event.index)}


@router.post(f"{LETTER}/replay", response_model=Replayed, responses=error_answers(404, 409, 502))
async def replay(
    letter_id: RowId,
    service: Running,
    force: Annotated[
        bool, Query(description="Also when the consumer goes by arrival, where old rows overwrite newer ones.")
    ] = False,
) -> dict[str, Any]:
    """
    Push a letter once more, through the transforms that the sync has now; it is deleted when the consumer takes it.
    """
    return await service.supervisor.replay(letter_id, force=force)


@router.delete(LETTER, status_code=204, responses=error_answers(404, 409))
async def delete(letter_id: RowId, service: Running) -> None:
    """
    Delete a letter for good.
    """
    service.supervisor.parts.dead_letters.delete(letter_id)


def _sync_of(service: Service, sync_id: str) -> SyncConfig | None:
    try:
        config: SyncConfig = service.supervisor.parts.configs.current.model("syncs", sync_id, dict)
    except FustorError:
        return None
    return config


def _position(service: Service, sync: SyncConfig | None, index: int) -> str | None:
    parts = service.supervisor.parts
    if sync is None:
        return None
    try:
        source = parts.configs.current.get("sources", sync.source)
        return parts.sources.get(str(source.get("driver"))).position_text(index)
    except FustorError:
        return None
