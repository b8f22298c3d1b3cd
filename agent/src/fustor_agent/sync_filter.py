"""
Which of many syncs are wanted, and how much is told of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fustor_agent.managed_sync import ManagedSync
from fustor_core.sync_health import Health

_TROUBLED: Final = ("failed", "retrying")


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """
    Which syncs are wanted, and in which order.

    Attributes:
        health: Only those that are so.
        text: Must be in the id of the sync, of its source or of its pusher, in capitals or not.
        troubled_first: Those that have failed or are trying again come before the others.
    """

    health: Health | None = None
    text: str | None = None
    troubled_first: bool = False

    def of(self, syncs: Iterable[ManagedSync]) -> list[ManagedSync]:
        """
        Return those of some syncs that are wanted, in the order that is wanted; else in the order in which they come.
        """
        found = [sync for sync in syncs if self.takes(sync)]
        return sorted(found, key=lambda sync: sync.health not in _TROUBLED) if self.troubled_first else found

    def takes(self, sync: ManagedSync) -> bool:
        """
        Tell whether a sync is wanted.
        """
        if self.text is not None and not any(self.text.casefold() in name.casefold() for name in sync.names):
            return False
        return self.health is None or sync.health == self.health


def with_fewer_tables(status: dict[str, Any], most: int | None) -> dict[str, Any]:
    """
    Return the status of a sync with how many tables are in which state, and no more tables than `most`: those with errors first, then those
    that are under way.
    """
    tables: list[dict[str, Any]] = status.get("tables", [])
    counts = dict(Counter(str(table["state"]) for table in tables))
    if most is not None and len(tables) > most:
        tables = sorted(tables, key=lambda table: _ORDER.get(str(table["state"]), len(_ORDER)))[:most]
    return {**status, "tables": tables, "table_counts": counts}


_ORDER = {state: at for at, state in enumerate(("errored", "copying", "paused", "waiting", "live"))}
