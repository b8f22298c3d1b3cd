"""
What people read, in their language. Code writes English; a catalog holds the Chinese of each sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from fustor_web_ui.messages import Messages

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
NAMES: Final[Mapping[Language, str]] = {"en": "English", "zh": "中文"}
HTML_NAMES: Final[Mapping[Language, str]] = {"en": "en", "zh": "zh-CN"}

OWN_CATALOG: Final = Path(__file__).with_name("zh.json")


class Texts:
    """
    Says a sentence in a language.

    Args:
        catalogs: JSON files: English sentence to Chinese sentence. Later ones win.
        messages: Knows what services and drivers say.
    """

    def __init__(self, catalogs: Iterable[Path], messages: Messages | None = None) -> None:
        self._messages = messages or Messages(())
        self._chinese: dict[str, str] = {}
        for file in catalogs:
            self._chinese.update(json.loads(file.read_text("utf-8")))

    def say(self, language: Language, english: str, **values: Any) -> str:
        """
        Return a sentence, its `{names}` filled in. One that the catalog lacks stays English.
        """
        text = self._chinese.get(english, english) if language == "zh" else english
        return text.format(**values) if values else text

    def pass_on(self, language: Language, text: str) -> str:
        """
        Return what a service or a driver has said, as far as its Chinese is known.
        """
        if language == "en":
            return text
        return self._chinese.get(text) or self._messages.in_chinese(text)


def language_of(cookie: str | None, accepted: str | None) -> Language:
    """
    Return the language somebody has chosen, else the one that their browser asks for first.

    Args:
        cookie: What they chose.
        accepted: The header `Accept-Language`.
    """
    for language in LANGUAGES:
        if cookie == language:
            return language
    for part in (accepted or "").split(","):
        name = part.split(";")[0].strip().lower()
        if name.startswith("zh"):
            return "zh"
        if name.startswith("en"):
            return "en"
    return "en"
