"""
Makes the runtime of a sync with the dials that the agent's settings turn.
"""

from __future__ import annotations

from typing import Any

from fustor_agent.managed_sync import MakeRuntime
from fustor_agent.settings import AgentSettings
from fustor_agent.sync.runtime import SyncRuntime
from fustor_agent.sync.settings import SyncSettings
from fustor_core.models.config import SyncConfig


def runtime_maker(settings: AgentSettings) -> MakeRuntime:
    """
    Return what makes a `SyncRuntime`.
    """
    dials = SyncSettings(on_reject=settings.on_reject, on_position_lost=settings.on_position_lost)

    def make(sync_id: str, config: SyncConfig, **parts: Any) -> SyncRuntime:
        return SyncRuntime(sync_id, config, settings=dials, **parts)

    return make
