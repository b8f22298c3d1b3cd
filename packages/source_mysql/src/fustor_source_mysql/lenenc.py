"""
Length-encoded whole numbers, which the protocol and the log are full of.
"""

from __future__ import annotations


def lenenc(b: bytes, p: int) -> tuple[int, int]:
    """
    Read a length-encoded whole number; return it and where it ends.
    """
    first = b[p]
    if first < 251:
        return first, p + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(b[p + 1 : p + 1 + size], "little"), p + 1 + size
