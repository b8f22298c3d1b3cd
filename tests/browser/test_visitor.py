"""
The visitor of these tests: what they do at a page is what it hears.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.browser import Visitor
from playwright.sync_api import expect

MOVES = """<button id=it onclick="said.textContent += 'heard '">Save</button><output id=said></output><script>
let left = %d;
it.addEventListener("mousedown", () => { if (left-- > 0) it.style.marginTop = (parseInt(it.style.marginTop || 0) + 200) + "px"; });
</script>"""


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    return visit("http://127.0.0.1:9")


def show(visitor: Visitor, html: str) -> None:
    visitor.page.route(f"{visitor.console}/", lambda route: route.fulfill(body=html, content_type="text/html"))
    visitor.page.goto(f"{visitor.console}/")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_click_that_missed_is_made_again_and_is_heard_once(visitor: Visitor, times: int) -> None:
    show(visitor, MOVES % times)
    visitor.press("Save")
    expect(visitor.page.locator("output")).to_have_text("heard")


def test_what_always_runs_away_is_said(visitor: Visitor) -> None:
    show(visitor, MOVES % 1000)
    with pytest.raises(AssertionError, match="moved away"):
        visitor.press("Save")


def test_what_a_label_hands_on_to_its_field_is_no_miss(visitor: Visitor) -> None:
    show(visitor, "<label for=sure>Yes</label><p>apart</p><input id=sure type=checkbox>")
    visitor.click(visitor.page.get_by_text("Yes"))
    expect(visitor.page.locator("#sure")).to_be_checked()


def test_a_click_that_leads_away_is_heard(visitor: Visitor) -> None:
    show(visitor, "<a href='about:blank'>Away</a>")
    visitor.click(visitor.page.get_by_role("link", name="Away"))
    expect(visitor.page).to_have_url("about:blank")
