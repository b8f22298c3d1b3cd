"""
`fustor stats`: how much is in a directory.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import encodable
from fustor_client.models import Stats

HELP = "Count what is in a directory, everything below included."


def command(
    path: Annotated[
        str | None, typer.Argument(help="Directory: /absolute, ./here, or below the root. Default: every tree.")
    ] = None,
    tree: options.TreeId = None,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Count what is in a directory, everything below included.

    Without a path the sum of all trees; --json then lists them in `trees`.

    \b
    fustor stats
    fustor stats /usr/share
    fustor stats ./src --json
    """
    given = options.tree_path(path)
    with connection.fusion(url, key) as fusion:
        trees = fusion.trees()
        roots = options.roots_of(trees)
        if given is not None:
            found = [fusion.stats(given, tree=tree)]
        else:
            found = [fusion.stats(tree=one) for one in ([tree] if tree is not None else [one.tree for one in trees])]
    if as_json:
        output.json_document(encodable(found[0]) if given is not None else _sum(found))
    elif given is None:
        _overview(found, roots, {one.tree for one in trees if not one.complete})
    else:
        _details(found[0], roots)


def _sum(found: list[Stats]) -> dict[str, Any]:
    fields = ("files", "dirs", "symlinks", "others", "bytes")
    total: dict[str, Any] = {field: sum(getattr(one, field) for one in found) for field in fields}
    total["newest_mtime"] = max((one.newest_mtime for one in found if one.newest_mtime is not None), default=None)
    return {**total, "trees": encodable(found)}


def _overview(found: list[Stats], roots: dict[str, str], incomplete: set[str]) -> None:
    if not found:
        output.note("No tree is here yet. Add one: fustor up PATH")
        return
    rows = [
        (
            formats.count(one.files),
            formats.count(one.dirs),
            formats.size(one.bytes),
            formats.moment(one.newest_mtime),
            one.tree,
            formats.name(roots.get(one.tree, one.path))
            + (" (incomplete: snapshot running)" if one.tree in incomplete else ""),
        )
        for one in found
    ]
    output.table(("Files", "Directories", "Size", "Newest", "Tree", "Root"), rows, right=(0, 1, 2))


def _details(stats: Stats, roots: dict[str, str]) -> None:
    where = stats.path
    if not where.startswith("/"):
        where = f"{roots.get(stats.tree, '').rstrip('/')}/{stats.path}".rstrip("/") or "/"
    output.line(output.paint(formats.name(where), "bold"))
    own = stats.own
    rows = [
        ("everything below", *_cells(stats.files, stats.dirs, stats.symlinks, stats.others, stats.bytes)),
        ("directly in it", *_cells(own.files, own.dirs, own.symlinks, own.others, own.bytes)),
    ]
    output.table(("", "Files", "Directories", "Symlinks", "Other", "Size"), rows, right=(1, 2, 3, 4, 5))
    output.line(f"newest change {formats.moment(stats.newest_mtime)}")


def _cells(files: int, dirs: int, symlinks: int, others: int, size: int) -> tuple[str, ...]:
    return (*(formats.count(n) for n in (files, dirs, symlinks, others)), formats.size(size))
