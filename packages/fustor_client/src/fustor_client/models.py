"""
What the services answer, as msgspec structs. Fields we do not know are ignored, so that a newer service may say more.

Times of files are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class OpenedDatastore(msgspec.Struct):
    """
    The datastore that a key opens, and what the key may do in it.
    """

    datastore_id: str
    datastore_name: str | None = None
    key_id: str | None = None
    scopes: list[str] = []


class FileEntry(msgspec.Struct, omit_defaults=True):
    """
    One entry of a tree; the fields of `fustor_core.models.file_row.FILE_FIELDS` and the tree it is in.

    Attributes:
        path: Relative to the root of the tree, escaped as `fustor_core.models.file_row.escape_name` does; "" = the root.
        tree: Id of the sync it came from.
        children: Only in the answer of `tree`.
    """

    path: str
    name: str = ""
    parent: str | None = None
    type: str = "file"
    size: int = 0
    mtime: int = 0
    ctime: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    inode: int = 0
    target: str | None = None
    tree: str = ""
    children: list[FileEntry] | None = None
    next: str | None = None


class Page(msgspec.Struct, Generic[T]):
    """
    Part of a list. `next` is the cursor that goes on from here; None = that was all.
    """

    rows: list[T]
    next: str | None = None


class Tree(msgspec.Struct):
    """
    One tree that Fusion holds. `complete`: a snapshot of it has ended, so every entry is there.
    """

    tree: str
    root: str = ""
    files: int = 0
    dirs: int = 0
    bytes: int = 0
    complete: bool = False


class OwnTotals(msgspec.Struct):
    """
    Totals of the direct children of a directory.
    """

    files: int = 0
    dirs: int = 0
    symlinks: int = 0
    others: int = 0
    bytes: int = 0


class Stats(msgspec.Struct):
    """
    Totals of everything below a directory.
    """

    path: str = ""
    tree: str = ""
    files: int = 0
    dirs: int = 0
    symlinks: int = 0
    others: int = 0
    bytes: int = 0
    newest_mtime: int | None = None
    own: OwnTotals = msgspec.field(default_factory=OwnTotals)


class SizePart(msgspec.Struct):
    """
    A child of a directory; a directory counts with everything below it.
    """

    name: str
    path: str
    type: str = "file"
    bytes: int = 0
    files: int = 0


class SizeRest(msgspec.Struct):
    """
    What the children that are not told come to.
    """

    entries: int = 0
    bytes: int = 0


class Sizes(msgspec.Struct):
    """
    What takes the space in a directory: its largest children, the largest first.
    """

    path: str = ""
    tree: str = ""
    bytes: int = 0
    files: int = 0
    rows: list[SizePart] = []
    rest: SizeRest = msgspec.field(default_factory=SizeRest)


class Timeline(msgspec.Struct):
    """
    When what is below a directory was last modified; times in nanoseconds since the epoch.

    Attributes:
        counts: How many entries in each part of the time.
        before: How many were modified before the first part.
        after: How many after the last.
        counted: How many were read for this answer.
        entries: How many there are.
        next: The cursor that goes on from here; None = that was all.
    """

    path: str = ""
    tree: str = ""
    since: int = 0
    until: int = 0
    width: int = 0
    counts: list[int] = []
    bytes: list[int] = []
    before: int = 0
    after: int = 0
    counted: int = 0
    entries: int = 0
    next: str | None = None


class SnapshotInfo(msgspec.Struct):
    """
    A snapshot as Fusion (`ended_at`) or the Agent (the rest) sees it. How many rows are expected, and how long it still takes (seconds), is
    about so, and None where it is not known.
    """

    id: str | None = None
    state: str = ""
    rows: int = 0
    started_at: Any = None
    ended_at: Any = None
    chunks: int = 0
    rate: float | None = None
    rows_expected: int | None = None
    eta_s: float | None = None
    tables: list[str] | None = None
    where: str | None = None


class SyncInfo(msgspec.Struct):
    """
    A sync as Fusion sees it.

    Attributes:
        kept_until: When what is stored of it is removed if nobody feeds it until then, as the datastore's policy says; None: it is fed,
            or kept for ever.
        removed_at: When that happened; None: it did not, or the sync is fed again.
    """

    task_id: str
    agent_id: str | None = None
    connected: bool = False
    epoch: int = 0
    index: int = -1
    snapshot: SnapshotInfo | None = None
    rows: int = 0
    last_event_at: Any = None
    kept_until: int | None = None
    removed_at: int | None = None


class SyncNow(msgspec.Struct):
    """
    A sync as it is now; times in nanoseconds since the epoch.

    Attributes:
        state: silent, stopped, waiting, copying, live or removed.
        stale_since: Since when nobody feeds it; None = it is fed.
        lag_s: How long its newest row took from the source's commit to Fusion; None = unknown.
        gap: Changes went missing, and another snapshot is asked for.
    """

    task_id: str
    agent_id: str | None = None
    client: str = ""
    state: str = ""
    last_heartbeat_at: int | None = None
    last_row_at: int | None = None
    stale_since: int | None = None
    lag_s: float | None = None
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    epoch: int = -1
    index: int = -1
    gap: bool = False
    snapshot: SnapshotInfo | None = None


class AgentNow(msgspec.Struct):
    """
    An agent as it is now: what its syncs come to, and those of them that need somebody most.
    """

    agent_id: str | None = None
    client: str = ""
    state: str = ""
    syncs: int = 0
    by_state: dict[str, int] = {}
    last_heartbeat_at: int | None = None
    lag_s: float | None = None
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    worst: list[SyncNow] = []


class StreamNow(msgspec.Struct):
    """
    A table or a tree of a sync as it is now; times in nanoseconds since the epoch.

    Attributes:
        kind: table or tree.
        state: Of its sync.
        coverage: complete, copying, gap or partial.
        last_change_at: When it last changed; rows of snapshots do not count.
    """

    task_id: str
    schema: str
    table: str
    agent_id: str | None = None
    kind: str = "table"
    state: str = ""
    coverage: str = ""
    index: int = -1
    last_change_at: int | None = None
    stale_since: int | None = None
    lag_s: float | None = None


class FlowSummary(msgspec.Struct):
    """
    What flows into a datastore now.

    Attributes:
        at: Time of Fusion, nanoseconds since the epoch.
        by_state: How many syncs are in each state.
        history: Rows that came in each of the last seconds, the oldest first.
    """

    at: int = 0
    syncs: int = 0
    by_state: dict[str, int] = {}
    agents: int = 0
    lag_s: float | None = None
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    stored_bytes: int = 0
    history: list[int] = []


class TableInfo(msgspec.Struct):
    """
    One table that Fusion holds.

    Attributes:
        rows: How many there are; of a large table as counted a moment ago.
        key: Names of the key's columns; None: it has none.
        columns: Column to its JSON-Schema type; None where that is not known.
        bytes: About how much they are; of a file tree, how much its files are.
        changed_at: When rows of it changed last, nanoseconds since the epoch; None: not known.
        coverage: complete, copying, gap or partial.
    """

    task_id: str
    schema: str
    table: str
    rows: int = 0
    key: list[str] | None = None
    columns: Any = None
    last_index: int = -1
    bytes: int | None = None
    changed_at: int | None = None
    coverage: str = ""


class RowPage(msgspec.Struct):
    """
    Part of the rows of a table.

    Attributes:
        next: The cursor that goes on from here; None = that was all.
        scanned: How many rows were looked at for it.
        partial: The time for one answer was up before the page was full: go on with `next`.
    """

    rows: list[dict[str, Any]]
    next: str | None = None
    scanned: int = 0
    partial: bool = False


class RowCount(msgspec.Struct):
    """
    How many rows there are; with `next` it goes on.
    """

    count: int
    next: str | None = None
    scanned: int = 0


class Change(msgspec.Struct):
    """
    One change as the live stream tells it. `op` is insert, update or delete; `row` is None when only the key is known.
    """

    op: str
    task_id: str = ""
    schema: str = ""
    table: str = ""
    key: Any = None
    row: dict[str, Any] | None = None
    index: int = -1
    epoch: int = 0
    ts: float | None = None


class Lost(msgspec.Struct):
    """
    Changes this reader did not get: it was too slow (`count` is known), or was not connected (`count` is None).
    """

    count: int | None = None


class User(msgspec.Struct):
    """
    A user of the Registry. `role` is the most that they are in any datastore.
    """

    id: int
    name: str
    role: str = "member"
    disabled: bool = False
    must_change_password: bool = False
    created_at: str | None = None
    last_login_at: str | None = None


class Login(msgspec.Struct):
    """
    The tokens of a login at the Registry.
    """

    token: str
    expires_at: str | None = None
    refresh_token: str | None = None
    login_expires_at: str | None = None
    user: User | None = None


class OpenLogin(msgspec.Struct):
    """
    A login that has not ended; `current` is the one that asked.
    """

    id: str
    created_at: str
    last_used_at: str
    expires_at: str
    address: str = ""
    client: str = ""
    current: bool = False


class Policy(msgspec.Struct):
    """
    How a datastore is to be used. None: no limit, or Fusion's own setting. What is unset is not changed.
    """

    allow_concurrent_sessions: bool | msgspec.UnsetType = msgspec.UNSET
    session_timeout_s: float | msgspec.UnsetType | None = msgspec.UNSET
    retention_days: int | msgspec.UnsetType | None = msgspec.UNSET
    max_rows: int | msgspec.UnsetType | None = msgspec.UNSET
    max_bytes: int | msgspec.UnsetType | None = msgspec.UNSET


class Datastore(msgspec.Struct):
    """
    A datastore: what API keys open.
    """

    id: int | str
    name: str
    description: str | None = None
    created_at: str | None = None
    policy: Policy | None = None


class Member(msgspec.Struct):
    """
    A user and what they are in a datastore: owner, member or read-only.
    """

    user: str
    role: str
    created_at: str | None = None


class Key(msgspec.Struct):
    """
    An API key. `key` is there once, in the answer that created it.
    """

    id: int | str
    name: str
    datastore_id: int | str
    scopes: list[str] = []
    prefix: str | None = None
    created_at: str | None = None
    created_by: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None
    replaced_by: str | None = None
    revoked_at: str | None = None
    key: str | None = None


class KeyCheck(msgspec.Struct):
    """
    What the Registry says of a key.
    """

    valid: bool
    key_id: int | str | None = None
    datastore_id: int | str | None = None
    datastore_name: str | None = None
    scopes: list[str] | None = None
    ttl_s: float | None = None
    expires_at: str | None = None
    policy: Policy | None = None


class AgentSync(msgspec.Struct):
    """
    A sync as its agent reports it.
    """

    id: str
    state: str


class AgentSeen(msgspec.Struct):
    """
    An agent that reported to the Registry.
    """

    agent_id: str
    datastore_id: int | str
    version: str = ""
    host: str = ""
    address: str = ""
    syncs: list[AgentSync] = []
    key_id: str = ""
    first_seen_at: str | None = None
    last_seen_at: str | None = None
    alive: bool = False


class ReportAnswer(msgspec.Struct):
    """
    When an agent is to report again.
    """

    interval_s: float = 30.0


class AuditEntry(msgspec.Struct):
    """
    Who changed what, when, from where.
    """

    id: int
    at: str
    actor: str
    action: str
    target: str
    datastore_id: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    address: str = ""
    request_id: str = ""
    details: dict[str, Any] = {}


class TableState(msgspec.Struct):
    """
    One table, or tree, of a sync: waiting, copying, live, paused or errored, and then why, and when it is tried again. `rows`: read by the
    snapshot under way.
    """

    table: str
    state: str = ""
    reason: str = ""
    hint: str = ""
    next_try_s: float | None = None
    rows: int | None = None
    rows_expected: int | None = None


class SyncState(msgspec.Struct):
    """
    A sync as the Agent runs it. `health`: failed, retrying, copying, live, starting, stopping or stopped; `table_counts`: how many tables are how.
    """

    id: str
    source: str | None = ""
    pusher: str | None = ""
    source_driver: str | None = None
    source_title: str = ""
    pusher_driver: str | None = None
    pusher_title: str = ""
    health: str = ""
    next_try_s: float | None = None
    disabled_by: str | None = None
    table_counts: dict[str, int] = {}
    state: str = ""
    states: list[str] = []
    since: Any = None
    reason: str | None = None
    hint: str | None = None
    tables: list[TableState] = []
    snapshot: SnapshotInfo | None = None
    read_rows: int = 0
    pushed_rows: int = 0
    pushed_events: int = 0
    sent_rows: int = 0
    sent_bytes: int = 0
    read_rows_per_s: float | None = None
    rows_per_s: float | None = None
    events_per_s: float | None = None
    queue_events: int = 0
    queue_bytes: int = 0
    queue_fill: float | None = None
    checkpoint: int | None = None
    position: str | None = None
    source_index: int | None = None
    lag_index: int | None = None
    lag_bytes: int | None = None
    epoch: int | None = None
    lag_s: float | None = None
    dead_letters: int = 0
    retries: int = 0
    restarts: int = 0
    session_id: str | None = None
    source_status: dict[str, Any] | None = None


class Instances(msgspec.Struct):
    """
    What the Agent runs: the syncs that were asked for, `total` of which there are.
    """

    syncs: list[SyncState] = []
    total: int = 0
    buses: list[Any] = []
