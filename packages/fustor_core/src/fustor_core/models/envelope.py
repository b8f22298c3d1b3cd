"""
The envelope: one push on the wire, the same shape in JSON and in MessagePack.

The pusher for Fusion writes it and Fusion's ingest reads it; other consumers that want our wire use it too.

Rows travel as arrays aligned with `fields`. Reading also takes rows as objects (older clients). Values travel in the
mapping of `fustor_core.values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from fustor_core.models.event import EventBase, EventType, Row
from fustor_core.values import encode_rows

SourceType = Literal["message", "snapshot"]
JSON = "application/json"
MSGPACK = "application/msgpack"


class WireEvent(msgspec.Struct, omit_defaults=True):
    """
    One event of an envelope. `rows` aligned with `fields`; a progress mark has none. `ordinal`: see `EventBase`.
    """

    event_type: Literal["insert", "update", "delete"] = "insert"
    event_schema: str = ""
    table: str = ""
    fields: list[str] = []
    rows: list[Any] = []
    index: int = -1
    key: list[str] | None = None
    ts: float | None = None
    columns: dict[str, Any] | None = None
    ordinal: int | None = None


class Envelope(msgspec.Struct, omit_defaults=True):
    """
    Events and what the sender says of them.

    Only `session_id`, `events` and `source_type` are needed; the rest has the meaning that
    `fustor_core.drivers.PusherDriver.push` gives it. In a snapshot push a progress mark says where the snapshot began:
    no change that the snapshot misses has a smaller index. Marks that name tables say that it is of these tables only (a mark
    without a schema means the table in every schema).
    """

    session_id: str = ""
    events: list[WireEvent] = []
    source_type: SourceType = "message"
    agent_id: str | None = None
    task_id: str | None = None
    is_snapshot_end: bool = False
    snapshot_sync_suggested: bool = False
    snapshot_tables: list[str] | None = None
    snapshot_id: str | None = None
    epoch: int = 0
    checkpoint: int | None = None
    seq: int | None = None


class PushAnswer(msgspec.Struct, omit_defaults=True):
    """
    What Fusion answers to an envelope, once everything in it is on disk.

    Attributes:
        snapshot_needed: Please start a snapshot (or go on with the one that was begun).
        snapshot_request: Narrows it: `{"tables": [...], "where": "..."}`.
        snapshot_cancelled: The snapshot this push belongs to is no longer wanted; its rows were not applied.
        index: The checkpoint now on disk; -1 when there is none.
        applied: Rows that changed something.
        stale: Rows that were older than what is stored.
    """

    snapshot_needed: bool = False
    snapshot_request: dict[str, Any] | None = None
    snapshot_cancelled: bool = False
    index: int = -1
    applied: int = 0
    stale: int = 0


def to_wire(events: Iterable[EventBase]) -> list[WireEvent]:
    """
    Turn events into their wire shape.

    An event whose dict rows do not all have the same columns becomes several, so that an absent column stays absent.
    """
    wire: list[WireEvent] = []
    for event in events:
        rows = event.rows
        if rows and isinstance(rows[0], Mapping):
            done = 0
            for fields, aligned in _align(rows):
                wire.append(_wire_event(event, fields, aligned, done))
                done += len(aligned)
        else:
            wire.append(_wire_event(event, event.fields, rows, 0))
    return wire


def _wire_event(event: EventBase, fields: Sequence[str], rows: Sequence[Any], done: int) -> WireEvent:
    return WireEvent(
        event_type=event.event_type.value,
        event_schema=event.event_schema,
        table=event.table,
        fields=list(fields),
        rows=encode_rows(rows, event.columns),
        index=event.index,
        key=None if event.key is None else list(event.key),
        ts=event.ts,
        columns=None if event.columns is None else dict(event.columns),
        ordinal=event.ordinal_after(done),
    )


def _align(rows: Sequence[Row]) -> list[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
    groups: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise ValueError("the rows of one event must all be dicts or all be sequences")
        fields = tuple(row)
        if not groups or groups[-1][0] != fields:
            groups.append((fields, []))
        groups[-1][1].append(tuple(row.values()))
    return groups


def from_wire(wire: WireEvent) -> EventBase:
    """
    Turn a wire event back into an event.

    Raises:
        ValueError: The rows do not fit the fields.
    """
    return EventBase(
        EventType(wire.event_type),
        wire.event_schema,
        wire.table,
        wire.rows,
        wire.fields or None,
        wire.index,
        key=wire.key,
        ts=wire.ts,
        columns=wire.columns,
        ordinal=wire.ordinal,
    )


_json_encoder = msgspec.json.Encoder()
_json_decoder = msgspec.json.Decoder(Envelope)
_msgpack_encoder = msgspec.msgpack.Encoder()
_msgpack_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_envelope(envelope: Envelope, content_type: str = MSGPACK) -> bytes:
    """
    Encode an envelope as JSON or MessagePack.
    """
    return (_json_encoder if content_type == JSON else _msgpack_encoder).encode(envelope)


def decode_envelope(body: bytes, content_type: str = JSON) -> Envelope:
    """
    Decode an envelope.

    Raises:
        msgspec.DecodeError: The body is not valid JSON or MessagePack (`msgspec.ValidationError`: of another shape).
    """
    return (_msgpack_decoder if content_type == MSGPACK else _json_decoder).decode(body)
