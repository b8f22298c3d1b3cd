"""
`fustor down`: stop the services of this config root.
"""

from __future__ import annotations

from contextlib import suppress

from fustor_cli import options, output
from fustor_cli.local.board import read_board
from fustor_cli.local.control import end_orphans, exclusive, running_board, stop, supervisor_runs
from fustor_cli.local.layout import Layout
from fustor_cli.local.state import again, load
from fustor_core.errors import FustorError

HELP = "Stop the services; the data stays."


def command(as_json: options.Json = False) -> None:
    """
    Stop the Agent, Fusion and the Registry of this config root. The data stays; `fustor up` goes on with it.

    \b
    fustor down
    FUSTOR_CONFIG_DIR=/srv/fustor fustor down
    """
    layout = Layout.here()
    if not layout.run.is_dir():
        _tell("nothing runs here", [], as_json=as_json)
        return
    with exclusive(layout):
        board = running_board(layout)
        if board is None and supervisor_runs(layout):
            raise FustorError(
                "a supervisor runs and can't be named", hint=f"see {str(layout.board)!r}; end the process that holds it"
            )
        if board is None:
            left = end_orphans(layout)
            _tell(
                "ended services that a killed supervisor had left behind" if left else "nothing ran",
                left,
                as_json=as_json,
            )
            return
        names = list(board.services)
        ordered = stop(board)
        after = read_board(layout)
        if not ordered or (after is not None and after.state != "stopped"):
            end_orphans(layout)
        _tell("stopped", names, as_json=as_json)


def _tell(what: str, services: list[str], *, as_json: bool) -> None:
    if as_json:
        output.json_lines({"event": "down", "result": what, "services": services})
        return
    shown = ", ".join(name.capitalize() for name in services)
    output.line(f"{what.capitalize()}{': ' + shown if shown else ''}.")
    if not services:
        return
    state = None
    with suppress(FustorError):  # a damaged memory is no reason to complain about what did stop
        state = load(Layout.here())
    output.line(f"The data stays. Go on with: {again(state)}")
