"""
What the agent says of a sync that needs nobody is said in the person's language on the pages.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, cast

from fustor_agent.console import words
from fustor_agent.sync import status
from fustor_agent.transforms import preview
from fustor_web_ui import formats
from fustor_web_ui.page import Page


def said_by(*functions: str) -> set[str]:
    """
    Return the reasons that functions of `status.py` give outright.
    """
    tree = ast.parse(Path(status.__file__).read_text("utf-8"))
    said: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Return):
                told = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
                if isinstance(told, ast.Constant) and told.value:
                    said.add(str(told.value))
    return said


def test_every_reason_has_its_words_in_both_languages() -> None:
    reasons = said_by("_why", "_why_snapshot")
    assert "sending live changes" in reasons and "copying" in reasons
    assert reasons - set(words.REASONS) == set()
    chinese = json.loads(Path(words.__file__).with_name("zh.json").read_text("utf-8"))
    assert set(words.REASONS.values()) - set(chinese) == set()


def test_what_a_preview_notes_by_itself_has_its_words_in_both_languages() -> None:
    chinese = json.loads(Path(words.__file__).with_name("zh.json").read_text("utf-8"))
    assert preview.READS_MORE_THAN_THE_KEY in words.NOTES
    assert set(words.NOTES) - set(chinese) == set()


def test_what_brought_a_revision_about_is_told_in_parts() -> None:
    """
    So that a list of keys or of syncs is one in the person's language.
    """

    class Chinese:
        @staticmethod
        def t(english: str, **values: Any) -> str:
            return str(chinese[english]).format(**values)

    chinese = {
        **json.loads(Path(words.__file__).with_name("zh.json").read_text("utf-8")),
        **json.loads(Path(formats.__file__).with_name("zh.json").read_text("utf-8")),
    }
    told = {
        reason: words.of_revision(cast(Page, Chinese()), reason)
        for reason in (
            "changed pushers.spare: batch_size, uri",
            "changed pushers.spare",
            "edited by hand: syncs.a.source",
            "deleted sources.a and the syncs one, two",
        )
    }
    assert [*told.values()] == [
        "修改 pushers.spare：batch_size、uri",
        "修改 pushers.spare",
        "手工编辑：syncs.a.source",
        "删除 sources.a 及同步任务 one、two",
    ]
