"""
What flows into a datastore: a summary, its agents, its syncs, and how fresh each of its streams is.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from fustor_common.openapi import error_answers
from fustor_fusion import streams
from fustor_fusion.api.access import ReadStore
from fustor_fusion.streams import Coverage, State

router = APIRouter(prefix="/views", tags=["views"], responses=error_answers(400, 401, 403, 503))

Limit = Annotated[int, Query(ge=1, le=1000, description="Most rows in the answer")]
Cursor = Annotated[str | None, Query(description="`next` of the answer before")]
Order = Annotated[Literal["asc", "desc"], Query(description="What has no value comes last either way")]

_STATE = (
    "silent: its agent has not been heard of for longer than the timeout of its session; stopped: it has no session; waiting: its snapshot"
    " has not begun; copying: its snapshot is under way; live: nothing is missing; removed: nobody fed it for as long as the policy keeps data"
)
_SNAPSHOT = {
    "id": "s-7",
    "state": "ended",
    "rows": 1200,
    "started_at": 1766000000000000000,
    "ended_at": 1766000004000000000,
}
_SYNC: dict[str, Any] = {
    "task_id": "orders",
    "agent_id": "till-3",
    "client": "10.0.0.7",
    "state": "live",
    "last_heartbeat_at": 1766000100000000000,
    "last_row_at": 1766000099000000000,
    "stale_since": None,
    "lag_s": 0.04,
    "rows_per_s": 12.5,
    "bytes_per_s": 2048.0,
    "epoch": 1,
    "index": 7712,
    "gap": False,
    "snapshot": _SNAPSHOT,
}
_AGENT: dict[str, Any] = {
    "agent_id": "till-3",
    "client": "10.0.0.7",
    "state": "live",
    "syncs": 1,
    "by_state": {"live": 1},
    "last_heartbeat_at": 1766000100000000000,
    "lag_s": 0.04,
    "rows_per_s": 12.5,
    "bytes_per_s": 2048.0,
    "worst": [_SYNC],
}


class SnapshotOfSync(BaseModel):
    """
    The snapshot of a sync that was begun last.
    """

    id: str
    state: Literal["active", "ended", "cancelled"]
    rows: int = Field(description="Rows it brought so far")
    started_at: int = Field(description="Nanoseconds since 1970")
    ended_at: int | None = Field(description="Nanoseconds since 1970")


class SyncNow(BaseModel):
    """
    A sync as it is now.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SYNC})

    task_id: str
    agent_id: str | None
    client: str = Field(description="Address that its session was opened from")
    state: State = Field(description=_STATE)
    last_heartbeat_at: int | None = Field(description="Last sign of life of its agent, nanoseconds since 1970")
    last_row_at: int | None = Field(description="When rows last came, nanoseconds since 1970")
    stale_since: int | None = Field(description="Since when nobody feeds it, nanoseconds since 1970; null: it is fed")
    lag_s: float | None = Field(
        description="How long its newest row took from the source's commit to here, seconds; null: none came since Fusion was started, or the"
        " source does not say"
    )
    rows_per_s: float = Field(description="Mean of the last ten seconds")
    bytes_per_s: float = Field(description="Bodies of pushes, mean of the last ten seconds")
    epoch: int
    index: int = Field(description="The checkpoint; -1 = none")
    gap: bool = Field(description="Changes went missing, and another snapshot is asked for")
    snapshot: SnapshotOfSync | None


class AgentNow(BaseModel):
    """
    An agent as it is now.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _AGENT})

    agent_id: str | None
    client: str = Field(description="Address that its newest session was opened from")
    state: State = Field(description="That of its syncs which needs somebody most")
    syncs: int
    by_state: dict[State, int]
    last_heartbeat_at: int | None = Field(description="Nanoseconds since 1970")
    lag_s: float | None = Field(description="Longest lag of its syncs that are fed, seconds")
    rows_per_s: float
    bytes_per_s: float
    worst: list[SyncNow] = Field(description="A few of its syncs: those that need somebody most")


class StreamNow(BaseModel):
    """
    A table or a tree of a sync as it is now.
    """

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "task_id": "orders",
                "agent_id": "till-3",
                "kind": "table",
                "schema": "shop",
                "table": "orders",
                "state": "live",
                "coverage": "complete",
                "index": 7712,
                "last_change_at": 1766000099000000000,
                "stale_since": None,
                "lag_s": 0.04,
            }
        },
    )

    task_id: str
    agent_id: str | None
    kind: Literal["table", "tree"]
    schema_: str = Field(alias="schema", description="Of a tree: its root")
    table: str
    state: State = Field(description="Of its sync. " + _STATE)
    coverage: Coverage = Field(
        description="complete: every row is there; copying: a snapshot of it is under way; gap: changes went missing and another snapshot is"
        " asked for; partial: no snapshot has ended yet"
    )
    index: int = Field(description="Newest index of its rows; -1 = unknown")
    last_change_at: int | None = Field(
        description="When it last changed (rows of snapshots do not count), nanoseconds since 1970"
    )
    stale_since: int | None = Field(description="Since when nobody feeds it, nanoseconds since 1970; null: it is fed")
    lag_s: float | None = Field(description="How long its last change took from the source's commit to here, seconds")


class FlowSummary(BaseModel):
    """
    What flows into the datastore now.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "at": 1766000100000000000,
                "syncs": 3,
                "by_state": {"silent": 1, "live": 2},
                "agents": 2,
                "lag_s": 0.04,
                "rows_per_s": 12.5,
                "bytes_per_s": 2048.0,
                "stored_bytes": 73400320,
                "history": [0, 12, 13],
            }
        }
    )

    at: int = Field(description="Time of this service, nanoseconds since 1970")
    syncs: int
    by_state: dict[State, int] = Field(description="How many syncs are in each state; those without any are left out")
    agents: int
    lag_s: float | None = Field(description="Longest lag of the syncs that are fed, seconds")
    rows_per_s: float
    bytes_per_s: float
    stored_bytes: int = Field(description="What the datastore takes on disk")
    history: list[int] = Field(description="Rows that came in each of the last 59 seconds, the oldest first")


class PageOfAgents(BaseModel):
    """
    Part of the agents.
    """

    rows: list[AgentNow]
    next: str | None = Field(description="Cursor of the page after; null: that was all")


class PageOfSyncs(BaseModel):
    """
    Part of the syncs.
    """

    rows: list[SyncNow]
    next: str | None = Field(description="Cursor of the page after; null: that was all")


class PageOfStreams(BaseModel):
    """
    Part of the streams.
    """

    rows: list[StreamNow]
    next: str | None = Field(description="Cursor of the page after; null: that was all")


@router.get("/flow", summary="What flows into the datastore now")
def flow(datastore: ReadStore) -> FlowSummary:
    """
    Cheap, whatever the datastore holds: made to be asked every few seconds.
    """
    found = streams.sync_flows(datastore)
    rows_per_s, bytes_per_s = datastore.flow.total.rates()
    return FlowSummary(
        at=time.time_ns(),
        syncs=len(found),
        by_state=streams.count_states(found),
        agents=len({sync.agent_id for sync in found}),
        lag_s=max((sync.lag_s for sync in found if sync.lag_s is not None and sync.state in streams.FED), default=None),
        rows_per_s=rows_per_s,
        bytes_per_s=bytes_per_s,
        stored_bytes=datastore.store.used_bytes(),
        history=datastore.flow.total.history(),
    )


@router.get("/flow/agents", summary="The agents that feed the datastore, as they are now")
def flow_agents(
    datastore: ReadStore,
    sort: Annotated[
        Literal["state", "agent", "rows_per_s"], Query(description="state: who needs somebody most comes first")
    ] = "state",
    order: Order = "asc",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageOfAgents:
    agents = streams.agent_flows(streams.sync_flows(datastore))
    page, following = streams.AGENTS.page(agents, sort, descending=order == "desc", limit=limit, cursor=cursor)
    return PageOfAgents(rows=[AgentNow.model_validate(agent) for agent in page], next=following)


@router.get("/flow/syncs", summary="The syncs that feed the datastore, as they are now")
def flow_syncs(
    datastore: ReadStore,
    agent: Annotated[str | None, Query(description="Only syncs of this agent")] = None,
    state: Annotated[State | None, Query(description="Only syncs in this state")] = None,
    sort: Annotated[
        Literal["state", "task", "agent", "rows_per_s", "lag", "last_row", "last_heartbeat"],
        Query(description="state: what needs somebody most comes first"),
    ] = "state",
    order: Order = "asc",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PageOfSyncs:
    found = [
        sync
        for sync in streams.sync_flows(datastore)
        if (agent is None or sync.agent_id == agent) and (state is None or sync.state == state)
    ]
    page, following = streams.SYNCS.page(found, sort, descending=order == "desc", limit=limit, cursor=cursor)
    return PageOfSyncs(rows=[SyncNow.model_validate(sync) for sync in page], next=following)


@router.get("/streams", summary="The tables and trees of the datastore, and how fresh each is")
def list_streams(
    datastore: ReadStore,
    task: Annotated[str | None, Query(description="Only streams of this sync")] = None,
    agent: Annotated[str | None, Query(description="Only streams of this agent")] = None,
    q: Annotated[
        str | None, Query(description="Only streams whose sync, schema or table holds this text, in any case")
    ] = None,
    state: Annotated[State | None, Query(description="Only streams whose sync is in this state")] = None,
    sort: Annotated[
        Literal["state", "name", "task", "coverage", "last_change", "lag", "index"],
        Query(description="state, coverage: what needs somebody most comes first"),
    ] = "state",
    order: Order = "asc",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PageOfStreams:
    wanted = None if q is None else q.casefold()
    found = [
        stream
        for stream in streams.stream_states(datastore, task)
        if (agent is None or stream.agent_id == agent)
        and (state is None or stream.state == state)
        and (wanted is None or any(wanted in text.casefold() for text in (stream.task_id, stream.schema, stream.table)))
    ]
    page, following = streams.STREAMS.page(found, sort, descending=order == "desc", limit=limit, cursor=cursor)
    return PageOfStreams(rows=[StreamNow.model_validate(stream) for stream in page], next=following)
