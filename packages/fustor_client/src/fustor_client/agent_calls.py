"""
The calls of the Agent's API, described once for the synchronous and the asynchronous client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from fustor_client import agent_models as answers
from fustor_client import models
from fustor_client.calls import Call

Kind = Literal["sources", "pushers", "syncs"]
DriverKind = Literal["sources", "pushers"]
Action = Literal["test_connection", "check_privileges", "check_runtime_params", "create_agent_user"]


def _path(*parts: str) -> str:
    return "/api/" + "/".join(quote(part, safe="") for part in parts)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def overview() -> Call[answers.Overview]:
    """
    How all is.
    """
    return Call("GET", "/api/overview", answers.Overview)


def instances(wanted: Mapping[str, Any]) -> Call[models.Instances]:
    """
    What runs.
    """
    return Call("GET", "/api/instances", models.Instances, wanted)


def instance(sync: str) -> Call[models.SyncState]:
    """
    One sync.
    """
    return Call("GET", _path("instances", sync), models.SyncState)


def control(sync: str, *what: str) -> Call[models.SyncState]:
    """
    Start or stop a sync; pause, resume or cancel its snapshot.
    """
    return Call("POST", _path("instances", sync, *what), models.SyncState)


def take_snapshot(sync: str, tables: Sequence[str] | None, where: str | None) -> Call[models.SyncState]:
    """
    A snapshot that a person asks for.
    """
    body = _given(tables=None if tables is None else list(tables), where=where)
    return Call("POST", _path("instances", sync, "snapshot"), models.SyncState, body=body)


def _unless_changed(if_revision: int | None) -> dict[str, str]:
    return {} if if_revision is None else {"If-Match": f'"{if_revision}"'}


def configuration() -> Call[answers.Configuration]:
    """
    The whole configuration.
    """
    return Call("GET", "/api/configs", answers.Configuration)


def config(kind: Kind, config_id: str) -> Call[dict[str, Any]]:
    """
    One entry of the configuration.
    """
    return Call("GET", _path("configs", kind, config_id), dict[str, Any])


def configs(kind: Kind) -> Call[models.Page[dict[str, Any]]]:
    """
    All entries of a section.
    """
    return Call("GET", _path("configs", kind), models.Page[dict[str, Any]])


def create_config(
    kind: Kind, config_id: str, entry: Mapping[str, Any], if_revision: int | None
) -> Call[dict[str, Any]]:
    """
    A new entry.
    """
    body = {"id": config_id, "entry": dict(entry)}
    return Call("POST", _path("configs", kind), dict[str, Any], body=body, headers=_unless_changed(if_revision))


def put_config(kind: Kind, config_id: str, entry: Mapping[str, Any], if_revision: int | None) -> Call[None]:
    """
    A new or changed entry.
    """
    return Call("PUT", _path("configs", kind, config_id), None, body=dict(entry), headers=_unless_changed(if_revision))


def delete_config(
    kind: Kind, config_id: str, with_dependants: bool, if_revision: int | None
) -> Call[answers.EntryChange]:
    """
    The end of an entry.
    """
    params = {"with_dependants": with_dependants or None}
    return Call(
        "DELETE",
        _path("configs", kind, config_id),
        answers.EntryChange,
        params,
        headers=_unless_changed(if_revision),
    )


def clone_config(
    kind: Kind, config_id: str, new_id: str, changes: Mapping[str, Any], supersede: bool, if_revision: int | None
) -> Call[answers.EntryChange]:
    """
    A copy of an entry, beside it or in its place.
    """
    body = {"id": new_id, "changes": dict(changes), "supersede": supersede}
    path = _path("configs", kind, config_id, "clone")
    return Call("POST", path, answers.EntryChange, body=body, headers=_unless_changed(if_revision))


def switch_config(
    kind: Kind, config_id: str, action: Literal["enable", "disable"], if_revision: int | None
) -> Call[answers.EntryChange]:
    """
    An entry is enabled or disabled.
    """
    path = _path("configs", kind, config_id, action)
    return Call("POST", path, answers.EntryChange, headers=_unless_changed(if_revision))


def unused_configs(only: DriverKind | None) -> Call[answers.UnusedEntries]:
    """
    What no sync uses.
    """
    return Call("GET", "/api/configs/unused", answers.UnusedEntries, params={"section": only})


def delete_unused_configs(only: DriverKind | None, if_revision: int | None) -> Call[answers.UnusedEntries]:
    """
    The end of what no sync uses.
    """
    return Call(
        "DELETE",
        "/api/configs/unused",
        answers.UnusedEntries,
        params={"section": only},
        headers=_unless_changed(if_revision),
    )


def apply() -> Call[answers.AppliedConfiguration]:
    """
    The running syncs follow the configuration.
    """
    return Call("POST", "/api/configs/apply", answers.AppliedConfiguration)


def config_schema() -> Call[dict[str, Any]]:
    """
    The JSON Schema of the file.
    """
    return Call("GET", "/api/configs/schema", dict[str, Any])


def revisions(limit: int) -> Call[answers.Revisions]:
    """
    The newest revisions.
    """
    return Call("GET", "/api/configs/revisions", answers.Revisions, {"limit": limit})


def revision(number: int) -> Call[answers.RevisionText]:
    """
    One revision with its text.
    """
    return Call("GET", _path("configs", "revisions", str(number)), answers.RevisionText)


def difference(number: int, against: int | None) -> Call[answers.RevisionDifference]:
    """
    What a revision changed.
    """
    path = _path("configs", "revisions", str(number), "diff")
    return Call("GET", path, answers.RevisionDifference, {"against": against})


def roll_back(number: int, if_revision: int | None) -> Call[answers.Configuration]:
    """
    An older revision, written once more.
    """
    path = _path("configs", "revisions", str(number), "rollback")
    return Call("POST", path, answers.Configuration, headers=_unless_changed(if_revision))


def cleanups() -> Call[answers.Cleanups]:
    """
    What is left to do at sources that were deleted.
    """
    return Call("GET", "/api/configs/cleanups", answers.Cleanups)


def retry_cleanup(number: int) -> Call[answers.Cleanups]:
    """
    It is tried once more.
    """
    return Call("POST", _path("configs", "cleanups", str(number), "retry"), answers.Cleanups)


def forget_cleanup(number: int) -> Call[None]:
    """
    It is left as it is.
    """
    return Call("DELETE", _path("configs", "cleanups", str(number)), None)


def drivers() -> Call[answers.Drivers]:
    """
    All drivers.
    """
    return Call("GET", "/api/drivers", answers.Drivers)


def driver(kind: DriverKind, name: str) -> Call[answers.DriverDetails]:
    """
    One driver.
    """
    return Call("GET", _path("drivers", kind, name), answers.DriverDetails)


def wizard(kind: DriverKind, name: str) -> Call[answers.Wizard]:
    """
    The steps of its set-up.
    """
    return Call("GET", _path("drivers", kind, name, "wizard"), answers.Wizard)


def test_driver(kind: DriverKind, name: str, trial: Mapping[str, Any]) -> Call[answers.Said]:
    """
    A source or pusher is tried.
    """
    return Call("POST", _path("drivers", kind, name, "test"), answers.Said, body=dict(trial))


def act(name: str, action: Action, trial: Mapping[str, Any]) -> Call[answers.Said]:
    """
    One action of a source's driver.
    """
    return Call("POST", _path("drivers", "sources", name, "actions", action), answers.Said, body=dict(trial))


def fields(kind: DriverKind, name: str, table: str | None, trial: Mapping[str, Any]) -> Call[answers.Fields]:
    """
    The fields of a source, or those that a consumer wants.
    """
    body = {**trial, **_given(table=table)}
    return Call("POST", _path("drivers", kind, name, "fields"), answers.Fields, body=body)


def tables(name: str, search: str, after: int, limit: int, trial: Mapping[str, Any]) -> Call[answers.Tables]:
    """
    The tables of a source.
    """
    body = {**trial, "search": search, "after": after, "limit": limit}
    return Call("POST", _path("drivers", "sources", name, "tables"), answers.Tables, body=body)


def rows(name: str, wanted: Sequence[str] | None, most: int, trial: Mapping[str, Any]) -> Call[answers.SampledRows]:
    """
    The first rows of a source.
    """
    body = {**trial, "rows": most, **_given(tables=None if wanted is None else list(wanted))}
    return Call("POST", _path("drivers", "sources", name, "rows"), answers.SampledRows, body=body)


def logs(wanted: Mapping[str, Any], limit: int, before: str | None) -> Call[answers.LogPage]:
    """
    Lines of the log.
    """
    return Call("GET", "/api/logs", answers.LogPage, {**wanted, "limit": limit, "before": before})


def follow_logs(wanted: Mapping[str, Any]) -> Call[None]:
    """
    The log as it grows: a stream.
    """
    return Call("GET", "/api/logs/follow", None, wanted, headers={"Accept": "text/event-stream"})


def letters(wanted: Mapping[str, Any], after: int, limit: int) -> Call[answers.Letters]:
    """
    Dead letters.
    """
    return Call("GET", "/api/dead-letters", answers.Letters, {**wanted, "after": after, "limit": limit})


def letter(letter_id: int) -> Call[answers.Letter]:
    """
    One dead letter with its event.
    """
    return Call("GET", f"/api/dead-letters/{letter_id}", answers.Letter)


def replay(letter_id: int, force: bool) -> Call[answers.Replayed]:
    """
    One letter is pushed once more.
    """
    return Call("POST", f"/api/dead-letters/{letter_id}/replay", answers.Replayed, {"force": force})


def replay_all(wanted: Mapping[str, Any], force: bool, limit: int) -> Call[answers.Replays]:
    """
    Letters of a sync are pushed once more.
    """
    return Call("POST", "/api/dead-letters/_replay", answers.Replays, {**wanted, "force": force, "limit": limit})


def delete_letter(letter_id: int) -> Call[None]:
    """
    The end of one letter.
    """
    return Call("DELETE", f"/api/dead-letters/{letter_id}", None)


def delete_letters(wanted: Mapping[str, Any]) -> Call[answers.Dropped]:
    """
    The end of letters of a sync.
    """
    return Call("DELETE", "/api/dead-letters", answers.Dropped, wanted)


def preview(
    transforms: Sequence[Mapping[str, Any]],
    fields_mapping: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> Call[answers.Preview]:
    """
    What transforms would do.
    """
    body = {
        "transforms": [dict(step) for step in transforms],
        "fields_mapping": [dict(one) for one in fields_mapping],
        **_given(**options),
    }
    return Call("POST", "/api/syncs/_preview", answers.Preview, body=body)
