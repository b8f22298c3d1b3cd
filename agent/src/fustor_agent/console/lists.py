"""
Some of many names, for a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from fustor_web_ui.formats import listed
from fustor_web_ui.page import Page


def few(page: Page, names: Sequence[str], most: int) -> str:
    """
    Return the first names, and how many more there are.
    """
    shown = listed(page, names[:most])
    more = len(names) - most
    return shown if more <= 0 else page.t("{some} and {number} more", some=shown, number=more)
