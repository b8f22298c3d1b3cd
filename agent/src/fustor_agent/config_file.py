"""
`agent-config.yaml`: sources, pushers and syncs by id. Reads it and checks it entry by entry.

A wrong entry never hides the others: each thing that is wrong becomes a `Problem`. Neighbours: `yaml_places` (text to data),
`config_problems` (wording), `config_text` (changes), `configs` (the file while the agent runs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from fustor_agent.config_problems import Finding, Problem, findings, nearest, one_of
from fustor_agent.plain_values import unfit
from fustor_agent.secret_values import REFERRING, wrong_reference
from fustor_agent.transforms.check import mistakes_of
from fustor_agent.writable import writable
from fustor_agent.yaml_places import Document, NotYaml, Place, read
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import ConfigError, NotFoundError
from fustor_core.models.config import PusherConfig, SourceConfig, SyncConfig
from fustor_core.plugins import Catalog

FILE_NAME: Final = "agent-config.yaml"
Section = Literal["sources", "pushers", "syncs"]
SECTIONS: Final[tuple[Section, ...]] = ("sources", "pushers", "syncs")
MODELS: Final[dict[Section, type[BaseModel]]] = {"sources": SourceConfig, "pushers": PusherConfig, "syncs": SyncConfig}
NEEDS: Final[tuple[tuple[str, Section], ...]] = (("source", "sources"), ("pusher", "pushers"))
"""
The keys of a sync that name an entry of another section.
"""

Entries = dict[Section, dict[str, dict[str, Any]]]
Drivers = Mapping[Section, Mapping[str, type[BaseModel] | None]]
"""
The installed drivers of sources and pushers by name, each with the model of its `driver_params` where it has told one.
"""

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""
What an id is, as a whole: it stands in URLs, file names and logs.
"""

_ID = re.compile(ID_PATTERN)
_ID_RULE: Final = "allowed: up to 100 letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
_EXAMPLE: Final[dict[Section, str]] = {
    "sources": "{driver: fs, uri: /data, disabled: false}",
    "pushers": "{driver: fusion, endpoint: http://127.0.0.1:8102, disabled: false}",
    "syncs": "{source: id-of-a-source, pusher: id-of-a-pusher}",
}
_BOOL: Final = TypeAdapter(bool)


def drivers_of(sources: Catalog[SourceDriver], pushers: Catalog[PusherDriver]) -> Drivers:
    """
    Return what is known of the drivers of two catalogs; one that can't be loaded counts as installed.
    """

    def known(catalog: Catalog[Any]) -> dict[str, type[BaseModel] | None]:
        found: dict[str, type[BaseModel] | None] = {}
        for plugin in catalog.list():  # of two that have one name the first counts
            found.setdefault(plugin.name, None if plugin.error else catalog.get(plugin.name).params_model)
        return found

    return {"sources": known(sources), "pushers": known(pushers)}


@dataclass(slots=True)
class AgentConfig:
    """
    What a file says. Never changed once it was read.

    Attributes:
        text: The file itself.
        entries: Every entry as it stands there, references unresolved.
        problems: What is wrong.
        broken: What makes it no configuration at all, if anything: then there are no entries.
        document: Where what stands.
        file: Path of the file.
    """

    text: str = ""
    entries: Entries = field(default_factory=lambda: {s: {} for s in SECTIONS})
    problems: list[Problem] = field(default_factory=list)
    broken: Problem | None = None
    document: Document = field(default_factory=Document)
    file: str = FILE_NAME

    def problems_of(self, section: Section, id_: str) -> list[Problem]:
        """
        Return what is wrong with one entry.
        """
        place = f"{section}.{id_}"
        return [p for p in self.problems if p.key == place or p.key.startswith(place + ".")]

    def problem(self, place: Place, message: str, hint: str) -> Problem:
        """
        Make a problem of this file.
        """
        spot = self.document.spot(place)
        line, column = (spot.line, spot.column) if spot else (None, None)
        return Problem(self.file, line, column, writable(".".join(place)), message, hint)

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """
        Return one entry, references unresolved and secrets in clear.

        Raises:
            NotFoundError: There is no such entry.
        """
        try:
            return self.entries[section][id_]
        except KeyError:
            raise NotFoundError(
                f"there is no {section[:-1]} {id_!r}",
                hint=nearest(id_, self.entries[section]) + one_of(self.entries[section], f"known {section}"),
                context={"section": section, "id": id_},
            ) from None

    def model(self, section: Section, id_: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """
        Return the model of an entry, after `change` (which resolves references).

        Raises:
            NotFoundError: There is no such entry.
            ConfigError: It is wrong.
        """
        entry = self.get(section, id_)
        wrong = self.problems_of(section, id_)
        if wrong:
            raise wrong[0].to_error()
        try:
            resolved = change(entry)
        except ConfigError as exc:
            place = (section, id_, *str(exc.context.get("path", "")).split("."))
            raise self.problem(place, exc.message, exc.hint).to_error() from None
        try:
            return MODELS[section].model_validate(resolved)
        except ValueError as exc:
            # Not the text of pydantic's error: it would show the resolved values.
            raise ConfigError(
                f"`{section}.{id_}` is not valid once its references are resolved ({type(exc).__name__})",
                hint="look at what the environment variables and files it refers to hold",
                context={"section": section, "id": id_},
            ) from None

    def is_disabled(self, section: Section, id_: str) -> bool:
        """
        Tell whether an entry is disabled; one that is not there or is wrong is not.
        """
        entry = self.entries[section].get(id_)
        if entry is None:
            return False
        try:
            return _BOOL.validate_python(entry.get("disabled", MODELS[section].model_fields["disabled"].default))
        except ValidationError:
            return False

    def dependants(self, section: Section, id_: str) -> list[str]:
        """
        Return the syncs that need a source or pusher.
        """
        return [s for s, e in self.entries["syncs"].items() if section != "syncs" and e.get(section[:-1]) == id_]


def parse(text: str, file: str = FILE_NAME, drivers: Drivers | None = None) -> AgentConfig:
    """
    Read the text of a configuration file. Never raises: what is wrong is in `problems`.

    Args:
        text: The file.
        file: Its path, for the problems.
        drivers: What is installed; None = driver names and `driver_params` are not checked.
    """
    config = AgentConfig(text, file=file)
    try:
        config.document = read(text)
    except NotYaml as exc:
        line, column = (exc.spot.line, exc.spot.column) if exc.spot else (None, None)
        config.broken = Problem(file, line, column, exc.key, f"not valid YAML: {exc.message}", exc.hint)
        config.problems.append(config.broken)
        return config
    data = config.document.data
    if data is None:
        return config
    if not isinstance(data, dict):
        config.broken = Problem(
            file, 1, 1, "", "the file must hold keys and values", one_of(SECTIONS, "allowed keys") + ", each with `:`"
        )
        config.problems.append(config.broken)
        return config
    for name, content in data.items():
        if name not in SECTIONS:
            hint = nearest(str(name), SECTIONS) + one_of(SECTIONS, "allowed keys")
            config.problems.append(config.problem((str(name),), "unknown key", hint))
        elif content is not None:
            config.problems += _read_section(config, cast(Section, name), content, drivers)
    config.problems += _check_references(config)
    return config


def check_id(id_: str) -> None:
    """
    Check that an id can be used in URLs, file names and logs.

    Raises:
        ConfigError: It can't.
    """
    if not _ID.fullmatch(id_):
        raise ConfigError(f"{id_!r} can't be an id", hint=_ID_RULE, context={"id": id_})


def _read_section(config: AgentConfig, section: Section, content: Any, drivers: Drivers | None) -> Iterator[Problem]:
    example = f"allowed: an id, and below it keys and values, as `some-id: {_EXAMPLE[section]}`"
    if not isinstance(content, dict):
        yield config.problem((section,), "must hold entries by id", example)
        return
    for raw_id, entry in content.items():
        id_ = str(raw_id)
        place = (section, id_)
        if not _ID.fullmatch(id_):
            yield config.problem(place, "can't be an id", _ID_RULE)
        elif not isinstance(entry, dict) or not all(isinstance(name, str) for name in entry):
            yield config.problem(place, "must hold keys and values", f"allowed: `{id_}: {_EXAMPLE[section]}`")
        else:
            config.entries[section][id_] = entry
            for finding in _check_entry(section, entry, drivers):
                yield config.problem((*place, *finding.place), finding.message, finding.hint)


def _check_entry(section: Section, entry: dict[str, Any], drivers: Drivers | None) -> Iterator[Finding]:
    found = [*unfit(entry)] or findings(MODELS[section], entry)
    yield from found
    if section == "syncs":
        if not found:
            yield from mistakes_of(SyncConfig.model_validate(entry))
        return
    for name in ("credential", *REFERRING):
        wrong = wrong_reference(entry.get(name), name)
        if wrong is not None:
            yield Finding(tuple(wrong[0].split(".")), wrong[1], wrong[2])
    driver = entry.get("driver")
    if drivers is None or not isinstance(driver, str) or any(finding.place == ("driver",) for finding in found):
        return
    installed = drivers[section]
    if driver not in installed:
        hint = nearest(driver, installed) + one_of(installed, "installed")
        yield Finding(("driver",), f"no driver {driver!r} of {section} is installed", hint)
        return
    params, model = entry.get("driver_params", {}), installed[driver]
    if model is not None and isinstance(params, dict):
        for finding in findings(model, params):
            yield Finding(("driver_params", *finding.place), finding.message, finding.hint)


def _check_references(config: AgentConfig) -> Iterator[Problem]:
    for id_, entry in config.entries["syncs"].items():
        for name, section in NEEDS:
            wanted, known = entry.get(name), config.entries[section]
            if isinstance(wanted, str) and wanted not in known:
                hint = nearest(wanted, known) + one_of(known, f"known {section}")
                yield config.problem(("syncs", id_, name), f"there is no {name} {wanted!r}", hint)
