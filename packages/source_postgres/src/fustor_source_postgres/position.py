"""
Positions: places in the write-ahead log (LSN, bytes since its beginning) as whole numbers.

A *boundary* is a place between transactions. Its index is the LSN itself, a multiple of 8 as records of the log are aligned. The
rows of a transaction carry the LSN of its commit record + 1: more than any boundary before the commit, less than the
transaction's own end. So an index can be told to be in the middle of a transaction, and a stream opened there begins with the
whole of it: rows may leave before the end of their transaction was read.
"""

from __future__ import annotations

_ALIGNED = ~7


def lsn_of(text: str) -> int:
    """
    Return the number of "16/B374D848".

    Raises:
        ValueError: It is no LSN.
    """
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(lsn: int) -> str:
    """
    Return the server's form of an LSN.
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def inside(commit: int) -> int:
    """
    Return the index of rows of the transaction whose commit record is at an LSN.
    """
    return commit | 1


def boundary_of(index: int) -> int:
    """
    Return the LSN to read from to miss nothing after an index.
    """
    return index & _ALIGNED
