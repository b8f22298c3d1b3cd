"""
Changes entries in the text of a configuration file and leaves the rest, comments and order, as a person wrote it.

A change is made key by key: only the text of the keys that have another value is replaced, so comments inside an entry stay too.
What comes out is read again and must say what was wanted; where a file is written in a way that can't be changed so (everything
in one line, anchors that others use), ruamel.yaml writes it anew with its comments.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from fustor_agent.config_file import SECTIONS, Entries, Section, parse
from fustor_agent.yaml_writer import WIDTH, block, inline


def with_entry(text: str, section: Section, id_: str, entry: dict[str, Any] | None) -> str:
    """
    Return `text` with one entry set, or removed when `entry` is None.
    """
    wanted: Entries = {s: dict(parse(text).entries[s]) for s in SECTIONS}
    if entry is None:
        wanted[section].pop(id_, None)
    else:
        wanted[section][id_] = entry
    for change in (_in_place, _round_trip):
        changed = change(text, section, id_, entry)
        if changed is not None and _says(changed, wanted):
            return changed
    return dump(wanted)


def dump(entries: Entries) -> str:
    """
    Return the text of a file that says the same as `entries`.
    """
    return block({s: entries[s] for s in SECTIONS if entries[s]})


def _says(text: str, wanted: Entries) -> bool:
    read = parse(text)
    return read.broken is None and read.entries == wanted


def _round_trip(text: str, section: Section, id_: str, entry: dict[str, Any] | None) -> str | None:
    yaml: Any = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    document = yaml.load(text)
    if not isinstance(document, dict):
        return None
    entries = document.setdefault(section, {})
    if not isinstance(entries, dict):
        return None
    if entry is None:
        entries.pop(id_, None)
    else:
        entries[id_] = entry
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _in_place(text: str, section: Section, id_: str, entry: dict[str, Any] | None) -> str | None:
    if text and not text.endswith("\n"):
        text += "\n"
    root = YAML(typ="safe", pure=True).compose(text)
    added = "" if entry is None else _block({section: {id_: entry}}, 0)
    if root is None:
        return text + added
    if not isinstance(root, MappingNode) or root.flow_style:
        return None
    found = _value(root, section)
    if found is None:
        return text + added
    _, entries = found
    if not isinstance(entries, MappingNode):
        # `sources:` with nothing below it.
        return text if entry is None else _replaced(text, [_whole(text, *found, _block({section: {id_: entry}}, 0))])
    if entries.flow_style or not entries.value:
        return None
    edit = _Edit(text)
    old = _value(entries, id_)
    if old is None:
        changes = [] if entry is None else [edit.after(entries, {id_: entry})]
    elif entry is not None:
        known = parse(text).entries[section].get(id_)
        changes = list(edit.value(*old, known, entry))
    elif len(entries.value) == 1:
        # A section that is left empty would read as null: it goes as a whole.
        changes = [_whole(text, *found, "")]
    else:
        changes = [_whole(text, *old, "")]
    return _replaced(text, changes)


Change = tuple[int, int, str]


class _Edit:
    """
    Finds what to replace in a text: (start, end, replacement).
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def value(self, key: Node, node: Node, before: Any, after: Any) -> Iterator[Change]:
        """
        Give the changes that turn the value of a key into another one.
        """
        if _same(before, after):
            return
        is_alias = node.start_mark.index < key.end_mark.index  # the text of an alias is elsewhere
        is_block = isinstance(node, MappingNode | SequenceNode) and not node.flow_style
        if not is_alias and is_block:
            if isinstance(node, MappingNode) and _share_keys(before, after):
                yield from self._mapping(node, before, after)
                return
            if isinstance(node, SequenceNode) and isinstance(before, list) and isinstance(after, list) and after:
                yield from self._sequence(node, before, after)
                return
        elif not is_alias and node.end_mark.line == key.start_mark.line and _fits_inline(node, after):
            yield node.start_mark.index, node.end_mark.index, inline(after)
            return
        yield _whole(self.text, key, node, _block({key.value: after}, key.start_mark.column))

    def _mapping(self, node: MappingNode, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
        stays = False
        for key, value in node.value:
            name = str(key.value)
            if name not in after:
                yield _whole(self.text, key, value, "")
            else:
                stays = True
                yield from self.value(key, value, before.get(name), after[name])
        added = {name: value for name, value in after.items() if name not in before}
        if added and stays:
            yield self.after(node, added)

    def _sequence(self, node: SequenceNode, before: list[Any], after: list[Any]) -> Iterator[Change]:
        first = 0
        while first < min(len(before), len(after)) and _same(before[first], after[first]):
            first += 1
        last = 0
        while last < min(len(before), len(after)) - first and _same(before[-1 - last], after[-1 - last]):
            last += 1
        column = node.start_mark.column
        items = node.value
        made = "".join(_block([item], column) for item in after[first : len(after) - last])
        start = _line_start(self.text, items[first]) if first < len(items) else _end_of(self.text, items[-1])
        end = _end_of(self.text, items[len(items) - last - 1]) if last < len(items) - first else start
        yield start, end, made

    def after(self, node: MappingNode, added: dict[str, Any]) -> Change:
        """
        Give the change that adds keys behind the last one of a mapping.
        """
        at = _end_of(self.text, *node.value[-1])
        return at, at, _block(added, node.value[0][0].start_mark.column)


def _share_keys(before: Any, after: Any) -> bool:
    return isinstance(before, dict) and isinstance(after, dict) and any(name in after for name in before)


def _same(one: Any, other: Any) -> bool:
    # `1`, `1.0` and `true` are equal, and not the same text.
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _replaced(text: str, changes: list[Change]) -> str:
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _value(node: MappingNode, name: str) -> tuple[Node, Node] | None:
    return next(((key, value) for key, value in node.value if str(key.value) == name), None)


def _whole(text: str, key: Node, value: Node, new: str) -> Change:
    """
    Give the change that replaces the lines of a key and its value.
    """
    return _line_start(text, key), _end_of(text, key, value), new


def _line_start(text: str, node: Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _end_of(text: str, key: Node, value: Node | None = None) -> int:
    """
    Return where the line ends that is the last to belong to a key and its value: the end mark of a block lies behind the
    comments that follow it.
    """
    last: Node = key if value is None or value.start_mark.index < key.end_mark.index else value
    while isinstance(last, MappingNode | SequenceNode) and last.value and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, MappingNode) else last.value[-1]
    end = last.end_mark.index
    if end and text[end - 1] == "\n" and end > key.end_mark.index:
        return int(end)
    newline = text.find("\n", max(end, key.end_mark.index))
    return len(text) if newline < 0 else newline + 1


def _fits_inline(node: Node, value: Any) -> bool:
    is_flow = isinstance(node, MappingNode | SequenceNode)
    is_collection = isinstance(value, dict | list)
    return (is_flow or not is_collection) and not (isinstance(value, str) and "\n" in value)


def _block(content: Any, indent: int) -> str:
    lines = block(content).splitlines(keepends=True)
    return "".join(" " * indent + line if line.strip() else line for line in lines)
