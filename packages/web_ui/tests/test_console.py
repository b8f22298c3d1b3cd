"""
Which entry of the navigation a page belongs to.
"""

from __future__ import annotations

import pytest

from fustor_web_ui.console import Place

HOME = Place("/", "Home", "home", also=("/things",))
SYNCS = Place("/syncs", "Syncs", "sync", also=("/watch",))


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/", HOME),
        ("/things/{thing}", HOME),
        ("/syncs", SYNCS),
        ("/syncs/new", SYNCS),
        ("/watch/{name}", SYNCS),
        ("/syncs-of-others", None),
        ("/elsewhere", None),
    ],
)
def test_a_page_belongs_to_one_entry(path: str, owner: Place | None) -> None:
    assert [place for place in (HOME, SYNCS) if place.holds(path)] == ([] if owner is None else [owner])
