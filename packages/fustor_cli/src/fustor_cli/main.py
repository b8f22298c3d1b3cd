"""
The `fustor` command: finds the module of the command that was asked for, and turns errors into a line or two.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from fustor_core.errors import FustorError

COMMANDS = (
    "up",
    "down",
    "status",
    "tree",
    "search",
    "stats",
    "tables",
    "rows",
    "tail",
    "doctor",
    "new-driver",
    "version",
)


class LazyCommands(TyperGroup):
    """
    Imports the module of a command when it is run, or when all are listed.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """
        Return the names of the commands, in the order in which a newcomer meets them.
        """
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """
        Return a command, None when there is none of this name.
        """
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"fustor_cli.commands.{cmd_name.replace('-', '_')}")
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        single.command(cmd_name, short_help=module.HELP)(module.command)
        return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyCommands,
    name="fustor",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _fustor(
    debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error. May stand anywhere."),
) -> None:
    """
    Keep directory trees and other live data sources in one queryable place.

    \b
    fustor up PATH            start everything and watch PATH, a directory or the address of a database
    fustor search '*.h5'      ask, from any terminal
    fustor down               stop; the data stays
    """


def main() -> None:
    """
    Run the command. Exit codes: 0 done, 1 error, 2 wrong usage, 130 ended by Ctrl-C.
    """
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = arguments[:end], arguments[end:]
    debug = "--debug" in options or bool(os.environ.get("FUSTOR_DEBUG"))
    sys.exit(_run([one for one in options if one != "--debug"] + rest, debug=debug, as_json="--json" in options))


def _run(arguments: list[str], *, debug: bool, as_json: bool) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="fustor")
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # the command line library made an exit code of it
            return 0
        return exc.code if isinstance(exc.code, int) else 1
    except BrokenPipeError:
        # Who read our output has had enough (`| head`); python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except FustorError as exc:
        if debug:
            traceback.print_exc()
        from fustor_cli import connection, output

        output.error(connection.explain(exc), as_json=as_json)
    except Exception as exc:  # noqa: BLE001 - the last line of defence: a person gets a sentence, not a traceback
        if debug:
            traceback.print_exc()
        else:
            sys.stderr.write(
                f"Error: {type(exc).__name__}: {exc}\n  Try: the same with --debug, to see where it happened\n"
            )
    return 1


if __name__ == "__main__":
    main()
