"""
Reads rows that are owed: asks the driver for them in a thread, then takes a high watermark.
"""

from __future__ import annotations

import asyncio
import threading

from fustor_agent.sync.owed import RowsOrder, RowsRead
from fustor_core.drivers import SourceDriver


class RowReader:
    """
    Reads one order.

    Args:
        order: What to read.
        driver: Of the source.
    """

    def __init__(self, order: RowsOrder, driver: SourceDriver) -> None:
        self.order = order
        self._driver = driver
        self._stop = threading.Event()

    async def read(self) -> RowsRead | None:
        """
        Read; None = the driver does not read rows of this table by their keys.

        Raises:
            FustorError: The source can't be read.
        """
        return await asyncio.to_thread(self._read)

    def stop(self) -> None:
        """
        Have it end within a second.
        """
        self._stop.set()

    def _read(self) -> RowsRead | None:
        order = self.order
        events = self._driver.read_rows(*order.table, order.key, order.keys, stop_event=self._stop)
        return None if events is None else RowsRead(list(events), self._driver.high_watermark())
