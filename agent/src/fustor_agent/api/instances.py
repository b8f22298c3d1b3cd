"""
`/api/instances`: the buses and syncs that run.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from fustor_agent.api.access import Access, Running

router = APIRouter(prefix="/api/instances", tags=["instances"], dependencies=[Access])


class SnapshotRequest(BaseModel):
    """
    What a person asks to be read again; everything by default.
    """

    model_config = ConfigDict(extra="forbid")

    tables: list[str] | None = None
    where: str | None = None


@router.get("")
async def read_instances(service: Running) -> dict[str, Any]:
    """
    Return all buses and syncs.
    """
    return service.supervisor.status()


@router.get("/{sync}")
async def read_instance(sync: str, service: Running) -> dict[str, Any]:
    """
    Return one sync.
    """
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/start")
async def start(sync: str, service: Running) -> dict[str, Any]:
    """
    Start a sync, or try again at once when it waits for that.
    """
    await service.supervisor.start(sync)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/stop")
async def stop(sync: str, service: Running) -> dict[str, Any]:
    """
    Stop a sync until it is started again or the agent restarts.
    """
    await service.supervisor.stop(sync)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot")
async def take_snapshot(sync: str, service: Running, wanted: SnapshotRequest | None = None) -> dict[str, Any]:
    """
    Start a snapshot.
    """
    asked = wanted or SnapshotRequest()
    await service.supervisor.runtime(sync).request_snapshot(asked.tables, asked.where)
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/pause")
async def pause_snapshot(sync: str, service: Running) -> dict[str, Any]:
    """
    Pause the snapshot under way.
    """
    service.supervisor.runtime(sync).pause_snapshot()
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/resume")
async def resume_snapshot(sync: str, service: Running) -> dict[str, Any]:
    """
    Go on with a paused snapshot.
    """
    service.supervisor.runtime(sync).resume_snapshot()
    return service.supervisor.sync_status(sync)


@router.post("/{sync}/snapshot/cancel")
async def cancel_snapshot(sync: str, service: Running) -> dict[str, Any]:
    """
    Give up the snapshot under way.
    """
    service.supervisor.runtime(sync).cancel_snapshot()
    return service.supervisor.sync_status(sync)
