"""
What the services answer, as msgspec structs. Fields we do not know are ignored, so that a newer service may say more.

Times of files are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


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


class SnapshotInfo(msgspec.Struct):
    """
    A snapshot as Fusion (`ended_at`) or the Agent (`chunks`, `rate`) sees it.
    """

    id: str | None = None
    state: str = ""
    rows: int = 0
    started_at: Any = None
    ended_at: Any = None
    chunks: int = 0
    rate: float | None = None


class SyncInfo(msgspec.Struct):
    """
    A sync as Fusion sees it.
    """

    task_id: str
    agent_id: str | None = None
    connected: bool = False
    epoch: int = 0
    index: int = -1
    snapshot: SnapshotInfo | None = None
    rows: int = 0
    last_event_at: Any = None


class TableInfo(msgspec.Struct):
    """
    One table that Fusion holds.
    """

    task_id: str
    schema: str
    table: str
    rows: int = 0
    key: list[str] | None = None
    columns: Any = None
    last_index: int = -1


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


class Login(msgspec.Struct):
    """
    A token of the Registry.
    """

    token: str
    expires_at: Any = None


class User(msgspec.Struct):
    """
    A user of the Registry.
    """

    id: int | str
    name: str
    is_admin: bool = False
    created_at: Any = None


class Datastore(msgspec.Struct):
    """
    A datastore: what API keys open.
    """

    id: int | str
    name: str
    description: str | None = None
    created_at: Any = None


class Key(msgspec.Struct):
    """
    An API key. `key` is there once, in the answer that created it.
    """

    id: int | str
    name: str
    datastore_id: int | str
    scopes: list[str] = []
    prefix: str | None = None
    created_at: Any = None
    revoked_at: Any = None
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


class SyncState(msgspec.Struct):
    """
    A sync as the Agent runs it.
    """

    id: str
    source: str = ""
    pusher: str = ""
    state: str = ""
    states: list[str] = []
    since: Any = None
    reason: str | None = None
    hint: str | None = None
    tables: Any = None
    snapshot: SnapshotInfo | None = None
    pushed_rows: int = 0
    pushed_events: int = 0
    rows_per_s: float | None = None
    events_per_s: float | None = None
    queue_events: int = 0
    queue_bytes: int = 0
    checkpoint: int | None = None
    lag_s: float | None = None
    dead_letters: int = 0
    retries: int = 0
    session_id: str | None = None
    source_status: dict[str, Any] | None = None


class Instances(msgspec.Struct):
    """
    Everything the Agent runs.
    """

    syncs: list[SyncState] = []
    buses: list[Any] = []
