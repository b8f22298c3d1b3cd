"""
Fixtures of the browser tests: Debian's chromium, driven by Playwright.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.browser import Visitor, chromium
from harness.sender import Sender
from harness.stack import Service, Stack
from playwright.sync_api import Browser

ADMIN_PASSWORD = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    A browser for the tests of a file. Not of the whole run: while it is open an event loop runs in this thread, and tests that want one of
    their own fail.
    """
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """
    Opens a window of its own, with cookies of its own, at a service's console.
    """
    made: list[Visitor] = []

    def open_one(console: str, **how: str | int) -> Visitor:
        visitor = Visitor(browser, console, **how)  # type: ignore[arg-type]
        made.append(visitor)
        return visitor

    yield open_one
    for visitor in made:
        visitor.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """
    A real Registry, shared by the tests of a file.
    """
    folder: Path = tmp_path_factory.mktemp("registry")
    service = Service("registry", folder, {"FUSTOR_REGISTRY_ADMIN_PASSWORD": ADMIN_PASSWORD})
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """
    A real Agent with nothing configured, shared by the tests of a file; its token is `AGENT_TOKEN`.
    """
    service = Service("agent", tmp_path_factory.mktemp("agent"))
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """
    The three real services at work, shared by the tests of a file: a tree that a real agent watches, and the table `shop.people` with ten
    rows, in one datastore (`tree`).
    """
    folder: Path = tmp_path_factory.mktemp("fed")
    tree = folder / "tree"
    (tree / "docs" / "old").mkdir(parents=True)
    for name, length in (("readme.txt", 120), ("docs/big.bin", 500_000), ("docs/old/notes.txt", 2_000)):
        (tree / name).write_bytes(b"x" * length)
    stack = Stack(folder / "services", tree)
    stack.start()
    stack.wait_snapshot_ended()
    sender = Sender(stack.fusion.url, stack.key, "people")
    sender.rows("shop", "people", ("id", "name"), [(at, f"person {at}") for at in range(1, 11)])
    sender.close()
    yield stack
    stack.close()
