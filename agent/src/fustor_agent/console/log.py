"""
The page of the agent's log: filtered, followed while it grows, read backwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from typing import Any, Final

from nicegui import ui

from fustor_client.agent_models import LogLine
from fustor_core.errors import FustorError, Unauthorized
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page, console_page

MOST_LINES: Final = 1000
"""
Lines that a window holds: the oldest go when newer ones come.
"""

_AT_ONCE: Final = 200
_SHOW_S: Final = 0.5
_AGAIN_S: Final = 3.0
_LONGEST: Final = 4000
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_LOOKS: Final = {"ERROR": "is-error", "CRITICAL": "is-error", "WARNING": "is-warning", "DEBUG": "is-debug"}


@console_page("/logs", "Log")
async def log(page: Page, text: str | None = None, level: str | None = None, component: str | None = None) -> None:
    """
    Show the newest lines, and those that come.
    """
    shown = _Log(page, {"text": text or "", "level": level if level in _LEVELS else "", "component": component or ""})
    await shown.restart()
    ui.timer(_SHOW_S, shown.show_new, immediate=False)
    ui.context.client.on_delete(shown.close)


class _Log:
    def __init__(self, page: Page, wanted: dict[str, str]) -> None:
        self._page = page
        self._wanted = wanted
        self._coming: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._lines: deque[ui.label] = deque()
        self._following: asyncio.Task[None] | None = None
        self._older_from: str | None = None
        self._is_held = False
        t = page.t
        with ui.element("div").classes("console-bar"):
            ui.select(
                {"": t("all levels"), **{name: t("{level} and worse", level=name) for name in _LEVELS[1:]}},
                label=t("Level"),
                value=wanted["level"] if wanted["level"] != "DEBUG" else "",
                on_change=lambda event: self._narrow("level", event.value),
            ).props("outlined dense").classes("log-level")
            for name, label in (("component", "Component"), ("text", "Text")):
                ui.input(
                    t(label), value=wanted[name], on_change=lambda event, name=name: self._narrow(name, event.value)
                ).props("outlined dense debounce=400 type=search")
            ui.switch(t("Follow"), value=True, on_change=lambda event: self._hold(event.value))
        with ui.element("div").classes("console-bar"):
            self._older = action(t("Load older lines"), Kind.PLAIN, self._load_older, icon="expand_less")
            ui.label(t("Times are UTC.")).classes("console-lead log-note")
            self._note = ui.label().classes("console-lead log-note").props("role=status")
        # Its only child grows from the bottom, so the window keeps to the newest line, or to where the person has scrolled.
        with ui.element("div").classes("log").props("tabindex=0 role=log aria-live=off") as box:
            self._box = ui.element("div").classes("log-lines")
        box.props["aria-label"] = t("Lines of the log, times in UTC")
        self._empty = ui.label(t("No line is so. Lines are shown here as they are written.")).classes("console-empty")

    def _filter(self) -> dict[str, Any]:
        return {name: value for name, value in self._wanted.items() if value}

    async def restart(self) -> None:
        """
        Show the newest lines that are wanted, and follow from there.
        """
        self.close()
        self._coming.clear()
        self._box.clear()
        self._lines.clear()
        self._following = asyncio.create_task(self._follow(), name="a window that follows the log")
        await self._load(before=None)

    async def _narrow(self, name: str, value: str | None) -> None:
        self._page.console.sessions.touch(self._page.session)
        self._wanted[name] = (value or "").strip()
        await self.restart()

    def _hold(self, follows: bool) -> None:
        self._is_held = not follows

    async def _follow(self) -> None:
        page, t = self._page, self._page.t
        while True:
            try:
                async for line in page.client.follow_logs(**self._filter()):
                    self._coming.append(line)
                    self._say("")
            except Unauthorized:
                return
            except FustorError as exc:
                self._say(t("New lines don't come now: {reason}", reason=page.told(exc.message)))
            await asyncio.sleep(_AGAIN_S)

    def _say(self, text: str) -> None:
        self._note.text = text

    def close(self) -> None:
        """
        Stop following.
        """
        following, self._following = self._following, None
        if following is not None:
            following.cancel()

    def show_new(self) -> None:
        """
        Show the lines that have come.
        """
        if self._is_held or not self._coming:
            return
        came = [self._coming.popleft() for _ in range(min(len(self._coming), MOST_LINES))]
        with self._box:
            self._lines.extend(_shown(line) for line in came)
        while len(self._lines) > MOST_LINES:
            self._lines.popleft().delete()
        self._empty.visible = False

    async def _load_older(self) -> None:
        self._page.console.sessions.touch(self._page.session)
        await self._load(before=self._older_from)

    async def _load(self, before: str | None) -> None:
        found = await self._page.ask(self._page.client.logs(limit=_AT_ONCE, before=before, **self._filter()))
        if found is None:
            return
        self._older_from = found.next
        room = max(0, MOST_LINES - len(self._lines))
        rows = found.rows[-room:] if room else []
        with self._box:
            made = [_shown(line) for line in rows]
        if before is not None:
            for at, label in enumerate(made):
                label.move(self._box, at)
        self._lines.extendleft(reversed(made))
        self._empty.visible = not self._lines
        is_full = len(self._lines) >= MOST_LINES
        self._older.visible = found.next is not None
        self._older.set_enabled(not is_full)
        if is_full:
            self._say(self._page.t("This window is full. Narrow down what is wanted to see older lines."))
        elif before is not None and not rows and found.next is not None:
            self._say(self._page.t("Nothing was found in that part of the log. Load older lines to look further back."))


def _shown(line: LogLine) -> ui.label:
    when = line.timestamp.replace("T", " ")[:23]
    parts = [when, line.level.ljust(7), line.component, line.message]
    parts += [f"{name}={_value(value)}" for name, value in line.fields.items()]
    text = "  ".join(part for part in parts if part)
    return ui.label(text[:_LONGEST]).classes(f"log-line {_LOOKS.get(line.level, '')}")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    with contextlib.suppress(TypeError, ValueError):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
