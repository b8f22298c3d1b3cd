"""
Times as Fusion gives them: nanoseconds since the epoch, None where there is none.
"""

from __future__ import annotations

import time

from fustor_web_ui.formats import ago, instant, span
from fustor_web_ui.page import Page


def ago_of(page: Page, nanoseconds: int | None, *, never: str = "unknown") -> str:
    """
    Say how long ago a time was.

    Args:
        never: English: what to say where there is none.
    """
    return ago(page, instant(nanoseconds), never=never)


def since(page: Page, nanoseconds: int) -> str:
    """
    Say how long something has been so.
    """
    return span(page, max(0, (time.time_ns() - nanoseconds) // 10**9))
