"""
Changes one entry in the text of a configuration file and leaves the rest, comments and order, as a person wrote it.
"""

from __future__ import annotations

from typing import Any

import yaml

from fustor_agent.config_file import SECTIONS, Section, dump, parse


def with_entry(text: str, section: Section, id_: str, entry: dict[str, Any] | None) -> str:
    """
    Return `text` with one entry set, or removed when `entry` is None.

    When the file is written in a way that can't be changed in place (`{...}` in one line, anchors), it is written anew as a
    whole: it says the same, without its comments.
    """
    wanted = {s: dict(parse(text).entries[s]) for s in SECTIONS}
    if entry is None:
        wanted[section].pop(id_, None)
    else:
        wanted[section][id_] = entry
    changed = _in_place(text, section, id_, entry)
    if changed is not None:
        check = parse(changed)
        if check.broken is None and check.entries == wanted:
            return changed
    return dump(wanted)


def _in_place(text: str, section: Section, id_: str, entry: dict[str, Any] | None) -> str | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if root is None:
        return "".join(lines) + ("" if entry is None else _block({section: {id_: entry}}, 0))
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    found = _value(root, section)
    if found is None:
        return "".join(lines) + ("" if entry is None else _block({section: {id_: entry}}, 0))
    _, entries = found
    if not isinstance(entries, yaml.MappingNode) or entries.flow_style or not entries.value:
        return None
    indent = entries.value[0][0].start_mark.column
    block = [] if entry is None else [_block({id_: entry}, indent)]
    old = _value(entries, id_)
    if old is None:
        last = entries.value[-1]
        at = _end(last[0], last[1])
        return "".join([*lines[:at], *block, *lines[at:]])
    key, value = old
    if entry is None and len(entries.value) == 1:
        # A section that is left empty would read as null: it goes as a whole.
        start = next(k.start_mark.line for k, _ in root.value if k.value == section)
        return "".join([*lines[:start], *lines[_end(key, value) :]])
    return "".join([*lines[: key.start_mark.line], *block, *lines[_end(key, value) :]])


def _value(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if str(key.value) == name), None)


def _end(key: yaml.Node, value: yaml.Node) -> int:
    """
    Return the line after the last one that belongs to an entry: the end mark of a block lies behind the comments that follow it.
    """
    last: yaml.Node = value
    while isinstance(last, yaml.MappingNode | yaml.SequenceNode) and last.value and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    mark = last.end_mark
    end = mark.line + (1 if mark.column else 0)
    return int(max(end, key.start_mark.line + 1))


def _block(content: dict[str, Any], indent: int) -> str:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))
