"""
What services and drivers say, put into Chinese by templates.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fustor_web_ui import messages as module
from fustor_web_ui.messages import CATALOG, Messages, catalogs_for, read_template
from fustor_web_ui.texts import Texts


@pytest.fixture
def say(tmp_path: Path) -> Iterator[Messages]:
    lines = {
        "the disk is full": "磁盘已满",
        "{} of {} rows": "{1} 行中的 {0} 行",
        "table {} can't be read: {}": "无法读取表 {0}：{1}",
        "can't be read: {}": "无法读取：{0}",
        "the push failed: {}": "推送失败：{0}",
        "the push failed: {}, {} times": "推送失败 {1} 次：{0}",
        "give `credential: {user: ..., passwd: ...}` to {}": "请为 {0} 填写 `credential: {user: ..., passwd: ...}`",
        "{}: {}": "{0}：{1}",
        "a{}a{}a{}a{}a": "啊{0}啊{1}啊{2}啊{3}啊",
    }
    yield Messages([written(tmp_path / "one", lines)])


def written(folder: Path, lines: object) -> Path:
    folder.mkdir(parents=True)
    file = folder / CATALOG
    file.write_text(lines if isinstance(lines, str) else json.dumps(lines, ensure_ascii=False), "utf-8")
    return file


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("the disk is full", "磁盘已满"),
        ("3 of 10 rows", "10 行中的 3 行"),  # values in another order
        ("table 'a: b' can't be read: no\nway", "无法读取表 'a: b'：no\nway"),  # lines are text like any other
        ("the push failed: the disk is full", "推送失败：磁盘已满"),  # a value that is a message
        ("the push failed: table t can't be read: the disk is full", "推送失败：无法读取表 t：磁盘已满"),
        ("the push failed: no, 3 times", "推送失败 3 次：no"),  # the most literal one counts
        ("give `credential: {user: ..., passwd: ...}` to x", "请为 x 填写 `credential: {user: ..., passwd: ...}`"),
        ("x: the disk is full", "x：磁盘已满"),  # what only joins others does so when one of them has a meaning
        ("x: y", "x: y"),
        ("nobody says this", "nobody says this"),
        ("the disk is full!", "the disk is full!"),
        ("{0} of {1} rows", "{1} 行中的 {0} 行"),  # what looks like a place is text
        ("", ""),
    ],
)
def test_a_text_is_put_into_chinese(say: Messages, english: str, chinese: str) -> None:
    assert say.in_chinese(english) == chinese
    assert say.in_chinese(english) == chinese  # and the second time, from memory


@pytest.mark.parametrize("text", ["a" * 9_999, "x: " * 3_333, "the push failed: " * 588, "table can't be read: " * 476])
def test_a_hostile_text_is_compared_a_limited_number_of_times(
    say: Messages, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0
    values = module.Template.values

    def counted(template: module.Template, text: str) -> list[str] | None:
        nonlocal compared
        compared += 1
        return values(template, text)

    monkeypatch.setattr(module.Template, "values", counted)
    say.in_chinese(text)
    assert 0 < compared <= module._MOST_LOOKS * 8


def test_what_is_longer_than_any_message_stays_as_it_is(say: Messages) -> None:
    text = "the push failed: " + "x" * 100_000
    assert say.in_chinese(text) == text


def test_no_more_texts_are_kept_than_a_limit(say: Messages) -> None:
    for number in range(module._KEPT + 10):
        say.in_chinese(f"the push failed: {number}")
    assert say._said.cache_info().currsize == module._KEPT


def test_the_first_catalog_counts_and_a_broken_one_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [
        written(tmp_path / "broken", "{no JSON"),
        written(tmp_path / "odd", ["not", "lines"]),
        written(tmp_path / "ours", {"it is {}": "是 {0}", "{} lacks {}": "{0} 缺 {2}"}),
        written(tmp_path / "theirs", {"it is {}": "它乃 {0}"}),
    ]
    with caplog.at_level(logging.WARNING):
        messages = Messages(files)
        assert messages.in_chinese("it is late") == "是 late"
        assert messages.in_chinese("a lacks b") == "a lacks b"
    assert len(caplog.records) == 2
    assert "broken" in caplog.text and "{0} 缺 {2}" in caplog.text


def test_a_value_that_the_english_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        read_template("it is {}", "是 {1}")


def test_catalogs_are_found_beside_the_module_of_a_plugin_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "acme_fleet" / "driver"
    file = written(inner, {"no truck {}": "没有卡车 {0}"})
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "plugin_modules", lambda: ["acme_fleet.driver.main", "nobody_has_this.driver"])
    assert file in list(catalogs_for("json"))


def test_texts_pass_on_what_others_say(tmp_path: Path) -> None:
    own = tmp_path / "zh.json"
    own.write_text('{"no": "不"}')
    texts = Texts([own], Messages([written(tmp_path / "them", {"no": "否", "it is {}": "是 {0}"})]))
    assert texts.pass_on("en", "it is so") == "it is so"
    assert texts.pass_on("zh", "it is so") == "是 so"
    assert texts.pass_on("zh", "no") == "不"
