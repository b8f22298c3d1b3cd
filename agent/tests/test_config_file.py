"""
The configuration file: what is wrong is said with line, place and remedy; what is right is kept; changes keep a person's text.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fustor_agent.config_file import parse
from fustor_agent.config_text import dump, with_entry

GOOD = """\
# our tree
sources:
  files:            # the big one
    driver: fs
    uri: /data
    disabled: false
  other:
    driver: fs
    uri: /other

# where it goes
pushers:
  fusion:
    driver: fusion
    endpoint: http://127.0.0.1:8102
    credential: {key: "${FUSION_KEY}"}
    batch_size: 5000
    disabled: false
syncs:
  main: {source: files, pusher: fusion}
"""


def test_a_good_file_has_no_problems() -> None:
    config = parse(GOOD)
    assert config.problems == []
    assert config.entries["pushers"]["fusion"]["credential"] == {"key": "${FUSION_KEY}"}
    assert parse("").problems == [] and parse("# nothing\n").entries["syncs"] == {}


@pytest.mark.parametrize(
    ("change", "spot", "key", "says"),
    [
        (
            ("    driver: fs\n    uri: /data", "    driver: fs\n    url: /data"),
            "5:5",
            "sources.files.url",
            "unknown key",
        ),
        (("    driver: fs\n    uri: /data", "    driver: fs\n    url: /data"), "3:3", "sources.files.uri", "required"),
        (("batch_size: 5000", "batch_size: many"), "17:5", "pushers.fusion.batch_size", "integer"),
        (("batch_size: 5000", "batch_size: 0"), "17:5", "pushers.fusion.batch_size", "greater"),
        (('{key: "${FUSION_KEY}"}', "{keey: x}"), "16:18", "pushers.fusion.credential.keey", "unknown key"),
        (("pusher: fusion}", "pusher: fuson}"), "20:25", "syncs.main.pusher", "no pusher 'fuson'"),
        (("syncs:", "sincs:"), "19:1", "sincs", "unknown key"),
        (("  other:", "  'o/ther':"), "7:3", "sources.o/ther", "can't be an id"),
        (("  main: {source: files, pusher: fusion}", "  main: yes"), "20:3", "syncs.main", "keys and values"),
        (("  main: {source: files, pusher: fusion}", "  - main"), "19:1", "syncs", "entries by id"),
    ],
)
def test_each_mistake_is_said_with_line_place_and_remedy(
    change: tuple[str, str], spot: str, key: str, says: str
) -> None:
    assert change[0] in GOOD
    problems = {p.key: p for p in parse(GOOD.replace(*change), "/etc/agent-config.yaml").problems}
    problem = problems[key]
    assert says in problem.message and ("allowed" in problem.hint or "known" in problem.hint), str(problem)
    assert str(problem).startswith(f"/etc/agent-config.yaml:{spot}: `{key}`: ")


def test_a_wrong_entry_hides_no_other() -> None:
    config = parse(GOOD.replace("uri: /data", "uri: 5"))
    assert [p.key for p in config.problems] == ["sources.files.uri"]
    assert config.problems_of("sources", "files") and not config.problems_of("sources", "other")
    assert set(config.entries["sources"]) == {"files", "other"}


@pytest.mark.parametrize(
    "text", ["sources: [", "a: b: c", "\tx: 1", "- a list", "just text", "sources: {a: !!python/object:os.x {}}"]
)
def test_a_file_that_is_no_configuration_is_broken_as_a_whole(text: str) -> None:
    broken = parse(text).broken
    assert broken is not None and broken.line and broken.hint


@pytest.mark.parametrize("section", ["sources", "pushers", "syncs"])
@pytest.mark.parametrize("what", ["add", "change", "remove"])
def test_a_change_touches_only_its_entry(section: Any, what: str) -> None:
    before = parse(GOOD).entries
    id_ = "new-one" if what == "add" else next(iter(before[section]))
    entry = None if what == "remove" else {"driver": "x", "uri": "y: z # not a comment"}
    text = with_entry(GOOD, section, id_, entry)
    after = parse(text).entries
    expected = {s: dict(before[s]) for s in before}
    if entry is None:
        del expected[section][id_]
    else:
        expected[section][id_] = entry
    assert after == expected
    assert "# our tree" in text and "# where it goes" in text


def test_a_file_written_in_another_way_is_written_anew_and_says_the_same() -> None:
    text = "{sources: {a: {driver: x, uri: y}}, syncs: {s: {source: a, pusher: b}}}"
    changed = with_entry(text, "sources", "b", {"driver": "z", "uri": "w"})
    assert parse(changed).entries["sources"] == {"a": {"driver": "x", "uri": "y"}, "b": {"driver": "z", "uri": "w"}}
    assert with_entry("", "syncs", "s", {"source": "a", "pusher": "b"}) == dump(
        {"sources": {}, "pushers": {}, "syncs": {"s": {"source": "a", "pusher": "b"}}}
    )
    assert yaml.safe_load(with_entry("# only this", "syncs", "s", {"source": "a", "pusher": "b"}))["syncs"]["s"]
