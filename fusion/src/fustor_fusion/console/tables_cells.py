"""
Values of rows as people read them: short in a cell, whole beside it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fustor_fusion.console.names import visible
from fustor_fusion.console.tables_shapes import shape_of_bytes, shape_of_digits
from fustor_web_ui.formats import size

CUT: Final = 80
CUT_NUMBER: Final = 20
CUT_FRACTION: Final = 14
"""
Digits that stand to the right and run out of the window would hide those of all rows; every whole number of 64 bits has room.
"""
CUT_IN_CARD: Final = 24
WHOLE: Final = 20_000
_SHOWN_BYTES: Final = 12
_WRITTEN_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_SIGNS: Final = str.maketrans({"\n": "⏎", "\t": "⇥", "\r": ""})


class Cell(NamedTuple):
    """
    A value in a cell.

    Attributes:
        text: What is shown.
        kind: Its class in the style sheet.
        is_cut: Whether there is more of it.
    """

    text: str
    kind: str = ""
    is_cut: bool = False


def is_number(schema: Any) -> bool:
    """
    Tell whether a column holds numbers, which stand to the right.
    """
    return isinstance(schema, Mapping) and (
        schema.get("format") == "decimal" or (bool(_kinds(schema)) and _kinds(schema) <= {"integer", "number"})
    )


def is_written_number(value: Any) -> bool:
    """
    Tell whether a value is a number, or text that is nothing but one.
    """
    if isinstance(value, str):
        return _WRITTEN_NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(schema: Any) -> str:
    """
    Return what a column's type is called: as JSON Schema does, for that is what the source told.
    """
    if not isinstance(schema, Mapping):
        return ""
    if schema.get("contentEncoding") == "base64":
        return "binary"
    if schema.get("contentMediaType") == "application/json":
        return "json"
    if "enum" in schema:
        return "enum"
    return str(schema.get("format") or " | ".join(sorted(_kinds(schema))))


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema.get("type")
    return {kinds} if isinstance(kinds, str) else set(kinds or ()) - {"null"}


def cell(value: Any, schema: Any) -> Cell:
    """
    Return what a cell shows of a value.
    """
    if value is None:
        return Cell("NULL", "cell-null")
    if value == "":
        return Cell("“”", "cell-null")
    if isinstance(value, bool):
        return Cell(str(value).lower())
    if isinstance(value, int | float):
        return Cell(str(value))
    if not isinstance(value, str):
        return _short(json.dumps(value, ensure_ascii=False), "cell-code")
    if type_name(schema) == "binary":
        return _binary(value)
    if type_name(schema) == "json":
        return _short(value, "cell-code")
    return _short(shape_of_digits(value) or value)


def number_cell(made: Cell) -> Cell:
    """
    Return what a cell shows in a column of numbers.
    """
    is_fraction = "." in made.text
    if len(made.text) <= (CUT_FRACTION if is_fraction else CUT_NUMBER) or made.kind:
        return made
    shown = made.text if len(made.text) <= CUT_IN_CARD else f"{made.text[: CUT_IN_CARD - 1]}…"
    # In the cards of narrow windows there is room for that; in a grid the style sheet cuts it further.
    return Cell(shown, "is-fraction" if is_fraction else "is-digits", True)


def _short(text: str, kind: str = "") -> Cell:
    is_cut = len(text) > CUT
    made = visible((text[:CUT].rstrip() if is_cut else text).translate(_SIGNS))
    return Cell(f"{made}…" if is_cut else made, kind, is_cut or "\n" in text)


def _binary(value: str) -> Cell:
    data = _bytes(value)
    if data is None:
        return _short(value)
    shape = shape_of_bytes(data)
    if shape is not None:
        return _short(shape)
    digits = data[:_SHOWN_BYTES].hex(" ")
    is_cut = len(data) > _SHOWN_BYTES
    return Cell(f"{digits}{' …' if is_cut else ''} ({size(len(data))})", "cell-code", is_cut)


def _bytes(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def whole(value: Any, schema: Any) -> str:
    """
    Return all of a value, in lines where it has a structure.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, indent=2)
    if type_name(schema) == "json":
        return _indented(value)
    if type_name(schema) != "binary":
        return shape_of_digits(value) or value
    data = _bytes(value)
    if data is None:
        return value
    return shape_of_bytes(data) or _dump(data)


class _Digits(str):
    """
    A number in JSON, as it is written: a float would lose digits.
    """


def _indented(text: str) -> str:
    try:
        return _lines(json.loads(text, parse_float=_Digits, parse_int=_Digits), "")
    except (ValueError, RecursionError):
        return text


def _lines(value: Any, before: str) -> str:
    if isinstance(value, _Digits):
        return str(value)
    inner = before + "  "
    if isinstance(value, dict) and value:
        parts = [f"{inner}{json.dumps(name, ensure_ascii=False)}: {_lines(one, inner)}" for name, one in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{before}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{_lines(one, inner)}" for one in value) + f"\n{before}]"
    return json.dumps(value, ensure_ascii=False)


def _dump(data: bytes) -> str:
    """
    Write bytes as digits, with the letters they may be beside them.
    """
    lines = []
    for at in range(0, min(len(data), WHOLE // 4), 16):
        part = data[at : at + 16]
        letters = "".join(chr(one) if 32 <= one < 127 else "·" for one in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(lines)
