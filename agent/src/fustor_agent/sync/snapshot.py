"""
One snapshot: its chunks in order, its start watermark, its resume token.

Chunks are acknowledged in any order; the resume token is that of the last chunk with every chunk up to it acknowledged.
Reading has a `generation`: whatever a reader of an older generation still brings is thrown away.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fustor_agent.sync.batcher import event_bytes
from fustor_agent.sync.ports import SnapshotProgress
from fustor_core.models.event import EventBase


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """
    What the reading thread is to read: it stops when the generation is no longer this one.
    """

    generation: int
    snapshot_id: str
    tables: list[str] | None
    where: str | None
    resume_token: str | None


class Chunk:
    """
    A chunk between its read and its acknowledgement.

    Attributes:
        low: Its low watermark.
        high: Its high watermark; None = the driver has none.
        taken: How many of its rows were put into pushes.
        pending: Pushes with its rows that are under way.
    """

    __slots__ = ("event", "high", "low", "pending", "rows", "size", "taken", "token")

    def __init__(self, event: EventBase, high: int | None) -> None:
        self.event = event
        self.low = event.index
        self.high = high
        self.token = event.resume_token
        self.rows = len(event.rows)
        self.size = event_bytes(event)
        self.taken = 0
        self.pending = 0

    @property
    def settled(self) -> bool:
        """
        Whether every row was acknowledged, dropped or parked.
        """
        return self.taken >= self.rows and self.pending == 0


class SnapshotRun:
    """
    The state of the snapshot under way.

    Attributes:
        progress: What is remembered over a restart.
        start_index: S: not above any chunk's low watermark; None until the first chunk.
        announced: The S that the consumer has acknowledged; None = none yet.
        exhausted: The reader has come to the end.
        end_sent: The end mark is under way.
        barrier: Live events up to this unit must be acknowledged before the end mark.
    """

    def __init__(self, progress: SnapshotProgress, generation: int) -> None:
        self.progress = progress
        self.generation = generation
        self.start_index: int | None = progress.start_index if progress.resume_token is not None else None
        self.announced: int | None = None
        self.announcing = False
        self.exhausted = False
        self.end_sent = False
        self.barrier = 0
        self.rereads = 0
        self.last_low: int | None = None
        self.chunks: deque[Chunk] = deque()
        self.chunk_count = 0
        self.held_bytes = 0
        self.read_token = progress.resume_token

    @property
    def is_narrowed(self) -> bool:
        """
        Whether it covers only part of the source; then it never ends with the end mark, which would remove the rest.
        """
        return self.progress.tables is not None or self.progress.where is not None

    def order(self) -> ReadOrder:
        """
        Return what to read.
        """
        p = self.progress
        return ReadOrder(self.generation, p.snapshot_id, p.tables, p.where, self.read_token)

    def add(self, chunk: Chunk) -> None:
        """
        Take a chunk that was read.
        """
        if self.start_index is None or chunk.low < self.start_index:
            self.start_index = chunk.low
        self.last_low = chunk.low
        self.chunks.append(chunk)
        self.chunk_count += 1
        self.held_bytes += chunk.size
        self.read_token = chunk.token

    def drop_unsent(self, generation: int) -> None:
        """
        Read again from the last chunk that was acknowledged; what was read and not sent is thrown away.

        Chunks that are partly or wholly under way are read again too; sent twice is harmless.
        """
        self.generation = generation
        self.chunks.clear()
        self.held_bytes = 0
        self.exhausted = False
        self.read_token = self.progress.resume_token

    def collect(self) -> bool:
        """
        Move the resume token over settled chunks; return whether it moved.
        """
        moved = False
        while self.chunks and self.chunks[0].settled:
            chunk = self.chunks.popleft()
            self.held_bytes -= chunk.size
            self.progress.rows += chunk.rows
            self.progress.resume_token = chunk.token
            moved = True
        return moved
