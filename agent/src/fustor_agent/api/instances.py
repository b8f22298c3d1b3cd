"""
`/api/instances`: the buses and syncs that run.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from fustor_agent.api.access import Access, Running
from fustor_agent.api.bodies import RequestBody
from fustor_agent.config_file import Section
from fustor_agent.sync_filter import SyncFilter, with_fewer_tables
from fustor_common.openapi import error_answers
from fustor_core.sync_health import Health

router = APIRouter(prefix="/api/instances", tags=["instances"], dependencies=[Access], responses=error_answers(401))


class SnapshotRequest(RequestBody):
    """
    What a person asks to be read again; everything by default.
    """

    tables: list[str] | None = Field(None, description="Only these tables, `schema.table`.")
    where: str | None = Field(
        None,
        description="Only rows of which this holds, in the source's own language: SQL; for files the path of a directory, from the root of the tree.",
    )


class SnapshotStatus(BaseModel):
    """
    The snapshot under way.
    """

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    state: str
    rows: int = 0
    chunks: int = 0
    started_at: float | None = None
    rate: float | None = Field(
        None, description="Rows that the consumer acknowledges each second, over the last seconds."
    )
    rows_expected: int | None = Field(
        None, description="About how many rows it will have, as the source's statistics say; null = not known."
    )
    eta_s: float | None = Field(None, description="About how long it still takes, seconds; null = not known.")
    tables: list[str] | None = None
    where: str | None = None


class TableStatus(BaseModel):
    """
    One table, or tree, of a sync.
    """

    model_config = ConfigDict(extra="allow")

    table: str
    state: Literal["waiting", "copying", "live", "paused", "errored"]
    reason: str = Field("", description="Of `errored`: what is wrong with it; the others go on.")
    hint: str = ""
    next_try_s: float | None = Field(None, description="In how many seconds it is read again; null = not by itself.")
    rows: int | None = Field(None, description="Rows that the snapshot under way has read of it.")
    rows_expected: int | None = Field(None, description="About how many those will be; null = not known.")


class SyncStatus(BaseModel):
    """
    One sync: its states, why nothing moves when nothing moves and what to do, and its figures.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    source: str | None = None
    source_driver: str | None = None
    source_title: str = Field("", description="What people call what that driver reads.")
    pusher: str | None = None
    pusher_driver: str | None = None
    pusher_title: str = Field("", description="What people call what that driver feeds.")
    state: str
    states: list[str]
    since: float | None = None
    reason: str = ""
    hint: str = ""
    next_try_s: float | None = Field(None, description="In how many seconds what has failed is tried again.")
    health: Health = Field(
        "stopped",
        description="The states in a word, the worst of them; `retrying`: something failed that waiting may cure, and is tried again.",
    )
    disabled_by: Section | None = Field(
        None, description="Where the entry stands that is disabled, so that it does not run."
    )
    tables: list[TableStatus] = []
    table_counts: dict[str, int] = Field(default_factory=dict, description="How many tables are in which state.")
    snapshot: SnapshotStatus | None = None
    read_rows: int = Field(0, description="Rows taken from the source.")
    pushed_rows: int = Field(0, description="Rows of the source that the consumer has acknowledged.")
    pushed_events: int = 0
    sent_rows: int = Field(0, description="What the transforms made of those.")
    sent_bytes: int = Field(0, description="Their size, estimated.")
    read_rows_per_s: float = Field(0.0, description="Over the last seconds, as the rates below.")
    rows_per_s: float = Field(0.0, description="Rows that the consumer has acknowledged.")
    events_per_s: float = 0.0
    queue_events: int = 0
    queue_bytes: int = 0
    queue_fill: float | None = Field(None, description="How full the sync's share of the bus is, 0 to 1.")
    checkpoint: int | None = None
    position: str | None = Field(None, description="The checkpoint as the source's own tools write it.")
    source_index: int | None = Field(None, description="The newest index seen of the source.")
    lag_index: int | None = Field(None, description="How far the checkpoint is behind that; its unit is the driver's.")
    lag_bytes: int | None = Field(
        None, description="That in bytes of the source's log; null where its driver can't tell."
    )
    epoch: int | None = None
    lag_s: float | None = None
    dead_letters: int = 0
    retries: int = 0
    restarts: int = 0
    session_id: str | None = None
    source_status: dict[str, Any] = {}


class Instances(BaseModel):
    """
    All that runs.
    """

    buses: list[dict[str, Any]]
    syncs: list[SyncStatus]
    total: int = Field(description="How many syncs are wanted; `syncs` may be a part of them.")


SyncId = Annotated[str, Path(description="Id of a sync.", examples=["main"])]
_EXAMPLES: Final[dict[str, Any]] = {
    "everything": {"value": {}},
    "one table": {"value": {"tables": ["shop.orders"]}},
    "some rows": {"value": {"tables": ["shop.orders"], "where": "created_at >= '2026-01-01'"}},
}


@router.get("", response_model=Instances)
async def read_instances(
    service: Running,
    health: Annotated[Health | None, Query(description="Only syncs that are so.")] = None,
    text: Annotated[
        str | None, Query(max_length=200, description="Must be in the id of the sync, of its source or pusher.")
    ] = None,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many of those to leave out.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="Most syncs; all by default.")] = None,
    tables: Annotated[
        int | None,
        Query(ge=0, le=100_000, description="Most tables of each sync, those with errors first; all by default."),
    ] = None,
    troubled_first: Annotated[
        bool, Query(description="Whether those that have failed or are trying again come before all others.")
    ] = False,
) -> dict[str, Any]:
    """
    Return all buses, and the syncs that are wanted, in the order of the configuration.
    """
    wanted = SyncFilter(health, text or None, troubled_first)
    return service.supervisor.chosen(wanted, offset=offset, limit=limit, tables=tables)


@router.get("/{sync}", response_model=SyncStatus, responses=error_answers(404))
async def read_instance(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Return one sync.
    """
    return with_fewer_tables(service.supervisor.sync_status(sync), None)


@router.post("/{sync}/start", response_model=SyncStatus, responses=error_answers(404, 409))
async def start(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Start a sync, or try again at once when it waits for that.
    """
    await service.supervisor.start(sync)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/stop", response_model=SyncStatus, responses=error_answers(404))
async def stop(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Stop a sync until it is started again or the agent restarts.
    """
    await service.supervisor.stop(sync)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot", response_model=SyncStatus, responses=error_answers(404, 409))
async def take_snapshot(
    sync: SyncId, service: Running, wanted: Annotated[SnapshotRequest | None, Body(openapi_examples=_EXAMPLES)] = None
) -> dict[str, Any]:
    """
    Start a snapshot, of everything or narrowed to tables and rows.
    """
    asked = wanted or SnapshotRequest()
    await service.supervisor.runtime(sync).request_snapshot(asked.tables, asked.where)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/pause", response_model=SyncStatus, responses=error_answers(404, 409))
async def pause_snapshot(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Pause the snapshot under way; it stays paused over a restart of the agent.
    """
    service.supervisor.runtime(sync).pause_snapshot()
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/resume", response_model=SyncStatus, responses=error_answers(404, 409))
async def resume_snapshot(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Go on with a paused snapshot.
    """
    service.supervisor.runtime(sync).resume_snapshot()
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/cancel", response_model=SyncStatus, responses=error_answers(404, 409))
async def cancel_snapshot(sync: SyncId, service: Running) -> dict[str, Any]:
    """
    Give up the snapshot under way; nothing is removed at the consumer.
    """
    service.supervisor.runtime(sync).cancel_snapshot()
    return service.supervisor.sync_status(sync)
