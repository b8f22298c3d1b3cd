"""
What stands above every page when it must not be overlooked: changes of the configuration that are not in force yet, and a file that
can't be used.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from fustor_agent.console.lists import few
from fustor_client.agent_models import Applied, ConfigurationState, FileProblem, Waiting
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page, above_every_page

_REFRESH_S: Final = 2.0
_NAMES: Final = 8
_PROBLEMS: Final = 20
_WAITING: Final = (
    ("start", "To be started: {names}"),
    ("restart", "To be restarted with what has changed: {names}"),
    ("stop", "To be stopped: {names}"),
    ("clean", "To be cleaned up after: {names}"),
)
_APPLIED: Final = (
    ("started", "Started: {names}"),
    ("restarted", "Restarted: {names}"),
    ("stopped", "Stopped: {names}"),
    ("retried", "Tried again: {names}"),
    ("kept", "Going on with what they had, for they can't be built of the new: {names}"),
    ("cleaned", "Cleaned up after: {names}"),
    ("left", "Something may be left at: {names}"),
)


@above_every_page
async def banner(page: Page) -> None:
    """
    Show the banners, and keep looking whether they are right.
    """
    shown = _Banner(page)
    await shown.refresh()
    ui.timer(_REFRESH_S, shown.refresh, immediate=False)


class _Banner:
    def __init__(self, page: Page) -> None:
        self._page = page
        self._shown: ConfigurationState | None = None
        self._box = ui.element("div").classes("banners").props("aria-live=polite")

    async def refresh(self) -> None:
        """
        Look how the configuration is.
        """
        page = self._page
        overview = await page.ask(page.client.overview())
        if overview is None or overview.configuration == self._shown:
            return
        self._shown = overview.configuration
        self._box.clear()
        with self._box:
            if self._shown.problems:
                self._broken(self._shown)
            elif _is_any(self._shown.waiting):
                self._waiting(self._shown)

    def _broken(self, state: ConfigurationState) -> None:
        t = self._page.t
        with ui.element("section").classes("banner is-bad") as box:
            box.props["aria-label"] = t("The configuration file has problems")
            with ui.element("div"):
                ui.label(t("The configuration file has problems")).classes("banner-title")
                ui.label(
                    t(
                        "Nothing of it is applied until it is mended; all goes on as before. The file is {path}",
                        path=state.path,
                    )
                )
                with ui.element("ul").classes("banner-list"):
                    for problem in state.problems[:_PROBLEMS]:
                        with ui.element("li"):
                            ui.label(where_and_what(self._page, problem))
                            if problem.hint:
                                ui.label(t("What to do: {hint}", hint=self._page.told(problem.hint))).classes(
                                    "banner-hint"
                                )
                more = len(state.problems) - _PROBLEMS
                if more > 0:
                    ui.label(t("and {number} more", number=more))
            with ui.element("div").classes("cell-actions"):
                action(t("Revisions"), Kind.PLAIN, lambda: self._page.go("/revisions"), icon="history")

    def _waiting(self, state: ConfigurationState) -> None:
        t = self._page.t
        with ui.element("section").classes("banner is-wait") as box:
            box.props["aria-label"] = t("Changes wait to be applied")
            with ui.element("div"):
                ui.label(t("Changes wait to be applied")).classes("banner-title")
                for name, english in _WAITING:
                    if names := getattr(state.waiting, name):
                        ui.label(t(english, names=few(self._page, names, _NAMES)))
            with ui.element("div").classes("cell-actions"):
                if state.revision is not None and state.applied_revision not in (None, state.revision):
                    there = f"/revisions/{state.revision}"
                    against = str(state.applied_revision)
                    action(t("What has changed"), Kind.PLAIN, lambda: self._page.go(there, against=against))
                action(t("Apply changes"), Kind.CHANGE, self._apply, icon="published_with_changes")

    async def _apply(self) -> None:
        page = self._page
        done = await page.want(page.client.apply())
        if done is not None:
            ui.notify(outcome(page, done.applied), type="positive", multi_line=True, timeout=8000)
        self._shown = None
        await self.refresh()


def where_and_what(page: Page, problem: FileProblem) -> str:
    """
    Say what is wrong in the configuration file, and where.
    """
    where = f"{problem.where}: " if problem.where else ""
    if problem.line is None:
        return where + page.told(problem.message)
    place = page.t("line {line}, column {column}", line=problem.line, column=problem.column or 1)
    return f"{place}: {where}{page.told(problem.message)}"


def outcome(page: Page, applied: Applied) -> str:
    """
    Say what applying the configuration has done.
    """
    lines = [
        page.t(english, names=few(page, names, _NAMES))
        for name, english in _APPLIED
        if (names := getattr(applied, name))
    ]
    return "\n".join([page.t("The changes are applied."), *lines])


def _is_any(waiting: Waiting) -> bool:
    return bool(waiting.start or waiting.restart or waiting.stop or waiting.clean)
