"""
What the words of a page mean: folded, above what they are said of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nicegui import ui

from fustor_web_ui.states import Mood, state


class Meaning(NamedTuple):
    """
    What a word means; everything in the person's language.

    Attributes:
        word: The word.
        meaning: A sentence or two.
        mood: How well that is; None = the word is no state.
    """

    word: str
    meaning: str
    mood: Mood | None = None


def legend(title: str, groups: Sequence[tuple[str, Sequence[Meaning]]]) -> None:
    """
    Say what words mean.

    Args:
        title: What it is about.
        groups: Headings with their words; a heading may be empty.
    """
    with ui.expansion(title, icon="help_outline").classes("console-legend"):
        for heading, meanings in groups:
            if heading:
                ui.label(heading).props('role=heading aria-level="2"').classes("console-subtitle")
            with ui.element("dl"):
                for one in meanings:
                    with ui.element("dt"):
                        if one.mood is None:
                            ui.label(one.word).classes("console-legend-word")
                        else:
                            state(one.word, one.mood)
                    with ui.element("dd"):
                        ui.label(one.meaning)
