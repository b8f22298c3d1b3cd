"""
`fustor status`: one screen that says how everything fares.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from fustor_cli import connection, formats, options, output
from fustor_cli.entry_text import encodable
from fustor_cli.local.control import running_board
from fustor_cli.local.layout import Layout
from fustor_cli.local.picture import Painter, Picture
from fustor_cli.local.state import again, load
from fustor_core.errors import ConfigError

HELP = "Show how services and sources fare."


def command(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Show how services and sources fare. Exit code 1 when the local services do not run.

    With --url it asks that Fusion alone which syncs feed it.

    \b
    fustor status
    fustor status --watch
    fustor status --json
    """
    if url is not None:
        _remote(url, key, as_json=as_json)
        return
    layout = Layout.here()
    state = load(layout)
    if state is None:
        raise ConfigError(
            f"nothing is set up in {str(layout.root)!r}", hint="start with `fustor up PATH`, or give --url of a Fusion"
        )
    painter = Painter(layout, state)
    picture = painter.take(running_board(layout))
    if as_json:
        output.json_document(encodable(picture))
    elif watch and sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live

        from fustor_cli.local.screen import screen

        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(painter.take(running_board(layout)), footer="Ctrl-C ends"), refresh=True)
                time.sleep(1)
    else:
        show(picture)
    if picture.mode is None:
        if not as_json:
            output.note(f"The services do not run. Start them: {again(state)}")
        raise typer.Exit(1)


def show(picture: Picture) -> None:
    """
    Write a picture: drawn on a terminal, plain lines elsewhere.
    """
    if sys.stdout.isatty():
        from rich.console import Console

        from fustor_cli.local.screen import screen

        Console().print(screen(picture, footer=None))
        return
    for line in plain(picture):
        output.line(line)


def plain(picture: Picture) -> list[str]:
    """
    Return the status as plain lines, one fact a line.
    """
    lines = []
    for sync in picture.syncs:
        if sync.state == "stopped" and picture.mode is None:
            lines.append(f"{sync.kind} {formats.safe(sync.root)}: stopped, {sync.counted()} when last seen")
            continue
        events = "-" if sync.events_per_s is None else f"{sync.events_per_s:.1f}"
        lag = "-" if sync.lag_s is None else formats.duration(sync.lag_s)
        lines.append(
            f"{sync.kind} {formats.safe(sync.root or sync.id)}: {sync.state}, {', '.join(sync.amounts())}, {events} events/s, lag {lag}"
        )
        if sync.reason:
            lines.append(f"  reason: {formats.safe(sync.reason)}")
            lines += [f"  try: {formats.safe(sync.hint)}"] if sync.hint else []
        lines += [f"  problem: {formats.safe(problem)}" for problem in sync.problems[:3]]
    for service in picture.services:
        more = f", pid {service.pid}, {formats.some(service.restarts, 'restart', 'restarts')}" if service.pid else ""
        lines.append(f"service {service.name}: {service.state}, {service.url}{more}")
    return lines + [f"trouble: {formats.safe(text)}" for text in picture.trouble]


def _remote(url: str, key: str | None, *, as_json: bool) -> None:
    with connection.fusion(url, key) as fusion:
        syncs = fusion.syncs()
    if as_json:
        output.json_document(encodable(syncs))
        return
    rows = [
        (
            formats.safe(sync.task_id),
            "yes" if sync.connected else "no",
            formats.count(sync.rows),
            "-" if sync.snapshot is None else sync.snapshot.state,
        )
        for sync in syncs
    ]
    output.table(("Sync", "Connected", "Rows", "Snapshot"), rows, right=(2,))
