"""
Numbers, sizes and times as people read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from fustor_web_ui.page import Page

NONE: Final = "—"
"""
What stands for a value that there is none of.
"""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: float) -> str:
    """
    Write a number with its thousands apart.
    """
    return f"{number:,.0f}"


def size(octets: float) -> str:
    """
    Write a number of bytes.
    """
    left = float(octets)
    for unit in _UNITS[:-1]:
        if abs(left) < 1024:
            return f"{left:.0f} {unit}" if unit == "B" else f"{left:.1f} {unit}"
        left /= 1024
    return f"{left:.1f} {_UNITS[-1]}"


def moment(text: str | None) -> datetime | None:
    """
    Read a time as the services write it (ISO 8601, UTC where no zone is told).
    """
    if not text:
        return None
    made = datetime.fromisoformat(text)
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def instant(nanoseconds: int | None) -> str | None:
    """
    Write a time that a service gives in nanoseconds since the epoch, for the other functions here; None when it is none that a calendar has.
    """
    if nanoseconds is None:
        return None
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # files carry any number
        return None


def speed(number: float | None) -> str:
    """
    Write how many each second, small numbers with a decimal.
    """
    value = number or 0.0
    return f"{value:,.1f}" if 0 < value < 10 else f"{value:,.0f}"


def span(page: Page, seconds: float) -> str:
    """
    Say how long something takes, in the person's language.
    """
    if seconds < 1:
        return page.t("{number} ms", number=f"{seconds * 1000:.0f}")
    for limit, length, english in (
        (60, 1, "{number} s"),
        (3600, 60, "{number} min"),
        (86_400, 3600, "{number} h"),
    ):
        if seconds < limit:
            number = seconds / length
            return page.t(english, number=f"{number:.1f}" if number < 10 else f"{number:.0f}")
    return page.t("{number} days", number=f"{seconds / 86_400:.0f}")


def shown(page: Page, text: str | None, *, never: str = "never") -> str:
    """
    Write a time of the services, in UTC.

    Args:
        never: English: what to say where there is none.
    """
    made = moment(text)
    return page.t(never) if made is None else made.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(page: Page, text: str | None, *, now: datetime | None = None, never: str = "never") -> str:
    """
    Say how long ago a time was, in the person's language.
    """
    made = moment(text)
    if made is None:
        return page.t(never)
    seconds = max(0.0, ((now or datetime.now(UTC)) - made).total_seconds())
    if seconds < 1:
        return page.t("just now")
    for limit, length, english in (
        (60, 1, "{number} s ago"),
        (3600, 60, "{number} min ago"),
        (86_400, 3600, "{number} h ago"),
    ):
        if seconds < limit:
            return page.t(english, number=int(seconds // length))
    return page.t("{number} days ago", number=int(seconds // 86_400))


def listed(page: Page, parts: Iterable[str]) -> str:
    """
    Write a list in the person's language.
    """
    return page.t(", ").join(parts)
