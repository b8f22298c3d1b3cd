"""
Tells the Registry now and then that this agent lives, and how its syncs fare. Nothing else waits for it or depends on it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fustor_agent.settings import AgentSettings
from fustor_client.models import AgentSync
from fustor_client.registry import RegistryClient
from fustor_client.transport import StdlibTransport
from fustor_common.logging import get_logger
from fustor_core.errors import FustorError
from fustor_core.sync_health import RETRYING

log = get_logger(__name__)

TIMEOUT_S: Final = 3.0
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
MOST_SYNCS: Final = 1000

Statuses = Callable[[], Sequence[Mapping[str, Any]]]


@asynccontextmanager
async def reporting(settings: AgentSettings, agent_id: str, statuses: Statuses) -> AsyncIterator[None]:
    """
    Report for as long as this is entered, when the settings say where and with which key.

    Args:
        statuses: Returns what each sync says of itself.
    """
    url, key_file = settings.registry_url, settings.registry_key_file
    if url is None or key_file is None:
        yield
        return
    task = asyncio.create_task(_report_for_ever(url, key_file, agent_id, statuses))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _report_for_ever(url: str, key_file: Path, agent_id: str, statuses: Statuses) -> None:
    wait_s, failure = FIRST_WAIT_S, None
    while True:
        syncs = [AgentSync(str(status["id"])[:500], _state(status)[:200]) for status in statuses()[:MOST_SYNCS]]
        try:
            wait_s = await asyncio.to_thread(_report, url, key_file, agent_id, syncs)
            if failure is not None:
                log.info("the Registry knows of this agent again")
            failure = None
        except (FustorError, OSError, ValueError) as exc:
            # Said once for each reason: the file of the key, or the Registry, may be there later.
            if str(exc) != failure:
                failure = str(exc)
                log.warning("the Registry was not told of this agent", error=failure)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        await asyncio.sleep(wait_s)


def _state(status: Mapping[str, Any]) -> str:
    state = str(status["state"])
    # The states alone would call a sync that can't connect "starting" for ever.
    return f"{state}|{RETRYING}" if status.get("health") == "retrying" else state


def _report(url: str, key_file: Path, agent_id: str, syncs: Sequence[AgentSync]) -> float:
    key = key_file.read_text()  # each time: a rotated key is taken without a restart
    with RegistryClient(url, transport=StdlibTransport(url, TIMEOUT_S)) as registry:
        told = registry.report_agent(
            key, agent_id, version=version("fustor-agent"), host=socket.gethostname(), syncs=syncs
        )
        return max(FIRST_WAIT_S, told.interval_s)
