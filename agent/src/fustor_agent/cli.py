"""
The command `fustor-agent start [-D] | stop | status | preview`, and what there is about the configuration file.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fustor_agent.config_commands import add_config_commands, errors_told
from fustor_agent.settings import AgentSettings
from fustor_common.cli import build_service_cli

main = build_service_cli("Agent", "fustor_agent.main:app", AgentSettings)
add_config_commands(main)


@main.command()
def preview(
    sync: Annotated[str, typer.Argument(help="Id of the sync, as it stands in agent-config.yaml.")],
    table: Annotated[list[str] | None, typer.Option(help="Only this table, `schema.table`; may be repeated.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Most rows of a table.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """
    Show what the transforms of a sync do to real rows of its source. Nothing is sent; a running agent is not touched.
    """
    from fustor_agent.preview_command import preview_sync  # the libraries it needs take a while to load

    with errors_told(as_json=as_json):
        tables = preview_sync(AgentSettings.load(), sync, table, rows)
    if as_json:
        typer.echo(json.dumps({"tables": tables}, ensure_ascii=False))
        return
    typer.echo("\n".join(map(_told, tables)) or "no rows were found")


def _told(table: dict[str, Any]) -> str:
    name = f"{table['schema']}.{table['table']}" if table["schema"] else table["table"]
    lines = [f"{name}  key: {', '.join(table['key']) or 'none'}"]
    if table["error"] is not None:
        return "\n".join([*lines, f"  can't be transformed: {table['error']['message']} ({table['error']['hint']})"])
    becomes = table["becomes"]
    lines.append(f"  becomes: {', '.join(becomes['fields'])}  key: {', '.join(becomes['key']) or 'none'}")
    lines += [f"  note: {note}" for note in table["notes"]]
    for row in table["rows"]:
        lines += [f"  - {_json(row['before'])}", f"    {_outcome(row)}"]
    return "\n".join(lines)


def _outcome(row: dict[str, Any]) -> str:
    if row["outcome"] == "sent":
        return _json(row["after"])
    return "(filtered out)" if row["outcome"] == "filtered" else f"(refused: {row['reason']})"


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)
