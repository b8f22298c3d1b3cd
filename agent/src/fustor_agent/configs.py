"""
The agent's configuration while it runs: the file, what is in force of it, its revisions, and changes to it.

All or nothing: a file in which anything is wrong changes nothing of what is in force. Only an agent that starts and has no
revision without problems runs what is right of the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fustor_agent.config_diff import changed_keys, differences, with_keys
from fustor_agent.config_file import FILE_NAME, NEEDS, AgentConfig, Drivers, Section, check_id, parse
from fustor_agent.config_problems import Problem
from fustor_agent.config_text import with_entry
from fustor_agent.revisions import Revision, Revisions
from fustor_agent.secret_values import left_masked, mask, unmask
from fustor_common.atomicfile import write_text
from fustor_common.logging import get_logger
from fustor_core.errors import ConfigError, PreconditionFailed, StateConflictError

log = get_logger(__name__)

Edit = tuple[Section, str, dict[str, Any] | None]
"""
An entry to set, or to remove.
"""

BY_HAND: Final = "edited by hand"
"""
What has brought a revision about that nobody made here.
"""

_NOT_STORED = ("id", "problems", "dependants")
_Stamp = tuple[int, int, int]


class Configs:
    """
    The configuration of one agent.

    A change by the API goes into the file and becomes a revision at once; running syncs keep what they were started with until
    the supervisor applies it.

    Args:
        root: The config root; the file is `agent-config.yaml` in it. A file that is absent is an empty configuration.
        revisions: Where each text is recorded.
        drivers: What is installed; None = drivers are not checked.

    Attributes:
        file: What the file said when it could be read last, wrong or not.
        current: What is in force.
        problem: What made the file unreadable when it was read last.
    """

    def __init__(self, root: Path, revisions: Revisions, drivers: Drivers | None = None) -> None:
        self.path = root / FILE_NAME
        self.revisions = revisions
        self.file = AgentConfig()
        self.current = AgentConfig()
        self.problem: Problem | None = None
        self._drivers = drivers
        self._is_good = False
        self._stamp: _Stamp | None = None

    # -- reading -----------------------------------------------------------------------------------------------------

    def reload(self, reason: str = "") -> AgentConfig:
        """
        Read the file again, and return what is in force then.

        Args:
            reason: What has changed it; "" = somebody has edited it.
        """
        self._stamp = self._stamp_of()
        try:
            text = self._read()
        except ConfigError as exc:
            self._unusable(Problem(str(self.path), None, None, "", exc.message, exc.hint))
            return self.current
        if text and text == self.file.text and self.is_file_in_force:
            self.revisions.record(text, reason or BY_HAND)
            return self.current
        read = self._parse(text)
        if read.broken is not None:
            self._unusable(read.broken)
            return self.current
        self.problem = None
        reason = reason or with_keys(BY_HAND, (one.key for one in differences(self.file, read)))
        self.file = read
        if text or self.revisions.newest() is not None:
            self.revisions.record(text, reason)
        if not read.problems:
            self._is_good = True
            self.current = read
        elif not self._is_good:
            self._fall_back()
        return self.current

    def refresh(self) -> AgentConfig:
        """
        Read the file again if it has changed.
        """
        if self._stamp != self._stamp_of():
            self.reload()
        return self.current

    def _unusable(self, problem: Problem) -> None:
        self.problem = problem
        if not self._is_good:
            self._fall_back()

    def _fall_back(self) -> None:
        """
        The agent has just started and something is wrong with the file: go on as before, else with what is right.
        """
        for revision in self.revisions.latest():
            before = self._parse(revision.text)
            if not before.problems:
                log.error(
                    "the configuration file has problems; what is in force is an older revision",
                    revision=revision.id,
                    problems=[str(problem) for problem in self.problems],
                )
                self._is_good = True
                self.current = before
                return
        self.current = self.file

    def _parse(self, text: str) -> AgentConfig:
        return parse(text, str(self.path), self._drivers)

    def _stamp_of(self) -> _Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @property
    def problems(self) -> list[Problem]:
        """
        Everything that is wrong with the file.
        """
        return [self.problem] if self.problem else self.file.problems

    @property
    def is_file_in_force(self) -> bool:
        """
        Whether what is in force is what the file says.
        """
        return self.problem is None and self.current is self.file

    def shown(self, section: Section, id_: str) -> dict[str, Any]:
        """
        Return one entry as the API shows it: secrets masked, with what is wrong with it, and the syncs that need it.

        Raises:
            NotFoundError: There is no such entry.
        """
        ours = {
            "id": id_,
            "problems": [p.to_dict() for p in self.file.problems_of(section, id_)],
            "dependants": self.file.dependants(section, id_),
        }
        return {"id": id_, **mask(self.file.get(section, id_)), **ours}  # whatever the file has under these names

    @property
    def revision(self) -> int:
        """
        The number of the newest revision; 0 = there is none yet.
        """
        return self.revisions.newest_id() or 0

    def expect(self, revisions: frozenset[int]) -> None:
        """
        Read the file again, and check that it is still at one of these revisions.

        Raises:
            PreconditionFailed: Somebody has changed it; says what was changed last.
        """
        self.reload()
        now = self.revision
        if now in revisions:
            return
        newest = self.revisions.newest()
        wanted = ", ".join(map(str, sorted(revisions)))
        raise PreconditionFailed(
            f"the configuration has changed since revision {wanted}: it is at revision {now} now"
            + (f" ({newest.reason})" if newest else ""),
            hint=f"read it again, see with `GET /api/configs/revisions/{now}/diff?against={max(revisions)}` what was changed, and "
            f'decide anew: a change with `If-Match: "{now}"` is made to what is there now',
            context={"revision": now, "expected": sorted(revisions)},
        )

    # -- changing ----------------------------------------------------------------------------------------------------

    def put(self, section: Section, id_: str, given: Mapping[str, Any]) -> None:
        """
        Set one entry; where `given` has `***` the secret stays what it was.

        Raises:
            ConfigError: The entry is wrong; nothing was changed.
            StateConflictError: The file can't be read as it stands; nothing was changed.
        """
        self._for_change()
        known = self.file.entries[section].get(id_)
        self._set(section, id_, given, known)

    def create(self, section: Section, id_: str, given: Mapping[str, Any]) -> None:
        """
        Add one entry.

        Raises:
            ConfigError: The entry is wrong; nothing was changed.
            StateConflictError: There is one of this id already, or the file can't be read as it stands.
        """
        self._for_change()
        self._refuse_known(section, id_)
        self._set(section, id_, given, None)

    def _set(self, section: Section, id_: str, given: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
        check_id(id_)
        entry = self._with_secrets(section, id_, {k: v for k, v in given.items() if k not in _NOT_STORED}, known)
        what = f"{section}.{id_}"
        reason = f"added {what}" if known is None else with_keys(f"changed {what}", changed_keys(known, entry))
        self._change([(section, id_, entry)], reason)

    def _with_secrets(
        self, section: Section, id_: str, given: Mapping[str, Any], known: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        entry: dict[str, Any] = unmask(given, known)
        wrong = [
            Problem(
                str(self.path),
                None,
                None,
                ".".join((section, id_, *place)),
                "`***` stands for a saved secret, and there is something else around it, or nothing is saved here",
                "write the secret itself, or a reference such as `${NAME}`; to keep what is saved, leave it as it was shown",
            )
            for place in left_masked(entry, known)
        ]
        _refuse(wrong)
        return entry

    def clone(
        self, section: Section, id_: str, new_id: str, changes: Mapping[str, Any], *, supersede: bool
    ) -> list[str]:
        """
        Add a copy of an entry under another id.

        Args:
            section, id_: What to copy.
            new_id: The id of the copy.
            changes: Keys of the copy that have other values; None removes a key.
            supersede: The copy takes the place of the old entry: syncs that need the old one need the copy then, and the old
                one stays, disabled.

        Returns:
            The syncs that were changed.

        Raises:
            NotFoundError: There is no such entry.
            ConfigError: The copy would be wrong; nothing was changed.
            StateConflictError: There is one of the new id already, or the file can't be read as it stands.
        """
        self._for_change()
        old = self.file.get(section, id_)
        check_id(new_id)
        self._refuse_known(section, new_id)
        merged = {**old, **{k: v for k, v in changes.items() if k not in _NOT_STORED}}
        copy = {k: v for k, v in self._with_secrets(section, new_id, merged, old).items() if v is not None}
        edits: list[Edit] = [(section, new_id, copy)]
        moved: list[str] = []
        if supersede:
            edits.append((section, id_, {**old, "disabled": True}))
            moved = self.file.dependants(section, id_)
            edits += [("syncs", s, {**self.file.get("syncs", s), section[:-1]: new_id}) for s in moved]
        self._change(edits, f"{'superseded' if supersede else 'cloned'} {section}.{id_} by {new_id}")
        return moved

    def set_disabled(self, section: Section, id_: str, *, disabled: bool) -> None:
        """
        Enable or disable an entry.

        Raises:
            NotFoundError: There is no such entry.
            StateConflictError: The file can't be read as it stands.
        """
        self._for_change()
        entry = self.file.get(section, id_)
        if self.file.is_disabled(section, id_) != disabled:
            word = "disabled" if disabled else "enabled"
            self._change([(section, id_, {**entry, "disabled": disabled})], f"{word} {section}.{id_}")

    def delete(self, section: Section, id_: str, *, with_dependants: bool = False) -> list[str]:
        """
        Remove one entry; return the ids of the syncs that went with it.

        Raises:
            NotFoundError: There is no such entry.
            StateConflictError: A sync needs it and is not to go with it, or the file can't be read as it stands.
        """
        self._for_change()
        self.file.get(section, id_)
        users = self.file.dependants(section, id_)
        if users and not with_dependants:
            raise StateConflictError(
                f"{section[:-1]} {id_!r} is used by {', '.join(map(repr, users))}",
                hint="delete or change these syncs first, or delete them with it: `?with_dependants=true`",
                context={"section": section, "id": id_, "syncs": users, "dependants": users},
            )
        edits: list[Edit] = [("syncs", user, None) for user in users]
        also = f" and the syncs {', '.join(users)}" if users else ""
        self._change([*edits, (section, id_, None)], f"deleted {section}.{id_}{also}")
        return users

    def unused(self, only: Section | None = None) -> dict[Section, list[str]]:
        """
        Return the sources and pushers that no sync needs; `only` those of one section.
        """
        return {
            section: [id_ for id_ in self.file.entries[section] if not self.file.dependants(section, id_)]
            if only in (None, section)
            else []
            for _, section in NEEDS
        }

    def delete_unused(self, only: Section | None = None) -> dict[Section, list[str]]:
        """
        Remove the sources and pushers that no sync needs; return them.

        Args:
            only: Those of this section alone.

        Raises:
            StateConflictError: The file can't be read, or has problems: what looks unused may only be misspelt.
        """
        self._for_change()
        if self.file.problems:
            raise StateConflictError(
                f"what is unused can't be told while the file has problems: {self.file.problems[0]}",
                hint="mend the file first",
                context={"path": str(self.path)},
            )
        found = self.unused(only)
        edits: list[Edit] = [(section, id_, None) for section, ids in found.items() for id_ in ids]
        if edits:
            self._change(edits, "deleted what no sync uses: " + ", ".join(f"{s}.{i}" for s, i, _ in edits))
        return found

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
                self.revisions.record(text, BY_HAND)
        self._write(self.revisions.get(revision_id).text, f"rolled back to revision {revision_id}")

    def compared(self, revision_id: int, against: int | None = None) -> tuple[Revision | None, Revision]:
        """
        Return two revisions to compare; by default one with that before it (None when it is the first).

        Raises:
            NotFoundError: One of them is not there (any more).
        """
        newer = self.revisions.get(revision_id)
        return (self.revisions.before(revision_id) if against is None else self.revisions.get(against)), newer

    def _refuse_known(self, section: Section, id_: str) -> None:
        if id_ in self.file.entries[section]:
            raise StateConflictError(
                f"there is a {section[:-1]} {id_!r} already",
                hint="choose another id, or change that one",
                context={"section": section, "id": id_},
            )

    def _for_change(self) -> None:
        self.reload()
        if self.problem is not None:
            raise StateConflictError(
                f"the configuration can't be changed while the file can't be read: {self.problem}",
                hint=f"mend {self.path}, or roll back to a revision",
                context={"path": str(self.path)},
            )

    def _change(self, edits: Sequence[Edit], reason: str) -> None:
        text = self.file.text
        for section, id_, entry in edits:
            text = with_entry(text, section, id_, entry)
        changed = self._parse(text)
        _refuse([p for section, id_, _ in edits for p in changed.problems_of(section, id_)])
        self._write(text, reason)

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            newest = self.revisions.newest()
            if newest is None or not newest.text:
                return ""
            # Not an empty configuration: that would stop everything, for a mount that is late or an editor's slip.
            raise ConfigError(
                "the file is gone", hint="put it back, or roll back to a revision; an empty file means no configuration"
            ) from None
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


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        error = problems[0].to_error()
        error.context["problems"] = [problem.to_dict() for problem in problems]
        raise error
