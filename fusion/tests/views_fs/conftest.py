from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    """
    Load a module beside this file: tests are no packages.
    """
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fs_store = _load("fs_store")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    opened = fs_store.Store(tmp_path)
    yield opened
    opened.close()
