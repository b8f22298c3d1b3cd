"""
Row images of the binary log: for each shape of a table the source of one function is generated and compiled once.

Adjacent columns of a fixed size are read by one `struct.Struct`; nothing is looked up for each value. A row without NULLs
takes the short way. Format: "Rows_event" and "Table_map_event" of the MySQL internals manual, and MariaDB's "Rows Event".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fustor_source_mysql import values
from fustor_source_mysql.binary_json import json_text
from fustor_source_mysql.compressed import inflated_column

Image = Callable[[bytes, int], tuple[tuple[Any, ...], int]]
"""
Reads one row image: (event, where it begins) -> (values of the sent columns, where it ends).
"""

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT = 10, 11, 12, 13, 14, 15, 16
TIMESTAMP2, DATETIME2, TIME2 = 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET = 242, 245, 246, 247, 248
TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = 249, 250, 251, 252, 253, 254, 255

_FIXED: Final = {TINY: "b", SHORT: "h", LONG: "i", LONGLONG: "q", FLOAT: "f", DOUBLE: "d", YEAR: "B"}


@dataclass(frozen=True, slots=True)
class WireColumn:
    """
    One column as the binary log has it.

    Attributes:
        type: The server's number of the type, with that of an enum or set in place of STRING's.
        meta: Its metadata: length, precision and scale, digits of the fraction, size of the length.
        kind: How its values travel; see `schema.kind_of`.
        charset: Of a text.
        octets: Length of a BINARY column, which is stored without its zeros.
        is_sent: Whether the value is wanted.
    """

    type: int
    meta: int
    kind: str
    unsigned: bool = False
    charset: str | None = None
    labels: tuple[str, ...] = ()
    octets: int = 0
    is_sent: bool = True


class UnknownType(ValueError):
    """
    A column type of the binary log that can't be read.
    """


def make_image(columns: list[WireColumn]) -> Image:
    """
    Compile the reader of images that hold these columns, in this order.

    Raises:
        UnknownType: A column can't be read.
    """
    maker = _Maker()
    for at, column in enumerate(columns):
        maker.add(at, column)
    return maker.compile(columns)


class _Maker:
    """
    Collects the pieces of source for one reader.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"_int": int.from_bytes}
        self.pieces: list[tuple[str, str, str, int]] = []
        """
        For each column: struct code ("" when it has no fixed size), expression over the raw value, statements, size.
        """

    def add(self, at: int, column: WireColumn) -> None:
        """
        Add the source for a column: it leaves its value in `v<at>` and moves `p`.
        """
        self.pieces.append(self._piece(at, column))

    def _call(self, at: int, function: Callable[..., Any]) -> str:
        name = f"f{at}".replace("-", "_")
        self.names[name] = function
        return name

    def _piece(self, at: int, c: WireColumn) -> tuple[str, str, str, int]:
        v = f"v{at}"
        if c.type in _FIXED:
            code = _FIXED[c.type]
            if c.unsigned and code in "bhiq":
                code = code.upper()
            after = f"{v} = {v} + 1900 if {v} else 0" if c.type == YEAR else ""
            return code, after, "", struct.calcsize("<" + code)
        if c.type == INT24:
            sign = "" if c.unsigned else ", signed=True"
            return "", "", f"{v} = _int(b[p:p+3], 'little'{sign}); p += 3", 3
        if c.type == NEWDECIMAL:
            precision, scale = c.meta & 0xFF, c.meta >> 8
            size = values.decimal_bytes(precision, scale)
            f = self._call(at, values.decimal_decoder(precision, scale))
            return "", "", f"{v} = {f}(b[p:p+{size}]); p += {size}", size
        if c.type in (DATE, NEWDATE):
            f = self._call(at, values.date_text)
            return "", "", f"{v} = {f}(b[p] | b[p+1] << 8 | b[p+2] << 16); p += 3", 3
        if c.type in (DATETIME2, TIMESTAMP2, TIME2):
            base, make = {
                DATETIME2: (5, values.datetime_decoder),
                TIMESTAMP2: (4, values.timestamp_decoder),
                TIME2: (3, values.time_decoder),
            }[c.type]
            size = base + values.fraction_bytes(c.meta)
            f = self._call(at, make(c.meta))
            return "", "", f"{v} = {f}(b[p:p+{size}]); p += {size}", size
        if c.type in (TIMESTAMP, DATETIME, TIME) and c.meta == 0:
            size = {TIMESTAMP: 4, DATETIME: 8, TIME: 3}[c.type]
            if c.type == TIMESTAMP:
                f = self._call(at, values.timestamp_decoder(0))
                return "", "", f"{v} = {f}(b[p:p+4][::-1]); p += 4", size
            f = self._call(at, values.old_datetime_text if c.type == DATETIME else values.old_time_text)
            sign = ", signed=True" if c.type == TIME else ""
            return "", "", f"{v} = {f}(_int(b[p:p+{size}], 'little'{sign})); p += {size}", size
        if c.type in (ENUM, SET):
            size = c.meta
            if c.type == ENUM:
                labels = ("", *c.labels)
                f = self._call(at, labels.__getitem__)
            else:
                f = self._call(at, values.set_decoder(c.labels))
            return "", "", f"{v} = {f}(_int(b[p:p+{size}], 'little')); p += {size}", size
        if c.type == BIT:
            size = ((c.meta >> 8) * 8 + (c.meta & 0xFF) + 7) // 8
            return "", "", f"{v} = _int(b[p:p+{size}], 'big'); p += {size}", size
        return "", "", self._bytes(at, c), 0

    def _bytes(self, at: int, c: WireColumn) -> str:
        """
        Return the source for a column that is preceded by its length.
        """
        v = f"v{at}"
        if c.type in (VARCHAR, VAR_STRING, STRING, VARCHAR_COMPRESSED):
            width = 1 if c.meta < 256 else 2
        elif c.type in (BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, GEOMETRY, JSON, VECTOR, BLOB_COMPRESSED):
            width = c.meta
        else:
            raise UnknownType(f"type number {c.type}")
        length = "b[p]" if width == 1 else f"_int(b[p:p+{width}], 'little')"
        read = f"n = {length}; p += {width}; {v} = b[p:p+n]; p += n"
        if not c.is_sent:
            return read
        if c.type in (BLOB_COMPRESSED, VARCHAR_COMPRESSED):
            f = self._call(-at - 1, inflated_column)
            read = f"{read}; {v} = {f}({v})"
        if c.type in (JSON, VECTOR):
            f = self._call(at, json_text if c.type == JSON else values.vector_floats)
            return f"{read}; {v} = {f}({v})"
        if c.kind in ("text", "json"):
            f = self._call(at, values.text_decoder(c.charset or "utf8mb4"))
            return f"{read}; {v} = {f}({v})"
        if c.kind in ("uuid", "inet6", "inet4"):
            function = {"uuid": values.uuid_text, "inet6": values.inet6_text, "inet4": values.inet4_text}[c.kind]
            size = 4 if c.kind == "inet4" else 16
            f = self._call(at, function)
            return f"{read}; {v} = {f}({v}.ljust({size}, b'\\0'))"
        if c.type == STRING and c.octets:
            return f"{read}; {v} = {v}.ljust({c.octets}, b'\\0')"
        return read

    def compile(self, columns: list[WireColumn]) -> Image:
        """
        Put the pieces together.
        """
        count = len(columns)
        nulls = (count + 7) // 8
        lines = ["def image(b, p):", f" nulls = _int(b[p:p+{nulls}], 'little') & {(1 << count) - 1}", f" p += {nulls}"]
        lines.append(" if not nulls:")
        lines += [f"  {line}" for line in self._unrolled()] or ["  pass"]
        lines.append(" else:")
        for at, (code, after, statements, size) in enumerate(self.pieces):
            if code:
                name = f"s{at}"
                self.names[name] = struct.Struct("<" + code).unpack_from
                statements = f"(v{at},) = {name}(b, p); p += {size}" + (f"; {after}" if after else "")
            lines += [f"  if nulls & {1 << at}:", f"   v{at} = None", "  else:", f"   {statements}"]
        if not self.pieces:
            lines.append("  pass")
        sent = "".join(f"v{at}," for at, column in enumerate(columns) if column.is_sent)
        lines.append(f" return ({sent}), p")
        scope = dict(self.names)
        # The source is made of numbers and names that are ours alone; nothing of it comes from the server.
        exec("\n".join(lines), scope)
        image: Image = scope["image"]
        return image

    def _unrolled(self) -> list[str]:
        lines: list[str] = []
        run: list[int] = []

        def end_run() -> None:
            if not run:
                return
            codes = "<" + "".join(self.pieces[at][0] for at in run)
            name = f"r{run[0]}"
            self.names[name] = struct.Struct(codes).unpack_from
            lines.append(f"{''.join(f'v{at},' for at in run)} = {name}(b, p); p += {struct.calcsize(codes)}")
            lines.extend(self.pieces[at][1] for at in run if self.pieces[at][1])
            run.clear()

        for at, (code, _, statements, _) in enumerate(self.pieces):
            if code:
                run.append(at)
            else:
                end_run()
                lines.append(statements)
        end_run()
        return lines
