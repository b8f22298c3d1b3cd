"""
What the state machine knows of the tables and transactions of an example. It follows from the steps alone, and gives the SQL of each.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.machine_databases import ADDED, MachineDatabase, Table, values_of, where_in

CONNECTIONS = 3
BLOCK = 1000  # numbers of keys that belong to one connection: no transaction waits for another


@dataclass
class Transaction:
    """
    What the machine knows of an open transaction.

    Attributes:
        touched: Tables with rows of it.
        locked: Tables it changed themselves.
        before: Those as they were; None = not there.
    """

    touched: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    before: dict[str, Table | None] = field(default_factory=dict)
    savepoint: bool = False


class Known:
    """
    Tables and transactions.

    Attributes:
        schema: That the tables are in.
        tables: By name.
        transactions: The open one of each connection.
    """

    def __init__(self, database: MachineDatabase, schema: str) -> None:
        self.schema = schema
        self.transactions: list[Transaction | None] = [None] * CONNECTIONS
        self.tables = {
            "wide": Table("wide", ("id",), {f"c_{kind}": kind for kind in database.wide}),
            "pair": Table("pair", ("a", "b"), {"v": "v"}),
            "large": Table("large", ("id",), {"lob": "lob", "ltext": "ltext", "v": "v"}),
        }
        self._database = database
        self._names = 0

    def end(self, c: int, *, commit: bool) -> None:
        """
        The transaction of a connection has ended; without `commit` what it changed of tables is undone.
        """
        transaction, self.transactions[c] = self.transactions[c], None
        if transaction is not None and not commit:
            for name, table in transaction.before.items():
                self.tables.pop(name, None)
                if table is not None:
                    self.tables[name] = table

    def _others(self, c: int, what: Callable[[Transaction], set[str]]) -> set[str]:
        return {name for at, one in enumerate(self.transactions) if one is not None and at != c for name in what(one)}

    def pick(self, c: int, n: int, *, alone: bool) -> Table | None:
        """
        Choose a table that no other transaction keeps from a connection.
        """
        taken = self._others(c, lambda one: one.locked | one.touched if alone else one.locked)
        names = [name for name in self.tables if name not in taken]
        return self.tables[names[n % len(names)]] if names else None

    @staticmethod
    def numbers(c: int, n: int, size: int, within: int = 60) -> list[int]:
        """
        Return numbers of keys that belong to a connection.
        """
        return [c * BLOCK + (n + at) % within for at in range(min(size, within))]

    @staticmethod
    def _keys(table: Table, numbers: list[int], v: int) -> list[tuple[str, ...]]:
        letter = ("'a'", "'A'", "'b'")[v % 3]
        return [(str(n),) if len(table.key) == 1 else (letter, str(n)) for n in numbers]

    def write(self, c: int, table: Table, how: str, numbers: list[int], v: int) -> list[str]:
        """
        Take note that a connection changes rows; return the statements.
        """
        transaction = self.transactions[c]
        if transaction is not None:
            transaction.touched.add(table.name)
        schema, database = self.schema, self._database
        keys = self._keys(table, numbers, v)
        place = f"{schema}.{table.name}"
        if how in {"insert", "upsert", "replace"}:
            rows = [
                dict(zip(table.key, key, strict=True)) | values_of(database, table, v + at)
                for at, key in enumerate(keys)
            ]
            return [database.insert(schema, table, rows, how)]
        if how == "update":
            chance = random.Random(v)
            some = chance.sample(list(table.columns), min(len(table.columns), chance.choice((1, 1, 2, 99))))
            new = values_of(database, table, v)
            changes = ", ".join(f"{name} = {new[name]}" for name in some)
            return [f"UPDATE {place} SET {changes} WHERE {where_in(table, keys)}"] if some else []
        if how == "delete":
            return [f"DELETE FROM {place} WHERE {where_in(table, keys)}"]
        if how == "move":
            return [
                database.move(schema, table, key, self._key(table, c, int(key[-1]) + 1 + v % 50, v // 3))
                for key in keys[:3]
            ]
        if how == "shift":
            far = self._keys(table, [n + 500 for n in numbers], v)
            old, new_keys, sign = (keys, far, "+") if v % 2 else (far, keys, "-")
            last = table.key[-1]
            return [
                f"DELETE FROM {place} WHERE {where_in(table, new_keys)}",
                f"UPDATE {place} SET {last} = {last} {sign} 500 WHERE {where_in(table, old)}",
            ]
        spare = self._keys(table, [c * BLOCK + 900], v)[0]
        a, b = keys[0], self._key(table, c, numbers[0] + 1 + v % 30, v // 3)
        swap = ((a, spare), (b, a), (spare, b))
        return [
            f"DELETE FROM {place} WHERE {where_in(table, [spare])}",
            *(database.move(schema, table, old_key, new_key) for old_key, new_key in swap),
        ]

    def _key(self, table: Table, c: int, n: int, v: int) -> tuple[str, ...]:
        return self._keys(table, [c * BLOCK + n % 60], v)[0]

    def lock(self, transaction: Transaction, name: str) -> None:
        """
        Take note that a transaction changes a table itself.
        """
        if name not in transaction.before:
            table = self.tables.get(name)
            transaction.before[name] = None if table is None else table.copy()
        transaction.locked.add(name)

    def changed(self, what: str, transaction: Transaction | None, table: Table, v: int) -> str:
        """
        Take note of a change of a table; return its SQL, "" when there is nothing to change.
        """
        database, columns, place = self._database, table.columns, f"{self.schema}.{table.name}"
        names = list(columns)
        column = names[v % len(names)] if names else ""
        self._names += 1
        new = f"n{self._names}"
        if what == "truncate":
            return f"TRUNCATE TABLE {place}"
        if what == "rewrite":
            return database.rewrite(place)
        if what == "add":
            columns[new] = ADDED[v % len(ADDED)]
            kind = database.kinds[columns[new]]
            default = f" DEFAULT {kind.default}" if v % 4 else ""
            return f"ALTER TABLE {place} ADD COLUMN {new} {kind.declared}{default}{database.position(v)}"
        if what == "drop" and len(names) > 1:
            del columns[column]
            return f"ALTER TABLE {place} DROP COLUMN {column}"
        if what == "rename" and names:
            table.columns = {new if name == column else name: kind for name, kind in columns.items()}
            return f"ALTER TABLE {place} RENAME COLUMN {column} TO {new}"
        if what == "retype":
            narrow = [name for name, kind in columns.items() if database.kinds[kind].wider]
            if not narrow:
                return ""
            column = narrow[v % len(narrow)]
            wider = database.kinds[columns[column]].wider
            columns[column] = wider[v % len(wider)]
            return database.retype(self.schema, table, column, columns[column])
        if what == "rename_table":
            old = table.name
            name = old.removesuffix("_r") if old.endswith("_r") else f"{old}_r"
            if transaction is not None:
                self.lock(transaction, name)
            del self.tables[old]
            table.name = name
            self.tables[name] = table
            return database.rename_table(self.schema, old, name)
        if what == "create_table":
            kinds = random.Random(v).sample(database.wide, 3)
            made = Table(f"x{self._names}", ("id",), {f"c_{kind}": kind for kind in kinds})
            if transaction is not None:
                self.lock(transaction, made.name)
            self.tables[made.name] = made
            return database.create(self.schema, made)
        if what == "drop_table" and len(self.tables) > 2:
            del self.tables[table.name]
            return f"DROP TABLE {place}"
        return ""
