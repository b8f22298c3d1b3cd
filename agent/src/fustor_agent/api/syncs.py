"""
`/api/syncs`: what a sync would do, before it is saved.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from fustor_agent.api.access import Access, Running
from fustor_agent.api.bodies import RequestBody
from fustor_agent.secret_values import MASK, resolve
from fustor_agent.transforms import preview
from fustor_common.openapi import error_answers
from fustor_core.errors import InvalidRequest
from fustor_core.models.config import FieldMapping, SyncConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.models.transforms import MaskStep, Transform

router = APIRouter(prefix="/api/syncs", tags=["syncs"], dependencies=[Access], responses=error_answers(401))


class Sample(RequestBody):
    """
    Rows that are given instead of being read.
    """

    schema_: str = Field("", alias="schema")
    table: str = Field(min_length=1)
    key: list[str] = Field(default_factory=list)
    rows: list[dict[str, Any]] = Field(min_length=1, max_length=1000)


class PreviewRequest(RequestBody):
    """
    Transforms to try, and on which rows: those of a configured source, or given ones.
    """

    source: str | None = Field(None, description="Id of a configured source, from which rows are read.")
    sync: str | None = Field(
        None, description="Id of the sync that is being changed: a salt `***` stays what it is there."
    )
    transforms: list[Transform] = Field(default_factory=list)
    fields_mapping: list[FieldMapping] = Field(default_factory=list)
    tables: list[str] | None = Field(None, min_length=1, max_length=preview.MOST_TABLES, description="`schema.table`.")
    rows: int = Field(10, ge=1, le=1000, description="Most rows of a table.")
    samples: list[Sample] | None = Field(None, min_length=1, max_length=preview.MOST_TABLES)


class Becomes(BaseModel):
    """
    What a table is at the consumer.
    """

    key: list[str]
    fields: list[str]


class PreviewRow(BaseModel):
    """
    One row, before and after; `refused` rows would be parked as dead letters.
    """

    before: dict[str, Any]
    after: dict[str, Any] | None
    outcome: Literal["sent", "filtered", "refused"]
    reason: str


class PreviewTable(BaseModel):
    """
    What the rows of one table become, or why the transforms can't work on it.
    """

    schema_: str = Field(alias="schema")
    table: str
    key: list[str]
    fields: list[str]
    becomes: Becomes | None
    rows: list[PreviewRow]
    notes: list[str]
    error: dict[str, Any] | None


class Preview(BaseModel):
    """
    What transforms would do.
    """

    tables: list[PreviewTable]


_FROM_SOURCE = {
    "source": "shop",
    "tables": ["shop.users"],
    "rows": 5,
    "transforms": [
        {"type": "filter", "where": "state == 'active'"},
        {"type": "mask", "fields": ["email"], "method": "hash", "salt": "${MASK_SALT}"},
        {"type": "derive", "to": "name", "value": "concat(first, ' ', last)"},
    ],
}
_GIVEN = {
    "samples": [{"schema": "shop", "table": "users", "key": ["id"], "rows": [{"id": 1, "email": "ada@example.org"}]}],
    "transforms": [{"type": "mask", "fields": ["email"], "method": "truncate", "length": 3}],
}


@router.post("/_preview", response_model=Preview, responses=error_answers(404, 502))
async def preview_rows(
    asked: Annotated[
        PreviewRequest,
        Body(
            openapi_examples={
                "rows of a source": {"summary": "Rows of a configured source", "value": _FROM_SOURCE},
                "given rows": {"summary": "Rows that are given", "value": _GIVEN},
            }
        ),
    ],
    service: Running,
) -> dict[str, Any]:
    """
    Show what transforms would do to real rows. Nothing is saved, nothing is sent.
    """
    parts = service.supervisor.parts
    known = parts.configs.current.get("syncs", asked.sync) if asked.sync is not None else {}
    source = asked.source or known.get("source")
    sync = SyncConfig(
        source=str(source or ""),
        pusher=str(known.get("pusher") or ""),
        transforms=[_with_salt(step, at, known) for at, step in enumerate(asked.transforms)],
        fields_mapping=asked.fields_mapping,
    )
    preview.check(sync)
    if asked.samples is not None:
        given = [
            EventBase(EventType.INSERT, one.schema_, one.table, one.rows, key=one.key or None) for one in asked.samples
        ]
        found = preview.Sample(given, {})
    elif source is not None:
        config = parts.configs.current.model("sources", str(source), resolve)
        driver = parts.sources.get(config.driver)
        found = await preview.sample(driver, str(source), config, tables=asked.tables, rows=asked.rows)
    else:
        raise InvalidRequest("the request names neither a `source` nor `samples`", hint="give one of them")
    return {"tables": preview.show(sync, found.events, found.whole_updates)}


def _with_salt(step: Transform, at: int, known: dict[str, Any]) -> Transform:
    if not isinstance(step, MaskStep) or step.salt is None or step.salt.get_secret_value() != MASK:
        return step
    before = known.get("transforms") or []
    same = before[at] if at < len(before) else {}
    if isinstance(same, dict) and same.get("type") == "mask" and same.get("salt"):
        return MaskStep.model_validate({**step.model_dump(), "salt": same["salt"]})
    return step
