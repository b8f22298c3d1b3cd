"""
Changes of the configuration that a person makes to what they see: if somebody else has changed it meanwhile, they are told, and nothing
is undone unseen.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from fustor_core.errors import FustorError, PreconditionFailed
from fustor_web_ui.page import Page

T = TypeVar("T")


async def change(page: Page, answer: Awaitable[T], done: str | None = None, **values: Any) -> T | bool | None:
    """
    Make a change that was made for a revision, and say that it is done. None when it failed: that is told.
    """
    return await page.act(_told_plainly(page, answer), done, **values)


async def _told_plainly(page: Page, answer: Awaitable[T]) -> T:
    try:
        return await answer
    except PreconditionFailed as exc:
        raise PreconditionFailed(
            page.t("Somebody else has changed the configuration meanwhile, so this was not done."),
            hint=page.t(
                "It is shown as it is now: look at it, and decide once more. Revisions tells what was changed."
            ),
            context=exc.context,
        ) from exc


def say_it_waits(page: Page) -> None:
    """
    Say, on the page that comes next, that what was saved is not in force yet.
    """
    page.say_there(page.t("Saved. It takes effect when the changes are applied."))


def problems_of(error: FustorError) -> list[dict[str, Any]]:
    """
    Return what is wrong with an entry, each with the key that it is about.
    """
    found = error.context.get("problems")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
