"""
When what is below a directory was modified, and what changes there now.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from nicegui import ui

from fustor_fusion.console.file_changes import KEPT, Changes, FileChange, Fresh
from fustor_fusion.console.file_details import TYPES
from fustor_fusion.console.names import visible
from fustor_fusion.console.place import Place
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import ago, count, size
from fustor_web_ui.live_table import LiveColumn, LiveTable, Wanted
from fustor_web_ui.page import Page
from fustor_web_ui.tables import Part

_S: Final = 10**9
_COUNT_AGAIN: Final = 20_000
"""
Up to so many entries are counted again whenever something changes; more of them when somebody wants it.
"""


class _Span(NamedTuple):
    """
    A time to look at: English, its length in seconds, how many bars, and how the time of a bar is written.
    """

    label: str
    seconds: int
    bars: int
    form: str


_DAY: Final = 86_400
_SPANS: Final = {
    "hour": _Span("the last hour", 3600, 60, "%H:%M"),
    "day": _Span("the last day", _DAY, 48, "%m-%d %H:%M"),
    "week": _Span("the last week", 7 * _DAY, 42, "%m-%d %H:%M"),
    "month": _Span("the last 30 days", 30 * _DAY, 30, "%Y-%m-%d"),
    "year": _Span("the last year", 365 * _DAY, 52, "%Y-%m-%d"),
    "ages": _Span("the last 20 years", 20 * 365 * _DAY, 40, "%Y-%m"),
}
_OPS: Final = {"insert": "came", "update": "changed", "delete": "went"}


@dataclass(frozen=True)
class _Bar:
    """
    One part of the time.
    """

    begin: str
    count: int
    bytes: int


class FileTimes:
    """
    The time line of a directory.

    Args:
        page: Where it stands.
        changes: What is heard of the directory.
    """

    def __init__(self, page: Page, changes: Changes) -> None:
        self._page = page
        self._place: Place | None = None
        self._span = "month"
        self._run = 0
        self._is_counted = False
        self._entries = 0
        self._bars: list[_Bar] = []
        self._heard = 0
        self._newest: deque[FileChange] = deque(maxlen=KEPT)
        t = page.t
        with ui.element("div").classes("console-bar"):
            ui.select(
                {name: t(one.label) for name, one in _SPANS.items()},
                label=t("Modified in"),
                value=self._span,
                on_change=lambda event: self._look_at(str(event.value)),
            ).props("outlined dense options-dense").classes("flow-choice")
            self._again = action(t("Count again"), Kind.CHANGE, self._count, icon="refresh")
            self._progress = ui.label().classes("flow-soft").props("role=status")
        self._chart = ui.element("div").classes("times").props("role=img")
        self._columns: list[ui.element] = []
        self._axis = ui.element("div").classes("times-axis").props("aria-hidden=true")
        with self._axis:
            self._begin, self._end = ui.label(), ui.label()
        self._sides = ui.label().classes("flow-soft")
        with ui.expansion(t("As a table"), icon="table_rows").classes("flow-table"):
            self._table: LiveTable[_Bar] = LiveTable(
                page,
                t("Files by when they were modified"),
                [
                    LiveColumn(t("From"), lambda bar: bar.begin),
                    LiveColumn(t("Files"), lambda bar: count(bar.count), is_number=True),
                    LiveColumn(t("Size"), lambda bar: size(bar.bytes), is_number=True),
                ],
                self._filled_bars,
                key=lambda bar: bar.begin,
                empty=t("No file here was modified in this time."),
            )
        ui.label(t("As they come")).props('role=heading aria-level="2"').classes("console-subtitle times-live")
        self._live: LiveTable[FileChange] = LiveTable(
            page,
            "",
            [
                LiveColumn(t("When"), lambda one: ago(page, datetime.fromtimestamp(one.at, UTC).isoformat())),
                LiveColumn(t("What"), lambda one: t(_OPS.get(one.op, one.op))),
                LiveColumn(t("Path"), lambda one: visible(one.path) or "/", shape="is-long"),
                LiveColumn(t("Kind"), lambda one: t(TYPES[one.type]) if one.type in TYPES else ""),
                LiveColumn(
                    t("Size"),
                    lambda one: "" if one.size is None or one.type != "file" else size(one.size),
                    is_number=True,
                ),
            ],
            self._newest_changes,
            key=id,
            empty=t("Nothing has changed since you came here. Changes appear by themselves."),
        )

    def enter(self, place: Place) -> None:
        """
        Be in another directory; show it with `show`.
        """
        self._place = place
        self._run += 1
        self._is_counted = False
        self._heard = 0
        self._newest.clear()

    async def show(self) -> None:
        """
        Show the time line, counting when that was not done yet.
        """
        await self._live.show()
        if not self._is_counted:
            await self._count()

    async def refresh(self, fresh: Fresh) -> None:
        """
        Show the changes that came.
        """
        self._heard += fresh.count
        self._newest.extendleft(fresh.changes)
        self._live.caption(
            self._page.t("{number} changes since you came here, the newest first", number=count(self._heard))
        )
        await self._live.show()
        if fresh.count and self._entries <= _COUNT_AGAIN:
            await self._count()

    async def _newest_changes(self, wanted: Wanted) -> Part:
        return Part(list(self._newest), None)

    async def _filled_bars(self, wanted: Wanted) -> Part:
        return Part([bar for bar in self._bars if bar.count], None)

    async def _look_at(self, span: str) -> None:
        self._span = span
        self._page.console.sessions.touch(self._page.session)
        await self._count()

    async def _count(self) -> None:
        """
        Count, a part after the other, showing how far it is.
        """
        place, page = self._place, self._page
        assert place is not None
        self._run += 1
        run = self._run
        self._is_counted = True
        span = _SPANS[self._span]
        until = (time.time_ns() // _S + 1) * _S
        since = until - span.seconds * _S
        counts, sizes = [0] * span.bars, [0] * span.bars
        before = after = counted = 0
        cursor: str | None = None
        while True:
            found = await page.ask(
                page.client.timeline(
                    place.asked(place.path),
                    tree=place.tree.tree,
                    since=since,
                    until=until,
                    buckets=span.bars,
                    cursor=cursor,
                )
            )
            if found is None or run != self._run:
                return  # it failed, or something else is wanted meanwhile
            counts = [x + y for x, y in zip(counts, found.counts, strict=True)]
            sizes = [x + y for x, y in zip(sizes, found.bytes, strict=True)]
            before, after, counted = before + found.before, after + found.after, counted + found.counted
            self._entries, cursor = found.entries, found.next
            self._bars = [
                _Bar(_written(since + at * found.width, span.form), counts[at], sizes[at]) for at in range(span.bars)
            ]
            self._draw(before, after, counted, is_whole=cursor is None)
            await self._table.show()
            if cursor is None:
                return

    def _draw(self, before: int, after: int, counted: int, *, is_whole: bool) -> None:
        t = self._page.t
        while len(self._columns) < len(self._bars):
            with self._chart:
                self._columns.append(ui.element("div").classes("times-bar"))
        while len(self._columns) > len(self._bars):
            self._columns.pop().delete()
        most = max([1, *(bar.count for bar in self._bars)])
        for column, bar in zip(self._columns, self._bars, strict=True):
            # The smallest number is still to be seen.
            height = max(2.0, 100 * bar.count / most) if bar.count else 0.0
            column.style(f"--part: {height:.1f}%")
            column.props["title"] = t(
                "{time}: {number} files, {size}", time=bar.begin, number=count(bar.count), size=size(bar.bytes)
            )
        within = sum(bar.count for bar in self._bars)
        text = t("{number} files modified in {span}", number=count(within), span=t(_SPANS[self._span].label))
        self._chart.props["aria-label"] = text
        self._chart.update()
        self._begin.text, self._end.text = self._bars[0].begin, t("now")
        parts = [text]
        if before:
            parts.append(t("{number} before that", number=count(before)))
        if after:
            parts.append(t("{number} with a time that is yet to come", number=count(after)))
        self._sides.text = " · ".join(parts)
        self._progress.text = (
            ""
            if is_whole
            else t("{counted} of {entries} counted…", counted=count(counted), entries=count(self._entries))
        )


def _written(nanoseconds: int, form: str) -> str:
    return datetime.fromtimestamp(nanoseconds / _S, UTC).strftime(form)
