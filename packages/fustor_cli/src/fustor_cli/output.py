"""
Writing to the terminal: colours only where they are wanted, plain text elsewhere, JSON for programs, errors in one or two lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec

from fustor_cli import formats
from fustor_core.errors import FustorError

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def colours(stream: TextIO | None = None) -> bool:
    """
    Tell whether colours are wanted: a terminal that can, and neither `NO_COLOR` nor `TERM=dumb`.
    """
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """
    Colour a text, where colours are wanted.
    """
    if not styles or not colours(stream):
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def line(text: str = "") -> None:
    """
    Write a line.
    """
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """
    Write a line for the person, beside the output proper.
    """
    sys.stderr.write(text + "\n")


def json_lines(value: Any) -> None:
    """
    Write one JSON value on a line of its own, at once.
    """
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def json_document(value: Any) -> None:
    """
    Write one JSON value, indented.
    """
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def json_array(rows: Iterable[Any]) -> None:
    """
    Write a JSON array, one element a line, as the rows come.
    """
    write = sys.stdout.write
    first = True
    write("[")
    for row in rows:
        write(("\n" if first else ",\n") + msgspec.json.encode(row).decode())
        first = False
    write("]\n" if first else "\n]\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """
    Write aligned columns. The last one may be as long as it likes; nothing is cut or wrapped.

    Args:
        header: Names of the columns.
        rows: Cells; already safe for a terminal.
        right: Numbers of the columns that are aligned to the right.
    """
    to_right = set(right)
    widths = [max([formats.width(name), *(formats.width(row[i]) for row in rows)]) for i, name in enumerate(header)]

    def draw(cells: Sequence[str]) -> str:
        parts = []
        for i, cell in enumerate(cells):
            fill = " " * (widths[i] - formats.width(cell))
            parts.append(fill + cell if i in to_right else cell if i == len(cells) - 1 else cell + fill)
        return "  ".join(parts).rstrip()

    line(paint(draw(header), "bold"))
    for row in rows:
        line(draw(row))


def error(exc: FustorError, *, as_json: bool = False) -> None:
    """
    Tell an error on stderr: what failed, and what to do.
    """
    if as_json:
        sys.stderr.write(msgspec.json.encode(exc.to_dict()).decode() + "\n")
        return
    sys.stderr.write(paint("Error: ", "red", "bold", stream=sys.stderr) + formats.safe_lines(exc.message) + "\n")
    if exc.hint:
        sys.stderr.write(paint("  Try: ", "dim", stream=sys.stderr) + formats.safe_lines(exc.hint) + "\n")
