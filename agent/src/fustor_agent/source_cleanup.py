"""
What drivers have made at a source for themselves (replication slots, publications) goes when the source is deleted: left behind
it would keep the source's log growing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fustor_agent.configs import Configs
from fustor_agent.secret_values import resolve
from fustor_common.logging import get_logger
from fustor_core.drivers import SourceDriver
from fustor_core.errors import FustorError
from fustor_core.models.config import SourceConfig
from fustor_core.plugins import Catalog

log = get_logger(__name__)

_LONGEST_S = 20.0


class SourceCleanup:
    """
    Remembers the sources of the configuration that was applied last, and cleans up after those that are gone.

    Args:
        configs: The configuration.
        drivers: The source drivers.
    """

    def __init__(self, configs: Configs, drivers: Catalog[SourceDriver]) -> None:
        self._configs = configs
        self._drivers = drivers
        self._known: dict[str, SourceConfig] = {}

    async def run(self) -> list[str]:
        """
        Clean up after the sources that are gone since the last call; return their ids. Failures are logged: the sources are
        gone from the configuration all the same.
        """
        entries: dict[str, Any] = self._configs.current.entries["sources"]
        gone = {id_: config for id_, config in self._known.items() if id_ not in entries}
        await asyncio.gather(*(self._clean(id_, config) for id_, config in gone.items()))
        for id_ in gone:
            del self._known[id_]
        for id_ in entries:
            try:
                self._known[id_] = self._configs.model("sources", id_, resolve)
            except FustorError as exc:
                log.info("a source can't be used as it is configured", source=id_, reason=exc.message)
        return list(gone)

    async def _clean(self, source_id: str, config: SourceConfig) -> None:
        try:
            driver = self._drivers.get(config.driver)(source_id, config)
            async with asyncio.timeout(_LONGEST_S):
                await driver.clean_up()
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything, and the source is gone all the same
            log.warning(
                "what the driver made at a source that was deleted could not be removed",
                source=source_id,
                uri=config.uri,
                reason=str(exc) or type(exc).__name__,
                hint="look at the source: its guide says what the driver makes there, and how to remove it",
            )
        else:
            log.info("cleaned up after a source that was deleted", source=source_id, uri=config.uri)
