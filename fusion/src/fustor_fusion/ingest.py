"""
From the body of a request to a checked envelope: bounded reading, decompression, decoding, shape.

Nothing of an envelope that fails here reaches the store.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import msgspec

from fustor_core.errors import InvalidRequest, RequestTooLarge
from fustor_core.models.envelope import JSON, MSGPACK, Envelope, WireEvent, decode_envelope

MAX_INDEX: Final = 2**63 - 1
_CONTENT_TYPES: Final = {"": JSON, JSON: JSON, MSGPACK: MSGPACK, "application/x-msgpack": MSGPACK}
_STEP: Final = 256 * 1024


class UnsupportedMedia(InvalidRequest):
    """
    The body's type or encoding is not one we read.
    """

    code = "request.unsupported_media_type"
    http_status = 415


class Decompressor(Protocol):
    """
    Undoes a content encoding piece by piece, never giving more than asked for at a time.
    """

    def feed(self, data: bytes, limit: int) -> bytes:
        """
        Return the plain bytes of `data`; may stop after `limit` + 1 of them.
        """
        ...

    def finish(self) -> None:
        """
        Raise ValueError when the data ended too early.
        """
        ...


class _Plain:
    def feed(self, data: bytes, limit: int) -> bytes:
        return data

    def finish(self) -> None:
        return


class _Gzip:
    def __init__(self) -> None:
        self._z = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes, limit: int) -> bytes:
        out = self._z.decompress(data, limit + 1)
        if self._z.unused_data:
            raise ValueError("there is more after the end of the gzip data")
        return out

    def finish(self) -> None:
        if not self._z.eof:
            raise ValueError("the gzip data ends too early")


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        # The window is the memory a frame can make us take before it gives a single byte.
        self._z = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
        self._error = zstandard.ZstdError

    def feed(self, data: bytes, limit: int) -> bytes:
        # A frame expands up to some 30,000 times, so small pieces in keep what comes out at once bounded.
        out = bytearray()
        view = memoryview(data)
        for at in range(0, len(data), 1024):
            if self._z.eof:
                raise ValueError("there is more after the end of the zstd data")
            try:
                out += self._z.decompress(bytes(view[at : at + 1024]))
            except self._error as exc:
                raise ValueError(str(exc)) from exc
            if len(out) > limit:
                break
        return bytes(out)

    def finish(self) -> None:
        if not self._z.eof:
            raise ValueError("the zstd data ends too early")


def decompressor(encoding: str) -> Decompressor:
    """
    Return what undoes a `Content-Encoding`.

    Raises:
        UnsupportedMedia: We do not read it.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Gzip()
        case "zstd":
            return _Zstd()
    raise UnsupportedMedia(
        f"the Content-Encoding {encoding!r} is not supported", hint="send the body as it is, or with zstd or gzip"
    )


def content_type(header: str) -> str:
    """
    Return `JSON` or `MSGPACK` for a `Content-Type` header.

    Raises:
        UnsupportedMedia: It is neither.
    """
    kind = header.partition(";")[0].strip().lower()
    if kind not in _CONTENT_TYPES:
        raise UnsupportedMedia(f"the Content-Type {header!r} is not supported", hint=f"send {JSON} or {MSGPACK}")
    return _CONTENT_TYPES[kind]


class Room(Protocol):
    """
    Where room for bodies is taken and given back (`fustor_fusion.applier.Applier`).
    """

    def reserve(self, size: int) -> None:
        """
        Take room, or raise OverloadedError.
        """
        ...

    def release(self, size: int) -> None:
        """
        Give room back.
        """
        ...


async def read_body(
    stream: AsyncIterator[bytes], length: int | None, encoding: str, limit: int, room: Room
) -> bytearray:
    """
    Read and decompress a body. Room for what it returns stays reserved.

    Args:
        stream: The pieces of the body as they come.
        length: The `Content-Length`, when there is one.
        encoding: The `Content-Encoding`.
        limit: Most bytes, as sent and decompressed.
        room: Where room for it is taken.

    Raises:
        RequestTooLarge: It is longer than `limit`.
        OverloadedError: There is no room.
        InvalidRequest: It can't be decompressed.
    """
    plain = decompressor(encoding)
    if length is not None and length > limit:
        raise _too_large(limit)
    reserved = length or 0
    room.reserve(reserved)
    body = bytearray()
    try:
        raw = 0
        async for piece in stream:
            raw += len(piece)
            for at in range(0, len(piece), _STEP):
                part = piece if len(piece) <= _STEP else piece[at : at + _STEP]
                body += plain.feed(part, limit - len(body))
                if len(body) > limit or raw > limit:
                    raise _too_large(limit)
                if len(body) > reserved:
                    room.reserve(len(body) - reserved)
                    reserved = len(body)
        plain.finish()
    except (ValueError, zlib.error) as exc:
        room.release(reserved)
        raise InvalidRequest(
            f"the body can't be decompressed ({encoding}): {exc}", hint="send it again, or without compression"
        ) from exc
    except BaseException:
        room.release(reserved)
        raise
    room.release(reserved - len(body))
    return body


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body is larger than {limit} bytes", context={"limit": limit})


def read_envelope(body: bytes | bytearray, kind: str) -> Envelope:
    """
    Decode a body and check that everything in it fits together.

    Rows as objects become rows aligned with `fields`; events of a table without a key that are about the same change
    become one when their rows have no ordinals, since such rows are counted.

    Raises:
        InvalidRequest: It can't be read or does not make sense; says which event and row.
    """
    try:
        envelope = decode_envelope(bytes(body), kind)
    except msgspec.DecodeError as exc:
        raise InvalidRequest(
            f"the envelope can't be read: {exc}", hint="see the envelope in docs/reference/api.md"
        ) from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRequest(f"the envelope can't be read: {exc}") from exc
    if not envelope.session_id:
        raise InvalidRequest("the envelope has no `session_id`", hint="open a session first and send its id")
    for name, number in (("epoch", envelope.epoch), ("checkpoint", envelope.checkpoint), ("seq", envelope.seq)):
        if number is not None and not -1 <= number <= MAX_INDEX:
            raise InvalidRequest(f"`{name}` is {number}, outside of -1 .. 2^63-1")
    events: list[WireEvent] = []
    for position, event in enumerate(envelope.events):
        events.extend(_check_event(position, event))
    envelope.events = _merge_keyless(events)
    return envelope


def _check_event(position: int, event: WireEvent) -> list[WireEvent]:
    if not -1 <= event.index <= MAX_INDEX:
        raise _bad(position, event, f"`index` is {event.index}, outside of -1 .. 2^63-1")
    rows = event.rows
    if event.ordinal is not None and not (
        0 <= event.ordinal <= MAX_INDEX - len(rows) and event.key is None and event.table
    ):
        raise _bad(position, event, "`ordinal` is for rows of a table without a key, from 0")
    if not rows:
        return [event]
    if not event.table:
        raise _bad(position, event, "it has rows and no `table`")
    parts = [event] if type(rows[0]) is not dict else _align(position, event)
    for part in parts:
        _check_rows(position, part)
    return parts


def _check_rows(position: int, event: WireEvent) -> None:
    width = len(event.fields)
    if not width:
        raise _bad(position, event, "its rows are arrays and it has no `fields`")
    if len(set(event.fields)) != width:
        raise _bad(position, event, "`fields` names a field twice")
    for number, row in enumerate(event.rows):
        if type(row) is not list:
            raise _bad(position, event, f"row {number} is not an array like the first one")
        if len(row) != width:
            raise _bad(position, event, f"row {number} has {len(row)} values for {width} fields {event.fields!r}")
    if event.key is not None:
        missing = [name for name in event.key if name not in event.fields]
        if missing or not event.key:
            raise _bad(position, event, f"the key {event.key!r} is not among its fields {event.fields!r}")
        where = [event.fields.index(name) for name in event.key]
        for number, row in enumerate(event.rows):
            for at in where:
                if row[at] is None and len(where) == 1:
                    raise _bad(position, event, f"row {number} has no value for the key {event.key!r}")


def _align(position: int, event: WireEvent) -> list[WireEvent]:
    parts: list[WireEvent] = []
    fields: list[str] | None = None
    for number, row in enumerate(event.rows):
        if type(row) is not dict:
            raise _bad(position, event, f"row {number} is not an object like the first one")
        names = list(row)
        if not all(type(name) is str for name in names):
            raise _bad(position, event, f"row {number} has a field name that is not text")
        values: list[Any] = list(row.values())
        if names == fields:
            parts[-1].rows.append(values)
        else:
            fields = names
            ordinal = None if event.ordinal is None else event.ordinal + number
            parts.append(msgspec.structs.replace(event, fields=names, rows=[values], ordinal=ordinal))
    return parts


def _merge_keyless(events: list[WireEvent]) -> list[WireEvent]:
    merged: list[WireEvent] = []
    for event in events:
        last = merged[-1] if merged else None
        if (
            last is not None
            and event.rows
            and last.rows
            and event.key is None
            and event.ordinal is None
            and last.ordinal is None
            and last.key is None
            and (event.event_schema, event.table, event.event_type, event.index, event.fields)
            == (last.event_schema, last.table, last.event_type, last.index, last.fields)
        ):
            last.rows.extend(event.rows)
        else:
            merged.append(event)
    return merged


def _bad(position: int, event: WireEvent, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"event {position} ({event.event_type} of table {event.table!r}): {what}",
        hint="nothing of the push was stored; correct the sender",
        context={"event": position, "table": event.table, "schema": event.event_schema},
    )
