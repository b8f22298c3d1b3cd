"""
`python -m fustor_common TARGET SETTINGS`: run a service in the foreground, without the cost of a command-line library.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from fustor_common.server import serve
from fustor_common.settings import ServiceSettings
from fustor_core.errors import FustorError


def main() -> int:
    """
    Run the service that the command line names; return the exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m fustor_common", description=__doc__)
    parser.add_argument("target", help="the ASGI app, module:name")
    parser.add_argument("settings", help="the class of its settings, module:name")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-console", action="store_true", help="log to the file only")
    options = parser.parse_args()
    module, _, name = options.settings.partition(":")
    settings_cls: type[ServiceSettings] = getattr(import_module(module), name)
    try:
        settings = settings_cls.load(
            host=options.host, port=options.port, log_console=False if options.no_console else None
        )
        return serve(options.target, settings)
    except FustorError as exc:
        print(f"fustor-{settings_cls.service}: {exc}", file=sys.stderr)  # noqa: T201 - the log may not exist yet
        return 1


if __name__ == "__main__":
    sys.exit(main())
