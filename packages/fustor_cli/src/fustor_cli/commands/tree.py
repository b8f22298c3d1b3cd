"""
`fustor tree`: a directory, drawn as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import as_row, shown_name, shown_size
from fustor_client.calls import TreeParams
from fustor_client.fusion import FusionClient
from fustor_client.models import FileEntry

HELP = "Show a directory as a tree."
PAGE = 1000


def command(
    path: Annotated[
        str | None, typer.Argument(help="Directory: /absolute, ./here, or below the root. Default: every root.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", "-d", min=1, help="How many levels down.")] = 1,
    type: options.Type = None,  # noqa: A002 - the option's name
    min_size: options.MinSize = None,
    max_size: options.MaxSize = None,
    newer: options.Newer = None,
    older: options.Older = None,
    sort: options.Sort = None,
    reverse: options.Reverse = False,
    limit: options.Limit = 1000,
    tree: options.TreeId = None,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Show a directory as a tree.

    \b
    fustor tree                           the roots and what is directly in them
    fustor tree /usr/share --depth 2
    fustor tree . --sort size --reverse   the largest first
    fustor tree lib --type dir --json     a JSON array of rows
    """
    wanted = options.filters(
        type=type, min_size=min_size, max_size=max_size, newer=newer, older=older, sort=sort, reverse=reverse
    )
    given = options.tree_path(path)
    with connection.fusion(url, key) as fusion:
        roots = options.roots_of(fusion.trees())
        ids = [tree] if tree is not None or given is not None or not roots else list(roots)
        rows: list[FileEntry] = []
        drawn = False
        for one in ids:
            params = TreeParams(**wanted, depth=depth, tree=one)
            top, entries, more = _collect(fusion, given, params, limit)
            if as_json:
                rows += entries
                continue
            if drawn:
                output.line()
            drawn = True
            _draw(top, entries, roots)
            if more:
                output.note(f"The first {formats.count(len(entries))} are shown; there are more: --limit {limit * 10}")
    if as_json:
        output.json_array(as_row(row) for row in rows)


def _collect(
    fusion: FusionClient, path: str | None, params: TreeParams, limit: int
) -> tuple[FileEntry, list[FileEntry], bool]:
    """
    Return the directory, what is in it in the order of the answer, and whether there is more.
    """
    found: dict[str, FileEntry] = {}
    top: FileEntry | None = None
    while True:
        params["limit"] = min(limit - len(found), PAGE)
        page = fusion.tree(path, **params)
        top = top or page
        before = len(found)
        for entry in _flat(page):
            found.setdefault(entry.path, entry)  # a page repeats the directories that its entries are in
        if page.next is None or len(found) >= limit or len(found) == before:
            return top, list(found.values())[:limit], page.next is not None or len(found) > limit
        params["cursor"] = page.next


def _flat(entry: FileEntry) -> Iterator[FileEntry]:
    for child in entry.children or ():
        yield child
        yield from _flat(child)


def _draw(top: FileEntry, entries: list[FileEntry], roots: dict[str, str]) -> None:
    children: dict[str, list[FileEntry]] = {}
    there = {entry.path for entry in entries}
    for entry in entries:
        # With a filter the directory between may be missing; its entries then hang from the top.
        parent = entry.parent if entry.parent in there else top.path
        children.setdefault(parent or "", []).append(entry)
    rows = [(shown_size(top), formats.moment(top.mtime), shown_name(top, options.absolute(top, roots)))]
    stack = [iter(_branches(children, top.path, ""))]
    while stack:
        branch = next(stack[-1], None)
        if branch is None:
            stack.pop()
            continue
        entry, lead, indent = branch
        text = entry.name if entry.parent == top.path or entry.parent in there else entry.path
        rows.append((shown_size(entry), formats.moment(entry.mtime), lead + shown_name(entry, text)))
        stack.append(iter(_branches(children, entry.path, indent)))
    output.table(("Size", "Modified", "Name"), rows, right=(0,))
    dirs = sum(entry.type == "dir" for entry in entries)
    if entries or top.type == "dir":
        others = formats.some(len(entries) - dirs, "other entry", "other entries")
        output.line(f"{formats.some(dirs, 'directory', 'directories')}, {others}")


def _branches(children: dict[str, list[FileEntry]], path: str, indent: str) -> Iterator[tuple[FileEntry, str, str]]:
    below = children.get(path, [])
    for position, entry in enumerate(below):
        last = position == len(below) - 1
        yield entry, indent + ("└── " if last else "├── "), indent + ("    " if last else "│   ")
