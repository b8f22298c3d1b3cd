"""
How `fustor up` tells what happens: on a terminal, as plain lines, or as JSON lines.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from fustor_cli import formats, output
from fustor_cli.commands.status import plain
from fustor_cli.entry_text import encodable
from fustor_cli.local.picture import Picture, SyncView

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from fustor_cli.local.screen import SnapshotBar

PLAIN_EVERY_S = 5.0


class Report(Protocol):
    """
    Where `fustor up` tells what happens.
    """

    def say(self, event: str, text: str, **facts: Any) -> None:
        """
        Tell one thing that happened.
        """

    def progress(self, sync: SyncView, total: int | None) -> None:
        """
        Tell how far a sync is.
        """

    def ready(self, picture: Picture, *, stays: bool) -> None:
        """
        Tell that all is there, with the whole status. `stays`: `refresh` will be called from now on.
        """

    def refresh(self, picture: Picture, footer: str) -> None:
        """
        Tell the status again, while `fustor up` stays in the foreground.
        """

    def close(self) -> None:
        """
        Take away what was drawn for the moment.
        """


class Rate:
    """
    Entries a second over the last few seconds.
    """

    def __init__(self, span_s: float = 3.0) -> None:
        self._span_s = span_s
        self._points: deque[tuple[float, int]] = deque()

    def add(self, entries: int, now: float | None = None) -> float:
        """
        Note how many there are now, and return the rate.
        """
        at = time.monotonic() if now is None else now
        self._points.append((at, entries))
        while len(self._points) > 2 and at - self._points[0][0] > self._span_s:
            self._points.popleft()
        first_at, first = self._points[0]
        return max(0.0, (entries - first) / (at - first_at)) if at > first_at else 0.0


class JsonReport:
    """
    One JSON object a line, each with `event`.
    """

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def say(self, event: str, text: str, **facts: Any) -> None:
        """
        Write an event.
        """
        output.json_lines({"event": event, "message": text, **facts})

    def progress(self, sync: SyncView, total: int | None) -> None:
        """
        Write where a sync stands, when that is something new.
        """
        told = {"sync": sync.id, "state": sync.state, "entries": sync.entries, "total": total}
        if self._last.get(sync.id) != told:
            self._last[sync.id] = told
            output.json_lines({"event": "progress", **told})

    def ready(self, picture: Picture, *, stays: bool) -> None:
        """
        Write the whole status.
        """
        output.json_lines({"event": "ready", **encodable(picture)})

    def refresh(self, picture: Picture, footer: str) -> None:
        """
        Write nothing: `fustor status --json` and `fustor tail --json` tell it to whom it concerns.
        """

    def close(self) -> None:
        """
        Nothing was drawn.
        """


class PlainReport:
    """
    Plain lines without control characters, for files and pipes.
    """

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._next: dict[str, float] = {}
        self._states: dict[str, str] = {}

    def say(self, event: str, text: str, **facts: Any) -> None:
        """
        Write a line.
        """
        output.line(formats.safe(text))
        sys.stdout.flush()

    def progress(self, sync: SyncView, total: int | None) -> None:
        """
        Write where a sync stands: when its state changes, and every few seconds.
        """
        rate = self._rates.setdefault(sync.id, Rate()).add(sync.entries)
        now = time.monotonic()
        if self._states.get(sync.id) == sync.state and now < self._next.get(sync.id, 0):
            return
        self._states[sync.id], self._next[sync.id] = sync.state, now + PLAIN_EVERY_S
        of = "" if total is None or sync.entries > total else f" of about {formats.count(total)}"
        self.say(
            "progress",
            f"{sync.root}: {sync.state}, {formats.count(sync.entries)}{of} {sync.unit}, {rate:,.0f} {sync.unit}/s",
        )

    def ready(self, picture: Picture, *, stays: bool) -> None:
        """
        Write the status, and what to do next.
        """
        for text in plain(picture):
            output.line(text)
        kinds = {sync.kind for sync in picture.syncs}
        files = ["fustor search '*.py'", "fustor tree"] if kinds != {"database"} else []
        tables = ["fustor tables", "fustor rows TABLE"] if "database" in kinds else []
        output.line("next: " + " | ".join([*files, *tables, "fustor tail", "fustor status", "fustor down"]))
        sys.stdout.flush()

    def refresh(self, picture: Picture, footer: str) -> None:
        """
        Write a line for every sync or service whose state has changed.
        """
        states = {f"service {one.name}": one.state for one in picture.services}
        states |= {f"{one.kind} {one.root or one.id}": one.state for one in picture.syncs}
        for name, state in states.items():
            if self._states.get(name, "running" if name.startswith("service") else "live") != state:
                self.say("state", f"{name}: {state}")
            self._states[name] = state

    def close(self) -> None:
        """
        Nothing was drawn.
        """


class TerminalReport:
    """
    A progress bar, then the status screen, drawn in place.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console: Console = Console()
        self._bar: SnapshotBar | None = None
        self._live: Live | None = None
        self._rates: dict[str, Rate] = {}

    def say(self, event: str, text: str, **facts: Any) -> None:
        """
        Write a line above what is drawn.
        """
        sign, style = {
            "warning": ("!", "yellow"),
            "stopping": ("■", "dim"),
            "stopped": ("■", "dim"),
            "starting": ("·", "dim"),
        }.get(event, ("✓", "green"))
        from rich.text import Text

        self._console.print(Text.assemble((sign + " ", style), formats.safe(text)))

    def progress(self, sync: SyncView, total: int | None) -> None:
        """
        Move the bar.
        """
        if self._bar is None:
            from fustor_cli.local.screen import SnapshotBar

            self._bar = SnapshotBar(self._console)
            self._bar.progress.start()
        self._bar.update(sync, total, self._rates.setdefault(sync.id, Rate()).add(sync.entries))

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.progress.stop()
            self._bar = None

    def ready(self, picture: Picture, *, stays: bool) -> None:
        """
        Draw the status once; when it is to be refreshed, that draws it.
        """
        self._end_bar()
        if stays:
            return
        from fustor_cli.local.screen import screen

        self._console.print(screen(picture, footer=None))

    def refresh(self, picture: Picture, footer: str) -> None:
        """
        Draw the status in place.
        """
        self._end_bar()
        from fustor_cli.local.screen import screen

        drawn = screen(picture, footer=footer)
        if self._live is None:
            from rich.live import Live

            self._live = Live(drawn, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(drawn, refresh=True)

    def close(self) -> None:
        """
        Take away what was drawn in place.
        """
        self._end_bar()
        if self._live is not None:
            self._live.stop()
            self._live = None


class ToWhomeverListens:
    """
    Tells by another report for as long as somebody reads it. Services that are to go on need no reader: without this,
    `fustor up -D | head` would end them with the pipe.
    """

    def __init__(self, told: Report) -> None:
        self._told = told

    def say(self, event: str, text: str, **facts: Any) -> None:
        """
        Tell one thing that happened.
        """
        with _without_a_reader():
            self._told.say(event, text, **facts)

    def progress(self, sync: SyncView, total: int | None) -> None:
        """
        Tell how far a sync is.
        """
        with _without_a_reader():
            self._told.progress(sync, total)

    def ready(self, picture: Picture, *, stays: bool) -> None:
        """
        Tell that all is there.
        """
        with _without_a_reader():
            self._told.ready(picture, stays=stays)

    def refresh(self, picture: Picture, footer: str) -> None:
        """
        Tell the status again.
        """
        with _without_a_reader():
            self._told.refresh(picture, footer)

    def close(self) -> None:
        """
        Take away what was drawn for the moment.
        """
        with _without_a_reader():
            self._told.close()


@contextmanager
def _without_a_reader() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # From now on to nowhere: what is left in the buffer can be flushed at the exit, too.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def report(*, as_json: bool, goes_on: bool) -> Report:
    """
    Return the way of telling that fits.

    Args:
        as_json: One object a line.
        goes_on: Whether what is told of goes on when nobody reads it any more.
    """
    if as_json:
        told: Report = JsonReport()
    else:
        told = TerminalReport() if sys.stdout.isatty() else PlainReport()
    return ToWhomeverListens(told) if goes_on else told
