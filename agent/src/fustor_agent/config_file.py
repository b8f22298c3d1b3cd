"""
`agent-config.yaml`: sources, pushers and syncs by id. Reads, checks entry by entry, and writes back.

A wrong entry never hides the others: it becomes a `Problem` with file, line, place and remedy, and the agent runs what is right.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, cast

import yaml
from pydantic import BaseModel, ValidationError

from fustor_core.errors import ConfigError
from fustor_core.models.config import PusherConfig, SourceConfig, SyncConfig

FILE_NAME: Final = "agent-config.yaml"
Section = Literal["sources", "pushers", "syncs"]
SECTIONS: Final[tuple[Section, ...]] = ("sources", "pushers", "syncs")
MODELS: Final[dict[Section, type[BaseModel]]] = {"sources": SourceConfig, "pushers": PusherConfig, "syncs": SyncConfig}

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Lines = dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong in the file.

    Attributes:
        file: Path of the file.
        line: Counted from 1; None when it can't be told.
        key: Where: `sources.files.uri`; "" = the file as a whole.
        message, hint: What is wrong and what to do.
    """

    file: str
    line: int | None
    key: str
    message: str
    hint: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.line else self.file
        return f"{at}: {f'`{self.key}`: ' if self.key else ''}{self.message} ({self.hint})"

    def to_error(self) -> ConfigError:
        """
        Return it as the error to raise.
        """
        at = f"{self.file}:{self.line}" if self.line else self.file
        return ConfigError(
            f"{at}: {f'`{self.key}`: ' if self.key else ''}{self.message}", hint=self.hint, context=asdict(self)
        )


@dataclass(slots=True)
class AgentConfig:
    """
    What a file says.

    Attributes:
        text: The file itself.
        entries: Every entry as it stands there, references unresolved.
        problems: What is wrong.
    """

    text: str = ""
    entries: dict[Section, dict[str, dict[str, Any]]] = field(default_factory=lambda: {s: {} for s in SECTIONS})
    problems: list[Problem] = field(default_factory=list)

    @property
    def broken(self) -> Problem | None:
        """
        What makes the whole file unreadable, if anything.
        """
        return next((p for p in self.problems if p.key == ""), None)

    def problems_of(self, section: Section, id_: str) -> list[Problem]:
        """
        Return what is wrong with one entry.
        """
        place = f"{section}.{id_}"
        return [p for p in self.problems if p.key == place or p.key.startswith(place + ".")]


def parse(text: str, file: str = FILE_NAME) -> AgentConfig:
    """
    Read the text of a configuration file. Never raises: what is wrong is in `problems`.
    """
    config = AgentConfig(text)
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        what = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        config.problems.append(Problem(file, line, "", f"not valid YAML: {what}", "mend the file, then apply it"))
        return config
    if data is None:
        return config
    lines: _Lines = {}
    _collect_lines(node, (), lines)
    if not isinstance(data, dict):
        config.problems.append(
            Problem(
                file, 1, "", "the file must hold the keys `sources`, `pushers` and `syncs`", "see agent/docs/README.md"
            )
        )
        return config
    for name, content in data.items():
        if name not in SECTIONS:
            config.problems.append(
                Problem(file, lines.get((str(name),)), str(name), "unknown key", f"known keys: {', '.join(SECTIONS)}")
            )
        elif content is not None:
            _read_section(config, cast(Section, name), content, lines, file)
    _check_references(config, lines, file)
    return config


def dump(entries: dict[Section, dict[str, dict[str, Any]]]) -> str:
    """
    Return the text of a file that says the same as `entries`.
    """
    return yaml.safe_dump(
        {s: entries[s] for s in SECTIONS if entries[s]}, sort_keys=False, allow_unicode=True, width=120
    )


def check_id(id_: str) -> None:
    """
    Check that an id can be used in URLs, file names and logs.

    Raises:
        ConfigError: It can't.
    """
    if not _ID.fullmatch(id_):
        raise ConfigError(
            f"{id_!r} can't be an id",
            hint="use up to 100 letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
            context={"id": id_},
        )


def _read_section(config: AgentConfig, section: Section, content: Any, lines: _Lines, file: str) -> None:
    if not isinstance(content, dict):
        config.problems.append(
            Problem(
                file,
                lines.get((section,)),
                section,
                "must hold entries by id",
                f"write `{section}:` and below it `  some-id:`",
            )
        )
        return
    for raw_id, entry in content.items():
        id_ = str(raw_id)
        place = (section, id_)
        key = f"{section}.{id_}"
        try:
            check_id(id_)
        except ConfigError as exc:
            config.problems.append(Problem(file, lines.get(place), key, exc.message, exc.hint))
            continue
        if not isinstance(entry, dict) or not all(isinstance(name, str) for name in entry):
            config.problems.append(
                Problem(
                    file, lines.get(place), key, "must hold keys and values", "see agent/docs/README.md for an example"
                )
            )
            continue
        config.entries[section][id_] = entry
        config.problems += _check_entry(section, id_, entry, lines, file)


def _check_entry(section: Section, id_: str, entry: dict[str, Any], lines: _Lines, file: str) -> list[Problem]:
    model = MODELS[section]
    try:
        model.model_validate(entry)
    except ValidationError as exc:
        found: dict[tuple[str, ...], Problem] = {}
        errors = exc.errors(include_input=False, include_url=False)
        # A key that is spelled wrong is also missing under its right name: the former says more.
        for error in sorted(errors, key=lambda e: e["type"] == "missing"):
            # The parts that pydantic adds for the members of a union are not in the file.
            inner = tuple(str(part) for part in error["loc"] if not str(part).endswith("Credential"))
            place = (section, id_, *inner)
            hint = f"known keys: {', '.join(model.model_fields)}"
            if inner[:1] == ("credential",):
                hint = "write `{user: ..., passwd: ...}` or `{key: ...}`"
            elif error["type"] not in ("extra_forbidden", "missing"):
                description = (
                    model.model_fields[inner[0]].description if inner and inner[0] in model.model_fields else None
                )
                hint = description or "correct the value"
            message = "unknown key" if error["type"] == "extra_forbidden" else error["msg"]
            found.setdefault(place, Problem(file, _line(lines, place), ".".join(place), message, hint))
        return list(found.values())
    return []


def _check_references(config: AgentConfig, lines: _Lines, file: str) -> None:
    for id_, entry in config.entries["syncs"].items():
        for name, section in (("source", "sources"), ("pusher", "pushers")):
            wanted = entry.get(name)
            if isinstance(wanted, str) and wanted not in config.entries[cast(Section, section)]:
                known = ", ".join(config.entries[cast(Section, section)]) or "none"
                place = ("syncs", id_, name)
                config.problems.append(
                    Problem(
                        file,
                        _line(lines, place),
                        ".".join(place),
                        f"there is no {name} {wanted!r}",
                        f"known {section}: {known}",
                    )
                )


def _line(lines: _Lines, place: tuple[str, ...]) -> int | None:
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
    return None


def _collect_lines(node: Any, place: tuple[str, ...], lines: _Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, str(key.value))
            lines[below] = key.start_mark.line + 1
            _collect_lines(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            below = (*place, str(at))
            lines[below] = value.start_mark.line + 1
            _collect_lines(value, below, lines)
