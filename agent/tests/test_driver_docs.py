"""
The driver guide documents the whole contract, in both languages, and its example runs.
"""

import inspect
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import FustorError
from fustor_core.models.config import SourceConfig

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "driver_design.md", DOCS / "driver_design.zh-CN.md"]


def public_names(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
@pytest.mark.parametrize("cls", [SourceDriver, PusherDriver])
def test_every_public_name_of_the_contract_is_documented(page: Path, cls: type) -> None:
    text = page.read_text()

    missing = [name for name in public_names(cls) if not re.search(rf"`[^`]*\b{name}\b", text)]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_error_the_guide_names_exists(page: Path) -> None:
    from fustor_core import errors

    known = {n for n, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, FustorError)}
    named = set(
        re.findall(
            r"`([A-Z][A-Za-z]+(?:Lost|Failed|Missing|Busy|Superseded|Conflict|Rejected|Error))`", page.read_text()
        )
    )

    assert named and named <= known


def test_the_complete_source_in_the_guide_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL)[0]
    space: dict[str, Any] = {}
    exec(compile(code, "driver_design.md", "exec"), space)
    driver = space["ClockDriver"]("clock", SourceConfig(driver="clock", uri="clock://"))
    stop = threading.Event()

    events, lost = driver.get_message_iterator(-1, stop_event=stop)
    [chunk] = list(driver.get_snapshot_iterator())
    high = driver.high_watermark()
    first = next(events)
    stop.set()

    assert lost is False
    assert chunk.resume_token == "done"
    assert chunk.index <= high <= first.index
    assert len(list(events)) <= 1
