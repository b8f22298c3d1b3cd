"""
What the Agent answers, as msgspec structs. Fields we do not know are ignored, so that a newer agent may say more.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Driver(msgspec.Struct):
    """
    One driver; `error` says why it can't be used.
    """

    name: str
    title: str = ""
    distribution: str = ""
    version: str = ""
    error: str | None = None


class Drivers(msgspec.Struct):
    """
    All drivers that the agent has found.
    """

    sources: list[Driver] = []
    pushers: list[Driver] = []


class DriverDetails(Driver):
    """
    One driver, with the actions it knows.
    """

    kind: str = ""
    actions: list[str] = []
    about: str = ""


class Wizard(msgspec.Struct):
    """
    The steps of a driver's set-up; what it reads or feeds, and what it does, as people say it.
    """

    title: str = ""
    about: str = ""
    icon: str = ""
    steps: list[dict[str, Any]] = []


class Said(msgspec.Struct):
    """
    How an action of a driver went. `message` is `reason` and `hint` in one; `remedy` is what to run: SQL, or commands.
    """

    ok: bool
    check: str = ""
    message: str = ""
    code: str = ""
    reason: str = ""
    hint: str = ""
    remedy: list[str] = []


class Fields(msgspec.Struct):
    """
    The fields of a source, or those that a consumer wants, as a JSON Schema has them.
    """

    properties: dict[str, Any] = {}
    required: list[str] = []


class Table(msgspec.Struct):
    """
    A table of a source that may be chosen.

    Attributes:
        rows: How many it has, an estimate unless `is_exact`; None = not known.
        columns: How many it has.
        key: Names of the fields of its key; empty = it has none; None = not known.
        problem: Why it can't be read.
        hint: What mends that, or gives it a key.
    """

    table: str
    schema: str = ""
    rows: int | None = None
    is_exact: bool = False
    columns: int | None = None
    key: list[str] | None = None
    problem: str = ""
    hint: str = ""


class Tables(msgspec.Struct):
    """
    Some of the tables of a source. `next` is the `after` of the page that follows; `choosable` says which `driver_params` choose:
    `include` tables, `exclude_columns` columns.
    """

    rows: list[Table] = []
    total: int = 0
    next: int | None = None
    choosable: list[str] = []


class TableRows(msgspec.Struct):
    """
    The first rows of a table.
    """

    table: str
    schema: str = ""
    key: list[str] = []
    fields: list[str] = []
    rows: list[dict[str, Any]] = []


class SampledRows(msgspec.Struct):
    """
    The first rows of some tables.
    """

    tables: list[TableRows] = []


class LogLine(msgspec.Struct):
    """
    One line of the agent's log.
    """

    timestamp: str = ""
    level: str = ""
    component: str = ""
    message: str = ""
    fields: dict[str, Any] = {}


class LogPage(msgspec.Struct):
    """
    Some lines, oldest first. `next` is the place to go on backwards from; None = there are no older ones.
    """

    rows: list[LogLine]
    path: str = ""
    next: str | None = None


class Letter(msgspec.Struct):
    """
    One event that a consumer refused for good. `event` is there when one letter was asked for.
    """

    id: int
    sync: str
    ts: float = 0.0
    epoch: int = 0
    code: str = ""
    reason: str = ""
    hint: str = ""
    event_type: str = ""
    event_schema: str = ""
    table: str = ""
    rows: int = 0
    replayable: bool = True
    event: dict[str, Any] | None = None
    position: str | None = None


class Letters(msgspec.Struct):
    """
    Some dead letters, oldest first. `next` is the `after` of the page that follows.
    """

    rows: list[Letter]
    next: int | None = None
    counts: dict[str, int] = {}
    limit_rows: int = 0
    full: bool = False


class Replayed(msgspec.Struct):
    """
    A letter that the consumer has taken.
    """

    replayed: int
    answer: dict[str, Any] = {}


class Replays(msgspec.Struct):
    """
    Letters that the consumer has taken, and the one that ended it with its error.
    """

    replayed: list[int] = []
    failed: int | None = None
    error: dict[str, Any] | None = None


class Dropped(msgspec.Struct):
    """
    How many letters were deleted.
    """

    deleted: int = 0


class PreviewRow(msgspec.Struct):
    """
    One row, before and after; `outcome` is sent, filtered or refused.
    """

    before: dict[str, Any]
    after: dict[str, Any] | None = None
    outcome: str = ""
    reason: str = ""


class PreviewTable(msgspec.Struct):
    """
    What the rows of one table become, or the error that says why the transforms can't work on it.
    """

    schema: str
    table: str
    key: list[str] = []
    fields: list[str] = []
    becomes: dict[str, list[str]] | None = None
    rows: list[PreviewRow] = []
    notes: list[str] = []
    error: dict[str, Any] | None = None


class Preview(msgspec.Struct):
    """
    What transforms would do.
    """

    tables: list[PreviewTable] = []


class FileProblem(msgspec.Struct):
    """
    One thing that is wrong in the configuration file; `where` is the key as a path.
    """

    message: str
    file: str = ""
    line: int | None = None
    column: int | None = None
    where: str = ""
    hint: str = ""


class Cleanup(msgspec.Struct):
    """
    A source that is gone, and that something may be left at. `asks`: it is not done before a person says so.
    """

    id: int
    source: str
    driver: Any = None
    uri: Any = None
    since: float = 0.0
    tries: int = 0
    asks: bool = False
    reason: str = ""
    hint: str = ""


class Cleanups(msgspec.Struct):
    """
    What is left to do at sources that were deleted; `done` says how trying it once more went.
    """

    rows: list[Cleanup] = []
    done: bool | None = None


class Configuration(msgspec.Struct):
    """
    The configuration of an agent, secrets masked.

    Attributes:
        path: The file.
        revision: Number of its newest revision, for `if_revision` of what changes it; None = there is none yet.
        in_force: Whether what is in force is what the file says.
        problems: What is wrong with the file.
        cleanups: What is left to do at sources that were deleted.
        sources, pushers, syncs: Each entry by its id; with `problems` and `dependants` beside its own keys.
    """

    path: str = ""
    revision: int | None = None
    in_force: bool = True
    problems: list[FileProblem] = []
    cleanups: list[Cleanup] = []
    sources: dict[str, dict[str, Any]] = {}
    pushers: dict[str, dict[str, Any]] = {}
    syncs: dict[str, dict[str, Any]] = {}


class Applied(msgspec.Struct):
    """
    What applying the configuration did: ids of syncs, and (`cleaned`, `left`) of sources that are gone.
    """

    started: list[str] = []
    restarted: list[str] = []
    stopped: list[str] = []
    retried: list[str] = []
    kept: list[str] = []
    cleaned: list[str] = []
    left: list[str] = []


class AppliedConfiguration(Configuration):
    """
    The configuration, and what applying it did.
    """

    applied: Applied = msgspec.field(default_factory=Applied)


class EntryChange(msgspec.Struct):
    """
    What a change of several entries did; `entry` is None when it is gone.
    """

    entry: dict[str, Any] | None = None
    dependants: list[str] = []


class UnusedEntries(msgspec.Struct):
    """
    Sources and pushers that no sync uses.
    """

    sources: list[str] = []
    pushers: list[str] = []


class Revision(msgspec.Struct):
    """
    One state that the configuration was in.
    """

    id: int
    ts: float = 0.0
    reason: str = ""


class RevisionText(Revision):
    """
    A revision with its text, secrets masked.
    """

    text: str = ""


class Revisions(msgspec.Struct):
    """
    The newest revisions, newest first.
    """

    rows: list[Revision] = []


class ChangedKey(msgspec.Struct):
    """
    A key of the configuration that is not the same; `before` and `after` are None where it is not there.
    """

    key: str
    change: str
    before: Any = None
    after: Any = None


class RevisionDifference(msgspec.Struct):
    """
    What differs between two revisions: key by key, and as the lines of a unified diff. Secrets are not shown, only that they are others.
    """

    after: Revision
    before: Revision | None = None
    changes: list[ChangedKey] = []
    diff: str = ""
    unreadable: list[str] = []


class Waiting(msgspec.Struct):
    """
    What applying the configuration would do: ids of syncs, and (`clean`) of sources that are gone.
    """

    start: list[str] = []
    restart: list[str] = []
    stop: list[str] = []
    clean: list[str] = []


class ConfigurationState(msgspec.Struct):
    """
    Whether the configuration is in force; see `Configuration`. `applied_revision`: the newest one that all that runs goes by.
    """

    path: str = ""
    revision: int | None = None
    applied_revision: int | None = None
    in_force: bool = True
    problems: list[FileProblem] = []
    waiting: Waiting = msgspec.field(default_factory=Waiting)


class Overview(msgspec.Struct):
    """
    How an agent is, in little. `health`: how many syncs are how; `dead_letters`: rows parked, of the syncs `dead_letters_of`.
    """

    agent_id: str = ""
    host: str = ""
    version: str = ""
    syncs: int = 0
    health: dict[str, int] = {}
    failed: list[str] = []
    retrying: list[str] = []
    dead_letters: int = 0
    dead_letters_of: list[str] = []
    dead_letters_full: bool = False
    cleanups: int = 0
    configuration: ConfigurationState = msgspec.field(default_factory=ConfigurationState)
