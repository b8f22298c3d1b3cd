"""
All rows of a table as text, page by page: CSV, or a JSON object in each line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from fustor_fusion.views.base import RowPage

Format = Literal["csv", "jsonl"]
MEDIA: Final[dict[Format, str]] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Writer:
    """
    Writes the pages of one export.

    Args:
        form: The format.
        columns: What is in the lines of a CSV, in this order.
        types: Entries of the columns.
        safe: Whether a text that a spreadsheet would take for a formula gets an apostrophe before it.
    """

    def __init__(self, form: Format, columns: list[str], types: dict[str, Any], *, safe: bool) -> None:
        self._columns = columns
        self._numeric = {name for name in columns if _is_decimal(types.get(name))}
        self._text: Callable[[str], str] = _harmless if safe else str
        self._write = self._csv if form == "csv" else self._jsonl

    def head(self, form: Format) -> bytes:
        """
        Return what comes before the rows.
        """
        if form != "csv":
            return b""
        return (",".join(_quoted(self._text(name)) for name in self._columns) + "\r\n").encode()

    def page(self, page: RowPage) -> bytes:
        """
        Return the rows of a page.
        """
        return self._write(page)

    def _jsonl(self, page: RowPage) -> bytes:
        return b"".join(_encode(row) + b"\n" for row in page.rows)

    def _csv(self, page: RowPage) -> bytes:
        lines = []
        for row in page.rows:
            values: dict[str, Any] = _decode(row) if isinstance(row, msgspec.Raw) else row
            lines.append(",".join(self._cell(name, values.get(name)) for name in self._columns))
        return "".join(line + "\r\n" for line in lines).encode()

    def _cell(self, name: str, value: Any) -> str:
        """
        NULL is an empty cell and an empty text is "", so that both can be told apart.
        """
        if value is None:
            return ""
        if isinstance(value, str):
            return _quoted(value if name in self._numeric else self._text(value))
        return _quoted(_encode(value).decode())


def _is_decimal(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("format") == "decimal"


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _quoted(text: str) -> str:
    if text and not any(c in text for c in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'
