"""
How the rows of one table of the binary log are read: names, kinds, key, and the compiled readers of its images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import itemgetter
from typing import Any

from fustor_core.errors import ConfigError
from fustor_core.selection import Selection
from fustor_source_mysql import decoder as d
from fustor_source_mysql.decoder import Image, UnknownType, WireColumn, make_image
from fustor_source_mysql.schema import IMPLICIT, Column, Table, json_type
from fustor_source_mysql.tablemap import BINARY_COLLATION, TableMap
from fustor_source_mysql.values import CODECS

Pick = Callable[[Any], tuple[Any, ...]]

_INTEGERS = {d.TINY, d.SHORT, d.INT24, d.LONG, d.LONGLONG}
_KINDS = {
    d.FLOAT: "float", d.DOUBLE: "float", d.NEWDECIMAL: "decimal", d.DATE: "date", d.NEWDATE: "date", d.YEAR: "year",
    d.TIME: "time", d.TIME2: "time", d.DATETIME: "datetime", d.DATETIME2: "datetime", d.TIMESTAMP: "timestamp",
    d.TIMESTAMP2: "timestamp", d.BIT: "bit", d.ENUM: "enum", d.SET: "set", d.GEOMETRY: "shape",
    d.JSON: "json", d.VECTOR: "vector",
}  # fmt: skip
_SEQUENCE = (
    "next_not_cached_value", "minimum_value", "maximum_value", "start_value", "increment", "cache_size", "cycle_option", "cycle_count",
)  # fmt: skip
_FULL_METADATA = "SET GLOBAL binlog_row_metadata = FULL;"


class Images:
    """
    What an image with a certain set of columns holds.

    Attributes:
        read: Reads one.
        fields: Names of the values it gives, in order.
        shown: Those of them that leave the source: all, but of a system-versioned table.
        is_whole: Whether these are all columns that leave the source.
        at: Where a field is.
    """

    __slots__ = ("at", "fields", "is_whole", "read", "shown")

    def __init__(self, read: Image, fields: tuple[str, ...], shown: tuple[str, ...], is_whole: bool) -> None:
        self.read = read
        self.fields = fields
        self.shown = shown
        self.is_whole = is_whole
        self.at = {name: at for at, name in enumerate(fields)}


class RowsOf:
    """
    Reads the rows of one table as a table map describes it.

    Args:
        found: The table map.
        declared: The table as the server describes it now; None when it is gone.
        charset_of: Names the character set of a collation.
        wanted: Which columns leave the source.
        required: Only these columns, and the key; None = all.

    Raises:
        ConfigError: The log does not name the columns, and the table has changed since; or a column can't be read.
    """

    def __init__(
        self,
        found: TableMap,
        declared: Table | None,
        charset_of: Callable[[int], str],
        wanted: Selection,
        required: Collection[str] | None,
    ) -> None:
        self.schema = found.schema
        self.table = found.table
        names = found.names or _names_of(found, declared)
        known = declared.by_name if declared is not None else {}
        # The log tells the primary key as it was then; other unique indexes only the server tells, as they are now.
        key = tuple(names[at] for at in found.key or ())
        if not key and declared is not None and set(declared.key) <= set(names):
            key = declared.key
        self.row_end = declared.row_end if declared is not None and declared.row_end in names else None
        if tuple(names[-2:]) == IMPLICIT and not known.keys() & set(IMPLICIT):
            self.row_end = IMPLICIT[1]  # also when it has no versions any more
        if self.row_end is not None:
            key = tuple(name for name in key if name != self.row_end)
        self.key: tuple[str, ...] = key
        self._columns: list[tuple[str, WireColumn]] = []
        self.columns: dict[str, Any] = {}
        for at, name in enumerate(names):
            column = _column(found, at, known.get(name), charset_of)
            is_sent = wanted.column(found.schema, found.table, name) and (required is None or name in required)
            if self.row_end is not None and name in IMPLICIT and name not in known:
                is_sent = False
            if is_sent or name in key:
                self.columns[name] = json_type(column.kind, column.labels)
            elif name != self.row_end:
                column = _unsent(column)
            self._columns.append((name, column))
        self._images: dict[bytes, Images] = {}

    def images(self, present: bytes) -> Images:
        """
        Return how images with these columns are read (one bit a column).
        """
        found = self._images.get(present)
        if found is None:
            found = self._images[present] = self._make(present)
        return found

    def _make(self, present: bytes) -> Images:
        bits = int.from_bytes(present, "little")
        columns = [(name, column) for at, (name, column) in enumerate(self._columns) if bits >> at & 1]
        try:
            read = make_image([column for _, column in columns])
        except (UnknownType, LookupError) as exc:
            raise ConfigError(
                f"a row of {self.schema}.{self.table} can't be read from the binary log: {exc}",
                hint=f"leave the table out: `driver_params: {{exclude: ['{self.schema}.{self.table}']}}`",
                context={"schema": self.schema, "table": self.table},
            ) from None
        fields = tuple(name for name, column in columns if column.is_sent)
        shown = tuple(name for name in fields if name in self.columns)
        return Images(read, fields, shown, len(shown) == len(self.columns))


def is_sequence(found: TableMap) -> bool:
    """
    Tell whether what the server does not describe as a table is a sequence of MariaDB: each time it takes numbers it logs a row.
    """
    if found.names is not None:
        return tuple(found.names) == _SEQUENCE
    return tuple(found.types) == (d.LONGLONG,) * 6 + (d.TINY, d.LONGLONG) and not found.key


def picker(fields: tuple[str, ...], wanted: tuple[str, ...]) -> Pick:
    """
    Return what takes some fields out of a row.
    """
    at = [fields.index(name) for name in wanted]
    if len(at) == 1:
        one = at[0]
        return lambda row: (row[one],)
    return itemgetter(*at)


def _names_of(found: TableMap, declared: Table | None) -> list[str]:
    """
    Name the columns by the server's present description, when the log does not: only if that can't be wrong.
    """
    if declared is not None:
        names = [column.name for column in declared.columns]
        unseen = IMPLICIT if declared.row_end is not None and declared.row_end not in names else ()
        fits = len(names) + len(unseen) == len(found.types)
        if fits and all(_fits(column, found, at) for at, column in enumerate(declared.columns)):
            return [*names, *unseen]
    raise ConfigError(
        f"the log does not name the columns of {found.schema}.{found.table}, and the table has changed since",
        hint=f"let an administrator run: {_FULL_METADATA} and start the sync again",
        context={"schema": found.schema, "table": found.table},
    )


def _fits(column: Column, found: TableMap, at: int) -> bool:
    kind = _KINDS.get(found.types[at]) or ("int" if found.types[at] in _INTEGERS else "text")
    if kind == "text":
        return column.kind in ("text", "bytes", "json", "uuid", "inet6", "inet4", "shape")
    return column.kind == kind


def _column(found: TableMap, at: int, declared: Column | None, charset_of: Callable[[int], str]) -> WireColumn:
    number, meta = found.types[at], found.metas[at]
    charset: str | None = None
    collation = found.collations.get(at)
    if collation is not None:
        charset = "binary" if collation == BINARY_COLLATION else charset_of(collation)
    elif declared is not None:
        charset = declared.charset or "binary"
    if number in _INTEGERS:
        kind = "int"
    elif number in _KINDS:
        kind = _KINDS[number]
    elif declared is not None and declared.kind in ("uuid", "inet6", "inet4", "shape"):
        kind = declared.kind
    elif charset in (None, "binary"):
        kind = "bytes"
    else:
        kind = "json" if declared is not None and declared.kind == "json" else "text"
    labels: tuple[str, ...] = ()
    if kind in ("enum", "set"):
        logged = found.labels.get(at)
        if logged is not None:
            codec = CODECS.get(charset or "utf8mb4", "utf-8")
            labels = tuple(label.decode(codec if charset != "binary" else "utf-8") for label in logged)
        elif declared is not None:
            labels = declared.labels
    unsigned = found.unsigned.get(at)
    if unsigned is None:
        unsigned = declared is not None and declared.unsigned
    octets = found.octets.get(at, 0) if kind == "bytes" else 0
    return WireColumn(number, meta, kind, unsigned, charset, labels, octets)


def _unsent(column: WireColumn) -> WireColumn:
    return WireColumn(
        column.type, column.meta, column.kind, column.unsigned, column.charset, column.labels, column.octets, False
    )
