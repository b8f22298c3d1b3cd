"""
What services and drivers say to people is there in Chinese: each package's `messages.zh.json` holds just what its code says.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path

import pytest
from harness.said import Package, error_classes, says_something

from fustor_web_ui.messages import CATALOG, HOLE, Messages, catalogs_for, read_template

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("agent", "registry", "fusion")
NO_PAGES = ("fustor_cli", "fustor_web_ui")
"""
Packages whose errors reach no page, or are said by a console itself.
"""
FOLDERS = {
    folder.name: folder
    for folder in sorted(
        [*ROOT.glob("packages/*/src/fustor_*"), *(ROOT / one / f"src/fustor_{one}" for one in SERVICES)]
    )
    if folder.name not in NO_PAGES
}


@functools.cache
def said(package: str) -> frozenset[str]:
    """
    Return every template that a package says.
    """
    return frozenset(Package(FOLDERS[package], _errors()).templates())


@functools.cache
def _errors() -> set[str]:
    return error_classes(
        [ast.parse(file.read_text("utf-8")) for folder in FOLDERS.values() for file in folder.rglob("*.py")]
    )


def catalog(package: str) -> dict[str, str]:
    read: dict[str, str] = json.loads((FOLDERS[package] / CATALOG).read_text("utf-8"))
    return read


def sentences(package: str) -> set[str]:
    """
    Return what the package's console has in its own catalog.
    """
    file = FOLDERS[package] / "console" / "zh.json"
    return set(json.loads(file.read_text("utf-8"))) if file.exists() else set()


@pytest.mark.parametrize("package", FOLDERS)
def test_every_message_and_hint_is_there_in_chinese(package: str) -> None:
    wanted = {template for template in said(package) if says_something(template)}
    assert sorted(wanted - set(catalog(package)) - sentences(package)) == []


@pytest.mark.parametrize("package", FOLDERS)
def test_no_catalog_has_what_nobody_says(package: str) -> None:
    assert sorted(set(catalog(package)) - said(package)) == []


@pytest.mark.parametrize("package", FOLDERS)
def test_both_languages_have_the_same_values(package: str) -> None:
    wrong = [
        english
        for english, chinese in catalog(package).items()
        if sorted(map(int, re.findall(r"\{(\d+)\}", chinese))) != list(range(english.count(HOLE)))
    ]
    assert wrong == []


@pytest.mark.parametrize("package", FOLDERS)
def test_catalogs_are_written_the_same_way(package: str) -> None:
    text = (FOLDERS[package] / CATALOG).read_text("utf-8")
    assert text == json.dumps(catalog(package), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def test_packages_that_say_the_same_say_it_the_same_in_chinese() -> None:
    known: dict[str, dict[str, str]] = {}
    for package in FOLDERS:
        for english, chinese in catalog(package).items():
            known.setdefault(english, {})[package] = chinese
    assert {english: there for english, there in known.items() if len(set(there.values())) > 1} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_a_console_finds_the_catalogs_of_all_that_is_installed(service: str) -> None:
    found = set(catalogs_for(f"fustor_{service}.console.pages"))
    others = {FOLDERS[name] / CATALOG for name in ("fustor_agent", "fustor_registry", "fustor_fusion")}
    installed = {folder / CATALOG for folder in FOLDERS.values()}
    assert found >= installed - others | {FOLDERS[f"fustor_{service}"] / CATALOG}


def test_what_a_template_says_is_said_by_no_other() -> None:
    """
    With plain values each text is put into Chinese by the template that it was made of.
    """
    messages = Messages([folder / CATALOG for folder in FOLDERS.values()])
    for package in FOLDERS:
        for english, chinese in catalog(package).items():
            template = read_template(english, chinese)
            values = [f"'value {at}'" for at in range(english.count(HOLE))]
            text = "".join(part for pair in zip(template.literals, [*values, ""], strict=True) for part in pair)
            expected = template.fill(values) if template.has_words else text
            assert messages.in_chinese(text) == expected


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("the name or the password is wrong", "用户名或密码错误"),
        (
            "can't connect to http://127.0.0.1:1: Connection refused",
            "无法连接到 http://127.0.0.1:1：Connection refused",
        ),
        (
            "Fusion at http://f:8102 refuses the push: row 3 is not an object like the first one",
            "http://f:8102 的 Fusion 拒绝此推送：第 3 行不像第一行那样是对象",
        ),
        (
            "source: connecting at db:3306 failed: no (1045)",
            "数据源：在 db:3306 连接时失败：no（1045）",
        ),
        (
            "a row of 'shop.users' can't be transformed: `a > 1`, at character 3: can't compare text with a number",
            "'shop.users' 的一行无法转换：`a > 1`，第 3 个字符处：不能将文本与数字比较",
        ),
        (
            "'ann' lacks the attribute REPLICATION, 2 wanted tables in the publication 'p'",
            "'ann' 缺少 属性 REPLICATION、发布 'p' 中的 2 张所需表",
        ),
        (
            "nothing was applied, for the file has problems: /etc/a.yaml:15:7: `sources.s.urix`: unknown key (allowed keys: driver, uri) (and 2 more)",
            "未应用任何内容，因为文件有问题：/etc/a.yaml:15:7：`sources.s.urix`：未知的键（可用的键：driver, uri）（另有 2 个）",
        ),
        (
            "made the user 'fustor' with the password abc; it may read every table and the binary log",
            "已创建用户 'fustor'，密码为 abc；它可以读取所有表和二进制日志",
        ),
        (
            "step 2 (mask) on table 'users': there is no field 'mail'",
            "表 'users' 的第 2 步（mask）：没有字段 'mail'",
        ),
        (
            "no connection to http://f:8102 in time (check that Fusion runs and that nothing between blocks the way; nothing is lost meanwhile)",
            "未能及时连接到 http://f:8102（请检查 Fusion 是否在运行，中间是否有阻挡；在此期间不会丢失任何数据）",
        ),
    ],
)
def test_what_is_really_said_is_said_in_chinese(english: str, chinese: str) -> None:
    messages = Messages([*catalogs_for("fustor_agent.console.pages"), *catalogs_for("fustor_registry.console.pages")])
    assert messages.in_chinese(english) == chinese
