"""
`fustor up PATH` (or the address of a database): from nothing to a source that can be queried.

Checks -> supervisor and services (`fustor_cli.local.control`) -> datastore, key, sync (`fustor_cli.local.provision`) ->
progress until the tree is complete -> status, until Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from fustor_cli import formats
from fustor_cli.local import control, paths, provision, targets
from fustor_cli.local.board import Board
from fustor_cli.local.layout import Layout
from fustor_cli.local.picture import Painter, Picture
from fustor_cli.local.ports import PORT_BASE_MOST, choose_ports
from fustor_cli.local.report import Report, report
from fustor_cli.local.services import service_specs
from fustor_cli.local.state import Ports, UpState, again, load, new_password, save
from fustor_cli.local.targets import FILES, Target
from fustor_common.agent_token import token_file
from fustor_core.errors import ConfigError, FustorError

HELP = "Start the services and watch a directory tree or a database."


class WaitFor(StrEnum):
    """
    What `fustor up -D` waits for.
    """

    SERVICES = "services"
    SNAPSHOT = "snapshot"


def command(
    path: Annotated[
        str | None,
        typer.Argument(help="The directory, or the address of the database, to watch. Default: those of the last run."),
    ] = None,
    daemon: Annotated[bool, typer.Option("-D", "--daemon", help="Return once all is ready; services go on.")] = False,
    wait_for: Annotated[WaitFor, typer.Option("--wait-for", help="What ready means.")] = WaitFor.SNAPSHOT,
    port_base: Annotated[
        int | None,
        typer.Option(
            "--port-base", min=1, max=PORT_BASE_MOST, help="First of three ports (or FUSTOR_PORT_BASE; default 8100)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, each with `event`.")] = False,
) -> None:
    """
    Start Registry, Fusion and Agent, and keep PATH in them: a directory, or the address of a database.

    The first run sets everything up; a later one goes on where the last one ended. While it runs, a second
    `fustor up OTHER` adds OTHER to it. Ctrl-C stops the services; the data stays.

    \b
    fustor up ~/project                 stay, and show how it fares
    fustor up /usr -D                   return once /usr can be queried
    fustor up /usr --port-base 9100     if a port is taken
    fustor up mysql://reader@db1/shop   every table of a database; asks for the password
    fustor up postgresql://reader@db2/shop
    """
    layout = Layout.here()
    target = None if path is None else targets.with_password(targets.target_of(path))
    told = report(as_json=as_json, goes_on=daemon)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: stop in good order
    state, leash, mine = None, None, False
    try:
        if target is not None:
            targets.check(target)
        layout.prepare()
        state, started = _bring_up(layout, target, port_base, told, daemon=daemon)
        if started is not None:
            leash, mine = started.leash, True
        painter = Painter(layout, state)
        picture = _wait(layout, state, painter, told, wait_for, restarted=mine)
        told.ready(picture, stays=not daemon)
        if not daemon:
            _stay(layout, painter, told, mine=mine)
    except KeyboardInterrupt:
        told.close()
        _end(layout, state, told, mine=mine)
    except BaseException:
        told.close()
        if mine:
            _stop_mine(layout)
        raise
    finally:
        told.close()
        if leash is not None:
            with suppress(OSError):
                os.close(leash)


def _bring_up(
    layout: Layout, target: Target | None, port_base: int | None, told: Report, *, daemon: bool
) -> tuple[UpState, control.Started | None]:
    """
    See that services run and that the target has its sync; returns the supervisor when this command started it.
    """
    with control.exclusive(layout):
        state = _remembered(layout, target)
        board = control.running_board(layout)
        started = None
        if board is None:
            state.ports = choose_ports(state.ports, port_base)
            left = control.end_orphans(layout)
            if left:
                told.say("warning", f"Ended services that a killed supervisor had left behind: {', '.join(left)}")
            control.check_ports(state.ports)
            save(layout, state)
            told.say("starting", "Starting Registry, Fusion and Agent ...")
            started = control.start_supervisor(
                layout, service_specs(layout, state), "daemon" if daemon else "foreground"
            )
        else:
            if port_base is not None and Ports.from_base(port_base) != state.ports:
                raise ConfigError(
                    f"services already run on the ports from {state.ports.agent}",
                    hint="stop them with `fustor down` first, then start with the other ports",
                )
            told.say("attached", f"The services already run (supervisor pid {board.supervisor.pid}); using them")
            if daemon and board.mode == "foreground":
                control.keep_running(board)
        try:
            _provide(layout, state, target, told)
        except BaseException:
            if started is not None:
                _stop_mine(layout)
            raise
    return state, started


def _provide(layout: Layout, state: UpState, target: Target | None, told: Report) -> None:
    provision.wait_ready(
        layout,
        state,
        lambda: control.running_board(layout),
        lambda name: told.say("service", f"{name.capitalize()} is ready at {state.ports.url(name)}", service=name),
    )
    first = state.key is None
    is_key_new = provision.provide_key(layout, state)
    if first:
        told.say(
            "created",
            f"Made the user {state.admin_name!r}, the datastore {state.datastore_name!r} and an API key; "
            f"the password and the key are in {layout.state}",
        )
    known_before = target is not None and target.key in state.paths
    if target is not None and not target.is_database and not known_before:
        trees = [path for path, one in state.paths.items() if one.driver == FILES]
        for other in paths.overlapping(target.key, trees):
            told.say("warning", f"{target.key} and {other} overlap: what is in both is kept, and counted, twice")
    _tell_pages(layout, state, told)
    known = provision.provide_sync(layout, state, target, is_key_new=is_key_new)
    if known is not None and target is not None:
        what = "Going on with" if known_before else "Watching"
        told.say("sync", f"{what} {target.key} (sync {known.sync!r})", path=target.key, sync=known.sync)


def _tell_pages(layout: Layout, state: UpState, told: Report) -> None:
    """
    Tell where people look with a browser, and what they sign in with.
    """
    pages = {
        "Fusion": (f"{state.ports.url('fusion')}/view", f"sign in with the API key, in {layout.key_file}"),
        "the Agent": (state.ports.url("agent"), f"with the token in {token_file(layout.root)}"),
        "the Registry": (state.ports.url("registry"), f"as {state.admin_name!r}, with the password in {layout.state}"),
    }
    for name, (address, how) in pages.items():
        told.say("page", f"Pages of {name}: {address} ({how})", service=name.split()[-1].lower(), address=address)


def _remembered(layout: Layout, target: Target | None) -> UpState:
    state = load(layout) or UpState()
    if target is None and not state.paths:
        raise ConfigError(
            "which directory or database?", hint="name it: fustor up PATH, or fustor up mysql://user@host/db"
        )
    if not state.admin_password:
        state.admin_password = os.environ.get("FUSTOR_REGISTRY_ADMIN_PASSWORD") or new_password()
    return state


def _wait(
    layout: Layout, state: UpState, painter: Painter, told: Report, wait_for: WaitFor, *, restarted: bool
) -> Picture:
    """
    Show progress until every tree is complete (or, for services, until now), and remember how large they are.
    """
    wanted = {known.sync: path for path, known in state.paths.items()}
    began = time.monotonic()
    while True:
        board = control.running_board(layout)
        if board is None:
            raise FustorError("the services were stopped", hint=f"see {str(layout.supervisor_log)!r}")
        picture = painter.take(board)
        syncs = {sync.id: sync for sync in picture.syncs}
        _stop_at_crash_loop(layout, board)
        if wait_for is WaitFor.SERVICES:
            return picture
        for name, path in wanted.items():
            sync = syncs.get(name)
            if sync is not None and sync.state == "error":
                raise FustorError(
                    f"{path}: {sync.reason or 'the sync stopped'}", hint=sync.hint or "see `fustor status`"
                )
            if sync is not None and not sync.ready:
                told.progress(sync, state.paths[path].entries)
        done = {name for name in wanted if name in syncs and (syncs[name].ready or syncs[name].state == "stopped")}
        if done == set(wanted):
            break
        time.sleep(0.1)
    for name, path in wanted.items():
        sync = syncs[name]
        if sync.state == "stopped":
            told.say("warning", f"{path}: its sync {name!r} is stopped; start it in the Agent, or see `fustor status`")
            continue
        before, state.paths[path].entries = state.paths[path].entries, sync.entries
        took = formats.duration(time.monotonic() - began)
        if before is None:
            text = f"{path}: {formats.count(sync.entries)} {sync.unit} in {took}, live from now on"
        elif not restarted:
            text = f"{path}: {formats.count(sync.entries)} {sync.unit}, live"
        else:
            text = f"{path}: {formats.count(sync.entries)} {sync.unit}, {formats.count(sync.pushed_rows)} changes since the last run"
        told.say("complete", text, path=path, entries=sync.entries, pushed_rows=sync.pushed_rows)
    _remember_sizes(layout, state)
    return picture


def _remember_sizes(layout: Layout, state: UpState) -> None:
    with control.exclusive(layout):
        now = load(layout)
        if now is None:
            return
        for path, known in state.paths.items():
            if path in now.paths:  # another `fustor up` may have added paths meanwhile
                now.paths[path].entries = known.entries
        save(layout, now)


def _stop_at_crash_loop(layout: Layout, board: Board) -> None:
    for note in board.services.values():
        if note.state == "crash loop":
            words = "\n".join("    " + line for line in provision.service_words(layout, note.name))
            raise FustorError(
                f"the {note.name.capitalize()} keeps ending ({note.last_exit}); its last words:\n{words}",
                hint=f"the whole log is {layout.log(note.name)}; `fustor doctor` looks for the usual causes",
            )


def _stay(layout: Layout, painter: Painter, told: Report, *, mine: bool) -> None:
    footer = "Ctrl-C stops the services; the data stays" if mine else "Ctrl-C ends this view; the services go on"
    while True:
        board = control.running_board(layout)
        if board is None:
            told.close()
            told.say("stopped", "The services were stopped. The data stays.")
            return
        if mine and board.mode == "daemon":
            footer = "Ctrl-C ends this view; the services go on until `fustor down`"
        told.refresh(painter.take(board), footer)
        time.sleep(1)


def _end(layout: Layout, state: UpState | None, told: Report, *, mine: bool) -> None:
    board = control.running_board(layout)
    if board is None and not mine:
        told.say("stopped", "Ended before all was ready. What is there stays; `fustor up` goes on with it.")
        return
    if not mine or (board is not None and board.mode == "daemon" and state is not None):
        told.say("detached", "The services go on; stop them with: fustor down")
        return
    told.say("stopping", "Stopping the services ...")
    _stop_mine(layout)
    told.say("stopped", f"Stopped. The data stays; go on with: {again(state)}")


def _stop_mine(layout: Layout) -> None:
    board = control.running_board(layout)
    if board is not None and not control.stop(board):
        control.end_orphans(layout)
