"""
Trying a source or a pusher from its form, before it is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nicegui import ui

from fustor_client.agent_models import Said
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

_TRIED: Final = ("uri", "endpoint", "credential", "driver_params")


class ConnectionTest:
    """
    What came of the last try, and the button for another.

    Args:
        page: Where it stands.
        section: sources or pushers.
    """

    def __init__(self, page: Page, section: str) -> None:
        self._page = page
        self._section = section
        self._button: ui.button | None = None
        self._outcome = ui.label().classes("entry-outcome").props("role=status")
        self._outcome.visible = False

    def button(self, do: Any) -> None:
        """
        Make the button; it does what calls `run`.
        """
        self._button = action(self._page.t("Test the connection"), Kind.CHANGE, do, icon="network_check")

    def forget(self) -> None:
        """
        Take back what was said.
        """
        self._outcome.visible = False

    async def run(self, driver: str, entry: Mapping[str, Any], *, configured: str | None = None) -> None:
        """
        Try an entry, and say what came of it.

        Args:
            driver: Its driver.
            entry: As it was filled in.
            configured: The entry of the configuration that has the secrets that show as `***`.
        """
        page, t = self._page, self._page.t
        given = {name: entry[name] for name in _TRIED if entry.get(name) is not None}
        if configured is not None:
            given["configured"] = configured
        if self._button is not None:
            self._button.disable()
        self._show(t("Trying ..."), "is-wait")
        said: Said | None = None
        try:
            said = await page.want(page.client.test_driver(self._section, driver, **given))
        finally:
            if self._button is not None:
                self._button.enable()
        if said is None:
            self.forget()
        elif said.ok:
            self._show(t("It works: {message}", message=page.told(said.message)), "is-good")
        else:
            self._show(t("It does not work: {message}", message=page.told(said.message)), "is-bad")

    def _show(self, text: str, look: str) -> None:
        self._outcome.text = text
        self._outcome.classes(replace=f"entry-outcome {look}")
        self._outcome.visible = True
