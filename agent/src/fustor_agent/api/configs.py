"""
`/api/configs`: sources, pushers and syncs by id, revisions, and applying what was changed. Secrets are never shown.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from fustor_agent.api.access import Access, Running, Service
from fustor_agent.config_file import Section
from fustor_agent.configs import masked_text
from fustor_agent.revisions import Revision
from fustor_core.errors import StateConflictError

router = APIRouter(prefix="/api/configs", tags=["configs"], dependencies=[Access])


@router.get("")
async def read_all(service: Running) -> dict[str, Any]:
    """
    Return the whole configuration and everything that is wrong with it.
    """
    return _overview(service)


@router.post("/apply")
async def apply(service: Running) -> dict[str, Any]:
    """
    Read the file again and bring the running syncs in line with it.
    """
    configs = service.supervisor.parts.configs
    configs.reload()
    if configs.problem is not None:
        raise StateConflictError(
            f"nothing was applied, for the file can't be read: {configs.problem}",
            hint="mend the file, or roll back to a revision, then apply again",
            context=asdict(configs.problem),
        )
    done = await service.supervisor.apply()
    return {"applied": done, **_overview(service)}


@router.get("/revisions")
async def read_revisions(service: Running, limit: int = 100) -> dict[str, Any]:
    """
    Return the newest revisions, newest first, without their texts.
    """
    revisions = service.supervisor.parts.configs.revisions.latest(limit)
    return {"rows": [_head(revision) for revision in revisions]}


@router.get("/revisions/{revision_id}")
async def read_revision(revision_id: int, service: Running) -> dict[str, Any]:
    """
    Return one revision with its text, secrets masked.
    """
    revision = service.supervisor.parts.configs.revisions.get(revision_id)
    return {**_head(revision), "text": masked_text(revision.text)}


@router.post("/revisions/{revision_id}/rollback")
async def roll_back(revision_id: int, service: Running) -> dict[str, Any]:
    """
    Write the text of an older revision into the file; running syncs keep what they have until it is applied.
    """
    service.supervisor.parts.configs.roll_back(revision_id)
    return _overview(service)


@router.get("/{section}")
async def read_section(section: Section, service: Running) -> dict[str, Any]:
    """
    Return every entry of a section, by id.
    """
    configs = service.supervisor.parts.configs
    return {"rows": [configs.shown(section, id_) for id_ in configs.current.entries[section]]}


@router.get("/{section}/{entry_id}")
async def read_entry(section: Section, entry_id: str, service: Running) -> dict[str, Any]:
    """
    Return one entry.
    """
    return service.supervisor.parts.configs.shown(section, entry_id)


@router.put("/{section}/{entry_id}")
async def put_entry(section: Section, entry_id: str, entry: dict[str, Any], service: Running) -> dict[str, Any]:
    """
    Set one entry in the file. A text `***` leaves the secret as it is. Takes effect when it is applied.
    """
    configs = service.supervisor.parts.configs
    configs.put(section, entry_id, entry)
    return configs.shown(section, entry_id)


@router.delete("/{section}/{entry_id}", status_code=204)
async def delete_entry(section: Section, entry_id: str, service: Running) -> None:
    """
    Remove one entry from the file. Takes effect when it is applied.
    """
    service.supervisor.parts.configs.delete(section, entry_id)


def _overview(service: Service) -> dict[str, Any]:
    configs = service.supervisor.parts.configs
    newest = configs.revisions.newest()
    return {
        "path": str(configs.path),
        "revision": newest.id if newest else None,
        "problems": [asdict(problem) for problem in configs.problems],
        **{
            section: {id_: configs.shown(section, id_) for id_ in entries}
            for section, entries in configs.current.entries.items()
        },
    }


def _head(revision: Revision) -> dict[str, Any]:
    return {"id": revision.id, "ts": revision.ts, "reason": revision.reason}
