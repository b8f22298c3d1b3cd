"""
The functions of the expression language. Each is total: bounded in time and size, and without any effect.

Null in is null out, except for those that say otherwise.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from fustor_agent.transforms.operators import MOST_TEXT, Uncomputable, bounded, kind_of
from fustor_core.values import encode_value

_JSON: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Function:
    """
    One function.

    Attributes:
        call: What it does.
        least, most: How many arguments it takes.
        usage: How it is written and what it means, for the documentation.
        gives: JSON type of its result; "" when that depends.
        takes_null: Whether it is called with nulls too.
    """

    call: Callable[..., Any]
    least: int
    most: int
    usage: str
    gives: str = ""
    takes_null: bool = False


def as_text(value: Any) -> str:
    """
    Return a value as text, the way it travels: numbers in digits, true and false as words, lists and objects as JSON.
    """
    if isinstance(value, str):
        return value
    encoded = encode_value(value)
    if isinstance(encoded, str):
        return encoded
    if isinstance(encoded, bool):
        return "true" if encoded else "false"
    if isinstance(encoded, int | float):
        return str(encoded)
    return _JSON.encode(encoded).decode()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Uncomputable(f"wants text, not {kind_of(value)}; `text(...)` makes text of it")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Uncomputable(f"wants a whole number, not {kind_of(value)}")
    return value


def _substr(text: Any, start: Any, count: Any = MOST_TEXT) -> str:
    begin, many = _whole(start), _whole(count)
    if begin < 1 or many < 0:
        raise Uncomputable("counts characters from 1, and a count is not below 0")
    return _text(text)[begin - 1 : begin - 1 + many]


def _replace(text: Any, old: Any, new: Any) -> str:
    whole, before, after = _text(text), _text(old), _text(new)
    if not before:
        raise Uncomputable("can't replace the empty text")
    if len(whole) + whole.count(before) * (len(after) - len(before)) > MOST_TEXT:
        raise Uncomputable(f"the result has more than {MOST_TEXT} characters")
    return whole.replace(before, after)


def _like(text: Any, pattern: Any) -> bool:
    """
    Match greedily with one place to go back to: time grows with len(text) * len(pattern) at most.
    """
    whole, wanted = _text(text), _text(pattern)
    at = p = 0
    star, mark = -1, 0
    while at < len(whole):
        if p < len(wanted) and wanted[p] == "%":
            star, mark = p, at
            p += 1
        elif p < len(wanted) and wanted[p] in ("_", whole[at]):
            at += 1
            p += 1
        elif star >= 0:
            mark += 1
            at, p = mark, star + 1
        else:
            return False
    return all(one == "%" for one in wanted[p:])


def _concat(*values: Any) -> str:
    return str(bounded("".join(as_text(value) for value in values if value is not None)))


def _join(separator: Any, *values: Any) -> str:
    between = "" if separator is None else _text(separator)
    return str(bounded(between.join(as_text(value) for value in values if value is not None)))


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise Uncomputable(f"can't make a number of {kind_of(value)}")
        return value
    if len(value) > 1000:
        raise Uncomputable("the text is too long for a number")
    try:
        number = Decimal(value.strip())
    except decimal.InvalidOperation:
        raise Uncomputable(f"{value[:40]!r} is no number") from None
    if not number.is_finite():
        return float(number)
    if number.adjusted() > 1000:
        raise Uncomputable(f"{value[:40]!r} is out of range")
    return int(number) if number == number.to_integral_value() and "." not in value else number


def _numeric(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Uncomputable(f"wants a number, not {kind_of(value)}")
    return value


def _round(value: Any, digits: Any = 0) -> Any:
    number, places = _numeric(value), _whole(digits)
    if not -50 <= places <= 50:
        raise Uncomputable("rounds to -50 to 50 digits")
    if isinstance(number, float) and not math.isfinite(number):
        return number
    try:
        rounded = round(number, places)
    except (decimal.DecimalException, OverflowError):
        raise Uncomputable("the number is out of range") from None
    return int(rounded) if places == 0 else rounded


FUNCTIONS: Final[dict[str, Function]] = {
    "lower": Function(lambda a: _text(a).lower(), 1, 1, "lower(text): in small letters", "string"),
    "upper": Function(lambda a: bounded(_text(a).upper()), 1, 1, "upper(text): in capitals", "string"),
    "trim": Function(lambda a: _text(a).strip(), 1, 1, "trim(text): without white space at both ends", "string"),
    "length": Function(lambda a: len(_text(a)), 1, 1, "length(text): number of characters", "integer"),
    "substr": Function(_substr, 2, 3, "substr(text, start, count): from the 1st, 2nd, ... character on", "string"),
    "replace": Function(_replace, 3, 3, "replace(text, old, new): every `old` becomes `new`", "string"),
    "startswith": Function(
        lambda a, b: _text(a).startswith(_text(b)), 2, 2, "startswith(text, start): true or false", "boolean"
    ),
    "endswith": Function(
        lambda a, b: _text(a).endswith(_text(b)), 2, 2, "endswith(text, end): true or false", "boolean"
    ),
    "contains": Function(lambda a, b: _text(b) in _text(a), 2, 2, "contains(text, part): true or false", "boolean"),
    "like": Function(_like, 2, 2, "like(text, pattern): `%` any characters, `_` one character", "boolean"),
    "concat": Function(
        _concat, 1, 50, "concat(a, b, ...): one text of all values, nulls left out", "string", takes_null=True
    ),
    "join": Function(
        _join, 2, 50, "join(separator, a, b, ...): the same with a separator between", "string", takes_null=True
    ),
    "coalesce": Function(
        lambda *values: next((value for value in values if value is not None), None),
        1,
        50,
        "coalesce(a, b, ...): the first that is not null",
        takes_null=True,
    ),
    "abs": Function(lambda a: abs(_numeric(a)), 1, 1, "abs(number): without its sign"),
    "round": Function(_round, 1, 2, "round(number, digits): half to even; no digits: a whole number"),
    "text": Function(lambda a: bounded(as_text(a)), 1, 1, "text(value): as text", "string"),
    "number": Function(_number, 1, 1, "number(text): as a number"),
}
