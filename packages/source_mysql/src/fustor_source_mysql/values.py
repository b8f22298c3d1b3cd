"""
How values are read: from the bytes of the binary log, and from the text of a query's answer, to the same Python values.

| kind | value |
|---|---|
| int, bit, year | int; year 0000 is 0 |
| float | float (a FLOAT is widened, not rounded) |
| decimal | text with every digit of the declared scale |
| text | str |
| json | str: MariaDB's as it is stored, MySQL's as a SELECT shows it |
| vector | list of floats, widened |
| bytes, shape | bytes (a shape: SRID and WKB) |
| enum | its label; "" for the invalid value 0 |
| set | list of labels in declared order |
| date | "YYYY-MM-DD"; zero dates as they are: "0000-00-00", "2024-00-00" |
| datetime | "YYYY-MM-DDTHH:MM:SS[.ffffff]" with the declared digits |
| timestamp | the same in UTC with "Z" |
| time | "[-]HHH:MM:SS[.ffffff]" |
| uuid, inet4, inet6 | text as the server shows it |

Sources: MariaDB's "Rows_event" documentation and "Protocol::MYSQL_TYPE_..." of the internals manual.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

_DIGITS_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_CACHED: Final = 8192

CODECS: Final = {
    "utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii", "latin1": "cp1252", "latin2": "iso8859-2",
    "latin5": "iso8859-9", "latin7": "iso8859-13", "greek": "iso8859-7", "hebrew": "iso8859-8", "cp1250": "cp1250",
    "cp1251": "cp1251", "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866",
    "cp932": "cp932", "sjis": "shift_jis", "ujis": "euc_jp", "eucjpms": "euc_jp", "euckr": "euc_kr", "gbk": "gbk",
    "gb2312": "gb2312", "gb18030": "gb18030", "big5": "big5", "koi8r": "koi8-r", "koi8u": "koi8-u", "tis620": "tis-620",
    "macroman": "mac-roman", "macce": "mac-latin2", "ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}  # fmt: skip
"""
The server's character sets and Python's codecs for them; what is not here is converted by asking the server.
"""

_LATIN1_HOLES: Final = {0x81, 0x8D, 0x8F, 0x90, 0x9D}


def text_decoder(charset: str) -> Callable[[bytes], str]:
    """
    Return what turns the bytes of a column into text.

    Raises:
        LookupError: The character set has no codec here.
    """
    codec = CODECS.get(charset)
    if codec is None:
        raise LookupError(charset)
    if codec == "utf-8":
        return bytes.decode
    if charset == "latin1":
        return _latin1
    return lambda data: data.decode(codec)


def _latin1(data: bytes) -> str:
    # The server's latin1 is Windows-1252 in which the five holes stand for the control characters.
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return "".join(chr(c) if c in _LATIN1_HOLES else bytes((c,)).decode("cp1252") for c in data)


def decimal_bytes(precision: int, scale: int) -> int:
    """
    Return how many bytes a decimal takes.
    """
    whole = precision - scale
    return whole // 9 * 4 + _DIGITS_BYTES[whole % 9] + scale // 9 * 4 + _DIGITS_BYTES[scale % 9]


def decimal_decoder(precision: int, scale: int) -> Callable[[bytes], str]:
    """
    Return what turns the bytes of a decimal into its digits.

    Nine digits stand in four bytes; the first and the last group may be smaller. The uppermost bit is set for what is not
    negative, and a negative number is the complement.
    """
    whole = precision - scale
    lead, tail = whole % 9, scale % 9
    groups = [lead] * bool(lead) + [9] * (whole // 9) + [9] * (scale // 9) + [tail] * bool(tail)
    shift = size = decimal_bytes(precision, scale) * 8
    sums = ["0", "0"]
    digits = 0
    for width in groups:
        bits = _DIGITS_BYTES[width] * 8
        shift -= bits
        side = int(digits >= whole)
        group = f"(n >> {shift} & {(1 << bits) - 1})"
        sums[side] = group if sums[side] == "0" else f"({sums[side]} * {10**width} + {group})"
        digits += width
    number = f"{{{sums[0]}}}.{{{sums[1]}:0{scale}d}}" if scale else f"{{{sums[0]}}}"
    top, mask = 1 << (size - 1), (1 << size) - 1
    lines = [
        "def decode(data):",
        " n = _int(data, 'big')",
        f" if n & {top}:",
        f"  n ^= {top}",
        f"  return f'{number}'",
        f" n = n ^ {mask} ^ {top}",
        f" return f'-{number}'",
    ]
    scope: dict[str, Any] = {"_int": int.from_bytes}
    # The source is made of numbers that are ours alone; nothing of it comes from the server.
    exec("\n".join(lines), scope)
    decode: Callable[[bytes], str] = scope["decode"]
    return decode


@lru_cache(_CACHED)
def date_text(data: int) -> str:
    """
    Return a DATE (three bytes as one number: 15 bits year, 4 month, 5 day).
    """
    return f"{data >> 9:04}-{data >> 5 & 15:02}-{data & 31:02}"


def fraction_bytes(digits: int) -> int:
    """
    Return how many bytes the fraction of a second takes.
    """
    return (digits + 1) // 2


def _fraction(value: int, digits: int) -> str:
    """
    Return ".ffff" of what the last bytes hold: hundredths, ten-thousandths or millionths.
    """
    return "." + str(value).zfill(fraction_bytes(digits) * 2)[:digits]


def datetime_decoder(digits: int) -> Callable[[bytes], str]:
    """
    Return what reads a DATETIME2 (five bytes and the fraction, big-endian).
    """

    @lru_cache(_CACHED)
    def decode(data: bytes) -> str:
        packed = int.from_bytes(data[:5], "big") - 0x8000000000
        if packed < 0:
            packed = -packed
        date, clock = packed >> 17, packed & 0x1FFFF
        months = date >> 5
        text = (
            f"{months // 13:04}-{months % 13:02}-{date & 31:02}T{clock >> 12:02}:{clock >> 6 & 63:02}:{clock & 63:02}"
        )
        return text + _fraction(int.from_bytes(data[5:], "big"), digits) if digits else text

    return decode


def timestamp_decoder(digits: int) -> Callable[[bytes], str]:
    """
    Return what reads a TIMESTAMP2 (four bytes and the fraction, big-endian).
    """

    @lru_cache(_CACHED)
    def decode(data: bytes) -> str:
        seconds = int.from_bytes(data[:4], "big")
        part = int.from_bytes(data[4:], "big")
        if not seconds and not part:
            text = "0000-00-00T00:00:00"
        else:
            text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return (text + _fraction(part, digits) if digits else text) + "Z"

    return decode


def time_decoder(digits: int) -> Callable[[bytes], str]:
    """
    Return what reads a TIME2 (three bytes and the fraction, big-endian, offset by half of the range).
    """
    size = fraction_bytes(digits)

    @lru_cache(_CACHED)
    def decode(data: bytes) -> str:
        value = int.from_bytes(data, "big") - (0x800000 << 8 * size)
        sign = "-" if value < 0 else ""
        value = abs(value)
        part = value & ((1 << 8 * size) - 1)
        clock = value >> 8 * size
        text = f"{sign}{clock >> 12 & 1023:02}:{clock >> 6 & 63:02}:{clock & 63:02}"
        return text + _fraction(part, digits) if digits else text

    return decode


def old_datetime_text(data: int) -> str:
    """
    Return a DATETIME of the format before 5.6: a number YYYYMMDDhhmmss.
    """
    t = f"{data:014}"
    return f"{t[:4]}-{t[4:6]}-{t[6:8]}T{t[8:10]}:{t[10:12]}:{t[12:]}"


def old_time_text(data: int) -> str:
    """
    Return a TIME of the format before 5.6: a number hhmmss.
    """
    sign = "-" if data < 0 else ""
    data = abs(data)
    return f"{sign}{data // 10000:02}:{data // 100 % 100:02}:{data % 100:02}"


def uuid_text(data: bytes) -> str:
    """
    Return a UUID of MariaDB: stored with its parts in reverse order, so that those made one after the other are neighbours.

    Since 10.11.5 versions 6 and 7, which are in order as they are, are stored as they are; those have no variant bit where the
    others, turned around, have theirs (`sql/sql_type_uuid.h`).
    """
    if data[6] & 0x80 == 0 and data[8] & 0x80:  # stored in order
        text = data.hex()
    else:
        text = (data[12:16] + data[10:12] + data[8:10] + data[6:8] + data[0:6]).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def inet6_text(data: bytes) -> str:
    """
    Return an IPv6 address as the server shows it: the last four bytes of a mapped or compatible one in dotted form.
    """
    address = ipaddress.IPv6Address(data)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return f"::ffff:{mapped}"
    if not any(data[:12]) and any(data[12:14]):
        return f"::{ipaddress.IPv4Address(data[12:])}"
    return address.compressed


def inet4_text(data: bytes) -> str:
    """
    Return an IPv4 address.
    """
    return str(ipaddress.IPv4Address(data))


def vector_floats(data: bytes) -> list[float]:
    """
    Return a VECTOR of MySQL: four bytes for each number.
    """
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def set_decoder(labels: tuple[str, ...]) -> Callable[[int], list[str]]:
    """
    Return what turns the bits of a set into its labels.
    """
    return lambda bits: [label for at, label in enumerate(labels) if bits >> at & 1]


def from_text(kind: str, charset: str | None) -> Callable[[bytes], Any]:
    """
    Return what turns the text of a query's answer into a value of this kind.
    """
    if kind in ("int", "bit", "year"):
        return int
    if kind == "float":
        return float
    if kind in ("bytes", "shape"):
        return bytes
    if kind == "vector":
        return vector_floats
    if kind == "set":
        return lambda data: data.decode().split(",") if data else []
    if kind == "datetime":
        return lambda data: data.decode().replace(" ", "T")
    if kind == "timestamp":
        return lambda data: data.decode().replace(" ", "T") + "Z"
    return bytes.decode
