"""
How values travel: one mapping from Python values to what JSON can say, for the live and the snapshot path alike.

| Python | wire | `columns` entry |
|---|---|---|
| None, bool, str | the same | |
| int within -2**63 .. 2**64-1 | number | integer |
| larger int | decimal text | string, format decimal |
| float | number; NaN and the infinities as the texts "NaN", "Infinity", "-Infinity" | number |
| Decimal | text, every digit kept | string, format decimal |
| bytes | base64 text | string, contentEncoding base64 |
| datetime with a zone | RFC 3339 text in UTC, ending in Z | string, format date-time |
| datetime without a zone | ISO 8601 text without an offset | string, format local-date-time |
| date, time | ISO 8601 text | string, format date / time |
| timedelta | ISO 8601 duration | string, format duration |
| UUID | text | string, format uuid |
| set, frozenset | sorted array | array |
| list, tuple, dict | array, object, values mapped likewise | array, object |
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

_PLAIN = frozenset({str, int, bool, type(None)})
_PLAIN_JSON_TYPES = frozenset({"string", "integer", "boolean", "null"})


def encode_value(value: Any) -> Any:
    """
    Map one value to what JSON can say.

    Raises:
        TypeError: There is no mapping for its type.
    """
    kind = type(value)
    if kind is int:
        return value if -(2**63) <= value < 2**64 else str(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return msgspec.to_builtins(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): encode_value(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(encode_value, value), key=lambda v: (type(v).__name__, v))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [encode_value(v) for v in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return encode_value(int(value))
    raise TypeError(f"no wire mapping for a value of type {kind.__name__!r}; the driver must convert it first")


def encode_rows(rows: Sequence[Any], columns: Mapping[str, Any] | None = None) -> list[Any]:
    """
    Map the rows of an event, each a sequence of values.

    When `columns` says that every column is plain (string, integer, boolean, without a format), the rows are passed on
    as they are: that is the promise of a driver that converts on its own hot path.
    """
    if columns and all(_is_plain(schema) for schema in columns.values()):
        return rows if isinstance(rows, list) else list(rows)
    return [[v if type(v) is str else encode_value(v) for v in row] for row in rows]


def _is_plain(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or "format" in schema or "contentEncoding" in schema:
        return False
    kind = schema.get("type")
    if isinstance(kind, list):
        return bool(kind) and _PLAIN_JSON_TYPES.issuperset(kind)
    return kind in _PLAIN_JSON_TYPES
