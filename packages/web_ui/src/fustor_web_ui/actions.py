"""
Buttons that do something. Their colours mean the same everywhere: green starts and enables, blue restarts and changes, orange stops and
disables, red deletes and asks twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

from nicegui import ui

from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.page import Page

Do = Callable[[], Awaitable[object] | None]


class Kind(Enum):
    """
    What a button does to what it belongs to; the value is its class in the style sheet.
    """

    START = "act-start"
    CHANGE = "act-change"
    STOP = "act-stop"
    DELETE = "act-delete"
    PLAIN = "act-plain"


def action(label: str, kind: Kind, do: Do, *, icon: str | None = None, describes: str | None = None) -> ui.button:
    """
    Make a button.

    Args:
        label: In the person's language.
        kind: What it does.
        do: Called when it is pressed.
        icon: Name of a Material icon.
        describes: What it belongs to, for who can't see that: "Delete the user ann".
    """
    button = (
        ui.button(label, on_click=do, icon=icon, color=None).props("no-caps unelevated").classes(f"act {kind.value}")
    )
    if describes is not None:
        button.props["aria-label"] = describes
    return button


def ask_twice(page: Page, question: str, consequence: str, label: str, do: Do) -> None:
    """
    Ask before something is deleted: the person has to say twice that it is meant.
    """
    dialog, card = make_dialog(page, question, must_answer=True)
    with card:
        ui.label(consequence)
        sure = ui.checkbox(page.t("Yes, I am sure."))
        with ui.row().classes("console-actions"):
            action(page.t("Cancel"), Kind.PLAIN, dialog.close)

            async def go_on() -> None:
                dialog.close()
                result = do()
                if result is not None:
                    await result

            button = action(label, Kind.DELETE, go_on)
            button.bind_enabled_from(sure, "value")
    dialog.open()
