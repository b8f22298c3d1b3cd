"""
Names as people can read them.
"""

from __future__ import annotations

import pytest

from fustor_client.models import Tree
from fustor_fusion.console.names import visible
from fustor_fusion.console.place import Place


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("日本語 é.txt", "日本語 é.txt"),
        ("two\nlines\t", r"two\x0alines\x09"),
        (" ends  ", r"\x20ends\x20\x20"),
        ("   ", r"\x20\x20\x20"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("no\u200bwidth", r"no\u200bwidth"),
        ("\U000e0001", r"\U000e0001"),
        ("\x7f\x85", r"\x7f\x85"),
        ("", ""),
        ("🎉", "🎉"),
    ],
)
def test_what_can_not_be_seen_is_written(name: str, shown: str) -> None:
    assert visible(name) == shown


def test_a_place_knows_the_way_up_and_its_address() -> None:
    """
    Also of a tree whose sync sends others as well.
    """
    place = Place(Tree("files", "file:///data/my%20tree"), "a b/c&d\n")
    assert [parent.path for parent in place.parents] == ["", "a b"]
    assert place.address == "/files?tree=files&path=a+b%2Fc%26d%0A"
    assert place.asked(place.path) == "a b/c&d\n"
    assert place.at("").name == "my tree"
    shared = Place(place.tree, "x", is_shared=True)
    assert shared.asked("x/y") == "/data/my tree/x/y"
    assert shared.at("").asked("") == "/data/my tree"
    assert "root=file%3A%2F%2F%2Fdata%2Fmy%2520tree" in shared.address
