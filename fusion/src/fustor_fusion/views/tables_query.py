"""
Queries of the `tables` view: what tables there are, rows with filter, order and keyset paging, one row by key.

Column names are checked against those the table has, and values are bound: nothing of a request becomes SQL.
"""

from __future__ import annotations

import base64
import sqlite3
from typing import Any

import msgspec
from msgspec import Raw

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.base import Database, RowFilter, RowPage, RowQuery

_OPS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_NUMBERS = {"integer", "number"}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class TableQueries:
    """
    Answers queries. Any thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[int, tuple[int, int]] = {}

    def list_tables(self, conn: sqlite3.Connection) -> list[dict[str, Any]]:
        """
        Describe the tables, in the shape of `GET /views/tables`.
        """
        found = conn.execute(
            "SELECT id, task_id, schema, name, key, columns, last_index FROM tables_table ORDER BY task_id, schema, name"
        ).fetchall()
        tables = []
        for table_id, task_id, schema, name, key, columns, last_index in found:
            if key is None:
                rows = conn.execute(
                    "SELECT COALESCE(SUM(copies), 0) FROM tables_row WHERE table_id = ? AND doc IS NOT NULL",
                    (table_id,),
                ).fetchone()[0]
            else:
                # Both counts read only an index.
                rows = conn.execute(
                    "SELECT (SELECT COUNT(*) FROM tables_row INDEXED BY sqlite_autoindex_tables_row_1 WHERE table_id = ?1)"
                    " - (SELECT COUNT(*) FROM tables_row INDEXED BY tables_row_gone WHERE table_id = ?1 AND doc IS NULL)",
                    (table_id,),
                ).fetchone()[0]
            tables.append(
                {
                    "task_id": task_id,
                    "schema": schema,
                    "table": name,
                    "rows": rows,
                    "key": None if key is None else _decode(key),
                    "columns": _decode(columns),
                    "last_index": last_index,
                }
            )
        return tables

    @staticmethod
    def _table(
        conn: sqlite3.Connection, task_id: str, schema: str, table: str
    ) -> tuple[int, bool, dict[str, Any]] | None:
        row = conn.execute(
            "SELECT id, key, columns FROM tables_table WHERE task_id = ? AND schema = ? AND name = ?",
            (task_id, schema, table),
        ).fetchone()
        return None if row is None else (row[0], row[1] is not None, _decode(row[2]))

    def row(self, task_id: str, schema: str, table: str, key: list[Any]) -> Raw | None:
        """
        Return the row of a key; None = there is none.
        """
        with self._database.read() as conn:
            found = self._table(conn, task_id, schema, table)
            if found is None:
                return None
            row = conn.execute(
                "SELECT doc FROM tables_row WHERE table_id = ? AND key = ? AND doc IS NOT NULL",
                (found[0], _encode(key).decode()),
            ).fetchone()
        return None if row is None else Raw(row[0].encode())

    def rows(self, task_id: str, schema: str, table: str, query: RowQuery) -> RowPage | None:
        """
        Return a page of rows; None = there is no such table. A row of a table without a key comes once for each copy, so
        that a page may be longer than asked for.

        Raises:
            InvalidRequest: The query can't be understood.
        """
        with self._database.read() as conn:
            found = self._table(conn, task_id, schema, table)
            if found is None:
                return None
            table_id, _, columns = found
            value = "NULL"
            bound: list[Any] = []
            if query.order is not None:
                value, bound = _column(query.order, columns)
            conditions = ["table_id = ?", "doc IS NOT NULL"]
            parameters: list[Any] = [table_id]
            for one in query.where:
                sql, values = _condition(one, columns)
                conditions.append(sql)
                parameters += values
            if query.cursor is not None:
                sql, values = _after(query, value, bound)
                conditions.append(sql)
                parameters += values
            order = "key" if query.order is None else f"{value}{' DESC' if query.descending else ''}, key"
            sql = f"SELECT key, doc, copies, {value} FROM tables_row WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
            got = conn.execute(
                sql, (*bound, *parameters, *(bound if query.order is not None else ()), query.limit + 1)
            ).fetchall()
        more = len(got) > query.limit
        got = got[: query.limit]
        rows: list[dict[str, Any] | Raw] = []
        for _, doc, copies, _ in got:
            rows += [Raw(doc.encode())] * copies
        last = _cursor(got[-1][3], got[-1][0]) if more else None
        return RowPage(rows, last, list(columns))


def _column(name: str, columns: dict[str, Any]) -> tuple[str, list[Any]]:
    """
    Return SQL for the value of a column, with its bound path.
    """
    if name not in columns:
        raise InvalidRequest(
            f"there is no column {name!r}", hint=f"columns: {', '.join(sorted(columns))}", context={"column": name}
        )
    if '"' in name:
        # A JSON path can't quote a quote: look the member up by name instead.
        return "(SELECT value FROM json_each(doc) WHERE key = ?)", [name]
    return "json_extract(doc, ?)", [f'$."{name}"']


def _type_of(schema: Any) -> str:
    """
    Return how to read values for a column: number, decimal, boolean, text, or "" when its type is unknown.
    """
    if not isinstance(schema, dict):
        return ""
    kinds = schema.get("type")
    named = {kinds} if isinstance(kinds, str) else set(kinds or ()) - {"null"}
    if named and named <= _NUMBERS:
        return "number"
    if named == {"boolean"}:
        return "boolean"
    if named == {"string"}:
        return "decimal" if schema.get("format") == "decimal" else "text"
    return ""


def _number(text: str) -> int | float | None:
    try:
        whole = int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None
    return whole if -(2**63) <= whole < 2**63 else float(whole)


def _condition(one: RowFilter, columns: dict[str, Any]) -> tuple[str, list[Any]]:
    value, path = _column(one.column, columns)
    kind = _type_of(columns[one.column])
    if one.op == "isnull":
        if one.value.lower() not in {"true", "false", "1", "0", ""}:
            raise InvalidRequest(f"isnull takes true or false, not {one.value!r}", context={"column": one.column})
        wanted = one.value.lower() not in {"false", "0"}
        return f"{value} IS {'' if wanted else 'NOT '}NULL", path
    if one.op == "like":
        return f"{value} LIKE ?", [*path, one.value]
    if one.op == "in":
        parts = [_compare("=", value, path, v, kind, one.column) for v in _listed(one)]
        return "(" + (" OR ".join(sql for sql, _ in parts) or "0") + ")", [v for _, values in parts for v in values]
    return _compare(_OPS[one.op], value, path, one.value, kind, one.column)


def _listed(one: RowFilter) -> list[str]:
    if not one.value.startswith("["):
        return one.value.split(",")
    try:
        values = _decode(one.value)
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"in: {one.value!r} is not a JSON array: {exc}", context={"column": one.column}) from exc
    return [v if isinstance(v, str) else _encode(v).decode() for v in values]


def _compare(op: str, value: str, path: list[Any], text: str, kind: str, column: str) -> tuple[str, list[Any]]:
    if kind == "boolean":
        if text.lower() not in {"true", "false", "1", "0"}:
            raise InvalidRequest(f"column {column!r} is true or false, not {text!r}", context={"column": column})
        return f"{value} {op} ?", [*path, text.lower() in {"true", "1"}]
    number = _number(text)
    if kind in {"number", "decimal"}:
        if number is None:
            raise InvalidRequest(f"column {column!r} holds numbers, {text!r} is none", context={"column": column})
        if kind == "decimal" and op != "=":
            return f"CAST({value} AS REAL) {op} ?", [*path, number]
        if kind == "decimal":
            return f"({value} = ? OR CAST({value} AS REAL) = ?)", [*path, text, *path, number]
        return f"{value} {op} ?", [*path, number]
    if kind == "text" or number is None:
        return f"{value} {op} ?", [*path, text]
    # The type is unknown and the text reads as a number: numbers are compared as such, texts as texts.
    return (
        f"CASE typeof({value}) WHEN 'text' THEN {value} {op} ? ELSE {value} {op} ? END",
        [*path, *path, text, *path, number],
    )


def _cursor(value: Any, key: str) -> str:
    return base64.urlsafe_b64encode(_encode([value, key])).decode().rstrip("=")


def _after(query: RowQuery, value: str, path: list[Any]) -> tuple[str, list[Any]]:
    """
    Return the condition for rows after the cursor. NULL sorts before everything, as in SQLite.
    """
    assert query.cursor is not None
    try:
        raw = query.cursor + "=" * (-len(query.cursor) % 4)
        last, key = msgspec.json.decode(base64.b64decode(raw, altchars=b"-_", validate=True), type=tuple[Any, str])
    except (ValueError, msgspec.DecodeError) as exc:
        raise InvalidRequest("the cursor can't be read", hint="pass `next` of the answer before, unchanged") from exc
    if not isinstance(last, str | int | float | None):
        raise InvalidRequest("the cursor can't be read", hint="pass `next` of the answer before, unchanged")
    if query.order is None:
        return "key > ?", [key]
    if query.descending:
        if last is None:
            return f"({value} IS NULL AND key > ?)", [*path, key]
        return (
            f"({value} < ? OR {value} IS NULL OR ({value} = ? AND key > ?))",
            [*path, last, *path, *path, last, key],
        )
    if last is None:
        return f"({value} IS NOT NULL OR key > ?)", [*path, key]
    return f"({value} > ? OR ({value} = ? AND key > ?))", [*path, last, *path, last, key]
