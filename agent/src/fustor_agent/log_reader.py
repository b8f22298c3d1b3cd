"""
Reads the agent's log backwards in pages, through its rotated files, and follows it while it grows.

A place in it is told as `inode:offset`, so that it stays right when the file is rotated. Every line is scrubbed of secrets once more.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from fustor_common.logging import ROTATE_FILES, scrub
from fustor_core.errors import InvalidRequest

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MOST_BYTES: Final = 8 * 1024 * 1024
"""
Read at most for one page, whatever it finds.
"""

_BLOCK: Final = 64 * 1024
_LONGEST: Final = 1024 * 1024
_OWN: Final = ("event", "level", "logger", "timestamp")


@dataclass(frozen=True, slots=True)
class LogLine:
    """
    One line.

    Attributes:
        component: Name of the logger, `fustor_agent.sync.runtime`.
        fields: What else was logged.
    """

    timestamp: str
    level: str
    component: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """
    Which lines are wanted.

    Attributes:
        level: This severity or worse.
        component: A logger, and those below it.
        text: Must be in the line, in capitals or not.
    """

    level: str | None = None
    component: str | None = None
    text: str | None = None

    def take(self, raw: bytes) -> LogLine | None:
        """
        Return a line as it is told, None when it is not wanted.
        """
        text = scrub(raw.decode("utf-8", "replace"))
        if self.text is not None and self.text.casefold() not in text.casefold():
            return None
        line = _parsed(text)
        if self.level is not None and _severity(line.level) < _severity(self.level):
            return None
        wanted = self.component
        if wanted is not None and line.component != wanted and not line.component.startswith(wanted + "."):
            return None
        return line


@dataclass(frozen=True, slots=True)
class LogPage:
    """
    Some lines, oldest first; `before` is the place to go on backwards from, None when there are no older ones.
    """

    lines: list[LogLine]
    before: str | None


def read_page(path: Path, wanted: LogFilter, limit: int, before: str | None = None) -> LogPage:
    """
    Read the newest lines that are wanted, or the newest before a place.

    Args:
        path: The log; its older files are `path.1`, `path.2`, ...
        wanted: Which lines.
        limit: Most lines.
        before: A place that an earlier page has told.

    Raises:
        InvalidRequest: The place is none.
    """
    found: list[LogLine] = []
    left = MOST_BYTES
    at = _place(before) if before is not None else None
    for file in _files(path, None if at is None else at[0]):
        with file:
            inode = os.fstat(file.fileno()).st_ino
            end = at[1] if at is not None and at[0] == inode else file.seek(0, os.SEEK_END)
            for start, raw in _backwards(file, end):
                line = wanted.take(raw) if raw else None
                if line is not None:
                    found.append(line)
                left -= len(raw) + 1
                if len(found) >= limit or left <= 0:
                    return LogPage(found[::-1], f"{inode}:{start}")
    return LogPage(found[::-1], None)


async def follow(
    path: Path, wanted: LogFilter, *, poll_s: float = 0.25, quiet_s: float = 15.0
) -> AsyncIterator[LogLine | None]:
    """
    Yield lines as they are written, from now on; None when nothing was for a while.
    """
    file = _opened(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    rest = b""
    told = time.monotonic()
    try:
        while True:
            data = b"" if file is None else file.read(_BLOCK)
            if data:
                *lines, rest = (rest + data)[-_LONGEST:].split(b"\n")
                for raw in lines:
                    line = wanted.take(raw) if raw else None
                    if line is not None:
                        told = time.monotonic()
                        yield line
                continue
            if file is None or _is_rotated(file, path):
                fresh = _opened(path)
                if fresh is not None:
                    if file is not None:
                        file.close()
                    file, rest = fresh, b""
                    continue
            if time.monotonic() - told >= quiet_s:
                told = time.monotonic()
                yield None
            await asyncio.sleep(poll_s)
    finally:
        if file is not None:
            file.close()


def _files(path: Path, inode: int | None) -> Iterator[BinaryIO]:
    """
    Open the files of a log, newest first; from the one with an inode on, when one is given.
    """
    is_reached = inode is None
    for one in (path, *(path.with_name(f"{path.name}.{n}") for n in range(1, ROTATE_FILES + 1))):
        file = _opened(one)
        if file is None:
            continue
        is_reached = is_reached or os.fstat(file.fileno()).st_ino == inode
        if is_reached:
            yield file
        else:
            file.close()


def _opened(path: Path) -> BinaryIO | None:
    with suppress(FileNotFoundError):
        return path.open("rb")
    return None


def _is_rotated(file: BinaryIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    return True


def _backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield the lines before an offset, last first, each with the offset it begins at.
    """
    rest = b""
    at = end
    while at > 0:
        step = min(_BLOCK, at)
        at -= step
        file.seek(at)
        data = file.read(step) + rest
        if len(data) > _LONGEST and b"\n" not in data:
            data = data[:_LONGEST]  # a line that long is cut
        first, *lines = data.split(b"\n")
        place = at + len(data)
        for raw in reversed(lines):
            place -= len(raw)
            if place < end or raw:
                yield place, raw
            place -= 1
        rest = first
    if rest:
        yield 0, rest


def _place(text: str) -> tuple[int, int]:
    inode, _, offset = text.partition(":")
    if not (inode.isdecimal() and offset.isdecimal()):
        raise InvalidRequest(f"{text!r} is no place in the log", hint="pass on what an answer gave as `next`")
    return int(inode), int(offset)


def _severity(level: str) -> int:
    name = level.upper()
    return LEVELS.index(name) if name in LEVELS else 1


def _parsed(text: str) -> LogLine:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return LogLine("", "INFO", "", text)
    rest = {name: value for name, value in found.items() if name not in _OWN}
    said = {name: str(found.get(name, "")) for name in _OWN}
    return LogLine(said["timestamp"], said["level"].upper(), said["logger"], said["event"], rest)
