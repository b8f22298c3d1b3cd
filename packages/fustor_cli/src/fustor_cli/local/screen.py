"""
The status screen and the progress line of `fustor up` and `fustor status`, drawn with rich.
"""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fustor_cli import formats
from fustor_cli.local.picture import Picture, ServiceView, SyncView

_COLOURS = {
    "running": "green",
    "live": "green",
    "starting": "cyan",
    "snapshot": "cyan",
    "catching up": "cyan",
    "restarting": "yellow",
    "stopping": "yellow",
    "not answering": "yellow",
    "away": "yellow",
    "crash loop": "bold red",
    "error": "bold red",
    "stopped": "dim",
}


def screen(picture: Picture, *, footer: str | None) -> RenderableType:
    """
    Draw the one-screen status.
    """
    parts: list[RenderableType] = [_syncs(picture.syncs), _services(picture.services)]
    warnings = _warnings(picture)
    if warnings:
        parts.append(Panel(Group(*warnings), title="Attention", title_align="left", border_style="yellow"))
    parts.append(_next(picture))
    if footer:
        parts.append(Text(footer, style="dim"))
    return Group(*parts)


def _state(state: str) -> Text:
    return Text("● " + state, style=_COLOURS.get(state, ""))


def _syncs(syncs: list[SyncView]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False)
    table.add_column("Tree", overflow="fold")
    table.add_column("State", no_wrap=True)
    for name in ("Files", "Directories", "Size", "Events/s", "Lag"):
        table.add_column(name, justify="right", no_wrap=True)
    for sync in syncs:
        table.add_row(
            Text(formats.safe(sync.root or sync.id), style="bold"),
            _state(sync.state),
            *_amounts(sync),
            "-" if sync.events_per_s is None else f"{sync.events_per_s:,.1f}",
            "-" if sync.lag_s is None else formats.duration(sync.lag_s),
        )
    if not syncs:
        return Text("No tree yet. Add one: fustor up PATH\n")
    return table


def _amounts(sync: SyncView) -> tuple[str, str, str]:
    if sync.files or sync.dirs or sync.state != "stopped":
        return formats.count(sync.files), formats.count(sync.dirs), formats.size(sync.bytes)
    return f"({formats.count(sync.entries)} entries)", "-", "-"


def _services(services: list[ServiceView]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False)
    for name in ("Service", "State"):
        table.add_column(name, no_wrap=True)
    for name in ("Up", "Memory", "Restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Address", no_wrap=True)
    for service in services:
        table.add_row(
            service.name.capitalize(),
            _state(service.state),
            "-" if service.up_s is None else formats.duration(service.up_s),
            "-" if service.memory is None else formats.size(service.memory),
            str(service.restarts),
            Text(service.url + "/docs", style=f"link {service.url}/docs"),
        )
    return table


def _warnings(picture: Picture) -> list[Text]:
    lines = [
        *picture.trouble,
        *(
            f"{service.name.capitalize()} ended ({service.last_exit}) and is started again; see its log"
            for service in picture.services
            if service.state in {"restarting", "crash loop"}
        ),
    ]
    for sync in picture.syncs:
        name = sync.root or sync.id
        if sync.reason:
            lines.append(f"{name}: {sync.reason}" + (f" ({sync.hint})" if sync.hint else ""))
        lines += [f"{name}: {problem}" for problem in sync.problems[:3]]
        if len(sync.problems) > 3:
            lines.append(f"{name}: {len(sync.problems) - 3} more like these: fustor status --json")
        if sync.dead_letters:
            lines.append(f"{name}: {sync.dead_letters} changes were refused and are kept as dead letters")
    return [Text(formats.safe(line)) for line in lines]


def _next(picture: Picture) -> RenderableType:
    tree = next((sync.root for sync in picture.syncs if sync.root), "PATH")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("Find", Text("fustor search '*.py'", style="cyan"))
    table.add_row("Browse", Text(f"fustor tree {formats.safe(tree)}", style="cyan"))
    table.add_row("Follow", Text("fustor tail", style="cyan"))
    table.add_row("Stop", Text("fustor down", style="cyan"), Text("the data stays", style="dim"))
    return table


class SnapshotBar:
    """
    The live progress of what is being taken in: one bar for each path.
    """

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def update(self, sync: SyncView, total: int | None, rate: float) -> None:
        """
        Show where a sync stands. `total` is None while nobody knows it; then the bar only moves.
        """
        task = self._tasks.get(sync.id)
        if task is None:
            task = self._tasks[sync.id] = self.progress.add_task(
                f"{sync.state.capitalize()} {formats.safe(sync.root)}", total=total, rate="", amount=""
            )
        known = None if total is None or sync.entries > total else total
        self.progress.update(
            task,
            description=f"{sync.state.capitalize()} {formats.safe(sync.root)}",
            completed=sync.entries,
            total=known,
            amount=formats.count(sync.entries) + ("" if known is None else f" of about {formats.count(known)}"),
            rate=f"{rate:,.0f} files/s",
        )
