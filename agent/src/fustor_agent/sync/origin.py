"""
A changed configuration and the rows that the consumer has already: which tables have to be sent once more.

Rows that were sent before a field was renamed have its old name, and of a table that is newly wanted none was ever sent. The
stream alone never brings them; a snapshot of these tables does. What the rows were made with is remembered with the checkpoint
(`SyncMemory.origin`), so a change is noticed also when it was made while the agent was stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fustor_agent.sync.ports import Origin
from fustor_core.drivers import SourceDriver
from fustor_core.models.config import SourceConfig


async def tables_to_send_again(
    before: Origin, now: Origin, make_driver: Callable[[], SourceDriver], *, is_known_consumer: bool
) -> list[str] | None:
    """
    Return the tables whose rows the consumer lacks, or has otherwise than they are sent now; None = it can't be told.

    Args:
        before, now: The former configuration and the present one.
        make_driver: Makes an instance of the source's driver, to be asked.
        is_known_consumer: The consumer itself says what it has.

    Raises:
        FustorError: The source can't be asked now.
    """
    if before == now:
        return []
    if before.consumer != now.consumer and not is_known_consumer:
        return None
    transformed = _transformed(before.transforms, now.transforms)
    wanted = await _wanted(before, now, make_driver)
    return None if transformed is None or wanted is None else sorted({*transformed, *wanted})


def _transformed(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str] | None:
    if {**before, "fields_mapping": None} != {**now, "fields_mapping": None}:
        return None
    old, new = (_fields_by_table(one.get("fields_mapping") or []) for one in (before, now))
    return {table for table in {*old, *new} if old.get(table) != new.get(table)}


def _fields_by_table(mappings: list[Mapping[str, Any]]) -> dict[str, list[tuple[str, Any]]]:
    fields: dict[str, list[tuple[str, Any]]] = {}
    for mapping in mappings:
        for source in mapping["source"]:
            table, _, name = str(source).rpartition(".")
            fields.setdefault(table, []).append((name, {**mapping, "source": None}))
    return fields


async def _wanted(before: Origin, now: Origin, make_driver: Callable[[], SourceDriver]) -> list[str] | None:
    if before.driver != now.driver:
        return []  # another incarnation: the stream itself tells that everything is missing
    if (before.uri, before.driver_params) == (now.uri, now.driver_params):
        return []
    driver = make_driver()
    try:
        present = driver.config  # with references resolved: what is written the same means the same
        params = {
            name: present.driver_params[name] if value == now.driver_params.get(name) else value
            for name, value in before.driver_params.items()
        }
        uri = present.uri if before.uri == now.uri else before.uri
        former = SourceConfig(driver=before.driver, uri=uri, driver_params=params)
        return await asyncio.to_thread(driver.tables_changed, former)
    finally:
        await driver.close()
