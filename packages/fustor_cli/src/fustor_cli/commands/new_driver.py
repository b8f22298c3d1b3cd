"""
`fustor new-driver source|pusher NAME`: a package for a driver of one's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fustor_cli import formats, options, output
from fustor_cli.scaffold.names import Kind, driver_names

HELP = "Write the package of a driver of your own."


def command(
    kind: Annotated[Kind, typer.Argument(help="source: it reads; pusher: it sends.", show_default=False)],
    name: Annotated[
        str, typer.Argument(help="What it is called in a configuration: shop, my_queue.", show_default=False)
    ],
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder in which to make the package's own folder.")
    ] = Path(),
    as_json: options.Json = False,
) -> None:
    """
    Write a driver as a package of its own: it works, its tests pass, and the agent finds it once it is installed.

    The source reads a table of a SQLite database, the pusher writes to one; put your own system in its place.

    \\b
    fustor new-driver source shop
    fustor new-driver pusher my-queue --dir ~/drivers
    """
    from fustor_cli.scaffold.write import write_driver  # reads the templates; no other command needs it

    names = driver_names(kind, name)
    written = write_driver(names, folder.expanduser())
    if as_json:
        output.json_document(
            {"folder": str(written), "driver": names.name, "package": names.package, "distribution": names.distribution}
        )
        return
    output.line(f"Wrote {formats.safe(str(written))}: {kind} driver {names.name!r}")
    output.line()
    output.line(f"  cd {formats.safe(str(written))}")
    output.line("  pip install -e '.[test]'      # in a virtual environment, best in the agent's")
    output.line("  pytest                        # it keeps the contract already")
    output.line()
    output.line(f"README.md there says what is where. In the agent's configuration it is `driver: {names.name}`.")
