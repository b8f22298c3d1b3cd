"""
Fixtures of the tests that need the three real services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.stack import Stack


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """
    Makes stacks that are not started yet; whatever still runs is ended after the test.
    """
    made: list[Stack] = []

    def make(tree: Path | None = None, **more: Any) -> Stack:
        watched = tree or tmp_path / "tree"
        if tree is None:
            watched.mkdir(exist_ok=True)
        stack = Stack(tmp_path / f"stack{len(made)}", watched, **more)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.close()


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """
    One stack over an empty tree, not started yet: a test may first fill `stack.tree`.
    """
    return make_stack()
