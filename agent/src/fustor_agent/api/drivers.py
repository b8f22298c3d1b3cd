"""
`/api/drivers`: what is installed, what could not be loaded and why, the set-up wizard's steps, and the actions that it runs.

Credentials that come with an action are handed to the driver and forgotten: nothing here stores or logs them, and where a driver repeats
one in what it says, it is masked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fustor_agent.api.access import Access, Running, Service
from fustor_agent.api.bodies import RequestBody
from fustor_agent.driver_tables import fields_of_table, tables_of_fields, with_table
from fustor_agent.secret_values import resolve, unmask, without
from fustor_agent.transforms import preview
from fustor_common.openapi import error_answers
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import (
    ConfigError,
    ConnectionLost,
    DriverError,
    DriverNotUsable,
    FustorError,
    InvalidRequest,
    NotFoundError,
)
from fustor_core.models.config import PusherConfig, SourceConfig
from fustor_core.outcome import Outcome
from fustor_core.plugins import Catalog, title_of

router = APIRouter(prefix="/api/drivers", tags=["drivers"], dependencies=[Access], responses=error_answers(401))

Kind = Literal["sources", "pushers"]
SourceAction = Literal["test_connection", "check_privileges", "check_runtime_params", "create_agent_user"]
T = TypeVar("T")
GivenTrial = TypeVar("GivenTrial", bound="Trial")

_CHECKS: Final[tuple[SourceAction, ...]] = ("test_connection", "check_privileges", "check_runtime_params")
_ACTION_S: Final = 120.0


class Trial(RequestBody):
    """
    A source or pusher that is not in the configuration yet; references (`${NAME}`, `file:PATH`) are resolved.
    """

    uri: str = Field("", description="Address of a source.")
    endpoint: str = Field("", description="Address of a consumer.")
    credential: dict[str, Any] | None = Field(None, description="`{user, passwd}` or `{key}`; what the sync will use.")
    admin_creds: dict[str, Any] | None = Field(
        None, description="Of an administrator, for this one call; never stored, never logged."
    )
    driver_params: dict[str, Any] = Field(default_factory=dict)
    configured: str | None = Field(
        None,
        description="Id of a source or pusher of this driver in the configuration: what is not given here, or is `***`, is as it stands there.",
    )


class FieldsTrial(Trial):
    """
    A source, and of which of its tables the fields are asked.
    """

    table: str | None = Field(None, description="`schema.table`: only its fields; none = those of all tables.")


class TablesTrial(Trial):
    """
    A source, and which part of its tables is asked.
    """

    search: str = Field("", max_length=1000, description="Only tables with this in `schema.table`, in any case.")
    after: int = Field(0, ge=0, description="So many tables are passed over.")
    limit: int = Field(100, ge=1, le=20_000, description="Most tables in the answer.")


class RowsTrial(Trial):
    """
    A source, and of which tables rows are asked.
    """

    tables: list[str] | None = Field(
        None, min_length=1, max_length=preview.MOST_TABLES, description="`schema.table`; none = those that come first."
    )
    rows: int = Field(10, ge=1, le=1000, description="Most rows of a table.")


class DriverInfo(BaseModel):
    """
    One driver; `error` says why it can't be used.
    """

    name: str
    title: str = Field(description="What people call what it reads or feeds.")
    distribution: str
    version: str
    error: str | None


class Drivers(BaseModel):
    """
    All drivers that were found.
    """

    sources: list[DriverInfo]
    pushers: list[DriverInfo]


class DriverDetails(DriverInfo):
    """
    One driver, with the actions that it knows (those that it does not only inherit).
    """

    kind: Kind
    actions: list[str]
    about: str


class Wizard(BaseModel):
    """
    The steps of a driver's set-up.
    """

    model_config = ConfigDict(extra="allow")

    title: str = Field("", description="What it reads or feeds, as people call it.")
    about: str = Field("", description="What it does, in a sentence for people.")
    icon: str = Field("", description="Name of a Material icon.")
    steps: list[dict[str, Any]]


class Said(BaseModel):
    """
    How an action went, in a sentence for the person; `check` is the one that it is about.
    """

    ok: bool
    check: str
    message: str
    code: str = Field("", description="Code of the error, where the driver tells it: see the list of errors.")
    reason: str = Field("", description="What is well, or wrong, without the hint.")
    hint: str = Field("", description="What to do about it.")
    remedy: list[str] = Field(default=[], description="What to run for that, as it is: SQL, or commands.")


class Fields(BaseModel):
    """
    A JSON Schema whose `properties` are the fields.
    """

    model_config = ConfigDict(extra="allow")

    properties: dict[str, Any] = {}


class TableInfo(BaseModel):
    """
    A table to choose; `rows` is an estimate unless `is_exact`, and null when it is not known.
    """

    model_config = ConfigDict(extra="allow")

    schema_: str = Field("", alias="schema")
    table: str
    rows: int | None = None
    is_exact: bool = False
    columns: int | None = Field(None, description="How many it has.")
    key: list[str] | None = Field(None, description="Names of the fields of its key; empty = it has none.")
    problem: str = Field("", description="Why it can't be read.")
    hint: str = Field("", description="What mends that, or gives it a key.")


class Tables(BaseModel):
    """
    Some of the tables of a source, in the driver's order.
    """

    rows: list[TableInfo]
    total: int = Field(description="How many tables there are, of those that were searched for.")
    next: int | None = Field(description="The `after` of the page that follows; null = there is none.")
    choosable: list[str] = Field(
        description="Which of the `driver_params` choose: `include` tables, `exclude_columns` columns; none = all is read."
    )


class TableRows(BaseModel):
    """
    The first rows of a table.
    """

    schema_: str = Field(alias="schema")
    table: str
    key: list[str]
    fields: list[str]
    rows: list[dict[str, Any]]


class SampledRows(BaseModel):
    """
    The first rows of some tables of a source.
    """

    tables: list[TableRows]


_OUTCOME: Final = TypeAdapter(tuple[bool, str])
_TABLES: Final = TypeAdapter(list[TableInfo] | None)
_WIZARD: Final = TypeAdapter(Wizard)
_FIELDS: Final = TypeAdapter(Fields)
_SOURCE_EXAMPLES: Final[dict[str, Any]] = {
    "a database": {
        "value": {
            "uri": "postgresql://db.example:5432/shop",
            "credential": {"user": "fustor", "passwd": "${SHOP_PASSWORD}"},
            "admin_creds": {"user": "postgres", "passwd": "the administrator's"},
        }
    },
    "a tree of files": {"value": {"uri": "/data"}},
}
_PUSHER_EXAMPLES: Final[dict[str, Any]] = {
    "Fusion": {"value": {"endpoint": "http://127.0.0.1:8102", "credential": {"key": "${FUSION_API_KEY}"}}}
}
SourceTrial = Annotated[Trial, Body(openapi_examples=_SOURCE_EXAMPLES)]
SourceFieldsTrial = Annotated[FieldsTrial, Body(openapi_examples=_SOURCE_EXAMPLES)]
SourceTablesTrial = Annotated[TablesTrial, Body(openapi_examples=_SOURCE_EXAMPLES)]
SourceRowsTrial = Annotated[RowsTrial, Body(openapi_examples=_SOURCE_EXAMPLES)]
PusherTrial = Annotated[Trial, Body(openapi_examples=_PUSHER_EXAMPLES)]
SourceName = Annotated[str, Path(description="Name of an installed driver.", examples=["fs"])]
PusherName = Annotated[str, Path(description="Name of an installed driver.", examples=["fusion"])]


@router.get("", response_model=Drivers)
async def read_drivers(service: Running) -> dict[str, Any]:
    """
    Return every driver, usable or not.
    """
    parts = service.supervisor.parts
    return {
        "sources": [
            {**asdict(plugin), "title": title_of(parts.sources, plugin.name)} for plugin in parts.sources.list()
        ],
        "pushers": [
            {**asdict(plugin), "title": title_of(parts.pushers, plugin.name)} for plugin in parts.pushers.list()
        ],
    }


@router.get("/{kind}/{name}", response_model=DriverDetails, responses=error_answers(404))
async def read_driver(kind: Kind, name: str, service: Running) -> dict[str, Any]:
    """
    Return one driver, usable or not.
    """
    parts = service.supervisor.parts
    catalog = parts.sources if kind == "sources" else parts.pushers
    for plugin in catalog.list():
        if plugin.name == name:
            driver: Any = None if plugin.error else catalog.get(name)
            about = (driver.__doc__ or "").strip().split("\n\n")[0] if driver else ""
            said = {"kind": kind, "actions": _actions(driver), "about": " ".join(about.split())}
            return {**asdict(plugin), "title": title_of(catalog, name), **said}
    known = ", ".join(plugin.name for plugin in catalog.list()) or "none"
    raise NotFoundError(f"there is no driver {name!r} among the {kind}", hint=f"installed: {known}")


@router.get("/sources/{name}/wizard", response_model=Wizard, responses=error_answers(404, 502))
async def source_wizard(name: SourceName, service: Running) -> Wizard:
    """
    Return the steps to set up a source.
    """
    return await _wizard(service.supervisor.parts.sources, name)


@router.get("/pushers/{name}/wizard", response_model=Wizard, responses=error_answers(404, 502))
async def pusher_wizard(name: PusherName, service: Running) -> Wizard:
    """
    Return the steps to set up a pusher.
    """
    return await _wizard(service.supervisor.parts.pushers, name)


@router.post("/sources/{name}/test", response_model=Said, responses=error_answers(404, 502))
async def test_source(name: SourceName, trial: SourceTrial, service: Running) -> dict[str, Any]:
    """
    Try a source: the connection, then the rights, then its settings; ends at the first that is not well.
    """
    driver, given = _source(service, name), _resolved(trial, service, "sources", name)
    for check in _CHECKS:
        said = await _act(driver, check, given)
        if not said["ok"]:
            return said
    return _told(Outcome(True, "connection, privileges and settings are well"), "all", given)


@router.post("/sources/{name}/actions/{action}", response_model=Said, responses=error_answers(404, 502))
async def act_on_source(name: SourceName, action: SourceAction, trial: SourceTrial, service: Running) -> dict[str, Any]:
    """
    Run one action of a source's driver. `create_agent_user` makes the user that the agent is to use, with the administrator's
    credential; a password that the driver has to make up is told in the answer, this once.
    """
    return await _act(_source(service, name), action, _resolved(trial, service, "sources", name))


@router.post("/sources/{name}/tables", response_model=Tables, responses=error_answers(404, 502))
async def source_tables(name: SourceName, trial: SourceTablesTrial, service: Running) -> dict[str, Any]:
    """
    Return the tables that there are to choose from, with about how many rows they have; none when the driver can't tell tables apart.
    """
    driver, given = _source(service, name), _resolved(trial, service, "sources", name)
    asked: dict[str, Any] = {
        "uri": given.uri,
        "credential": given.credential or given.admin_creds,
        "driver_params": given.driver_params,
    }
    tables = await _run(lambda: driver.get_available_tables(**asked), given, _TABLES)
    params = driver.params_model.model_fields if driver.params_model is not None else {}
    choosable = [one for one in ("include", "exclude_columns") if one in params]
    if tables is None:
        fields = await _run(lambda: driver.get_available_fields(**asked), given, _FIELDS)
        tables = [TableInfo.model_validate(one) for one in tables_of_fields(fields.properties)]
        choosable = choosable if tables else []
    wanted = given.search.casefold()
    found = [one for one in tables if wanted in f"{one.schema_}.{one.table}".casefold()]
    end = given.after + given.limit
    return {
        "rows": found[given.after : end],
        "total": len(found),
        "next": end if end < len(found) else None,
        "choosable": choosable,
    }


@router.post("/sources/{name}/fields", response_model=Fields, responses=error_answers(404, 502))
async def source_fields(name: SourceName, trial: SourceFieldsTrial, service: Running) -> Fields:
    """
    Return the fields that a source has, or one of its tables.
    """
    driver, given = _source(service, name), _resolved(trial, service, "sources", name)
    params = given.driver_params
    if given.table is not None and driver.params_model is not None and "include" in driver.params_model.model_fields:
        params = with_table(params, given.table)
    fields = await _run(
        lambda: driver.get_available_fields(
            uri=given.uri, credential=given.credential or given.admin_creds, driver_params=params
        ),
        given,
        _FIELDS,
    )
    if given.table is not None:
        fields.properties = fields_of_table(fields.properties, given.table)
    return fields


@router.post("/sources/{name}/rows", response_model=SampledRows, responses=error_answers(404, 502))
async def source_rows(name: SourceName, trial: SourceRowsTrial, service: Running) -> dict[str, Any]:
    """
    Return the first rows of some tables. They are read over a connection of their own; nothing is saved, nothing is sent.
    """
    driver, given = _source(service, name), _resolved(trial, service, "sources", name)
    try:
        config = SourceConfig.model_validate(
            {"driver": name, **given.model_dump(include={"uri", "credential", "driver_params"})}
        )
    except ValueError:  # not pydantic's text: it would show the values
        raise ConfigError(
            "the source's address or credential is not valid", hint="give `uri`, and `{user, passwd}` or `{key}`"
        ) from None
    found = await _said(lambda: preview.sample(driver, name, config, tables=given.tables, rows=given.rows), given)
    return {"tables": [preview.plain_rows(event) for event in found.events]}


@router.post("/pushers/{name}/test", response_model=Said, responses=error_answers(404, 502))
async def test_pusher(name: PusherName, trial: PusherTrial, service: Running) -> dict[str, Any]:
    """
    Try a pusher.
    """
    driver, given = _pusher(service, name), _resolved(trial, service, "pushers", name)
    said = await _said(
        lambda: driver.test_connection(
            endpoint=given.endpoint, credential=given.credential, driver_params=given.driver_params
        ),
        given,
    )
    return _told(said, "test_connection", given)


@router.post("/pushers/{name}/fields", response_model=Fields, responses=error_answers(404, 502))
async def pusher_fields(name: PusherName, trial: PusherTrial, service: Running) -> Fields:
    """
    Return the fields that a consumer wants; none = all.
    """
    driver_class, given = _pusher(service, name), _resolved(trial, service, "pushers", name)
    try:
        config = PusherConfig.model_validate(
            {"driver": name, **given.model_dump(include={"endpoint", "credential", "driver_params"})}
        )
    except ValueError:  # not pydantic's text: it would show the values
        raise ConfigError(
            "the pusher's address or credential is not valid", hint="give `endpoint`, and `{user, passwd}` or `{key}`"
        ) from None

    async def ask() -> dict[str, Any]:
        driver = driver_class(name, config)
        try:
            return await driver.get_needed_fields()
        finally:
            await driver.close()

    return await _run(ask, given, _FIELDS)


async def _wizard(drivers: Catalog[Any], name: str) -> Wizard:
    wizard = await _run(drivers.get(name).get_wizard_steps, Trial(), _WIZARD)
    wizard.title = title_of(drivers, name)
    return wizard


def _source(service: Service, name: str) -> type[SourceDriver]:
    return service.supervisor.parts.sources.get(name)


def _pusher(service: Service, name: str) -> type[PusherDriver]:
    return service.supervisor.parts.pushers.get(name)


def _actions(driver: Any) -> list[str]:
    if driver is None:
        return []
    base = SourceDriver if issubclass(driver, SourceDriver) else PusherDriver
    names = (
        "test_connection",
        *_CHECKS[1:],
        "create_agent_user",
        "get_available_fields",
        "get_available_tables",
        "get_needed_fields",
        "get_wizard_steps",
    )
    return [name for name in names if hasattr(base, name) and _code(driver, name) is not _code(base, name)]


def _code(cls: Any, name: str) -> Any:
    method = getattr(cls, name)
    return getattr(method, "__func__", method)


async def _act(driver: type[SourceDriver], action: SourceAction, given: Trial) -> dict[str, Any]:
    said = await _said(
        lambda: getattr(driver, action)(
            uri=given.uri, credential=given.credential, admin_creds=given.admin_creds, driver_params=given.driver_params
        ),
        given,
    )
    return _told(said, action, given)


def _told(said: Any, check: str, given: Trial) -> dict[str, Any]:
    ok, sentence = _valid(_OUTCOME, said)
    told = said if isinstance(said, Outcome) else Outcome(ok, sentence)
    return {
        "ok": ok,
        "check": check,
        "message": _masked(sentence, given),
        "code": told.code,
        "reason": _masked(told.reason, given),
        "hint": _masked(told.hint, given),
        "remedy": [_masked(str(one), given) for one in told.remedy],
    }


async def _run(ask: Callable[[], Awaitable[Any]], given: Trial, answer: TypeAdapter[T]) -> T:
    """
    Ask a driver, and wait for its answer; whatever it raises is told as an error of a driver, without the credentials.
    """
    return _valid(answer, await _said(ask, given))


def _valid(answer: TypeAdapter[T], said: Any) -> T:
    try:
        return answer.validate_python(said)
    except ValidationError:  # not its text: it would show what the driver has said
        raise DriverError(
            "the driver's answer is not of the kind that it has to be",
            hint="tell the author of the driver; the conformance kit of `fustor_core.testing` shows what is wrong",
        ) from None


async def _said(ask: Callable[[], Awaitable[Any]], given: Trial) -> Any:
    try:
        return await asyncio.wait_for(ask(), _ACTION_S)
    except TimeoutError:
        raise ConnectionLost(
            f"the driver gave no answer within {_ACTION_S:g} s",
            hint="look whether the address is right and can be reached",
        ) from None
    except DriverNotUsable:
        raise
    except FustorError as exc:
        # Others than these would be answered like errors of this API: a consumer that refuses a key is no 401 of the agent.
        kind = type(exc) if isinstance(exc, ConfigError | DriverError) else DriverError
        error = kind(_masked(exc.message, given), hint=_masked(exc.hint, given))
        raise error from None
    except Exception as exc:  # noqa: BLE001 - a driver may raise anything; it becomes an error of ours
        # Neither chained nor logged with its traceback: both may show the credentials.
        raise DriverError(
            f"the driver failed: {_masked(f'{type(exc).__name__}: {exc}', given)}",
            hint="check the address and the credential; if they are right, tell the author of the driver",
        ) from None


def _resolved(trial: GivenTrial, service: Service, kind: Kind, driver: str) -> GivenTrial:
    given = trial.model_dump()
    if trial.configured is not None:
        given = _with_known(given, service.supervisor.parts.configs.file.get(kind, trial.configured), driver)
    admin = resolve({"credential": given["admin_creds"]})["credential"]
    return type(trial).model_validate({**resolve(given), "admin_creds": admin})


def _with_known(given: dict[str, Any], known: dict[str, Any], driver: str) -> dict[str, Any]:
    if known.get("driver") != driver:
        raise InvalidRequest(
            f"{given['configured']!r} has another driver than {driver!r}", hint="name one of this driver, or none"
        )
    merged = dict(given)
    for name in ("uri", "endpoint", "credential", "driver_params"):
        merged[name] = unmask(given[name], known.get(name)) if given[name] else known.get(name, given[name])
    return merged


def _masked(text: str, given: Trial) -> str:
    return without(
        text,
        (
            value
            for credential in (given.credential, given.admin_creds)
            for name, value in (credential or {}).items()
            if name != "user" and isinstance(value, str)
        ),
    )
