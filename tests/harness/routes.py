"""
What an app serves, taken from the app itself, so that a test of all of it finds what was added since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from fustor_web_ui.console import Console

PAGES_OF_THE_DOCUMENT = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
"""
Served to everybody: they tell what is in the repository.
"""


def served(app: FastAPI) -> set[tuple[str, str]]:
    """
    Return every method and path that an app serves.

    Raises:
        AssertionError: It serves something that its OpenAPI document does not tell.
    """
    hidden = [route for route in _leaves(app.routes) if not getattr(route, "include_in_schema", False)]
    consoles = [route for route in hidden if isinstance(route, Mount) and isinstance(route.app, Console)]
    told = [route.path for route in hidden if isinstance(route, Route)]
    # A console asks who somebody is by itself, and its pages ask this API; the root leads to it.
    expected = PAGES_OF_THE_DOCUMENT | ({"/"} if consoles else set())
    assert len(told) + len(consoles) == len(hidden) and set(told) == expected, f"not in the document: {hidden}"
    return {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}


def _leaves(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        included = getattr(route, "original_router", None)  # FastAPI keeps routers that were included as they are
        if included is None:
            yield route
        else:
            yield from _leaves(included.routes)
