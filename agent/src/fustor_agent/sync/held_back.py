"""
Tables with rows that the transforms could not tell the consumer of by what the stream brought, and what to do about it.

Their driver knows what makes updates tell more: it is asked once for each table, apart from the stream, which does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fustor_agent.sync.keys import TableId, full_name
from fustor_core.drivers import SourceDriver

log = logging.getLogger(__name__)

_ELSE: Final = "leave the large columns out with `drop`, or filter by the key"


class HeldBack:
    """
    What is held back of one sync.
    """

    def __init__(self) -> None:
        self._why: dict[TableId, str] = {}
        self._advice: dict[TableId, str] = {}
        self._asked: dict[TableId, asyncio.Task[None]] = {}

    def note(self, table: TableId, why: str, driver: SourceDriver) -> None:
        """
        Rows of a table are held back.

        Args:
            table: The table.
            why: What the stream brings of them.
            driver: Of the source; asked in a thread.
        """
        self._why[table] = why
        if table not in self._asked:
            self._asked[table] = asyncio.create_task(self._ask(table, driver))

    async def _ask(self, table: TableId, driver: SourceDriver) -> None:
        try:
            advice = await asyncio.to_thread(driver.whole_updates, *table)
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything; there is advice without it
            log.info("what makes updates of %s bring all fields can't be told: %s", full_name(*table), exc)
        else:
            self._advice[table] = advice or ""

    def problems(self) -> list[dict[str, str]]:
        """
        Return the tables, by name: `where` it is, `what` is the matter and a `hint`.
        """
        shown = []
        for table, why in sorted(self._why.items()):
            advice = self._advice.get(table)
            shown.append(
                {
                    "where": full_name(*table),
                    "what": f"the stream brings {why}: they are read from the source once more",
                    "hint": f"{advice} Or {_ELSE}." if advice else _ELSE,
                }
            )
        return shown
