"""
Sentences in which something is to be typed as it stands.
"""

from __future__ import annotations

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement


def with_code(text: str) -> ui.element:
    """
    Show a sentence; what stands between backticks in it is shown as code.
    """
    box = ui.element("div")
    with box:
        for at, part in enumerate(text.split("`")):
            if part:
                TextElement(tag="code" if at % 2 else "span", text=part)
    return box
