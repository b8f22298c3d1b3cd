"""
`fustor doctor`: what this machine lacks, and how to mend it.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fustor_cli import formats, options, output
from fustor_cli.entry_text import encodable

HELP = "Check this machine and say how to mend what it lacks."
_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "broken": ("✗", "red")}


def command(
    path: Annotated[str | None, typer.Argument(help="Also check this directory: how many watches it needs.")] = None,
    as_json: options.Json = False,
) -> None:
    """
    Check this machine and say how to mend what it lacks. Exit code 1 when something is broken.

    \b
    fustor doctor
    fustor doctor ~/project      also: enough inotify watches for it?
    fustor doctor --json
    """
    from fustor_cli.local.checks import run_checks  # sqlite3 and others, which no other command needs

    found = run_checks(path)
    if as_json:
        output.json_document(encodable(found))
    else:
        for check in found:
            sign, colour = _SIGNS[check.state]
            shown = sign if (sys.stdout.encoding or "").lower().startswith("utf") else check.state
            output.line(f"{output.paint(shown, colour, 'bold')} {check.name}: {formats.safe(check.found)}")
            if check.mend:
                output.line("    " + output.paint("mend: ", "bold") + formats.safe(check.mend))
        broken = sum(check.state == "broken" for check in found)
        warned = sum(check.state == "warning" for check in found)
        output.line(f"{len(found)} checks, {broken} broken, {formats.some(warned, 'warning', 'warnings')}")
    if any(check.state == "broken" for check in found):
        raise typer.Exit(1)
