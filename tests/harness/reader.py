"""
Somebody who reads a console's pages, for tests of what is said: without a page.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import cast

import fustor_web_ui
from fustor_web_ui.page import Page
from fustor_web_ui.texts import Language, Texts


class Reader:
    """
    What functions that put something into words need of a page.

    Args:
        console: The package of the console's pages.
        language: What the person reads.
    """

    def __init__(self, console: ModuleType, language: Language) -> None:
        folders = (Path(str(one.__file__)).parent for one in (fustor_web_ui, console))
        self._texts = Texts(folder / "zh.json" for folder in folders)
        self._language = language

    def t(self, english: str, **values: object) -> str:
        """
        Say a sentence in the person's language.
        """
        return self._texts.say(self._language, english, **values)


def page_of(console: ModuleType, language: Language) -> Page:
    """
    Return what stands for a page.
    """
    return cast("Page", Reader(console, language))
