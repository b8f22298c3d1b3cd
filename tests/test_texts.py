"""
What the consoles say is there in both languages.
"""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from fustor_agent.console.schema_fields import label_of, plain_schema
from fustor_agent.console.source_wizard_draft import CHOOSERS, NOT_ASKED, OF_THE_ENTRY, SourceDraft
from fustor_client.agent_models import DriverDetails
from fustor_core.plugins import source_drivers

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT / "packages/web_ui/src/fustor_web_ui"
CONSOLES = {
    "web_ui": SHARED,
    "registry": ROOT / "registry/src/fustor_registry/console",
    "agent": ROOT / "agent/src/fustor_agent/console",
    "fusion": ROOT / "fusion/src/fustor_fusion/console",
}
SAYING = {"t": 0, "say": 0, "console_page": 1, "Place": 1, "Field": 1, "after": 1, "act": 1, "_act": 1, "change": 2}
"""
Calls that are given a sentence, and where among their arguments.
"""
SAID_BY_NAME = {"sign_in_hint", "wrong", "never"}


def catalog(folder: Path) -> dict[str, str]:
    read: dict[str, str] = json.loads((folder / "zh.json").read_text("utf-8"))
    return read


def constants(folder: Path) -> Iterator[ast.AST]:
    for file in folder.glob("*.py"):
        yield from ast.walk(ast.parse(file.read_text("utf-8")))


def sentences(folder: Path) -> set[str]:
    """
    Return what is said outright; what is said by way of a variable stands among the catalog's keys alone.
    """
    said: set[str] = set()
    for node in constants(folder):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [node.args[SAYING[name]]] if name in SAYING and len(node.args) > SAYING[name] else []
        given += [keyword.value for keyword in node.keywords if keyword.arg in SAID_BY_NAME]
        said |= {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return said


@pytest.mark.parametrize("console", CONSOLES)
def test_every_sentence_is_there_in_chinese(console: str) -> None:
    known = catalog(SHARED) | catalog(CONSOLES[console])
    assert sentences(CONSOLES[console]) - set(known) == set()


@pytest.mark.parametrize("console", CONSOLES)
def test_no_sentence_is_kept_that_nobody_says(console: str) -> None:
    there = {node.value for node in constants(CONSOLES[console]) if isinstance(node, ast.Constant)}
    assert set(catalog(CONSOLES[console])) - there == set()


@pytest.mark.parametrize("console", CONSOLES)
def test_both_languages_are_given_the_same_values(console: str) -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    wrong = [english for english, chinese in catalog(CONSOLES[console]).items() if names(english) != names(chinese)]
    assert wrong == []


@pytest.mark.parametrize("name", ["fs", "mysql", "postgres"])
def test_what_a_built_in_driver_asks_in_the_wizard_is_there_in_chinese(name: str) -> None:
    """
    Its title, what it reads, and the label and the explanation of each field that the wizard shows.
    """
    driver = source_drivers().get(name)
    told = asyncio.run(driver.get_wizard_steps())
    draft = SourceDraft(DriverDetails(name), steps=told["steps"])
    fields = {key: schema for key, schema in draft.properties().items() if key not in OF_THE_ENTRY}
    fields |= {key: schema for key, schema in draft.param_schemas().items() if key not in NOT_ASKED or name == "fs"}
    fields |= draft.properties().get("credential", {}).get("properties", {})
    if "x-address" not in draft.properties()["uri"]:
        fields["uri"] = draft.properties()["uri"]
    assert set(CHOOSERS) & set(fields) == ({"include", "exclude"} if name == "fs" else set())
    said = {driver.title, told["about"]}
    for key, raw in fields.items():
        schema = plain_schema(raw)
        said |= {label_of(key, schema), str(schema.get("description") or "")} - {""}
    assert said - set(catalog(CONSOLES["agent"])) == set()
