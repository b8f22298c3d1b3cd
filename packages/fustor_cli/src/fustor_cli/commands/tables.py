"""
`fustor tables`: the tables that were fused, with their rows and columns.
"""

from __future__ import annotations

import fnmatch
from typing import Annotated

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import encodable

HELP = "List tables."


def command(
    pattern: Annotated[str, typer.Argument(help="Only tables whose name fits this glob.")] = "*",
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    List the tables of all databases, with how many rows they have and what identifies a row.

    \b
    fustor tables
    fustor tables 'order*' --json
    """
    with connection.fusion(url, key) as fusion:
        found = [table for table in fusion.tables() if fnmatch.fnmatchcase(table.table, pattern)]
    if as_json:
        output.json_array(encodable(table) for table in found)
        return
    rows = [
        (
            formats.safe(table.table),
            formats.safe(table.schema),
            formats.count(table.rows),
            formats.safe(", ".join(table.key)) if table.key else "whole row",
            formats.count(len(table.columns)),
            formats.safe(table.task_id),
        )
        for table in found
    ]
    if rows:
        output.table(("Table", "Schema", "Rows", "Key", "Columns", "Sync"), rows, right=(2, 4))
    else:
        output.note("No table." if pattern == "*" else f"No table fits {formats.safe(pattern)}.")
