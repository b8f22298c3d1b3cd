"""
The command `fustor-agent preview`: transforms of a configured sync, on real rows, without a running agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fustor_agent.config_file import FILE_NAME, parse
from fustor_agent.secret_values import resolve
from fustor_agent.settings import AgentSettings
from fustor_agent.transforms import preview
from fustor_core.errors import ConfigError
from fustor_core.models.config import SourceConfig, SyncConfig
from fustor_core.plugins import source_drivers


def preview_sync(
    settings: AgentSettings, sync_id: str, tables: Sequence[str] | None, rows: int
) -> list[dict[str, Any]]:
    """
    Return what the transforms of a sync do to the first rows of its source's tables.

    Raises:
        NotFoundError: The file has no such sync.
        ConfigError: The file, the sync or its source is wrong.
        FustorError: The source can't be read.
    """
    path = settings.config_dir / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(
            f"{str(path)!r} can't be read: {exc.strerror or exc}", hint="set FUSTOR_CONFIG_DIR to the agent's folder"
        ) from None
    read = parse(text, str(path))
    if read.broken is not None:
        raise read.broken.to_error()

    sync: SyncConfig = read.model("syncs", sync_id, dict)
    config: SourceConfig = read.model("sources", sync.source, resolve)
    driver = source_drivers().get(config.driver)
    found = asyncio.run(preview.sample(driver, sync.source, config, tables=tables or None, rows=rows))
    return preview.show(sync, found.events, found.whole_updates)
