"""
MySQL's binary JSON, as rows of the binary log hold it, turned into the text that a SELECT gives: same order of keys, same
spaces, same digits.

A value is a byte for its type and a body. Objects and arrays hold offsets from their own beginning, of two bytes (small) or four
(large); what fits into an offset's place stands there itself. Format: `sql-common/json_binary.h`, texts: `sql-common/json_dom.cc`.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from typing import Final

from fustor_source_mysql import values

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL = 0, 1, 2, 3, 4
INT16, UINT16, INT32, UINT32, INT64, UINT64, DOUBLE, TEXT, OPAQUE = 5, 6, 7, 8, 9, 10, 11, 12, 15

_LITERALS: Final = {0: "null", 1: "true", 2: "false"}
_NUMBERS: Final = {INT16: "<h", UINT16: "<H", INT32: "<i", UINT32: "<I", INT64: "<q", UINT64: "<Q"}
_SPECIAL: Final = re.compile(r'["\\\x00-\x1f]')
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_DECIMAL, _TIMESTAMP, _DATE, _TIME, _DATETIME = 246, 7, 10, 11, 12
_MOST_DIGITS_BEFORE_E: Final = 15


def json_text(data: bytes) -> str:
    """
    Return the text of a value; nothing at all is `null`, as for the server.

    Raises:
        ValueError: It is no binary JSON.
    """
    if not data:
        return "null"
    parts: list[str] = []
    try:
        _write(data, data[0], 1, parts.append)
    except (IndexError, struct.error, KeyError) as exc:
        raise ValueError(f"the binary log holds damaged JSON: {exc!r}") from None
    return "".join(parts)


def _write(b: bytes, kind: int, p: int, out: Callable[[str], None]) -> None:
    """
    Write the value of a type whose body begins at `p`.
    """
    if kind == TEXT:
        size, p = _size(b, p)
        out(quoted(b[p : p + size].decode()))
    elif kind <= LARGE_ARRAY:
        _write_container(b, kind, p, out)
    elif kind == LITERAL:
        out(_LITERALS[b[p]])
    elif kind in _NUMBERS:
        out(str(struct.unpack_from(_NUMBERS[kind], b, p)[0]))
    elif kind == DOUBLE:
        out(double_text(struct.unpack_from("<d", b, p)[0]))
    elif kind == OPAQUE:
        size, body = _size(b, p + 1)
        out(_opaque(b[p], b[body : body + size]))
    else:
        raise ValueError(f"the binary log holds JSON of the unknown type {kind}")


def _write_container(b: bytes, kind: int, start: int, out: Callable[[str], None]) -> None:
    is_large, is_object = kind in (LARGE_OBJECT, LARGE_ARRAY), kind <= LARGE_OBJECT
    width, code = (4, "<I") if is_large else (2, "<H")
    unpack = struct.Struct(code).unpack_from
    (count,) = unpack(b, start)
    p = start + 2 * width
    keys = p
    if is_object:
        p += count * (width + 2)
    inlined = (LITERAL, INT16, UINT16, INT32, UINT32) if is_large else (LITERAL, INT16, UINT16)
    out("{" if is_object else "[")
    for n in range(count):
        if n:
            out(", ")
        if is_object:
            at = keys + n * (width + 2)
            (offset,) = unpack(b, at)
            size = b[at + width] | b[at + width + 1] << 8
            out(quoted(b[start + offset : start + offset + size].decode()))
            out(": ")
        inner = b[p]
        if inner in inlined:
            _write(b, inner, p + 1, out)
        else:
            (offset,) = unpack(b, p + 1)
            _write(b, inner, start + offset, out)
        p += 1 + width
    out("}" if is_object else "]")


def _size(b: bytes, p: int) -> tuple[int, int]:
    """
    Read a length of seven bits a byte; return it and where it ends.
    """
    size = shift = 0
    while True:
        byte = b[p]
        p += 1
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return size, p
        shift += 7


def quoted(text: str) -> str:
    """
    Return a text in quotes, escaped where JSON demands it.
    """
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    return _ESCAPES.get(char) or f"\\u{ord(char):04x}"


def double_text(value: float) -> str:
    """
    Return a number as the server writes it: the fewest digits that give it back, without an exponent if the point stands among
    them or at most 15 places before or behind the first.
    """
    sign, digits, exponent = _digits(value)
    if not digits:
        return f"{sign}0.0"
    count = len(digits)
    if max(count - 1, _MOST_DIGITS_BEFORE_E) < exponent or exponent <= -_MOST_DIGITS_BEFORE_E:
        fraction = f".{digits[1:]}" if count > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{exponent - 1}"
    if exponent <= 0:
        return f"{sign}0.{'0' * -exponent}{digits}"
    if exponent >= count:
        return f"{sign}{digits}{'0' * (exponent - count)}.0"
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"


def _digits(value: float) -> tuple[str, str, int]:
    """
    Return sign, digits without zeros at either end, and exponent: 0.digits * 10 ** exponent.
    """
    text = repr(value)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = len(whole) + int(power or 0)
    digits = (whole + fraction).lstrip("0")
    exponent -= len(whole + fraction) - len(digits)
    return sign, digits.rstrip("0"), exponent


def _opaque(kind: int, data: bytes) -> str:
    if kind == _DECIMAL:
        return values.decimal_decoder(data[0], data[1])(data[2:])
    if kind in (_DATE, _DATETIME, _TIMESTAMP):
        return f'"{_moment(int.from_bytes(data, "little", signed=True), is_date=kind == _DATE)}"'
    if kind == _TIME:
        return f'"{_clock(int.from_bytes(data, "little", signed=True))}"'
    return quoted(f"base64:type{kind}:{base64.b64encode(data).decode()}")


def _moment(packed: int, *, is_date: bool) -> str:
    fraction = packed & 0xFFFFFF
    date, clock = packed >> 41, packed >> 24 & 0x1FFFF
    months = date >> 5
    day = f"{months // 13:04}-{months % 13:02}-{date & 31:02}"
    return day if is_date else f"{day} {clock >> 12:02}:{clock >> 6 & 63:02}:{clock & 63:02}.{fraction:06}"


def _clock(packed: int) -> str:
    sign = "-" if packed < 0 else ""
    packed = abs(packed)
    clock = packed >> 24
    return f"{sign}{clock >> 12 & 1023:02}:{clock >> 6 & 63:02}:{clock & 63:02}.{packed & 0xFFFFFF:06}"
