"""
Table maps: what the binary log says of a table before its rows, with the names when the server logs full metadata.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from fustor_source_mysql.decoder import (
    BIT,
    BLOB,
    BLOB_COMPRESSED,
    DATETIME2,
    DOUBLE,
    ENUM,
    FLOAT,
    GEOMETRY,
    INT24,
    JSON,
    LONG,
    LONG_BLOB,
    LONGLONG,
    MEDIUM_BLOB,
    NEWDECIMAL,
    SET,
    SHORT,
    STRING,
    TIME2,
    TIMESTAMP2,
    TINY,
    TINY_BLOB,
    VAR_STRING,
    VARCHAR,
    VARCHAR_COMPRESSED,
    VECTOR,
    YEAR,
)
from fustor_source_mysql.lenenc import lenenc

_NUMBERS = {TINY, SHORT, INT24, LONG, LONGLONG, FLOAT, DOUBLE, NEWDECIMAL, YEAR}
_ONE_BYTE = {
    FLOAT, DOUBLE, BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, GEOMETRY, JSON, VECTOR, TIMESTAMP2, DATETIME2, TIME2,
    BLOB_COMPRESSED,
}  # fmt: skip
_TWO_BYTES = {VARCHAR, VAR_STRING, BIT, VARCHAR_COMPRESSED}
_TEXTS = {
    VARCHAR, VAR_STRING, STRING, BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, VECTOR, BLOB_COMPRESSED, VARCHAR_COMPRESSED,
}  # fmt: skip
BINARY_COLLATION = 63
_TABLE_ID = struct.Struct("<IH").unpack_from


@dataclass(slots=True)
class TableMap:
    """
    One table map.

    Attributes:
        types: Type numbers, with ENUM and SET in place of STRING.
        metas: Their metadata.
        names: None when the server does not log them.
        unsigned: By column, when logged.
        collations: Collation ids by column, when logged.
        labels: Labels of enums and sets by column, as bytes, when logged.
        key: Positions of the primary key's columns, when logged.
        octets: Length in bytes of CHAR and BINARY columns.
    """

    schema: str
    table: str
    types: list[int]
    metas: list[int]
    names: list[str] | None = None
    unsigned: dict[int, bool] = field(default_factory=dict)
    collations: dict[int, int] = field(default_factory=dict)
    labels: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    key: list[int] | None = None
    octets: dict[int, int] = field(default_factory=dict)


def read_names(b: bytes, p: int) -> tuple[str, str, int]:
    """
    Read schema and table of a table map's body (after id and flags).
    """
    n = b[p]
    schema = b[p + 1 : p + 1 + n].decode()
    p += n + 2
    n = b[p]
    return schema, b[p + 1 : p + 1 + n].decode(), p + n + 2


def read_table_map(b: bytes, p: int, end: int, *, is_mariadb: bool) -> TableMap:
    """
    Read a table map's body.

    Args:
        b: The event.
        p: Where schema and table begin.
        end: Where the event ends.
        is_mariadb: It counts shapes among the texts, MySQL does not.
    """
    schema, table, p = read_names(b, p)
    count, p = lenenc(b, p)
    types = list(b[p : p + count])
    p += count
    size, p = lenenc(b, p)
    metas = _metas(types, b, p)
    found = TableMap(schema, table, types, metas)
    p += size
    for at, kind in enumerate(types):
        if kind == STRING:
            _resolve_string(found, at)
    p += (count + 7) // 8
    if p < end:
        _read_optional(found, b, p, end, is_mariadb)
    return found


def _metas(types: list[int], b: bytes, p: int) -> list[int]:
    metas = []
    for kind in types:
        if kind in _ONE_BYTE:
            metas.append(b[p])
            p += 1
        elif kind in _TWO_BYTES or kind == NEWDECIMAL:
            metas.append(b[p] | b[p + 1] << 8)
            p += 2
        elif kind in (STRING, ENUM, SET):
            metas.append(b[p] << 8 | b[p + 1])
            p += 2
        else:
            metas.append(0)
    return metas


def _resolve_string(found: TableMap, at: int) -> None:
    """
    Tell CHAR, ENUM and SET apart: the type is in the first byte of the metadata, whose bits 4 and 5 may be part of the length.
    """
    first, second = found.metas[at] >> 8, found.metas[at] & 0xFF
    if first & 0x30 != 0x30:
        length = second | ((first & 0x30) ^ 0x30) << 4
        first |= 0x30
    else:
        length = second
    found.types[at] = first
    found.metas[at] = length
    if first == STRING:
        found.octets[at] = length


def _read_optional(found: TableMap, b: bytes, p: int, end: int, is_mariadb: bool) -> None:
    textual = _TEXTS | {GEOMETRY} if is_mariadb else _TEXTS
    numbers = [at for at, kind in enumerate(found.types) if kind in _NUMBERS]
    texts = [at for at, kind in enumerate(found.types) if kind in textual]
    enums = [at for at, kind in enumerate(found.types) if kind == ENUM]
    sets = [at for at, kind in enumerate(found.types) if kind == SET]
    while p < end:
        kind = b[p]
        size, p = lenenc(b, p + 1)
        part = b[p : p + size]
        p += size
        if kind == 1:
            for n, at in enumerate(numbers):
                found.unsigned[at] = bool(part[n // 8] & 0x80 >> n % 8)
        elif kind in (2, 10):
            _default_collations(found, texts if kind == 2 else sorted(enums + sets), part)
        elif kind in (3, 11):
            q = 0
            for at in texts if kind == 3 else sorted(enums + sets):
                found.collations[at], q = lenenc(part, q)
        elif kind == 4:
            found.names = [name.decode() for name in _strings(part)]
        elif kind in (5, 6):
            q = 0
            for at in sets if kind == 5 else enums:
                count, q = lenenc(part, q)
                labels = []
                for _ in range(count):
                    n, q = lenenc(part, q)
                    labels.append(part[q : q + n])
                    q += n
                found.labels[at] = tuple(labels)
        elif kind in (8, 9):
            q = 0
            found.key = []
            while q < len(part):
                at, q = lenenc(part, q)
                found.key.append(at)
                if kind == 9:
                    _, q = lenenc(part, q)


def _default_collations(found: TableMap, columns: list[int], part: bytes) -> None:
    default, q = lenenc(part, 0)
    found.collations.update(dict.fromkeys(columns, default))
    while q < len(part):
        at, q = lenenc(part, q)
        found.collations[columns[at]], q = lenenc(part, q)


def _strings(part: bytes) -> list[bytes]:
    found, q = [], 0
    while q < len(part):
        n, q = lenenc(part, q)
        found.append(part[q : q + n])
        q += n
    return found


def table_id_of(b: bytes, p: int) -> int:
    """
    Read the six bytes of a table id.
    """
    low, high = _TABLE_ID(b, p)
    return low | high << 32  # type: ignore[no-any-return]
