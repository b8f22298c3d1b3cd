"""
What programs call themselves, as people do: "Chrome 156 on Linux".
"""

from __future__ import annotations

import re
from typing import Final

from fustor_web_ui.page import Page

_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)\S* (?:Mobile/\S+ )?Safari/")),
)
"""
Browsers by what they say; most say the names of others too, so the order matters.
"""
_SYSTEMS: Final = (
    ("Android", re.compile(r"\bAndroid\b")),
    ("iOS", re.compile(r"\b(?:iPhone|iPad|iPod)\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMac(?:intosh| OS X)\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)
_CUT: Final = 40


def client_name(page: Page, agent: str) -> str:
    """
    Return the name of a browser and its system; of anything else what it says, cut when it is long.
    """
    browser = next((f"{name} {found[1]}" for name, one in _BROWSERS if (found := one.search(agent))), None)
    if browser is None:
        return agent if len(agent) <= _CUT else f"{agent[:_CUT].rstrip()}…"
    system = next((name for name, one in _SYSTEMS if one.search(agent)), None)
    return browser if system is None else page.t("{browser} on {system}", browser=browser, system=system)
