"""
`/api/configs`: sources, pushers and syncs by id, revisions, and applying what was changed. Secrets are never shown.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Path, Query, Response

from fustor_agent.api import config_models as models
from fustor_agent.api.access import Access, Running, Service
from fustor_agent.api.bodies import Keys
from fustor_agent.api.config_models import Action, CloneRequest, EntryChange, NewEntry, UnusedEntries
from fustor_agent.api.config_revision import TAGGED, TAGGED_201, IfMatch, check_unchanged, tag
from fustor_agent.api.path_parts import CLEANUP, LARGEST, REVISION, SECTION, RowId
from fustor_agent.config_diff import comparison, masked_text
from fustor_agent.config_file import Section, drivers_of
from fustor_agent.config_reload import reload_and_apply
from fustor_agent.config_schema import schema_of
from fustor_agent.configs import Configs
from fustor_common.openapi import error_answers

router = APIRouter(prefix="/api/configs", tags=["configs"], dependencies=[Access], responses=error_answers(401))

EntryId = Annotated[str, Path(description="Id of the entry.", examples=["main"])]
Unused = Annotated[Literal["sources", "pushers"] | None, Query(description="Only those of this section.")]
_ENTRIES: Final[dict[str, Any]] = {
    "a source": {"value": {"driver": "fs", "uri": "/data", "disabled": False}},
    "a pusher": {
        "value": {
            "driver": "fusion",
            "endpoint": "http://127.0.0.1:8102",
            "credential": {"key": "${FUSION_API_KEY}"},
            "disabled": False,
        }
    },
    "a sync": {"value": {"source": "files", "pusher": "fusion"}},
}


def _configs(service: Service) -> Configs:
    configs = service.supervisor.parts.configs
    configs.refresh()
    return configs


def _to_change(service: Service, if_match: str | None) -> Configs:
    configs = _configs(service)
    check_unchanged(configs, if_match)
    return configs


@router.get("", response_model=models.Configuration, responses=TAGGED)
async def read_all(service: Running, response: Response) -> dict[str, Any]:
    """
    Return the whole configuration and everything that is wrong with it.
    """
    return _overview(service, response)


@router.post("/apply", response_model=models.AppliedConfiguration, responses={**TAGGED, **error_answers(409)})
async def apply(service: Running, response: Response) -> dict[str, Any]:
    """
    Read the file again and bring the running syncs in line with it: only those whose configuration has changed are restarted. While
    anything is wrong with the file nothing is applied, and all goes on as before.
    """
    done = await reload_and_apply(service.supervisor)
    return {"applied": done, **_overview(service, response)}


@router.get("/schema")
async def read_schema(service: Running) -> dict[str, Any]:
    """
    Return the JSON Schema of the configuration file, for editors.
    """
    parts = service.supervisor.parts
    return schema_of(drivers_of(parts.sources, parts.pushers))


@router.get("/unused", responses=TAGGED)
async def read_unused(service: Running, response: Response, section: Unused = None) -> UnusedEntries:
    """
    Return the sources and pushers that no sync uses.
    """
    configs = _configs(service)
    tag(response, configs)
    return UnusedEntries.model_validate(configs.unused(section))


@router.delete("/unused", responses={**TAGGED, **error_answers(409, 412)})
async def delete_unused(
    service: Running, response: Response, section: Unused = None, if_match: IfMatch = None
) -> UnusedEntries:
    """
    Remove the sources and pushers that no sync uses from the file, and return them. Takes effect when it is applied.
    """
    configs = _to_change(service, if_match)
    gone = UnusedEntries.model_validate(configs.delete_unused(section))
    tag(response, configs)
    return gone


@router.get("/cleanups", response_model=models.Cleanups)
async def read_cleanups(service: Running) -> dict[str, Any]:
    """
    Return what is left to do at sources that were deleted: what their drivers made there may still be there.
    """
    return {"rows": service.supervisor.cleanup.pending()}


@router.post(f"{CLEANUP}/retry", response_model=models.Retried, responses=error_answers(404, 409))
async def retry_cleanup(cleanup_id: RowId, service: Running) -> dict[str, Any]:
    """
    Try to remove at a deleted source what its driver made there.
    """
    done = await service.supervisor.cleanup.retry(cleanup_id)
    return {"done": done, "rows": service.supervisor.cleanup.pending()}


@router.delete(CLEANUP, status_code=204, responses=error_answers(404, 409))
async def forget_cleanup(cleanup_id: RowId, service: Running) -> None:
    """
    Leave at a deleted source what is there.
    """
    await service.supervisor.cleanup.forget(cleanup_id)


@router.get("/revisions", response_model=models.Revisions)
async def read_revisions(service: Running, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """
    Return the newest revisions, newest first, without their texts.
    """
    revisions = _configs(service).revisions.latest(limit)
    return {"rows": [revision.head() for revision in revisions]}


@router.get(REVISION, response_model=models.RevisionText, responses=error_answers(404))
async def read_revision(revision_id: RowId, service: Running) -> dict[str, Any]:
    """
    Return one revision with its text, secrets masked.
    """
    revision = _configs(service).revisions.get(revision_id)
    return {**revision.head(), "text": masked_text(revision.text)}


@router.get(f"{REVISION}/diff", response_model=models.RevisionDifference, responses=error_answers(404))
async def read_difference(
    revision_id: RowId,
    service: Running,
    against: Annotated[int | None, Query(ge=1, le=LARGEST, description="Another revision than the one before.")] = None,
) -> dict[str, Any]:
    """
    Return what a revision changed: since the one before it, or since `against`. That a secret is another one is said, not what it is.
    """
    return comparison(*_configs(service).compared(revision_id, against))


@router.post(
    f"{REVISION}/rollback",
    response_model=models.Configuration,
    responses={**TAGGED, **error_answers(404, 409, 412)},
)
async def roll_back(
    revision_id: RowId, service: Running, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """
    Write the text of an older revision into the file; running syncs keep what they have until it is applied.
    """
    _to_change(service, if_match).roll_back(revision_id)
    return _overview(service, response)


@router.get(SECTION, response_model=models.ConfigEntries, responses={**TAGGED, **error_answers(404)})
async def read_section(section: Section, service: Running, response: Response) -> dict[str, Any]:
    """
    Return every entry of a section, by id.
    """
    configs = _configs(service)
    tag(response, configs)
    return {"rows": [configs.shown(section, id_) for id_ in configs.file.entries[section]]}


@router.post(
    SECTION,
    status_code=201,
    response_model=models.ConfigEntry,
    responses={**TAGGED_201, **error_answers(404, 409, 412)},
)
async def create_entry(
    section: Section, new: NewEntry, service: Running, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """
    Add one entry to the file. Takes effect when it is applied.
    """
    configs = _to_change(service, if_match)
    configs.create(section, new.id, new.entry)
    tag(response, configs)
    return configs.shown(section, new.id)


@router.get(f"{SECTION}/{{entry_id}}", response_model=models.ConfigEntry, responses={**TAGGED, **error_answers(404)})
async def read_entry(section: Section, entry_id: EntryId, service: Running, response: Response) -> dict[str, Any]:
    """
    Return one entry.
    """
    configs = _configs(service)
    tag(response, configs)
    return configs.shown(section, entry_id)


@router.put(
    f"{SECTION}/{{entry_id}}",
    response_model=models.ConfigEntry,
    responses={**TAGGED, **error_answers(404, 409, 412)},
)
async def put_entry(
    section: Section,
    entry_id: EntryId,
    entry: Annotated[Keys, Body(openapi_examples=_ENTRIES)],
    service: Running,
    response: Response,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """
    Set one entry in the file. A text `***` leaves the secret as it is, and is refused as a part of another one. Takes effect when it is
    applied.
    """
    configs = _to_change(service, if_match)
    configs.put(section, entry_id, entry)
    tag(response, configs)
    return configs.shown(section, entry_id)


@router.delete(f"{SECTION}/{{entry_id}}", responses={**TAGGED, **error_answers(404, 409, 412)})
async def delete_entry(
    section: Section,
    entry_id: EntryId,
    service: Running,
    response: Response,
    if_match: IfMatch = None,
    *,
    with_dependants: bool = False,
) -> EntryChange:
    """
    Remove one entry from the file; refused with the list of the syncs that need it, unless these are to go with it. Takes effect when it is
    applied.
    """
    configs = _to_change(service, if_match)
    gone = configs.delete(section, entry_id, with_dependants=with_dependants)
    tag(response, configs)
    return EntryChange(entry=None, dependants=gone)


@router.post(
    f"{SECTION}/{{entry_id}}/clone",
    status_code=201,
    response_model=EntryChange,
    responses={**TAGGED_201, **error_answers(404, 409, 412)},
)
async def clone_entry(
    section: Section,
    entry_id: EntryId,
    wanted: CloneRequest,
    service: Running,
    response: Response,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """
    Add a copy of an entry to the file, with changes; it may take the place of the old one. Takes effect when it is applied.
    """
    configs = _to_change(service, if_match)
    moved = configs.clone(section, entry_id, wanted.id, wanted.changes, supersede=wanted.supersede)
    tag(response, configs)
    return {"entry": configs.shown(section, wanted.id), "dependants": moved}


@router.post(
    f"{SECTION}/{{entry_id}}/{{action}}",
    response_model=EntryChange,
    responses={**TAGGED, **error_answers(404, 409, 412)},
)
async def switch_entry(
    section: Section, entry_id: EntryId, action: Action, service: Running, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """
    Enable or disable one entry in the file; the answer names the syncs that start or stop with it. Takes effect when it is applied.
    """
    configs = _to_change(service, if_match)
    configs.set_disabled(section, entry_id, disabled=action == "disable")
    tag(response, configs)
    shown = configs.shown(section, entry_id)
    return {"entry": shown, "dependants": shown["dependants"]}


def _overview(service: Service, response: Response) -> dict[str, Any]:
    configs = _configs(service)
    tag(response, configs)
    return {
        "path": str(configs.path),
        "revision": configs.revision or None,
        "in_force": configs.is_file_in_force,
        "problems": [problem.to_dict() for problem in configs.problems],
        "cleanups": service.supervisor.cleanup.pending(),
        **{
            section: {id_: configs.shown(section, id_) for id_ in entries}
            for section, entries in configs.file.entries.items()
        },
    }
