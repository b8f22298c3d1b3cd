"""
How fresh what a datastore holds is: each sync, with its session and its flow, and each stream (a table or a tree of a sync).

Everything here is read from memory and from small tables, whatever the datastore holds. Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, get_args

from fustor_fusion.cursors import decode_cursor, encode_cursor, foreign_cursor
from fustor_fusion.sessions import Session
from fustor_fusion.snapshots import SyncState
from fustor_fusion.views.base import is_among

if TYPE_CHECKING:
    from fustor_fusion.datastore import Datastore

State = Literal["silent", "stopped", "waiting", "copying", "live", "removed"]
"""
Of a sync, the one that needs somebody most first.

- silent: its session is open, and its agent has not been heard of for longer than the session's timeout;
- stopped: it has no session;
- waiting: it is fed, and its snapshot has not begun;
- copying: it is fed, and its snapshot is under way;
- live: it is fed, and nothing is missing;
- removed: nobody fed it for as long as the policy keeps data.
"""
STATES: Final[tuple[State, ...]] = get_args(State)
FED: Final[tuple[State, ...]] = ("waiting", "copying", "live")
Coverage = Literal["complete", "copying", "gap", "partial"]
"""
Of a stream.

- complete: a snapshot of all has ended, so every row is there;
- copying: a snapshot of it is under way;
- gap: changes went missing and another snapshot is asked for;
- partial: no snapshot has ended yet: only what changed meanwhile is there for sure.
"""
WORST: Final = 5

R = TypeVar("R")


@dataclass(slots=True)
class SyncFlow:
    """
    A sync as it is now; times in nanoseconds since the epoch.
    """

    task_id: str
    agent_id: str | None
    client: str
    state: State
    last_heartbeat_at: int | None
    last_row_at: int | None
    stale_since: int | None
    lag_s: float | None
    rows_per_s: float
    bytes_per_s: float
    epoch: int
    index: int
    gap: bool
    snapshot: dict[str, Any] | None


@dataclass(slots=True)
class AgentFlow:
    """
    An agent as it is now: what its syncs come to, and those of them that need somebody most.
    """

    agent_id: str | None
    client: str
    state: State
    syncs: int = 0
    by_state: dict[State, int] = field(default_factory=dict)
    last_heartbeat_at: int | None = None
    lag_s: float | None = None
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    worst: list[SyncFlow] = field(default_factory=list)


@dataclass(slots=True)
class StreamState:
    """
    A table or a tree as it is now; times in nanoseconds since the epoch.
    """

    task_id: str
    agent_id: str | None
    kind: Literal["table", "tree"]
    schema: str
    table: str
    state: State
    coverage: Coverage
    index: int
    last_change_at: int | None
    stale_since: int | None
    lag_s: float | None


def sync_flows(datastore: Datastore) -> list[SyncFlow]:
    """
    Describe every sync, by id.
    """
    sessions = datastore.sessions.newest()
    return [_sync_flow(datastore, state, sessions.get(state.task_id)) for state in datastore.syncs.all()]


def _sync_flow(datastore: Datastore, sync: SyncState, session: Session | None) -> SyncFlow:
    state = _state(datastore, sync, session)
    rows_per_s, bytes_per_s = datastore.flow.rates(sync.task_id)
    seen = None if session is None else session.last_seen
    latest = sync.latest
    return SyncFlow(
        task_id=sync.task_id,
        agent_id=sync.agent_id,
        client="" if session is None else session.client,
        state=state,
        last_heartbeat_at=seen,
        last_row_at=sync.last_event_at,
        stale_since=None if state in FED else seen or sync.last_event_at,
        lag_s=datastore.flow.lag_s(sync.task_id),
        rows_per_s=rows_per_s,
        bytes_per_s=bytes_per_s,
        epoch=sync.epoch,
        index=sync.checkpoint,
        gap=sync.complete and sync.wanted,
        snapshot=None if latest is None else latest.to_dict(),
    )


def _state(datastore: Datastore, sync: SyncState, session: Session | None) -> State:
    if sync.removed_at is not None:
        return "removed"
    if session is None or session.state != "live":
        return "stopped"
    if not datastore.sessions.is_fresh(session):
        return "silent"
    if sync.active is not None:
        return "copying"
    return "waiting" if sync.snapshot_needed else "live"


def agent_flows(syncs: Iterable[SyncFlow]) -> list[AgentFlow]:
    """
    Sum syncs up by their agents, the one that needs somebody most first.
    """
    found: dict[str | None, list[SyncFlow]] = {}
    for sync in syncs:
        found.setdefault(sync.agent_id, []).append(sync)
    agents = [_agent_flow(agent_id, own) for agent_id, own in found.items()]
    return sorted(agents, key=lambda agent: (STATES.index(agent.state), agent.agent_id or ""))


def _agent_flow(agent_id: str | None, syncs: list[SyncFlow]) -> AgentFlow:
    syncs.sort(key=lambda sync: (STATES.index(sync.state), sync.task_id))
    lags = [sync.lag_s for sync in syncs if sync.lag_s is not None and sync.state in FED]
    newest = max(syncs, key=lambda sync: sync.last_heartbeat_at or 0)
    return AgentFlow(
        agent_id=agent_id,
        client=newest.client,
        state=syncs[0].state,
        syncs=len(syncs),
        by_state=count_states(syncs),
        last_heartbeat_at=newest.last_heartbeat_at,
        lag_s=max(lags, default=None),
        rows_per_s=sum(sync.rows_per_s for sync in syncs),
        bytes_per_s=sum(sync.bytes_per_s for sync in syncs),
        worst=syncs[:WORST],
    )


def count_states(syncs: Iterable[SyncFlow]) -> dict[State, int]:
    """
    Count syncs by their states, the one that needs somebody most first.
    """
    counted: dict[State, int] = dict.fromkeys(STATES, 0)
    for sync in syncs:
        counted[sync.state] += 1
    return {state: number for state, number in counted.items() if number}


def stream_states(datastore: Datastore, task_id: str | None = None) -> list[StreamState]:
    """
    Describe every stream, or those of one sync.
    """
    flows = {flow.task_id: flow for flow in sync_flows(datastore)}
    with datastore.store.read() as conn:
        infos = [info for view in datastore.views for info in view.list_streams(conn)]
    found = []
    for info in infos:
        flow = flows.get(info.task_id)
        if flow is None or (task_id is not None and info.task_id != task_id):
            continue
        last = datastore.flow.last((info.task_id, info.schema, info.table))
        found.append(
            StreamState(
                task_id=info.task_id,
                agent_id=flow.agent_id,
                kind=info.kind,
                schema=info.schema,
                table=info.table,
                state=flow.state,
                coverage=coverage_of(datastore, info.task_id, info.schema, info.table),
                index=info.last_index,
                last_change_at=None if last is None else last.changed_at,
                stale_since=flow.stale_since,
                lag_s=None if last is None else last.lag_s,
            )
        )
    return found


def coverage_of(datastore: Datastore, task_id: str, schema: str, table: str) -> Coverage:
    """
    Tell whether all rows of a table or a tree are there.
    """
    sync = datastore.syncs.get(task_id)
    active = sync.active
    if active is not None and is_among(active.tables, schema, table):
        return "copying"
    if not sync.complete:
        return "partial"
    request = sync.request
    if sync.wanted and is_among(None if request is None else request["tables"], schema, table):
        return "gap"
    return "complete"


@dataclass(frozen=True)
class Sorting(Generic[R]):
    """
    How a list is sorted and cut into pages. What has no value comes last, whichever way; what is equal comes by name.

    Attributes:
        by: Name of the order to the value it goes by.
        name: What tells one row from all others.
    """

    by: dict[str, Callable[[R], Any]]
    name: Callable[[R], Sequence[str]]

    def page(
        self, rows: Iterable[R], sort: str, *, descending: bool, limit: int, cursor: str | None
    ) -> tuple[list[R], str | None]:
        """
        Return a page of rows, and the cursor of the page after it; None = that was all.

        Raises:
            InvalidRequest: The cursor belongs to something else.
        """
        value = self.by[sort]

        def place(row: R) -> tuple[Any, ...]:
            found = value(row)
            return found is None, 0 if found is None else _Turned(found) if descending else found, *self.name(row)

        ordered = sorted(rows, key=place)
        if cursor is not None and ordered:
            after = self._read(cursor, sort, descending, len(self.name(ordered[0])))
            try:
                # Behind where the row of the cursor stood, also when it is not there any more.
                ordered = [row for row in ordered if place(row) > after]
            except TypeError as exc:
                raise foreign_cursor(cursor) from exc
        page = ordered[:limit]
        if len(ordered) <= limit:
            return page, None
        last = page[-1]
        return page, encode_cursor(sort, descending, value(last), *self.name(last))

    @staticmethod
    def _read(cursor: str, sort: str, descending: bool, names: int) -> tuple[Any, ...]:
        was_by, was_descending, found, *name = decode_cursor(cursor, str, bool, object, *[str] * names)
        if (was_by, was_descending) != (sort, descending):
            raise foreign_cursor(cursor)
        return found is None, 0 if found is None else _Turned(found) if descending else found, *name


@dataclass(frozen=True, slots=True)
class _Turned:
    """
    A value that sorts the other way round.
    """

    value: Any

    def __lt__(self, other: _Turned) -> bool:
        return bool(other.value < self.value)

    def __gt__(self, other: _Turned) -> bool:
        return bool(other.value > self.value)


SYNCS: Final = Sorting[SyncFlow](
    {
        "state": lambda row: STATES.index(row.state),
        "task": lambda row: row.task_id,
        "agent": lambda row: row.agent_id,
        "rows_per_s": lambda row: row.rows_per_s,
        "lag": lambda row: row.lag_s,
        "last_row": lambda row: row.last_row_at,
        "last_heartbeat": lambda row: row.last_heartbeat_at,
    },
    lambda row: (row.task_id,),
)
AGENTS: Final = Sorting[AgentFlow](
    {
        "state": lambda row: STATES.index(row.state),
        "agent": lambda row: row.agent_id,
        "rows_per_s": lambda row: row.rows_per_s,
    },
    lambda row: (row.agent_id or "",),
)
_COVERAGES: Final[tuple[Coverage, ...]] = ("gap", "partial", "copying", "complete")
STREAMS: Final = Sorting[StreamState](
    {
        "state": lambda row: STATES.index(row.state),
        "name": lambda row: row.table,
        "task": lambda row: row.task_id,
        "coverage": lambda row: _COVERAGES.index(row.coverage),
        "last_change": lambda row: row.last_change_at,
        "lag": lambda row: row.lag_s,
        "index": lambda row: row.index,
    },
    lambda row: (row.task_id, row.schema, row.table),
)
