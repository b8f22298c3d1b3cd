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
from fustor_core.models.event import EventBase, progress_mark

_LOWS = 64
"""
Chunks looked at for the low watermarks to come: a driver may read as many tables at once, each in a transaction of its own.
"""


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
        is_exact: Its rows have ordinals: they keep the low watermark as their index. One without rows says that a table was read to its end.
        high: Its high watermark; None = the driver has none.
        taken: How many of its rows were put into pushes.
        pending: Pushes with its rows that are under way.
        passed: The stream has passed its high watermark.
        barrier: The newest unit of the stream then.
    """

    __slots__ = ("barrier", "event", "high", "is_exact", "low", "passed", "pending", "rows", "size", "taken", "token")

    def __init__(self, event: EventBase, high: int | None) -> None:
        self.event = event
        self.low = event.index
        self.high = high
        self.token = event.resume_token
        self.is_exact = event.ordinal is not None
        self.rows = max(len(event.rows), int(self.is_exact))
        self.size = event_bytes(event)
        self.taken = 0
        self.pending = 0
        self.passed = False
        self.barrier = 0

    @property
    def settled(self) -> bool:
        """
        Whether every row was acknowledged, dropped or parked.
        """
        return self.passed and self.taken >= self.rows and self.pending == 0


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
        is_before_gap: There is a gap that it does not fill: that came after it had begun, or is not in its tables.
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
        self.is_before_gap = False
        self.rereads = 0
        self._lows: deque[int] = deque(maxlen=_LOWS)
        self.chunks: deque[Chunk] = deque()
        self.chunk_count = 0
        self.held_bytes = 0
        self.read_token = progress.resume_token

    @property
    def last_low(self) -> int | None:
        """
        The smallest low watermark of the newest chunks: those to come, of whichever table, will hardly have an older one.
        """
        return min(self._lows, default=None)

    @property
    def snapshot_id(self) -> str:
        """
        Its id on the wire.
        """
        return self.progress.snapshot_id

    @property
    def tells_end(self) -> bool:
        """
        Whether the consumer hears that it is complete, and removes what is missing: of everything, or of the tables it asked for.
        """
        p = self.progress
        return p.where is None and (p.tables is None or p.for_consumer)

    def begin_marks(self, start: int) -> list[EventBase]:
        """
        Return the marks that say where it begins, and of which tables it is.
        """
        tables = self.progress.tables
        if tables is None:
            return [progress_mark(start)]
        split = [name.partition(".") for name in tables]
        return [progress_mark(start, *((schema, table) if dot else ("", schema))) for schema, dot, table in split]

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
        if not chunk.is_exact:  # a long table without a key is read at one place, and needs nothing remembered
            self._lows.append(chunk.low)
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
            self.progress.rows += len(chunk.event.rows)
            self.progress.resume_token = chunk.token
            moved = True
        return moved
