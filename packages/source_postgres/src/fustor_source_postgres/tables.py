"""
How the rows of one table are read from the stream: as a relation message describes it, with the key the catalog knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import itemgetter
from typing import Any

from fustor_core.selection import Selection
from fustor_source_postgres.decoder import Relation, make_tuple
from fustor_source_postgres.schema import Table, Types

Pick = Callable[[Any], tuple[Any, ...]]


class RowsOf:
    """
    Reads the rows of one relation.

    Args:
        relation: How the table is at this place of the log.
        table: How the catalog describes it now; None when it is gone.
        types: Knows the types of values.
        selection: Which columns leave the source.
        required: Only these columns, and the key; None = all.

    Attributes:
        read: Reads a tuple: the values of `fields`.
        fields: Names of the columns that are sent.
        key: What identifies a row; empty when nothing does.
        pick_key: Takes the key out of the values.
        columns: The `columns` of events.
    """

    def __init__(
        self,
        relation: Relation,
        table: Table | None,
        types: Types,
        selection: Selection,
        required: Collection[str] | None,
    ) -> None:
        self.relation = relation
        self.schema, self.table = relation.schema, relation.table
        names = [column.name for column in relation.columns]
        key = tuple(column.name for column in relation.columns if column.in_key)
        if relation.identity == "f" or not key:
            # The log holds whole old rows then; the catalog says what of them is a key.
            key = table.key if table is not None and set(table.key) <= set(names) else ()
        elif table is not None and set(table.key) == set(key):
            key = table.key  # in the order of the index
        self.key = key
        types.learn(column.oid for column in relation.columns)
        kinds = [
            types.of(column.oid)
            if column.name in key
            or (
                selection.column(self.schema, self.table, column.name) and (required is None or column.name in required)
            )
            else None
            for column in relation.columns
        ]
        self.read = make_tuple(kinds)
        sent = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind is not None]
        self.fields = tuple(name for name, _ in sent)
        self.columns = {name: kind.json_type for name, kind in sent if kind is not None}
        self.pick_key = picker(self.fields, key) if key else tuple


def picker(fields: tuple[str, ...], wanted: tuple[str, ...]) -> Pick:
    """
    Return what takes some fields out of a row.
    """
    at = [fields.index(name) for name in wanted]
    if len(at) == 1:
        one = at[0]
        return lambda row: (row[one],)
    return itemgetter(*at)
