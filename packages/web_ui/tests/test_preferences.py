"""
The language and colours that somebody sees.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fustor_web_ui.texts import Texts, language_of


@pytest.mark.parametrize(
    ("cookie", "accepted", "expected"),
    [
        (None, None, "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "de-DE, en-US;q=0.7, zh;q=0.3", "en"),
        (None, "fr", "en"),
        ("zh", "en-US", "zh"),
        ("en", "zh-CN", "en"),
        ("klingon", "zh-TW", "zh"),
    ],
)
def test_what_was_chosen_wins_over_what_the_browser_asks_for(
    cookie: str | None, accepted: str | None, expected: str
) -> None:
    assert language_of(cookie, accepted) == expected


def test_a_sentence_without_a_translation_stays_english(tmp_path: Path) -> None:
    """
    Values are put in as they are, whatever they hold.
    """
    catalog = tmp_path / "zh.json"
    catalog.write_text('{"Delete {name}?": "删除 {name}？"}', "utf-8")
    texts = Texts([catalog])
    assert texts.say("zh", "Delete {name}?", name="{0} {name} <b>") == "删除 {0} {name} <b>？"
    assert texts.say("en", "Delete {name}?", name="a") == "Delete a?"
    assert texts.say("zh", "Not there: 100 {}") == "Not there: 100 {}"
