"""
Cursors: where a page of an answer ended, as one opaque word.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from fustor_core.errors import InvalidRequest


def encode_cursor(*parts: Any) -> str:
    """
    Make a cursor of where to go on.
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> list[Any]:
    """
    Read a cursor back; its parts have the types `kinds`.

    Raises:
        InvalidRequest: It is not one of ours, or of another kind of request.
    """
    try:
        parts = msgspec.json.decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as e:
        raise foreign_cursor(cursor) from e
    if not isinstance(parts, list) or len(parts) != len(kinds) or not all(map(isinstance, parts, kinds)):
        raise foreign_cursor(cursor)
    return parts


def foreign_cursor(cursor: str) -> InvalidRequest:
    """
    Return the error of a cursor that belongs to something else.
    """
    return InvalidRequest(
        f"`cursor` {cursor!r} does not belong to this request",
        hint="give `next` of the answer before, all else unchanged",
    )
