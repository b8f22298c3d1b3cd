"""
The agent's configuration while it runs: the file, what was read of it, its revisions, and changes to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from fustor_agent.config_file import FILE_NAME, MODELS, SECTIONS, AgentConfig, Problem, Section, check_id, parse
from fustor_agent.config_text import with_entry
from fustor_agent.revisions import Revisions
from fustor_agent.secret_values import mask, unmask
from fustor_common.atomicfile import write_text
from fustor_core.errors import ConfigError, NotFoundError, StateConflictError


class Configs:
    """
    The configuration of one agent.

    A change by the API goes into the file and becomes a revision at once; running syncs keep what they were started with until
    the supervisor applies it.

    Args:
        root: The config root; the file is `agent-config.yaml` in it. A file that is absent is an empty configuration.
        revisions: Where each text is recorded.
    """

    def __init__(self, root: Path, revisions: Revisions) -> None:
        self.path = root / FILE_NAME
        self.revisions = revisions
        self.current = AgentConfig()
        self.problem: Problem | None = None
        """
        What made the file unreadable when it was read last; `current` is then what it said before.
        """

    def reload(self, reason: str = "edited by hand") -> AgentConfig:
        """
        Read the file again. A file that can't be read at all changes nothing but `problem`.
        """
        try:
            text = self._read()
        except ConfigError as exc:
            self.problem = Problem(str(self.path), None, "", exc.message, exc.hint)
            return self.current
        read = parse(text, str(self.path))
        self.problem = read.broken
        if read.broken is None:
            self.current = read
            if text or self.revisions.newest() is not None:
                self.revisions.record(text, reason)
        return self.current

    @property
    def problems(self) -> list[Problem]:
        """
        Everything that is wrong with the file.
        """
        return ([self.problem] if self.problem else []) + self.current.problems

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """
        Return one entry, references unresolved and secrets in clear.

        Raises:
            NotFoundError: There is no such entry.
        """
        try:
            return self.current.entries[section][id_]
        except KeyError:
            raise NotFoundError(
                f"there is no {section[:-1]} {id_!r}",
                hint=f"known {section}: {', '.join(self.current.entries[section]) or 'none'}",
                context={"section": section, "id": id_},
            ) from None

    def shown(self, section: Section, id_: str) -> dict[str, Any]:
        """
        Return one entry as the API shows it: secrets masked, with what is wrong with it.
        """
        problems = [_shown_problem(p) for p in self.current.problems_of(section, id_)]
        return {"id": id_, **mask(self.get(section, id_)), "problems": problems}

    def put(self, section: Section, id_: str, given: dict[str, Any]) -> None:
        """
        Set one entry; where `given` has `***` the secret stays what it was.

        Raises:
            ConfigError: The entry is wrong; nothing was changed.
            StateConflictError: The file can't be read as it stands; nothing was changed.
        """
        check_id(id_)
        text = self._text_to_change()
        known = self.current.entries[section].get(id_)
        entry = unmask({k: v for k, v in given.items() if k not in ("id", "problems")}, known)
        changed = with_entry(text, section, id_, entry)
        wrong = parse(changed, str(self.path)).problems_of(section, id_)
        if wrong:
            raise wrong[0].to_error()
        self._write(changed, f"{'changed' if known is not None else 'added'} {section}.{id_}")

    def delete(self, section: Section, id_: str) -> None:
        """
        Remove one entry.

        Raises:
            NotFoundError: There is no such entry.
            StateConflictError: A sync needs it, or the file can't be read as it stands.
        """
        text = self._text_to_change()
        self.get(section, id_)
        if section != "syncs":
            users = [s for s, e in self.current.entries["syncs"].items() if e.get(section[:-1]) == id_]
            if users:
                raise StateConflictError(
                    f"{section[:-1]} {id_!r} is used by {', '.join(map(repr, users))}",
                    hint="delete or change these syncs first",
                    context={"section": section, "id": id_, "syncs": users},
                )
        self._write(with_entry(text, section, id_, None), f"deleted {section}.{id_}")

    def roll_back(self, revision_id: int) -> None:
        """
        Write the text of an older revision; that is a new revision.

        Raises:
            NotFoundError: There is no such revision.
        """
        # What stands in the file now, mended or not, stays to be gone back to.
        with contextlib.suppress(ConfigError):
            text = self._read()
            if text:
                self.revisions.record(text, "edited by hand")
        self._write(self.revisions.get(revision_id).text, f"rolled back to revision {revision_id}")

    def model(self, section: Section, id_: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """
        Return the model of an entry, after `change` (which resolves references).

        Raises:
            NotFoundError: There is no such entry.
            ConfigError: It is wrong.
        """
        entry = self.get(section, id_)
        wrong = self.current.problems_of(section, id_)
        if wrong:
            raise wrong[0].to_error()
        try:
            return MODELS[section].model_validate(change(entry))
        except ValueError as exc:
            # Not the text of pydantic's error: it would show the resolved values.
            raise ConfigError(
                f"`{section}.{id_}` is not valid once its references are resolved ({type(exc).__name__})",
                hint="look at what the environment variables and files it refers to hold",
                context={"section": section, "id": id_},
            ) from None

    def _text_to_change(self) -> str:
        self.reload()
        if self.problem is not None:
            raise StateConflictError(
                f"the configuration can't be changed while the file can't be read: {self.problem}",
                hint=f"mend {self.path}, or roll back to a revision",
                context={"path": str(self.path)},
            )
        return self.current.text

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as exc:
            raise ConfigError(f"not UTF-8 text: {exc.reason} at byte {exc.start}", hint="save it as UTF-8") from None
        except OSError as exc:
            raise ConfigError(
                f"can't be read: {exc.strerror or exc}", hint="make it readable for the agent's user"
            ) from None

    def _write(self, text: str, reason: str) -> None:
        try:
            write_text(self.path, text)
        except OSError as exc:
            raise ConfigError(
                f"{str(self.path)!r} can't be written: {exc.strerror or exc}",
                hint="free disk space and make the file writable for the agent's user",
                context={"path": str(self.path)},
            ) from exc
        self.reload(reason)


def masked_text(text: str) -> str:
    """
    Return the text of a revision with its secrets masked (and, then, without its comments: they may hold some too).
    """
    read = parse(text)
    if read.broken is not None:
        return f"# {read.broken.message}; not shown, for it may hold secrets\n"
    return yaml.safe_dump(
        mask({s: read.entries[s] for s in SECTIONS if read.entries[s]}), sort_keys=False, allow_unicode=True
    )


def _shown_problem(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "key": problem.key, "message": problem.message, "hint": problem.hint}
