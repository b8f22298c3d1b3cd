"""
What `/api/configs` takes and answers.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from fustor_agent.api.bodies import RequestBody

Action = Literal["enable", "disable"]

_PUSHER: JsonDict = {
    "driver": "fusion",
    "endpoint": "http://127.0.0.1:8102",
    "credential": {"key": "${FUSION_API_KEY}"},
}


class NewEntry(RequestBody):
    """
    An entry to add.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "fusion", "entry": _PUSHER}]})

    id: str = Field(description="Its id.")
    entry: dict[str, Any] = Field(description="Its keys, as in the file.")


class CloneRequest(RequestBody):
    """
    How a copy of an entry is to differ from it.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "fusion-2", "changes": {"batch_size": 5000}, "supersede": True}]}
    )

    id: str = Field(description="The id of the copy.")
    changes: dict[str, Any] = Field(default_factory=dict, description="Keys with other values; null removes a key.")
    supersede: bool = Field(
        False, description="Syncs that need the old entry need the copy then; the old one stays, disabled."
    )


class FileProblem(BaseModel):
    """
    One thing that is wrong in the file.
    """

    file: str
    line: int | None
    column: int | None
    where: str = Field(description="The key, as a path: `sources.files.uri`; empty = the file as a whole.")
    message: str
    hint: str


class ConfigEntry(BaseModel):
    """
    One entry with its keys as they stand in the file, secrets masked.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    problems: list[FileProblem] = Field(description="What is wrong with it.")
    dependants: list[str] = Field(description="The syncs that need it; none need a sync.")


class ConfigEntries(BaseModel):
    """
    Every entry of a section.
    """

    rows: list[ConfigEntry]


class Cleanup(BaseModel):
    """
    A source that is gone, and that something may be left at.
    """

    id: int
    source: str
    driver: Any
    uri: Any
    since: float
    tries: int
    asks: bool = Field(description="It is not done before a person says so.")
    reason: str
    hint: str


class Cleanups(BaseModel):
    """
    What is left to do at sources that were deleted.
    """

    rows: list[Cleanup]


class Retried(Cleanups):
    """
    Whether it is done now, and what is left.
    """

    done: bool


class Configuration(BaseModel):
    """
    The whole configuration and everything that is wrong with it.
    """

    path: str
    revision: int | None = Field(description="Number of the newest revision; null = there is none yet.")
    in_force: bool = Field(description="Whether what is in force is what the file says.")
    problems: list[FileProblem]
    cleanups: list[Cleanup]
    sources: dict[str, ConfigEntry]
    pushers: dict[str, ConfigEntry]
    syncs: dict[str, ConfigEntry]


class Applied(BaseModel):
    """
    What applying did: ids of syncs, and of sources that are gone.
    """

    started: list[str]
    restarted: list[str]
    stopped: list[str]
    retried: list[str]
    kept: list[str] = Field(description="They go on with what they have, for they could not be built of the new one.")
    cleaned: list[str] = Field(description="Sources that are gone, with what their drivers had made there.")
    left: list[str] = Field(description="Sources that are gone, and that something may be left at.")


class AppliedConfiguration(Configuration):
    """
    What applying did, and the configuration.
    """

    applied: Applied


class EntryChange(BaseModel):
    """
    What a change of several entries did; it takes effect when it is applied.
    """

    entry: ConfigEntry | None = Field(description="The entry as it is now, secrets masked; null = it is gone.")
    dependants: list[str] = Field(description="The syncs that were changed or deleted with it.")


class UnusedEntries(BaseModel):
    """
    Sources and pushers that no sync uses.
    """

    sources: list[str]
    pushers: list[str]


class Revision(BaseModel):
    """
    One state that the configuration was in.
    """

    id: int
    ts: float = Field(description="When it was recorded, epoch seconds.")
    reason: str


class Revisions(BaseModel):
    """
    The newest revisions, newest first.
    """

    rows: list[Revision]


class RevisionText(Revision):
    """
    A revision with its text, secrets masked.
    """

    text: str


class ChangedKey(BaseModel):
    """
    A key that is not the same; values are null where it is not there.
    """

    key: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class RevisionDifference(BaseModel):
    """
    What differs between two revisions. That a secret is another one is said, not what it is.
    """

    before: Revision | None
    after: Revision
    changes: list[ChangedKey]
    diff: str = Field(description="As lines; empty when only comments or the layout differ.")
    unreadable: list[str] = Field(description="Which of the two are no configuration at all.")
