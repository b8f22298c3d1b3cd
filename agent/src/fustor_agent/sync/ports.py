"""
What the sync runtime needs from the rest of the agent, as protocols: the runtime knows no database and no web server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

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
        for_consumer: The consumer wants it so narrowed, so it may be told when it is complete; a person's wish is not its own.
    """

    snapshot_id: str
    start_index: int
    resume_token: str | None = None
    tables: list[str] | None = None
    where: str | None = None
    rows: int = 0
    paused: bool = False
    for_consumer: bool = False


RESHAPED: Final = ", transformed otherwise"
"""
Added to the incarnation that is remembered when the transforms have changed: so a new epoch begins, although the source is the same.
"""


@dataclass(slots=True)
class Origin:
    """
    What decides which rows a consumer has, and how they look.

    Attributes:
        driver, uri, driver_params: Of the source, as configured: references unresolved, secrets masked.
        consumer: Where the rows go: driver and endpoint of the pusher.
        transforms: What the sync makes of rows, but for its transforms, which `SyncMemory.shape` names.
    """

    driver: str
    uri: str
    driver_params: dict[str, Any]
    consumer: str
    transforms: dict[str, Any]


@dataclass(slots=True)
class SyncMemory:
    """
    What an agent remembers of a sync over a restart.

    Attributes:
        epoch: Number of the incarnation; -1 = never started.
        incarnation: What the driver answered when that epoch began.
        checkpoint: The last safe index acknowledged; -1 = none. The consumer's own wins where it keeps one.
        start_index: Saved before the first row was ever sent.
        gap: Changes are missing and no answer has come yet to the suggested snapshot.
        gap_tables: They are missing in these tables only (`schema.table`); None = anywhere.
        put_off: Schema and name of tables that are to become such a gap, later.
        snapshot: The snapshot under way.
        shape: Names the transforms that rows went through when it ran last; "" = none.
        origin: How the rows were made that the consumer has; None = not known.
    """

    epoch: int = -1
    incarnation: str = ""
    checkpoint: int = -1
    start_index: int = -1
    gap: bool = False
    gap_tables: list[str] | None = None
    put_off: list[tuple[str, str]] = field(default_factory=list)
    snapshot: SnapshotProgress | None = None
    origin: Origin | None = None
    shape: str = ""


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


class Refusal(NamedTuple):
    """
    Why an event is parked.

    Attributes:
        code: Code of the error it was refused with.
        reason: What is wrong with it.
        hint: What to do about it; "" when nobody knows.
    """

    code: str
    reason: str
    hint: str = ""


class DeadLetterStore(Protocol):
    """
    Keeps what a consumer refuses for good, until a person looks.
    """

    def park(self, sync_id: str, events: Sequence[EventBase], *, epoch: int, why: Refusal) -> None:
        """
        Park events durably: on disk when it returns.
        """
        ...

    def count(self, sync_id: str) -> int:
        """
        Return how many rows are parked for a sync.
        """
        ...
