"""
`fustor tail`: changes as they are stored.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import encodable
from fustor_client.models import Change, Lost
from fustor_core.models.file_row import FILES_TABLE

HELP = "Follow changes live."
_OPS = {"insert": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}


def command(
    path: Annotated[str | None, typer.Argument(help="Only below this directory.")] = None,
    table: Annotated[str | None, typer.Option("--table", help="Only this table.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after this many changes.")] = None,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Follow changes live, until Ctrl-C. A lost connection is made anew, and the gap is told.

    Signs: + new (or seen again), ~ changed, - gone.

    \b
    fustor tail
    fustor tail /home/me/project
    fustor tail --json | jq .key          one JSON object a line
    """
    seen = 0
    with connection.fusion(url, key) as fusion:
        if sys.stderr.isatty():
            output.note("Waiting for changes; Ctrl-C ends.")
        for told in fusion.live(table=table, path=options.tree_path(path)):
            if as_json:
                kind = {"event": "lost" if isinstance(told, Lost) else "change"}
                output.json_lines({**kind, **encodable(told)})
            elif isinstance(told, Lost):
                what = "the connection was lost; changes meanwhile are not shown"
                output.note(
                    what if told.count is None else f"{formats.count(told.count)} changes came too fast to show"
                )
            else:
                output.line(_text(told))
                sys.stdout.flush()
            seen += isinstance(told, Change)
            if limit is not None and seen >= limit:
                return


def _text(change: Change) -> str:
    sign, colour = _OPS.get(change.op, ("?", "magenta"))
    at = time.strftime("%H:%M:%S", time.localtime(change.ts or time.time()))
    row = change.row or {}
    if change.table != FILES_TABLE:
        return f"{at} {output.paint(sign, colour)} {change.schema}.{change.table} {_plain(change.key)} {_plain(row)}"
    root = options.root_path(change.schema).rstrip("/")
    key = change.key[0] if isinstance(change.key, list) and change.key else change.key
    if isinstance(key, dict):
        key = key.get("path")
    path = str(row.get("path", key))
    text = formats.name(f"{root}/{path}" if path else root or "/") + ("/" if row.get("type") == "dir" else "")
    size = formats.size(int(row["size"])) if row.get("type") == "file" and "size" in row else ""
    return f"{output.paint(at, 'dim')} {output.paint(sign, colour, 'bold')} {size:>6}  {text}"


def _plain(value: Any) -> str:
    return formats.safe(str(value))
