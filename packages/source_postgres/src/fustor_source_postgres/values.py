"""
How values are read: from the server's text, which is the same in the stream and in a COPY, to Python values.

| kind | value |
|---|---|
| bool | bool |
| int | int |
| float | float |
| decimal | text as the server writes it, also NaN, Infinity, -Infinity |
| bytes | bytes |
| date, time, interval, uuid | text as the server writes it (ISO 8601) |
| datetime | "YYYY-MM-DDTHH:MM:SS[.ffffff]" |
| timestamp | the same in UTC with "Z" |
| json | the text |
| array of ... | list, nested for more dimensions |
| text | everything else: the server's text |

Dates outside of years 1 to 9999 are as the server writes them: "10000-01-01", "0044-03-15 BC", "infinity".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fustor_source_postgres.arrays import parse_array

Convert = Callable[[str], Any]

KIND_OF_OID: Final = {
    16: "bool", 17: "bytes", 20: "int", 21: "int", 23: "int", 26: "int", 28: "int", 29: "int", 5069: "int",
    700: "float", 701: "float", 1700: "decimal", 1082: "date", 1083: "time", 1266: "timetz", 1114: "datetime",
    1184: "timestamp", 1186: "interval", 2950: "uuid", 114: "json", 3802: "json",
}  # fmt: skip
"""
Numbers of the server's own types (catalog pg_type); what is not here is text.
"""

_JSON_TYPES: Final[dict[str, dict[str, Any]]] = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "decimal": {"type": "string", "format": "decimal"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "timetz": {"type": "string", "format": "time"},
    "datetime": {"type": "string", "format": "local-date-time"},
    "timestamp": {"type": "string", "format": "date-time"},
    "interval": {"type": "string", "format": "duration"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {"type": "string", "contentMediaType": "application/json"},
    "text": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class ValueType:
    """
    A type as far as reading it goes.

    Attributes:
        kind: See the table above; of an array's elements for an array.
        is_array: Whether it is an array of that.
        delimiter: Between the elements of an array.
        labels: Of an enum.
    """

    kind: str
    is_array: bool = False
    delimiter: str = ","
    labels: tuple[str, ...] = ()

    @property
    def json_type(self) -> dict[str, Any]:
        """
        Return the `columns` entry; see docs/reference/types-postgres.md.
        """
        entry = dict(_JSON_TYPES[self.kind])
        if self.labels:
            entry["enum"] = list(self.labels)
        return {"type": "array", "items": entry} if self.is_array else entry

    @property
    def convert(self) -> Convert:
        """
        Return what turns the server's text into the value; `str` when it is the value.
        """
        element = CONVERTERS[self.kind]
        if not self.is_array:
            return element
        delimiter = self.delimiter
        return lambda text: parse_array(text, element, delimiter)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])  # bytea_output = hex: \x...


def _datetime(text: str) -> str:
    return text if text[-1] == "y" else text.replace(" ", "T", 1)  # "infinity" stays


def _timestamp(text: str) -> str:
    if text[-3:] == "+00":  # the connection's zone is UTC
        return text[:-3].replace(" ", "T", 1) + "Z"
    return text.replace("+00 BC", "Z BC").replace(" ", "T", 1) if text[-1] == "C" else text


CONVERTERS: Final[dict[str, Convert]] = {
    "bool": lambda text: text == "t",
    "int": int,
    "float": float,
    "decimal": str,
    "bytes": _bytes,
    "date": str,
    "time": str,
    "timetz": str,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "interval": str,
    "uuid": str,
    "json": str,
    "text": str,
}


def simple_type(oid: int) -> ValueType | None:
    """
    Return one of the server's own types; None when the catalog has to tell.
    """
    kind = KIND_OF_OID.get(oid)
    return None if kind is None else ValueType(kind)


def type_of_row(
    oid: int, kind: str, element: ValueType | None, base: ValueType | None, delimiter: str, labels: Sequence[str]
) -> ValueType:
    """
    Return a type from what the catalog says of it.

    Args:
        oid: Its number.
        kind: "b" base, "e" enum, "d" domain, and others.
        element: Of an array.
        base: Of a domain.
        delimiter: Between elements.
        labels: Of an enum.
    """
    if kind == "d" and base is not None:
        return base
    if kind == "e":
        return ValueType("text", labels=tuple(labels))
    if element is not None and not element.is_array:
        return ValueType(element.kind, True, delimiter, element.labels)
    return simple_type(oid) or ValueType("text")
