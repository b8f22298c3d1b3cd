"""
Sizes, times and names: as people write them, and as they read them.
"""

from __future__ import annotations

import re
import time
import unicodedata
from datetime import datetime

from fustor_core.errors import InvalidRequest
from fustor_core.models.file_row import unescape_name

_SIZE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b)?\s*")
_SPAN = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w|mo|y)\s*")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 30 * 86400, "y": 365 * 86400}
_CONTROLS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def parse_size(text: str) -> int:
    """
    Read a size: `4096`, `10M`, `1.5G`; factors of 1024.

    Raises:
        InvalidRequest: It is not one.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{text!r} is not a size", hint="write it like 4096, 10k, 10M or 1.5G")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def parse_time(text: str, now: float | None = None) -> int:
    """
    Read a point in time: an age (`90s`, `15m`, `6h`, `2d`, `3w`, `6mo`, `1y`) or a date (`2024-05-01`, `2024-05-01T12:30`).

    Returns:
        Nanoseconds since the epoch.

    Raises:
        InvalidRequest: It is neither.
    """
    match = _SPAN.fullmatch(text)
    if match is not None:
        age_s = float(match[1]) * _SECONDS[match[2].lower()]
        return int(((time.time() if now is None else now) - age_s) * 1e9)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{text!r} is not a time", hint="write an age like 15m, 6h, 2d, 3w, or a date like 2024-05-01"
        ) from None


def size(value: int) -> str:
    """
    Show a size in at most six characters: `0 B`, `812 B`, `1.5 K`, `23 M`.
    """
    if value < 1024:
        return f"{value} B"
    amount = float(value)
    for unit in "KMGTPE":
        amount /= 1024
        if amount < 999.5:
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{amount:.0f} E"


def count(value: int) -> str:
    """
    Show a whole number with thin groups: `1,234,567`.
    """
    return f"{value:,}"


def some(value: int, one: str, many: str) -> str:
    """
    Show how many of a thing there are: `1 directory`, `1,234 directories`.
    """
    return f"{count(value)} {one if value == 1 else many}"


def moment(ns: int | None) -> str:
    """
    Show a time of a file in local time: `2024-05-01 12:30`.
    """
    if not ns:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(ns / 1e9))
    except (OverflowError, ValueError, OSError):
        return "?"


def duration(seconds: float) -> str:
    """
    Show a span of time: `3 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
    """
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def name(escaped: str) -> str:
    """
    Show a name or path as it travels so that no terminal is harmed: bytes that are not UTF-8, control characters and
    characters that turn the direction of text are escaped; all else stands as it is.
    """
    if escaped.isascii() and escaped.isprintable() and "\\" not in escaped:
        return escaped
    return safe(unescape_name(escaped))


def safe(text: str) -> str:
    """
    Show text as the operating system gives it, with everything escaped that a terminal could take as a command.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _CONTROLS:
        return _CONTROLS[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    if unicodedata.category(char) == "Zs":
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """
    Return how many columns of a terminal a text takes.
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def tail(lead: str, text: str, columns: int) -> str:
    """
    Show `lead` and, of `text`, as much of its end as fits into `columns` of a terminal.
    """
    room = columns - width(lead)
    if width(text) <= room:
        return lead + text
    while text and width(text) > room - 1:
        text = text[1:]
    return f"{lead}…{text}"


def safe_lines(text: str) -> str:
    """
    Like `safe`, for text of several lines.
    """
    return "\n".join(safe(part) for part in text.split("\n"))
