"""
What OpenAPI says of bodies that msgspec reads and writes. Each schema stands within its route, not beside the models of others.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fustor_common.json_schema import inlined


def content_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """
    Return the `content` of a request or an answer that holds a struct, as JSON.
    """
    return {"content": {"application/json": {"schema": inlined(msgspec.json.schema(kind))}}}
