"""
`/api/overview`: how the agent is, in little: what every page of a console shows.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from fustor_agent.api.access import Access, Running
from fustor_agent.api.config_models import FileProblem
from fustor_common.openapi import error_answers
from fustor_core.sync_health import Health

router = APIRouter(prefix="/api/overview", tags=["overview"], dependencies=[Access], responses=error_answers(401))


class Waiting(BaseModel):
    """
    What applying the configuration would do, by id.
    """

    start: list[str] = Field(description="Syncs that are new or enabled.")
    restart: list[str] = Field(description="Syncs that are made of something else now.")
    stop: list[str] = Field(description="Syncs that are gone or disabled.")
    clean: list[str] = Field(description="Sources that are gone, and that something may be left at.")


class ConfigurationState(BaseModel):
    """
    Whether the configuration is in force.
    """

    path: str
    revision: int | None = Field(description="Number of the newest revision; null = there is none yet.")
    applied_revision: int | None = Field(
        description="The newest one that all that runs goes by: it was applied, or changed nothing that runs; null = none since the agent started."
    )
    in_force: bool = Field(description="Whether what is in force is what the file says.")
    problems: list[FileProblem]
    waiting: Waiting


class Overview(BaseModel):
    """
    How the agent is.
    """

    agent_id: str
    host: str
    version: str
    syncs: int
    health: dict[Health, int] = Field(description="How many syncs are how.")
    failed: list[str] = Field(description="Ids of the syncs that have failed.")
    retrying: list[str] = Field(description="Ids of the syncs that keep trying something.")
    dead_letters: int = Field(description="Rows parked as dead letters; a letter has one.")
    dead_letters_of: list[str] = Field(description="Ids of the syncs that have dead letters.")
    dead_letters_full: bool = Field(description="Whether no more can be parked: syncs stop instead.")
    cleanups: int = Field(description="Sources that were deleted, and that something may be left at.")
    configuration: ConfigurationState


@router.get("", response_model=Overview)
async def read_overview(service: Running) -> dict[str, Any]:
    """
    Return how all is, in numbers, and whether changes of the configuration wait.
    """
    supervisor = service.supervisor
    parts = supervisor.parts
    configs = parts.configs
    configs.refresh()
    healths = supervisor.healths()
    letters = parts.dead_letters
    counts = letters.counts()
    revision, waiting = configs.revision or None, supervisor.waiting()
    is_followed = configs.is_file_in_force and not any(waiting.values())
    return {
        "agent_id": parts.agent_id,
        "host": platform.node(),
        "version": version("fustor-agent"),
        "syncs": sum(len(ids) for ids in healths.values()),
        "health": {health: len(ids) for health, ids in healths.items()},
        "failed": healths["failed"],
        "retrying": healths["retrying"],
        "dead_letters": sum(counts.values()),
        "dead_letters_of": sorted(counts),
        "dead_letters_full": letters.is_full,
        "cleanups": len(supervisor.cleanup.pending()),
        "configuration": {
            "path": str(configs.path),
            "revision": revision,
            "applied_revision": revision if is_followed else supervisor.applied_revision,
            "in_force": configs.is_file_in_force,
            "problems": [problem.to_dict() for problem in configs.problems],
            "waiting": waiting,
        },
    }
