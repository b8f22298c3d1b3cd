"""
A form in a dialog: a few fields, and one button that does it. It stays open, with what was filled in, when that fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.page import Page


class Form:
    """
    A form; add its fields, then open it.

    Args:
        page: Where it stands.
        title: In the person's language, as all that is said here.
        label: Of the button that does it.
        kind: What the button does.
    """

    def __init__(self, page: Page, title: str, label: str, kind: Kind) -> None:
        self._page = page
        self._fields: dict[str, Any] = {}
        self._required: set[str] = set()
        self._label = label
        self._kind = kind
        self._dialog, self._card = make_dialog(page, title, must_answer=True)

    def note(self, text: str) -> None:
        """
        Say something before the next field.
        """
        with self._card:
            ui.label(text).classes("console-lead")

    def text(self, name: str, label: str, *, value: str = "", required: bool = False) -> None:
        """
        Ask for a text.
        """
        with self._card:
            self._fields[name] = ui.input(label, value=value).props("outlined").classes("console-field")
        if required:
            self._required.add(name)

    def number(self, name: str, label: str, *, value: float | None = None) -> None:
        """
        Ask for a number that may be left out.
        """
        with self._card:
            self._fields[name] = ui.number(label, value=value, min=0).props("outlined").classes("console-field")

    def choice(self, name: str, label: str, choices: Mapping[str, str], *, value: str) -> None:
        """
        Ask for one of several: value to what is shown.
        """
        with self._card:
            self._fields[name] = (
                ui.select(dict(choices), label=label, value=value).props("outlined").classes("console-field")
            )

    def check(self, name: str, label: str, *, value: bool) -> None:
        """
        Ask for yes or no.
        """
        with self._card:
            self._fields[name] = ui.checkbox(label, value=value)

    def said(self, name: str) -> str:
        """
        Return the text or the choice.
        """
        return str(self._fields[name].value or "").strip()

    def amount(self, name: str) -> float | None:
        """
        Return the number; None when it was left out.
        """
        value = self._fields[name].value
        return None if value is None else float(value)

    def whole(self, name: str) -> int | None:
        """
        Return the number as a whole one; None when it was left out.
        """
        value = self.amount(name)
        return None if value is None else int(value)

    def is_checked(self, name: str) -> bool:
        """
        Return whether yes was said.
        """
        return bool(self._fields[name].value)

    def open(self, save: Callable[[], Awaitable[bool]]) -> None:
        """
        Show the form.

        Args:
            save: Does it; tells what failed, and returns whether all is done.
        """
        page, dialog = self._page, self._dialog

        async def go_on() -> None:
            missing = [name for name in self._required if not self.said(name)]
            for name in self._required:
                self._fields[name].error = page.t("This is needed.") if name in missing else None
            if missing:
                return
            button.disable()
            try:
                if await save():
                    dialog.close()
                    return
            finally:
                button.enable()

        with self._card, ui.row().classes("console-actions"):
            action(page.t("Cancel"), Kind.PLAIN, dialog.close)
            button = action(self._label, self._kind, go_on)
        for field in self._fields.values():
            if isinstance(field, ui.input):
                field.on("keydown.enter", go_on)
        dialog.on("keydown.esc", dialog.close)
        for first in list(self._fields.values())[:1]:
            first.props("autofocus")
        dialog.open()
