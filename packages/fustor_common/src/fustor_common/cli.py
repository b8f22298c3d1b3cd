"""
The command of a service: `fustor-<service> start [-D] | stop | status`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from fustor_common.daemon import find_running, get_json, service_command, start_in_background, stop_running
from fustor_common.settings import ServiceSettings
from fustor_core.errors import FustorError

NOT_RUNNING = 3
"""
Exit code of `status` when the service does not run (the one that init scripts use).
"""

_Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]


def build_service_cli(name: str, target: str, settings_cls: type[ServiceSettings]) -> typer.Typer:
    """
    Build the command of a service.

    Args:
        name: Name of the service as people read it, "Agent".
        target: Its ASGI app, `module:name`; imported only by the process that serves.
        settings_cls: Its settings.
    """
    command = f"fustor-{settings_cls.service}"
    cli = typer.Typer(
        name=command,
        help=f"Fustor {name}: start it, stop it, see how it is.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,  # local variables may be secrets
    )

    @cli.command(help=f"Start the {name}, in the foreground or (-D) in the background.")
    def start(
        daemon: Annotated[
            bool, typer.Option("-D", "--daemon", help="In the background; returns once it answers.")
        ] = False,
        host: str | None = typer.Option(None, help=f"Address to listen on. Also {settings_cls.env_name('host')}."),
        port: int | None = typer.Option(
            None, help=f"Port to listen on; 0 = any free one. Also {settings_cls.env_name('port')}."
        ),
        as_json: _Json = False,
    ) -> None:
        try:
            settings = settings_cls.load(host=host, port=port)
            if not daemon:
                if find_running(settings.pid_file) is None and as_json:
                    # The process below logs to stderr; stdout has this one line.
                    _say({"starting": True, "pid": os.getpid(), "log": str(settings.log_file)}, "", as_json)
                argv = service_command(target, settings_cls, "--host", settings.host, "--port", str(settings.port))
                os.execv(argv[0], argv)  # same pid, and none of the command line's memory
            info, process = start_in_background(target, settings)
            process.returncode = 0  # it outlives this command on purpose
        except FustorError as exc:
            raise _fail(command, exc, as_json) from None
        _say(
            {"running": True, **asdict(info), "log": str(settings.log_file)},
            f"{command} runs: pid {info.pid}, {info.url}, log {settings.log_file}",
            as_json,
        )

    @cli.command(help=f"Stop the {name}: it ends what it is doing first.")
    def stop(
        force: Annotated[bool, typer.Option("--force", help="Kill it when it has not stopped after 15 s.")] = False,
        as_json: _Json = False,
    ) -> None:
        try:
            info = stop_running(settings_cls.load().pid_file, force=force)
        except FustorError as exc:
            raise _fail(command, exc, as_json) from None
        if info is None:
            _say({"running": False, "stopped": False}, f"{command} was not running", as_json)
        else:
            _say({"running": False, "stopped": True, "pid": info.pid}, f"{command} stopped (pid {info.pid})", as_json)

    @cli.command(
        help=f"Tell whether the {name} runs, where, and how it is. Exit code {NOT_RUNNING} when it does not run."
    )
    def status(as_json: _Json = False) -> None:
        try:
            settings = settings_cls.load()
        except FustorError as exc:
            raise _fail(command, exc, as_json) from None
        info = find_running(settings.pid_file)
        url = settings.url if info is None else info.url
        code, body = get_json(f"{url}/health/ready")
        ours = isinstance(body, dict) and (info is not None or body.get("service") == settings.service)
        if info is None and not ours:
            _say({"running": False}, f"{command} is not running", as_json)
            raise typer.Exit(NOT_RUNNING)
        health = "ready" if code == 200 else (body or {}).get("message", "no answer") if code else "no answer"
        checks = (body or {}).get("checks") or (body or {}).get("context", {}).get("checks", {})
        fields: dict[str, Any] = {"running": True, "pid": None, "url": url, "uptime_s": None}
        if info is not None:
            fields |= {"pid": info.pid, "uptime_s": round(time.time() - info.started_at, 1)}
        fields |= {"health": health, "checks": checks, "log": str(settings.log_file)}
        if as_json:
            _say(fields, "", as_json)
            return
        _print_table(command, fields, started_here=info is not None)

    return cli


def _print_table(command: str, fields: dict[str, Any], *, started_here: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("service", f"[bold]{command}[/bold]")
    table.add_row("state", "[green]running[/green]" if started_here else "running, not started by this command")
    if started_here:
        table.add_row("pid", str(fields["pid"]))
        table.add_row("uptime", _duration(fields["uptime_s"]))
    table.add_row("url", fields["url"])
    colour = "green" if fields["health"] == "ready" else "yellow"
    table.add_row("health", f"[{colour}]{escape(fields['health'])}[/{colour}]")
    table.add_row("log", escape(fields["log"]))
    Console(soft_wrap=True).print(table)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _say(fields: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(fields) if as_json else text)


def _fail(command: str, error: FustorError, as_json: bool) -> typer.Exit:
    if as_json:
        typer.echo(json.dumps(error.to_dict()))
    else:
        typer.echo(f"{command}: {error}", err=True)
    return typer.Exit(1)
