"""
What is shown of a dead letter: its rows as the transforms of its sync let them out, never what those hide.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fustor_agent.secret_values import MASK
from fustor_agent.transforms.transformer import Transformer
from fustor_core.errors import FustorError
from fustor_core.models.config import SyncConfig
from fustor_core.models.envelope import WireEvent, from_wire, to_wire


def shown(wire: WireEvent, sync: SyncConfig | None) -> dict[str, Any]:
    """
    Return the event of a letter as plain data.

    Args:
        wire: The event, as the source gave it.
        sync: Its sync as it is configured now; None = there is none any more, or it can't be read: then nobody knows what must be hidden.
    """
    try:
        transformer = None if sync is None else Transformer(sync, sweeps=True)
        if transformer is not None and transformer.is_nothing:
            return _plain(wire)
        if transformer is not None:
            left = to_wire(transformer.apply([from_wire(wire)]).events)
            if len(left) == 1:
                return _plain(left[0])
    except (FustorError, ValueError):
        return _hidden(wire)
    return _hidden(wire)


def _plain(wire: WireEvent) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.to_builtins(wire)
    return event


def _hidden(wire: WireEvent) -> dict[str, Any]:
    return {**_plain(wire), "rows": [[MASK] * len(row) for row in wire.rows]}
