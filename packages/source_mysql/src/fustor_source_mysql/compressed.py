"""
What the servers compress in their logs: MySQL's whole transactions (TRANSACTION_PAYLOAD_EVENT), MariaDB's rows and statements.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import zstandard

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_source_mysql.lenenc import lenenc

_END, _SIZE, _METHOD = 0, 1, 2
_ZSTD, _NONE = 0, 255
_COLUMN_ZLIB: Final = 8
_HEADER_BYTES: Final = 19
_PIECE_BYTES: Final = 256 * 1024


def payload_events(body: bytes) -> Iterator[bytes]:
    """
    Yield the events of a compressed transaction, as the stream has others: a zero byte, the header, the body. Their place in the
    log is taken out of the header: it means nothing.

    Raises:
        ConfigError: It is compressed in a way that is not known.
        ConnectionLost: It is damaged.
    """
    method, p = _NONE, 0
    while True:
        field, p = lenenc(body, p)
        if field == _END:
            break
        size, p = lenenc(body, p)
        if field == _METHOD:
            method, _ = lenenc(body, p)
        p += size
    if method not in (_ZSTD, _NONE):
        raise ConfigError(
            f"the log holds a transaction compressed by the unknown method {method}",
            hint="let an administrator run: SET GLOBAL binlog_transaction_compression = OFF;",
        )
    pieces = _inflated_pieces(body[p:]) if method == _ZSTD else iter([body[p:]])
    held = b""
    at = 0
    for piece in pieces:
        held, at = held[at:] + piece, 0
        while len(held) - at >= _HEADER_BYTES:
            (size,) = struct.unpack_from("<I", held, at + 9)
            if len(held) - at < size:
                break
            yield b"\0" + held[at : at + 13] + b"\0\0\0\0" + held[at + 17 : at + size]
            at += size


def _inflated_pieces(data: bytes) -> Iterator[bytes]:
    # Never whole: a small payload may grow very large.
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        while True:
            try:
                piece = reader.read(_PIECE_BYTES)
            except zstandard.ZstdError as exc:
                raise ConnectionLost(
                    f"a compressed transaction of the binary log is damaged: {exc}",
                    hint="if it stays, the log on the server is damaged: look at it with mysqlbinlog --verify-binlog-checksum",
                ) from None
            if not piece:
                return
            yield piece


def inflated(data: bytes) -> bytes:
    """
    Inflate what MariaDB compressed: a byte with the size of the length (low three bits), the length, and zlib's data.
    """
    size = data[0] & 0x07
    return zlib.decompress(data[1 + size :])


def inflated_rows(body: bytes, *, has_extra: bool, is_update: bool) -> bytes:
    """
    Inflate the rows of a compressed event's body; what stands before them is not compressed.
    """
    p = 8
    if has_extra:
        p += body[p] | body[p + 1] << 8
    count, p = lenenc(body, p)
    p += (count + 7) // 8 * (2 if is_update else 1)
    return body[:p] + inflated(body[p:])


def inflated_column(data: bytes) -> bytes:
    """
    Inflate a value of a COMPRESSED column of MariaDB: a byte that says how, the length, and the data; nothing for "".

    Raises:
        ValueError: It is compressed in a way that is not known.
    """
    if not data:
        return data
    how = data[0]
    if how >> 4 == 0:
        return data[1:]
    if how >> 4 != _COLUMN_ZLIB:
        raise ValueError(f"a column is compressed by the unknown method {how >> 4}")
    return zlib.decompress(data[1 + (how & 7) :], -zlib.MAX_WBITS if how & 8 else zlib.MAX_WBITS)
