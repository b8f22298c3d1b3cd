"""
The commands about the configuration: `fustor-agent schema | check | apply | revisions | diff | rollback`.

`schema` and `check` need no running agent. `revisions`, `diff` and `rollback` ask the one that runs, and read its folder when none
does. What takes long to load is loaded by the command that needs it: `start` shall not wait for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fustor_agent.settings import AgentSettings
from fustor_common.agent_token import read_token
from fustor_common.daemon import find_running
from fustor_core.errors import FustorError, StateConflictError

if TYPE_CHECKING:
    from fustor_agent.configs import Configs
    from fustor_client import AgentClient

_Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
_Revision = Annotated[int, typer.Argument(help="Number of a revision, as `revisions` lists them.")]
_TIMEOUT_S = 60.0


def add_config_commands(cli: typer.Typer) -> None:
    """
    Add the commands to `fustor-agent`.
    """
    for command in (schema, check, apply, revisions, diff, rollback):
        cli.command()(command)


def schema(
    write: Annotated[bool, typer.Option("--write", help="Write it beside agent-config.yaml instead.")] = False,
) -> None:
    """
    Print the JSON Schema of agent-config.yaml, for editors: keys, drivers and their parameters as installed here.
    """
    from fustor_agent.config_schema import EDITOR_HINT, FILE_NAME, schema_of
    from fustor_common.atomicfile import write_text

    text = json.dumps(schema_of(_installed()), indent=2) + "\n"
    if not write:
        typer.echo(text, nl=False)
        return
    with errors_told(as_json=False):
        path = AgentSettings.load().config_dir / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as exc:
        typer.echo(f"fustor-agent: {str(path)!r} can't be written: {exc.strerror or exc}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{path}\nfirst line of agent-config.yaml for editors with the YAML language server:\n{EDITOR_HINT}")


def check(
    file: Annotated[Path | None, typer.Argument(help="Another file than agent-config.yaml of the config root.")] = None,
    as_json: _Json = False,
) -> None:
    """
    Say what is wrong in agent-config.yaml: line, column, key, what is allowed. Exit code 1 when anything is.
    """
    from fustor_agent.config_file import FILE_NAME, parse

    with errors_told(as_json=as_json):
        path = file or AgentSettings.load().config_dir / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        typer.echo(f"fustor-agent: {str(path)!r} can't be read: {exc}", err=True)
        raise typer.Exit(1) from None
    problems = parse(text, str(path), _installed()).problems
    if as_json:
        typer.echo(json.dumps({"path": str(path), "problems": [problem.to_dict() for problem in problems]}))
    else:
        typer.echo("\n".join(map(str, problems)) or f"{path}: no problems")
    if problems:
        raise typer.Exit(1)


def apply(as_json: _Json = False) -> None:
    """
    Have the running agent take over agent-config.yaml; only syncs that it concerns are restarted.
    """
    with errors_told(as_json=as_json):
        done = _apply()
    words = [f"{what}: {', '.join(ids)}" for what, ids in done.items() if ids]
    typer.echo(json.dumps(done) if as_json else "\n".join(words) or "nothing had changed")


def revisions(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20, as_json: _Json = False
) -> None:
    """
    List the newest states that the configuration was in.
    """
    with errors_told(as_json=as_json):
        rows: list[dict[str, Any]] = _either(
            lambda agent: [_asdict(revision) for revision in agent.revisions(limit=limit)],
            lambda configs: [revision.head() for revision in configs.revisions.latest(limit)],
        )
    if as_json:
        typer.echo(json.dumps({"rows": rows}))
        return
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["ts"]))
        typer.echo(f"{row['id']:>6}  {when}  {row['reason']}")


def diff(
    revision: _Revision,
    against: Annotated[
        int | None, typer.Argument(help="The revision to compare with; by default the one before.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """
    Show what a revision changed. Secrets are not shown, only that they are others.
    """
    from fustor_agent.config_diff import comparison

    with errors_told(as_json=as_json):
        found = _either(
            lambda agent: _asdict(agent.difference(revision, against=against)),
            lambda configs: comparison(*configs.compared(revision, against)),
        )
    typer.echo(json.dumps(found) if as_json else found["diff"] or "only comments or the layout differ", nl=as_json)
    if not as_json and not found["diff"]:
        typer.echo("")


def rollback(
    revision: _Revision,
    apply_it: Annotated[bool, typer.Option("--apply", help="Have the running agent take it over at once.")] = False,
    as_json: _Json = False,
) -> None:
    """
    Write an older revision into agent-config.yaml.
    """
    done: dict[str, Any] | None = None
    with errors_told(as_json=as_json):
        _either(
            lambda agent: agent.roll_back(revision),
            lambda configs: configs.roll_back(revision),
        )
        if apply_it:
            done = _apply()
    answer = {"rolled_back": revision, "applied": done}
    hint = "applied" if apply_it else "`fustor-agent apply` makes the running agent take it over"
    typer.echo(json.dumps(answer) if as_json else f"agent-config.yaml says what revision {revision} said; {hint}")


def _installed() -> Any:
    from fustor_agent.config_file import drivers_of
    from fustor_core.plugins import pusher_drivers, source_drivers

    return drivers_of(source_drivers(), pusher_drivers())


def _either(ask: Callable[[AgentClient], Any], read: Callable[[Configs], Any]) -> Any:
    """
    Ask the running agent, or read its folder when none runs.
    """
    agent = _running_agent()
    if agent is not None:
        with agent:
            return ask(agent)
    from fustor_agent.configs import Configs
    from fustor_agent.database import AgentDatabase
    from fustor_agent.revisions import Revisions

    settings = AgentSettings.load()
    db = AgentDatabase(settings.config_dir)
    try:
        configs = Configs(settings.config_dir, Revisions(db), _installed())
        configs.reload()
        return read(configs)
    finally:
        db.close()


def _apply() -> dict[str, Any]:
    agent = _running_agent()
    if agent is None:
        raise StateConflictError("no agent runs here", hint="`fustor-agent start -D` starts it")
    with agent:
        return _asdict(agent.apply().applied)


def _running_agent() -> AgentClient | None:
    from fustor_client import AgentClient
    from fustor_client.transport import StdlibTransport

    settings = AgentSettings.load()
    running = find_running(settings.pid_file)
    if running is None:
        return None
    token = read_token(settings.config_dir) if settings.api_token is None else settings.api_token.get_secret_value()
    return AgentClient(running.url, token, transport=StdlibTransport(running.url, _TIMEOUT_S))


def _asdict(answer: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(answer)
    return plain


@contextmanager
def errors_told(*, as_json: bool) -> Iterator[None]:
    """
    Tell an error of the block as a command does, every problem of the file with it, and end with exit code 1.
    """
    try:
        yield
    except FustorError as exc:
        if as_json:
            typer.echo(json.dumps(exc.to_dict()))
        else:
            typer.echo(f"fustor-agent: {exc}", err=True)
            for problem in exc.context.get("problems", ())[1:]:
                typer.echo(f"{problem['line']}: `{problem['where']}`: {problem['message']}", err=True)
        raise typer.Exit(1) from None
