"""
How full or how far something is, as a bar, with its number beside it.
"""

from __future__ import annotations

from typing import Literal

from nicegui import ui

Look = Literal["", "is-warm", "is-hot"]


class Meter:
    """
    A bar.

    Args:
        label: What it shows, in the person's language, for those who can't see it.
        is_progress: Whether it comes to an end, rather than being full or empty.
    """

    def __init__(self, label: str, *, is_progress: bool = False) -> None:
        role = "progressbar" if is_progress else "meter"
        self._bar = ui.element("div").classes("meter").props(f"role={role} aria-valuemin=0 aria-valuemax=100")
        self._bar.props["aria-label"] = label
        with self._bar:
            self._part = ui.element("div").classes("meter-part")
        self._percent: int | None = None
        self._look: Look = ""
        self.show(0.0)

    @property
    def shown(self) -> bool:
        """
        Whether it is to be seen.
        """
        return bool(self._bar.visible)

    @shown.setter
    def shown(self, is_shown: bool) -> None:
        self._bar.visible = is_shown

    def show(self, fraction: float, look: Look = "") -> None:
        """
        Show a fraction from 0 to 1.
        """
        percent = round(100 * min(1.0, max(0.0, fraction)))
        if percent != self._percent:
            self._percent = percent
            self._bar.props["aria-valuenow"] = percent
            self._part.style(f"width: {percent}%")
        if look != self._look:
            self._part.classes(add=look, remove=self._look)
            self._look = look
