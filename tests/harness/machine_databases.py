"""
Databases for the state machine of `tests/faults/test_database_machine.py`: the SQL of each step, and an independent reading of all rows
that maps the client's text to what docs/reference/types-*.md promises.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from fustor_core.testing.private_server import PrivateServer

Held = dict[str, Counter[str]]
"""
The rows of each table, `schema.table`, as canonical JSON; tables without rows are left out.
"""


def canonical(row: dict[str, Any]) -> str:
    """
    Return a row as text in which 1, 1.0, "1" and true are four values.
    """
    return json.dumps(row, sort_keys=True, ensure_ascii=False)


@dataclass
class Table:
    """
    What the machine knows of a table.

    Attributes:
        key: Its key; the last field is a number of the block that a connection owns.
        columns: The other columns: name and kind, a key of the database's `kinds`.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Table:
        """
        Return a copy that changes do not reach.
        """
        return deepcopy(self)


@dataclass(frozen=True)
class Kind:
    """
    A type of column.

    Attributes:
        declared: The type in SQL.
        values: Literals.
        default: One of them, for a column that is added.
        wider: Kinds that any value of it can be changed to.
    """

    declared: str
    values: Sequence[str]
    default: str | None = None
    wider: tuple[str, ...] = ()


TEXTS = (
    "'a'",
    "''",
    "'\U0001f600 four bytes \U00010348'",
    "'中文 \"quoted\" and ''single'''",
    "'tab\tnewline\n end '",
    "NULL",
)
LARGE = ("lob", "ltext")
ADDED = ("added_int", "added_text", "added_dec")


class MachineDatabase(Protocol):
    """
    One kind of database.

    Attributes:
        server: Private to the test.
        kinds: Types of columns.
        wide: Columns of the table with a column of most types: name and kind.
        ddl_in_transactions: Whether a change of a table is part of a transaction; else it commits what is open.
        errors: Base of the client's errors.
    """

    server: PrivateServer
    kinds: ClassVar[dict[str, Kind]]
    wide: ClassVar[tuple[str, ...]]
    ddl_in_transactions: ClassVar[bool]
    errors: ClassVar[type[Exception]]

    def start(self) -> None:
        """
        Make the server and start it.
        """
        ...

    def source(self) -> dict[str, Any]:
        """
        Return the configuration of a source of everything in it.
        """
        ...

    def connect(self) -> Any:
        """
        Connect; each statement commits until BEGIN.
        """
        ...

    def execute(self, connection: Any, sql: str) -> str:
        """
        Run one statement. Returns what became of it: "" when it was done, else why the server undid it: "statement" or "transaction".
        """
        ...

    def make_schema(self, schema: str) -> str: ...
    def drop_schema(self, schema: str) -> str: ...
    def create(self, schema: str, table: Table) -> str: ...
    def insert(self, schema: str, table: Table, rows: list[dict[str, str]], how: str) -> str: ...
    def move(self, schema: str, table: Table, old: Sequence[str], new: Sequence[str]) -> str: ...
    def retype(self, schema: str, table: Table, column: str, kind: str) -> str: ...
    def rename_table(self, schema: str, old: str, new: str) -> str: ...
    def rewrite(self, place: str) -> str: ...
    def position(self, v: int) -> str: ...
    def read_all(self) -> Held: ...


def where_in(table: Table, keys: Sequence[Sequence[str]]) -> str:
    """
    Return the condition that names rows by their keys; of composed keys all share the first field.
    """
    last = f"{table.key[-1]} IN ({', '.join(key[-1] for key in keys)})"
    return last if len(table.key) == 1 else f"{table.key[0]} = {keys[0][0]} AND {last}"


def values_of(database: MachineDatabase, table: Table, seed: int) -> dict[str, str]:
    """
    Choose a literal for each column that is no key.
    """
    chance = random.Random(seed)
    return {name: chance.choice(database.kinds[kind].values) for name, kind in table.columns.items()}


def insert_rows(schema: str, table: Table, rows: list[dict[str, str]], verb: str = "INSERT") -> str:
    """
    Return the statement that inserts rows.
    """
    fields = [*table.key, *table.columns]
    values = ", ".join(f"({', '.join(row[name] for name in fields)})" for row in rows)
    return f"{verb} INTO {schema}.{table.name} ({', '.join(fields)}) VALUES {values}"


def as_base64(value: bytes) -> str:
    """
    Return bytes as they travel.
    """
    return base64.b64encode(value).decode()


def as_zoned(value: str) -> str:
    """
    Return a time that the server shows in UTC.
    """
    return value.replace(" ", "T") + "Z"


def as_naive(value: str) -> str:
    """
    Return a time without a zone.
    """
    return value.replace(" ", "T")
