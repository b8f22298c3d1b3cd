"""
What the sync runtime needs from the rest of the agent, as protocols: the runtime knows no database and no web server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fustor_core.models.event import EventBase


@dataclass(slots=True)
class SnapshotProgress:
    """
    A snapshot that was begun and has not ended: enough to go on with it after a restart.

    Attributes:
        snapshot_id: Its id on the wire.
        start_index: The low watermark it began at (S in `docs/architecture.md`).
        resume_token: Token of the last chunk with every chunk up to it acknowledged; None = from the beginning.
        tables: Only these; None = all.
        where: Only rows of which this holds.
        rows: Rows acknowledged so far.
        paused: A person paused it.
    """

    snapshot_id: str
    start_index: int
    resume_token: str | None = None
    tables: list[str] | None = None
    where: str | None = None
    rows: int = 0
    paused: bool = False


@dataclass(slots=True)
class SyncMemory:
    """
    What an agent remembers of a sync over a restart.

    Attributes:
        epoch: Number of the incarnation; -1 = never started.
        incarnation: What the driver answered when that epoch began.
        checkpoint: The last safe index acknowledged; -1 = none. The consumer's own wins where it keeps one.
        start_index: Saved before the first row was ever sent.
        gap: The position was lost and no answer has come yet to the suggested snapshot.
        snapshot: The snapshot under way.
    """

    epoch: int = -1
    incarnation: str = ""
    checkpoint: int = -1
    start_index: int = -1
    gap: bool = False
    snapshot: SnapshotProgress | None = None


class SyncStore(Protocol):
    """
    Keeps `SyncMemory` durably. Called on the event loop; a write is on disk when it returns.
    """

    def load(self, sync_id: str) -> SyncMemory:
        """
        Return what is remembered; a fresh `SyncMemory` for an unknown sync.
        """
        ...

    def save(self, sync_id: str, memory: SyncMemory) -> None:
        """
        Remember this from now on.
        """
        ...


class DeadLetterStore(Protocol):
    """
    Keeps what a consumer refuses for good, until a person looks.
    """

    def park(self, sync_id: str, events: Sequence[EventBase], *, epoch: int, reason: str, code: str) -> None:
        """
        Park events durably: on disk when it returns.
        """
        ...

    def count(self, sync_id: str) -> int:
        """
        Return how many rows are parked for a sync.
        """
        ...
