"""
How something is, at a glance: a word on a colour. The word alone says it too.
"""

from __future__ import annotations

from enum import Enum

from nicegui import ui


class Mood(Enum):
    """
    What a state means for the person; the value is its class in the style sheet.
    """

    GOOD = "state-good"
    WAIT = "state-wait"
    BAD = "state-bad"
    OFF = "state-off"


def state(word: str, mood: Mood) -> None:
    """
    Show a state.
    """
    ui.label(word).classes(f"state {mood.value}")


class LiveState:
    """
    A state that changes while it is shown.
    """

    def __init__(self) -> None:
        self._label = ui.label().classes("state")
        self._mood: Mood | None = None

    @property
    def shown(self) -> bool:
        """
        Whether it is to be seen.
        """
        return bool(self._label.visible)

    @shown.setter
    def shown(self, is_shown: bool) -> None:
        self._label.visible = is_shown

    def show(self, word: str, mood: Mood) -> None:
        """
        Show a state.
        """
        self._label.text = word
        if mood is not self._mood:
            self._label.classes(add=mood.value, remove=None if self._mood is None else self._mood.value)
            self._mood = mood
