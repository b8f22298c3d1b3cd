"""
Positions: a place in the binary log as one whole number, and back.

A *boundary* is the end of a transaction (or of an event outside of one), so many bytes into log file number n. Its index is
`(n << 35 | bytes) << 1`. The rows of a transaction that begins at a boundary carry that boundary's index + 1: more than what
was committed before, less than the transaction's own end. So an index can be told to be in the middle of a transaction, and a
stream opened there begins with the whole of it: rows may leave before the end of their transaction was read.
"""

from __future__ import annotations

from dataclasses import dataclass

_BYTES_BITS = 35
_MOST_BYTES = (1 << _BYTES_BITS) - 1
LARGEST_DUMP_POSITION = 2**32 - 1
"""
The protocol can't ask for more; a file only grows past it by one transaction, which is its last.
"""


@dataclass(frozen=True, slots=True, order=True)
class Boundary:
    """
    The end of a transaction: file number, and bytes from its beginning.
    """

    file: int
    offset: int

    @property
    def index(self) -> int:
        """
        Return the index of this place.
        """
        return index_of(self.file, self.offset)

    def __str__(self) -> str:
        return f"{self.file:06}:{self.offset}"


def index_of(file: int, offset: int) -> int:
    """
    Return the index of a boundary.
    """
    return (file << _BYTES_BITS | offset) << 1


def inside(file: int, offset: int) -> int:
    """
    Return the index of rows of the transaction that begins at a boundary.
    """
    return (file << _BYTES_BITS | offset) << 1 | 1


def boundary_of(index: int) -> Boundary:
    """
    Return where to read from to miss nothing after an index.
    """
    place = index >> 1
    return Boundary(place >> _BYTES_BITS, place & _MOST_BYTES)


def file_number(name: str) -> int:
    """
    Return the number of a log file: `binlog.000012` -> 12.

    Raises:
        ValueError: The name has none.
    """
    return int(name.rpartition(".")[2])
