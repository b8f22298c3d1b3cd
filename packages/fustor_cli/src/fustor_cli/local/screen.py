"""
The status screen and the progress line of `fustor up` and `fustor status`, drawn with rich.
"""

from __future__ import annotations

import shlex

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from fustor_cli import formats
from fustor_cli.local.picture import Picture, ServiceView, SyncView

UNBOUNDED = 10_000
"""
Columns of a terminal on which everything fits.
"""
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
    return Text("● " + state, style=_COLOURS.get(state.partition(" (")[0], ""))


class _Fitting:
    """
    A table where the terminal is wide enough for it, lines that wrap where it is not.
    """

    def __init__(self, table: Table, lines: list[Text]) -> None:
        self._table = table
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wish = console.measure(self._table, options=options.update(max_width=UNBOUNDED)).maximum
        if wish <= options.max_width:
            yield self._table
            return
        yield from self._lines
        yield Text("")


def _line(name: str, state: str, *facts: str) -> Text:
    return Text.assemble((name, "bold"), "\n  ", _state(state), *(f" · {fact}" for fact in facts if fact))


def _syncs(syncs: list[SyncView]) -> RenderableType:
    if not syncs:
        return Text("Nothing is watched yet. Add a directory or a database: fustor up PATH\n")
    trees = [sync for sync in syncs if sync.kind == "tree"]
    databases = [sync for sync in syncs if sync.kind == "database"]
    parts = []
    if trees:
        parts.append(_table("Tree", ("Files", "Directories", "Size"), trees))
    if databases:
        parts.append(_table("Database", ("Tables", "Rows"), databases))
    return Group(*parts)


def _table(kind: str, amounts: tuple[str, ...], syncs: list[SyncView]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False)
    table.add_column(kind, overflow="fold")
    table.add_column("State", no_wrap=True)
    for name in (*amounts, "Events/s", "Lag"):
        table.add_column(name, justify="right", no_wrap=True)
    for sync in syncs:
        table.add_row(
            Text(formats.safe(sync.root or sync.id), style="bold"),
            _state(sync.state),
            *_amounts(sync),
            "-" if sync.events_per_s is None else f"{sync.events_per_s:,.1f}",
            "-" if sync.lag_s is None else formats.duration(sync.lag_s),
        )
    return _Fitting(table, [_sync_line(sync) for sync in syncs])


def _sync_line(sync: SyncView) -> Text:
    name = formats.safe(sync.root or sync.id)
    amounts = sync.amounts() if _is_counted(sync) else [sync.counted()]
    events = "" if sync.events_per_s is None else f"{sync.events_per_s:,.1f} events/s"
    lag = "" if sync.lag_s is None else f"lag {formats.duration(sync.lag_s)}"
    return _line(name, sync.state, *amounts, events, lag)


def _is_counted(sync: SyncView) -> bool:
    return bool(sync.files or sync.dirs or sync.tables or sync.state != "stopped")


def _amounts(sync: SyncView) -> tuple[str, ...]:
    if sync.kind == "database":
        return (formats.count(sync.tables) if _is_counted(sync) else "-", formats.count(sync.entries))
    if _is_counted(sync):
        return formats.count(sync.files), formats.count(sync.dirs), formats.size(sync.bytes)
    return f"({sync.counted()})", "-", "-"


def _services(services: list[ServiceView]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False)
    for name in ("Service", "State"):
        table.add_column(name, no_wrap=True)
    for name in ("Pid", "Up", "Memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Address", no_wrap=True)
    for service in services:
        table.add_row(
            service.name.capitalize(),
            _state(service.state + _restarts(service)),
            "-" if service.pid is None else str(service.pid),
            "-" if service.up_s is None else formats.duration(service.up_s),
            "-" if service.memory is None else formats.size(service.memory),
            Text(service.url, style=f"link {service.url}/docs"),
        )
    return _Fitting(table, [_service_line(service) for service in services])


def _restarts(service: ServiceView) -> str:
    return f" ({formats.some(service.restarts, 'restart', 'restarts')})" if service.restarts else ""


def _service_line(service: ServiceView) -> Text:
    return _line(
        service.name.capitalize(),
        service.state + _restarts(service),
        "" if service.pid is None else f"pid {service.pid}",
        "" if service.up_s is None else f"up {formats.duration(service.up_s)}",
        "" if service.memory is None else formats.size(service.memory),
        service.url,
    )


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
            lines.append(f"{name}: {sync.reason}")
            lines += [f"  Try: {sync.hint}"] if sync.hint else []
        lines += [f"{name}: {problem}" for problem in sync.problems[:3]]
        if len(sync.problems) > 3:
            lines.append(f"{name}: {len(sync.problems) - 3} more like these: fustor status --json")
        if sync.dead_letters:
            lines.append(f"{name}: {sync.dead_letters} changes were refused and are kept as dead letters")
    return [Text(formats.safe(line)) for line in lines]


def _next(picture: Picture) -> RenderableType:
    kinds = {sync.kind for sync in picture.syncs}
    tree = next((sync.root for sync in picture.syncs if sync.root and sync.kind == "tree"), None)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if kinds != {"database"}:
        table.add_row("Find", Text("fustor search '*.py'", style="cyan"))
        table.add_row("Browse", Text("fustor tree" + _typed(tree), style="cyan"))
    if "database" in kinds:
        table.add_row("Tables", Text("fustor tables", style="cyan"))
        table.add_row("Rows", Text("fustor rows TABLE --limit 20", style="cyan"))
    table.add_row("Follow", Text("fustor tail", style="cyan"))
    table.add_row("Stop", Text("fustor down", style="cyan"), Text("the data stays", style="dim"))
    return table


def _typed(path: str | None) -> str:
    """
    Return a path as an argument for a shell; "" when there is none, or none that can be typed.
    """
    return f" {shlex.quote(path)}" if path and path.isprintable() and "\\" not in path else ""


class SnapshotBar:
    """
    The live progress of what is being taken in: one bar for each path.
    """

    def __init__(self, console: Console) -> None:
        # On a narrow terminal the numbers matter more than the bar; the name takes what is left.
        bar = [BarColumn(bar_width=24 if console.width >= 110 else 10)] if console.width >= 80 else []
        more = [TextColumn("{task.fields[rate]}"), TimeElapsedColumn()] if console.width >= 60 else []
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            *bar,
            TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
            *more,
        ]
        fixed = 2 + sum({BarColumn: 25, TextColumn: 25, TimeElapsedColumn: 8}.get(type(one), 0) for one in columns[2:])
        self._name_width = max(12, console.width - fixed)
        self.progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def update(self, sync: SyncView, total: int | None, rate: float) -> None:
        """
        Show where a sync stands. `total` is None while nobody knows it; then the bar only moves.
        """
        task = self._tasks.get(sync.id)
        name = formats.tail(f"{sync.state.capitalize()} ", formats.safe(sync.root), self._name_width)
        if task is None:
            task = self._tasks[sync.id] = self.progress.add_task(name, total=total, rate="", amount="")
        known = None if total is None or sync.entries > total else total
        for one in self.progress.tasks:
            if one.id == task:
                one.total = known  # `update` takes None for "as before"
        self.progress.update(
            task,
            description=escape(name),
            completed=sync.entries,
            amount=formats.count(sync.entries) + ("" if known is None else f" of about {formats.count(known)}"),
            rate=f"{rate:,.0f} {sync.unit}/s",
        )
