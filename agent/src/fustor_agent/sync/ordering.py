"""
Pushes under way, and who has to wait for whom.

A push is *under way* from its first send until it was answered, also while it waits to be sent again: nothing newer with
its keys may go out before it where order matters.

Where order matters: to a consumer that settles by arrival, always; to one that settles by index, for partial updates (a row
that lacks columns must not be newer than the one that has them).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Literal

from fustor_agent.sync.checkpoint import Unit
from fustor_agent.sync.keys import TableId, key_shape, row_keys, table_of
from fustor_agent.sync.snapshot import Chunk
from fustor_core.models.event import EventBase

Lane = Literal["message", "snapshot"]
Kind = Literal["rows", "begin", "end", "control"]


class KeySet:
    """
    Keys of rows by table, to see whether an event has one of them. Built only when somebody asks. Rows with ordinals have none: the
    consumer settles them in any order.
    """

    __slots__ = ("_keys", "_shapes")

    def __init__(self, events: Iterable[EventBase] = ()) -> None:
        self._keys: dict[TableId, set[Hashable]] = {}
        self._shapes: dict[TableId, set[tuple[str, ...]]] = {}
        for event in events:
            self.add(event)

    def add(self, event: EventBase) -> None:
        """
        Add the keys of an event.
        """
        if event.ordinal is not None:
            return
        table = table_of(event)
        self._keys.setdefault(table, set()).update(row_keys(event))
        self._shapes.setdefault(table, set()).add(key_shape(event))

    def touches(self, event: EventBase) -> bool:
        """
        Tell whether the event has one of the keys (in doubt yes: the two name their keys differently).
        """
        keys = self._keys.get(table_of(event))
        if not keys or event.ordinal is not None:
            return False
        if self._shapes[table_of(event)] != {key_shape(event)}:
            return True
        return not keys.isdisjoint(row_keys(event))


class Push:
    """
    One push: what the engine hands out and gets back answered or failed.

    Attributes:
        lane: "message" or "snapshot".
        kind: rows, or one of the pushes without: begin and end of a snapshot, and "control" (checkpoint, suggestion).
        units: The unit of each event, for a live push.
        chunk: Where the rows come from, for a snapshot push.
        merged: Events among them with rows completed from partial updates.
        epoch: Epoch of every event in it.
        last_index: Largest index in it.
        sent: Number of its last send, over all pushes of the sync.
        suggested: It says that a snapshot would fill a gap.
        suggested_tables: A snapshot of these tables; None = of all.
        failures: How often it failed with an error that says nothing.
        serial: Part of a push that was refused: goes out alone, so that the parts stay in order.
        abandoned: Not to be sent again: what it belongs to was given up.
    """

    __slots__ = (
        "_keys",
        "_merged_keys",
        "abandoned",
        "checkpoint",
        "chunk",
        "epoch",
        "events",
        "failures",
        "kind",
        "lane",
        "last_index",
        "merged",
        "sent",
        "serial",
        "snapshot_id",
        "suggested",
        "suggested_tables",
        "units",
    )

    def __init__(
        self,
        lane: Lane,
        kind: Kind,
        events: list[EventBase],
        epoch: int,
        *,
        units: list[Unit] | None = None,
        chunk: Chunk | None = None,
        merged: list[EventBase] | None = None,
        snapshot_id: str | None = None,
    ) -> None:
        self.lane = lane
        self.kind = kind
        self.events = events
        self.epoch = epoch
        self.units = units or []
        self.chunk = chunk
        self.merged = merged or []
        self.snapshot_id = snapshot_id
        self.checkpoint = -1
        self.last_index = max((event.index for event in events), default=-1)
        self.sent = 0
        self.suggested = False
        self.suggested_tables: list[str] | None = None
        self.failures = 0
        self.abandoned = False
        self.serial = False
        self._keys: KeySet | None = None
        self._merged_keys: KeySet | None = None

    @property
    def keys(self) -> KeySet:
        """
        Keys of all rows.
        """
        if self._keys is None:
            self._keys = KeySet(self.events)
        return self._keys

    @property
    def merged_keys(self) -> KeySet:
        """
        Keys of the completed rows.
        """
        if self._merged_keys is None:
            self._merged_keys = KeySet(self.merged)
        return self._merged_keys

    @property
    def row_count(self) -> int:
        """
        Rows in it.
        """
        return sum(len(event.rows) for event in self.events)

    def __repr__(self) -> str:
        return f"Push({self.lane} {self.kind}, {self.events}, epoch={self.epoch}, sent={self.sent})"
