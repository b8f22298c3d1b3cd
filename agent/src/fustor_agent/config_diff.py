"""
A text of the configuration without its secrets, and what differs between two: key by key, and as lines.

Secrets are `***` on both sides; that one has changed is said, what it was and is isn't. Comments are left out: they may hold
secrets too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final, Literal

from fustor_agent.config_file import SECTIONS, AgentConfig, parse
from fustor_agent.revisions import Revision
from fustor_agent.secret_values import MASK, mask
from fustor_agent.writable import writable
from fustor_agent.yaml_writer import block

OTHER_SECRET = f"{MASK} (another one)"
_MOST_KEYS: Final = 4


@dataclass(frozen=True, slots=True)
class Difference:
    """
    A key that is not the same.

    Attributes:
        key: Its path.
        change: What has become of it.
        before, after: Its values, secrets masked; None where it is not there.
    """

    key: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


def changed_keys(before: Any, after: Any) -> Iterator[str]:
    """
    Give the keys in which two states of an entry differ.
    """
    return (difference.key for difference in _between(before, after, ()))


def with_keys(what: str, keys: Iterable[str]) -> str:
    """
    Say what was done, and to which keys: to the first of them, when there are many.
    """
    named = [*islice(keys, _MOST_KEYS + 1)]
    if not named:
        return what
    return f"{what}: {', '.join(named[:_MOST_KEYS])}{', …' if len(named) > _MOST_KEYS else ''}"


def masked_text(text: str) -> str:
    """
    Return the text of a revision with its secrets masked (and, then, without its comments: they may hold some too).
    """
    read = parse(text)
    if read.broken is not None:
        return f"# {read.broken.message}; not shown, for it may hold secrets\n"
    return block(mask({s: read.entries[s] for s in SECTIONS if read.entries[s]}))


def comparison(older: Revision | None, newer: Revision) -> dict[str, Any]:
    """
    Return what `GET /api/configs/revisions/{n}/diff` answers; without an older one everything is new.
    """
    before, after = parse(older.text if older else ""), parse(newer.text)
    names = (f"revision {older.id}" if older else "nothing", f"revision {newer.id}")
    return {
        "before": older.head() if older else None,
        "after": newer.head(),
        "changes": [asdict(difference) for difference in differences(before, after)],
        "diff": lines(before, after, names),
        "unreadable": [name for name, read in zip(names, (before, after), strict=True) if read.broken],
    }


def differences(before: AgentConfig, after: AgentConfig) -> list[Difference]:
    """
    Return every key that differs; of an entry, or a part of one, that is new or gone only the key of the whole.
    """
    return list(_between(_content(before), _content(after), ()))


def lines(before: AgentConfig, after: AgentConfig, names: tuple[str, str]) -> str:
    """
    Return a unified diff; "" when only comments or the layout differ.
    """
    shown = mask(_content(before)), _marked(_content(before), _content(after))
    old, new = (block(content).splitlines(keepends=True) for content in shown)
    return "".join(difflib.unified_diff(old, new, *names))


def _content(config: AgentConfig) -> dict[str, Any]:
    return {section: config.entries[section] for section in SECTIONS if config.entries[section]}


def _between(before: Any, after: Any, place: tuple[str, ...]) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            below = (*place, str(name))
            if name not in after:
                yield Difference(_path(below), "removed", _shown(before[name], below), None)
            elif name not in before:
                yield Difference(_path(below), "added", None, _shown(after[name], below))
            else:
                yield from _between(before[name], after[name], below)
    elif before != after:
        shown = _shown(before, place), _shown(after, place)
        yield Difference(_path(place), "changed", shown[0], OTHER_SECRET if shown[0] == shown[1] else shown[1])


def _path(place: tuple[str, ...]) -> str:
    return writable(".".join(place))


def _shown(value: Any, place: tuple[str, ...]) -> Any:
    return mask(value, name=place[-1] if place else "", in_credential="credential" in place)


def _marked(before: Any, after: Any, place: tuple[str, ...] = ()) -> Any:
    """
    Return `after` masked, with a mark at each secret that is another one than in `before`.
    """
    if isinstance(after, dict):
        old = before if isinstance(before, dict) else {}
        return {name: _marked(old.get(name), value, (*place, str(name))) for name, value in after.items()}
    shown = _shown(after, place)
    if before is not None and before != after and _shown(before, place) == shown:
        return OTHER_SECRET
    return shown
