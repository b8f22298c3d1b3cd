"""
`fustor search`: entries by name or path.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import as_row, shown_name, shown_size
from fustor_client.calls import SearchParams
from fustor_client.fusion import FusionClient
from fustor_client.models import FileEntry
from fustor_core.models.file_row import escape_name, unescape_name

HELP = "Find files and directories by name or path."
PAGE = 1000


def command(
    pattern: Annotated[str, typer.Argument(help="A glob ('*.h5'), else a part of the name. With a '/': of the path.")],
    path: Annotated[str | None, typer.Option("--path", "-p", help="Only below this directory.")] = None,
    regex: Annotated[bool, typer.Option("--regex", "-E", help="The pattern is a regular expression.")] = False,
    in_: Annotated[str, typer.Option("--in", help="Match name, path, or auto.")] = "auto",
    case: Annotated[bool, typer.Option("--case", "-c", help="Upper and lower case differ.")] = False,
    type: options.Type = None,  # noqa: A002 - the option's name
    min_size: options.MinSize = None,
    max_size: options.MaxSize = None,
    newer: options.Newer = None,
    older: options.Older = None,
    sort: options.Sort = None,
    reverse: options.Reverse = False,
    limit: options.Limit = 100,
    print0: Annotated[
        bool, typer.Option("--print0", "-0", help="Only paths, each ended by a NUL, for xargs -0.")
    ] = False,
    tree: options.TreeId = None,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Find files and directories by name or path.

    \b
    fustor search '*.h5' --limit 100 --json     a JSON array of rows
    fustor search report                        names that hold "report"
    fustor search '/src/*.py'                   by path
    fustor search '*' --min-size 1G --sort size -r
    fustor search '*.log' --older 30d -0 | xargs -0 ls -l
    """
    wanted = options.filters(
        type=type, min_size=min_size, max_size=max_size, newer=newer, older=older, sort=sort, reverse=reverse
    )
    params = SearchParams(
        **wanted, mode="regex" if regex else None, in_=in_, case=case, path=options.tree_path(path), tree=tree
    )
    with connection.fusion(url, key) as fusion:
        rows, more = _collect(fusion, escape_name(pattern) if not regex else pattern, params, limit)
        if as_json:
            output.json_array(as_row(row) for row in rows)
            return
        roots = options.roots_of(fusion.trees())
    if print0:
        sys.stdout.flush()
        for row in rows:
            sys.stdout.buffer.write(os.fsencode(unescape_name(options.absolute(row, roots))) + b"\0")
        return
    if rows:
        output.table(
            ("Size", "Modified", "Path"),
            [
                (shown_size(row), formats.moment(row.mtime), shown_name(row, options.absolute(row, roots)))
                for row in rows
            ],
            right=(0,),
        )
    if not rows:
        output.note("Nothing matches.")
    elif more:
        output.note(f"The first {formats.count(len(rows))} are shown; there are more: --limit {limit * 10}")


def _collect(fusion: FusionClient, pattern: str, params: SearchParams, limit: int) -> tuple[list[FileEntry], bool]:
    rows: list[FileEntry] = []
    while True:
        params["limit"] = min(limit - len(rows), PAGE)
        page = fusion.search(pattern, **params)
        rows += page.rows[: limit - len(rows)]
        if page.next is None or len(rows) >= limit:
            return rows, page.next is not None
        params["cursor"] = page.next
