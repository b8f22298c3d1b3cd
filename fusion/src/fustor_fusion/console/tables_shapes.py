"""
Geometry as text: what MariaDB and MySQL send of a shape (four bytes of SRID and the WKB), and PostGIS (EWKB in hexadecimal digits).
"""

from __future__ import annotations

import struct
from typing import Final

_NAMES: Final = {
    1: "POINT",
    2: "LINESTRING",
    3: "POLYGON",
    4: "MULTIPOINT",
    5: "MULTILINESTRING",
    6: "MULTIPOLYGON",
    7: "GEOMETRYCOLLECTION",
}
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
_MOST_BYTES: Final = 1_000_000
_DEEPEST: Final = 10


class _NoShapeError(Exception):
    """
    These bytes are no shape.
    """


def shape_of_bytes(data: bytes) -> str | None:
    """
    Return a shape of MariaDB or MySQL as well-known text; None when the bytes are none.
    """
    if not 13 <= len(data) <= _MOST_BYTES:
        return None
    return _shape(data[4:], int.from_bytes(data[:4], "little"))


def shape_of_digits(text: str) -> str | None:
    """
    Return a shape of PostGIS as well-known text; None when the text is none.
    """
    if not 18 <= len(text) <= 2 * _MOST_BYTES or text[:2] not in ("00", "01"):
        return None
    try:
        return _shape(bytes.fromhex(text), 0)
    except ValueError:
        return None


def _shape(data: bytes, srid: int) -> str | None:
    reader = _Reader(data)
    try:
        made = reader.shape()
    except (_NoShapeError, struct.error):
        return None
    if reader.at != len(data):
        return None
    srid = reader.srid or srid
    return f"SRID={srid};{made}" if srid else made


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self.srid = 0
        self._depth = 0

    def shape(self) -> str:
        order, kind, size = self._head()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NoShapeError
        made = f"{_NAMES[kind]} {self._inside(order, kind, size)}"
        self._depth -= 1
        return made

    def _head(self) -> tuple[str, int, int]:
        order = {0: ">", 1: "<"}.get(self._data[self.at] if self.at < len(self._data) else 9)
        if order is None:
            raise _NoShapeError
        self.at += 1
        kind = self._number(order)
        size = 2 + bool(kind & _Z) + bool(kind & _M)
        if kind & _SRID:
            self.srid = self._number(order)
        kind &= 0x1FFFFFFF
        if kind >= 1000:  # ISO: 1000 for Z, 2000 for M, 3000 for both
            size = 4 if kind >= 3000 else 3
            kind %= 1000
        if kind not in _NAMES:
            raise _NoShapeError
        return order, kind, size

    def _inside(self, order: str, kind: int, size: int) -> str:
        if kind == 1:
            return f"({self._point(order, size)})"
        if kind == 2:
            return self._points(order, size)
        many = self._many(order)
        if kind == 3:
            return f"({', '.join(self._points(order, size) for _ in range(many))})" if many else "EMPTY"
        parts = [self.shape() for _ in range(many)]
        if kind != 7:
            parts = [part.partition(" ")[2] for part in parts]
        return f"({', '.join(parts)})" if parts else "EMPTY"

    def _points(self, order: str, size: int) -> str:
        many = self._many(order)
        return f"({', '.join(self._point(order, size) for _ in range(many))})" if many else "EMPTY"

    def _many(self, order: str) -> int:
        many = self._number(order)
        if many * 4 > len(self._data) - self.at:
            raise _NoShapeError
        return many

    def _number(self, order: str) -> int:
        (found,) = struct.unpack_from(f"{order}I", self._data, self.at)
        self.at += 4
        return int(found)

    def _point(self, order: str, size: int) -> str:
        found = struct.unpack_from(f"{order}{size}d", self._data, self.at)
        self.at += 8 * size
        return " ".join(f"{one:.15g}" for one in found)
