"""
Values as a request gives them, read as the type of their column; what can't be read is told with how to write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.tables_types import Kind

MOST_CHARACTERS: Final = 10_000

_encode = msgspec.json.Encoder().encode
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_DATE = r"(?P<year>[0-9]{4,7})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?P<fraction>\.[0-9]{1,9})?)?"
_MOMENT = re.compile(rf"{_DATE}(?:[T ]{_CLOCK}(?P<zone>Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?)?(?P<before> BC)?")
_TIME = re.compile(r"-?[0-9]{1,3}:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?(?:[+-][0-9]{2}(?::[0-9]{2}){0,2})?")
_DURATION = re.compile(
    r"-?P(?=.)(?:-?[0-9]+Y)?(?:-?[0-9]+M)?(?:-?[0-9]+W)?(?:-?[0-9]+D)?(?:T(?=.)(?:-?[0-9]+H)?(?:-?[0-9]+M)?(?:-?[0-9]+(?:\.[0-9]+)?S)?)?"
)
_SPECIAL: Final = {"nan": "NaN", "infinity": "Infinity", "+infinity": "Infinity", "-infinity": "-Infinity"}


def read_given(text: str, column: str, kind: Kind, schema: Any) -> bytes:
    """
    Return a value as the JSON that a row would hold.

    Args:
        text: What the request gives.
        column: Whose it is.
        kind: Of the column.
        schema: The column's entry.

    Raises:
        InvalidRequest: It is no value of this column.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequest(
            f"the value for the column {column!r} has {len(text)} characters",
            hint=f"give at most {MOST_CHARACTERS}",
            context={"column": column},
        )
    reader = _READERS.get(kind)
    if reader is None:
        return _encode(text)
    made = reader(text.strip(), schema)
    if isinstance(made, str):
        return made.encode()
    what, how = made
    raise InvalidRequest(
        f"the column {column!r} holds {what}, and {text!r} is none",
        hint=how,
        context={"column": column, "value": text, "type": kind},
    )


Refusal = tuple[str, str]


def _number(text: str, schema: Any) -> str | Refusal:
    if text.lower() in _SPECIAL:
        return f'"{_SPECIAL[text.lower()]}"'
    if _WHOLE.fullmatch(text):
        # As digits: through a float those past 2**53 would be others.
        return text.lstrip("+") if len(text.lstrip("+-0")) == len(text.lstrip("+-")) else _plain(text)
    try:
        number = float(text)
    except ValueError:
        return "numbers", "write it in digits, such as 12 or -0.5"
    return repr(number) if number - number == 0 else ("numbers", "it is too large for a number")


def _plain(text: str) -> str:
    digits = text.lstrip("+-0") or "0"
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits


def _decimal(text: str, schema: Any) -> str | Refusal:
    if text.lower() in _SPECIAL:
        return f'"{_SPECIAL[text.lower()]}"'
    try:
        number = Decimal(text)
    except InvalidOperation:
        return "numbers", "write it in digits, such as 12 or -0.5"
    return f'"{number}"' if number.is_finite() else ("numbers", "write it in digits, such as 12 or -0.5")


def _boolean(text: str, schema: Any) -> str | Refusal:
    said = {"true": "true", "1": "true", "false": "false", "0": "false"}.get(text.lower())
    return said or ("true or false", "write true or false")


def _moment(text: str, schema: Any) -> str | Refusal:
    form = schema.get("format") if isinstance(schema, dict) else None
    if text.lower().lstrip("+-") == "infinity":
        return '"-infinity"' if text.startswith("-") else '"infinity"'
    what, how = {
        "date": ("dates", "write it like 2026-01-31"),
        "date-time": ("times with a zone", "write it like 2026-01-31T08:00:00Z"),
    }.get(str(form), ("times without a zone", "write it like 2026-01-31T08:00:00"))
    found = _MOMENT.fullmatch(text)
    if found is None or int(found["month"]) > 12 or int(found["day"]) > 31:
        return what, how
    day = f"{found['year']}-{found['month']}-{found['day']}"
    before = found["before"] or ""
    if form == "date":
        return f'"{day}{before}"' if found["hour"] is None else (what, how)
    if found["hour"] is None:
        return f'"{day}T00:00:00{before}"'
    if int(found["hour"]) > 24 or int(found["minute"]) > 59 or int(found["second"] or 0) > 60:
        return what, how
    clock = f"{found['hour']}:{found['minute']}:{found['second'] or '00'}{found['fraction'] or ''}"
    zone = found["zone"]
    if zone is None or (form == "date-time" and zone == "Z"):
        return f'"{day}T{clock}{before}"'
    if form != "date-time":
        return what, f"{how}: the column says nothing of a zone"
    try:
        whole = datetime.fromisoformat(f"{day}T{clock[:8]}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return what, how
    return f'"{whole.replace(tzinfo=None).isoformat()}{found["fraction"] or ""}"'


def _time(text: str, schema: Any) -> str | Refusal:
    if not _TIME.fullmatch(text):
        return "times of day", "write it like 08:30 or 08:30:00.5"
    return f'"{text}"' if text.count(":") > 1 or "+" in text or "-" in text[1:] else f'"{text}:00"'


def _duration(text: str, schema: Any) -> str | Refusal:
    if not _DURATION.fullmatch(text.upper()):
        return "durations", "write it as ISO 8601 does: P1DT2H30M is a day, two hours and a half"
    return f'"{text.upper()}"'


_READERS: Final[Mapping[Kind, Callable[[str, Any], str | Refusal]]] = {
    "integer": _number,
    "number": _number,
    "decimal": _decimal,
    "boolean": _boolean,
    "moment": _moment,
    "time": _time,
    "duration": _duration,
}
