"""
Messages of pgoutput (protocol version 1): relations, and for each relation the compiled reader of its tuples.

For each relation the source of one function is generated and compiled once, so that nothing is looked up for each value.
Format: "Logical Replication Message Formats" of PostgreSQL's manual.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fustor_source_postgres.values import ValueType

Tuple = Callable[[bytes, int], tuple[tuple[Any, ...], int]]
"""
Reads one tuple of a message: (message, where its number of columns stands) -> (values, where it ends).
"""

BEGIN, COMMIT, INSERT, UPDATE, DELETE, RELATION, TRUNCATE = b"BCIUDRT"
KEY_TUPLE, OLD_TUPLE, NEW_TUPLE = b"KON"
_NULL, _UNCHANGED, _TEXT = b"nut"

U4: Final = struct.Struct(">I").unpack_from
U2: Final = struct.Struct(">H").unpack_from
BEGIN_BODY: Final = struct.Struct(">QqI").unpack_from
COMMIT_BODY: Final = struct.Struct(">BQQq").unpack_from
_EPOCH_2000: Final = 946_684_800


class _Unchanged:
    """
    Stands for a large value that the log does not repeat, as the update did not change it.
    """

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """
    A column of a relation message. `in_key` says that it is part of the replica identity.
    """

    name: str
    oid: int
    in_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """
    What a relation message says: how the table is at this place of the log.
    """

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[RelationColumn, ...]


def unix_seconds(microseconds: int) -> float:
    """
    Return the epoch seconds of the protocol's time: microseconds since 2000.
    """
    return microseconds / 1e6 + _EPOCH_2000


def read_relation(b: bytes, p: int) -> Relation:
    """
    Read a relation message; `p` is behind its first byte.
    """
    (oid,) = U4(b, p)
    schema, p = _string(b, p + 4)
    table, p = _string(b, p)
    identity = chr(b[p])
    (count,) = U2(b, p + 1)
    p += 3
    columns = []
    for _ in range(count):
        in_key = bool(b[p] & 1)
        name, p = _string(b, p + 1)
        (type_oid,) = U4(b, p)
        p += 8
        columns.append(RelationColumn(name, type_oid, in_key))
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns))


def read_truncate(b: bytes, p: int) -> list[int]:
    """
    Read a truncate message; return the relations.
    """
    (count,) = U4(b, p)
    return [U4(b, p + 5 + 4 * at)[0] for at in range(count)]


def _string(b: bytes, p: int) -> tuple[str, int]:
    end = b.index(0, p)
    return b[p:end].decode(), end + 1


def make_tuple(types: Sequence[ValueType | None]) -> Tuple:
    """
    Compile the reader of tuples with these columns; None = the value is not wanted and left out.

    A large value that did not change comes as `UNCHANGED`.
    """
    names: dict[str, Any] = {"_u": UNCHANGED, "_long": _long}
    lines = ["def read(b, p):", " p += 2"]
    sent = []
    for at, kind in enumerate(types):
        if kind is None:
            lines += [
                f" if b[p] == {_TEXT}: p += 5 + _long(b, p)",
                " else: p += 1",
            ]
            continue
        sent.append(f"v{at},")
        convert = kind.convert
        if convert in (int, float):
            value = f"{convert.__name__}(b[p:q])"
        elif convert is str:
            value = "b[p:q].decode()"
        elif kind.kind == "bool" and not kind.is_array:
            value = f"b[p] == {_TEXT}"
        else:
            names[f"f{at}"] = convert
            value = f"f{at}(b[p:q].decode())"
        lines += [
            f" if b[p] == {_TEXT}:",
            # Most values are shorter than 256 bytes: one byte tells.
            "  q = p + 5 + (b[p+4] if not (b[p+3] or b[p+2] or b[p+1]) else _long(b, p))",
            "  p += 5",
            f"  v{at} = {value}",
            "  p = q",
            f" elif b[p] == {_NULL}:",
            f"  v{at} = None",
            "  p += 1",
            " else:",
            f"  v{at} = _u",
            "  p += 1",
        ]
    lines.append(f" return ({''.join(sent)}), p")
    # The source is made of numbers and names that are ours alone; nothing of it comes from the server.
    exec("\n".join(lines), names)
    read: Tuple = names["read"]
    return read


def _long(b: bytes, p: int) -> int:
    length: int = U4(b, p + 1)[0]
    return length
