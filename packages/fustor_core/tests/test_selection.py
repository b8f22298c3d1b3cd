"""
Which tables are wanted.
"""

from __future__ import annotations

import pytest

from fustor_core.selection import Selection


@pytest.mark.parametrize(
    ("globs", "named"),
    [
        ([], set()),
        (["shop.orders", "shop.users", "stock.*"], {"shop", "stock"}),
        (["shop.v1.*"], {"shop"}),
        (["a[*]b[[]c.t"], {"a*b[c"}),
        (["shop.*", "*.orders"], set()),
        (["sh?p.t"], set()),
        (["sh[ao]p.t"], set()),
        (["orders"], set()),
    ],
)
def test_the_schemas_that_globs_name_are_known(globs: list[str], named: set[str]) -> None:
    """
    And one glob that leaves the schema open leaves it open for all.
    """
    assert Selection(globs, [], []).schemas == named


def test_a_schema_that_is_the_only_one_is_the_one_that_is_named() -> None:
    assert Selection(["stock.*"], [], [], only_schema="shop").schemas == {"shop"}
    assert Selection([], [], [], only_schema="a.b").schemas == {"a.b"}
