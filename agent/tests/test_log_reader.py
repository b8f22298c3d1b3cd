"""
The log, read backwards in pages through its rotated files, filtered, and followed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fustor_agent import log_reader
from fustor_agent.log_reader import LogFilter, LogLine, follow, read_page
from fustor_core.errors import InvalidRequest


def line(n: int, level: str = "info", logger: str = "fustor_agent.bus", **more: object) -> str:
    return json.dumps({"event": f"line {n}", "level": level, "logger": logger, "timestamp": f"t{n}", **more}) + "\n"


def all_pages(path: Path, wanted: LogFilter, limit: int) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        page = read_page(path, wanted, limit, before)
        found = [one.message for one in page.lines] + found
        if page.before is None:
            return found
        assert page.before != before, "it goes on"
        before = page.before


def test_pages_go_back_through_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    (tmp_path / "a.log.2").write_text("".join(line(n) for n in range(5)))
    (tmp_path / "a.log.1").write_text("".join(line(n) for n in range(5, 12)))
    path.write_text("".join(line(n) for n in range(12, 15)))
    page = read_page(path, LogFilter(), 4)
    assert [one.message for one in page.lines] == ["line 11", "line 12", "line 13", "line 14"]
    (tmp_path / "a.log.2").rename(tmp_path / "a.log.3")  # rotated meanwhile
    (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
    path.rename(tmp_path / "a.log.1")
    path.write_text(line(15))
    page = read_page(path, LogFilter(), 3, page.before)
    assert [one.message for one in page.lines] == ["line 8", "line 9", "line 10"]
    assert all_pages(path, LogFilter(), 2) == [f"line {n}" for n in range(16)]


def test_lines_are_filtered_by_level_component_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(
        line(1, "debug")
        + line(2, "warning", "fustor_agent.sync.runtime", sync="Shop")
        + line(3, "error", "fustor_agent.sync_metrics")
        + "no JSON at all\n"
        + line(4, "info", "fustor_agent.sync")
    )

    def told(**wanted: str) -> list[str]:
        return [one.message for one in read_page(path, LogFilter(**wanted), 10).lines]

    assert told(level="WARNING") == ["line 2", "line 3"]
    assert told(component="fustor_agent.sync") == ["line 2", "line 4"], "that logger and those below, not its namesakes"
    assert told(text="SHOP") == ["line 2"]
    assert told(text="json") == ["no JSON at all"]
    assert told() == ["line 1", "line 2", "line 3", "no JSON at all", "line 4"]
    assert read_page(path, LogFilter(text="Shop"), 10).lines[0].fields == {"sync": "Shop"}


def test_secrets_are_masked_once_more(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(line(1, why="mysql://u:hidden@h/db", header="Bearer abcdefghijkl"))
    [found] = read_page(path, LogFilter(), 1).lines
    assert "hidden" not in str(found) and "abcdefghijkl" not in str(found)
    assert read_page(path, LogFilter(text="hidden"), 1).lines == [], "nor can they be searched for"


def test_so_much_is_looked_through_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A filter that matches little gives short pages, each with the place to go on from, and in the end everything.
    """
    monkeypatch.setattr(log_reader, "MOST_BYTES", 3000)
    path = tmp_path / "a.log"
    path.write_text("".join(line(n, text="x" * 80) for n in range(200)))
    first = read_page(path, LogFilter(text="line 7"), 10)
    assert first.lines == [] and first.before
    assert all_pages(path, LogFilter(text='"line 7"'), 10) == ["line 7"]


def test_a_place_that_is_none_is_refused_and_an_absent_log_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no place"):
        read_page(tmp_path / "a.log", LogFilter(), 1, "nonsense")
    page = read_page(tmp_path / "a.log", LogFilter(), 1)
    assert page.lines == [] and page.before is None


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30), max_size=12),
    st.integers(1, 5),
    st.integers(1, 40),
)
def test_pages_of_any_size_give_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], limit: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    path.write_text("".join(json.dumps({"event": text}) + "\n" for text in texts), encoding="utf-8")
    before = log_reader._BLOCK
    log_reader._BLOCK = block  # type: ignore[misc]
    try:
        assert all_pages(path, LogFilter(), limit) == texts
    finally:
        log_reader._BLOCK = before  # type: ignore[misc]


async def test_following_tells_new_lines_through_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(line(1))
    told: asyncio.Queue[LogLine | None] = asyncio.Queue()

    async def read(lines: AsyncIterator[LogLine | None]) -> None:
        async for one in lines:
            told.put_nowait(one)

    async def next_line() -> str:
        while True:
            found = await asyncio.wait_for(told.get(), 10)
            if found is not None:
                return found.message

    task = asyncio.create_task(read(follow(path, LogFilter(level="WARNING"), poll_s=0.01, quiet_s=0.05)))
    try:
        assert await asyncio.wait_for(told.get(), 10) is None, "nothing happens: that is told too"
        with path.open("a") as file:
            file.write(line(2, "info") + line(3, "error")[:20])
            file.flush()
            file.write(line(3, "error")[20:])
        assert await next_line() == "line 3"
        path.rename(tmp_path / "a.log.1")
        path.write_text(line(4, "error"))
        assert await next_line() == "line 4"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
