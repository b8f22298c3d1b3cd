"""
A tree as a plain table of rows: what the routes of the tables view ask of it.

The order by key is that of a walk: by directory, then by name, which the tables are clustered by; a page costs what it shows.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_core.models.file_row import FILE_COLUMNS, FILE_FIELDS
from fustor_fusion.cursors import decode_cursor, encode_cursor
from fustor_fusion.views.base import RowFilter, RowPage, RowQuery
from fustor_fusion.views.fs.apply import root_name
from fustor_fusion.views.fs.filters import KIND
from fustor_fusion.views.fs.places import Tree, one_state
from fustor_fusion.views.fs.schema import KIND_OF_TYPE

_TYPE: Final = f"CASE {KIND} " + " ".join(f"WHEN {k} THEN '{t}'" for t, k in KIND_OF_TYPE.items()) + " END"
_PLAIN: Final = "size, mtime, ctime, mode, uid, gid, inode, target"
_INSIDE: Final = f"""
    SELECT CASE d.path WHEN '' THEN e.name ELSE d.path || '/' || e.name END AS path, e.name AS name, d.path AS parent, {_TYPE} AS type,
        {", ".join(f"e.{c} AS {c}" for c in _PLAIN.split(", "))}, d.path AS place, e.name AS at
    FROM fs_dirs d CROSS JOIN fs_entries e ON e.dir = d.id WHERE d.tree = :tree AND e.kind >= 0
"""
_ROOT: Final = f"""
    SELECT '' AS path, :root AS name, NULL AS parent, {_TYPE} AS type, {_PLAIN}, '' AS place, '' AS at
    FROM fs_entries e WHERE e.dir = -:tree AND e.name = '' AND e.kind >= 0
"""
_COLUMNS: Final[dict[str, Any]] = dict(FILE_COLUMNS)
_TYPES: Final = {name: schema["type"] for name, schema in _COLUMNS.items()}
_OPS: Final = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def query_rows(conn: sqlite3.Connection, tree: Tree, query: RowQuery) -> RowPage:
    """
    Return a page of the rows of a tree.

    Raises:
        InvalidRequest: The query names an unknown column, or a value or the cursor can't be read.
    """
    values: dict[str, Any] = {"tree": tree.id, "root": root_name(tree.root), "most": query.limit + 1}
    where = "".join(f" AND {_condition(one, values)}" for one in query.where)
    with one_state(conn):
        found = _by_key(conn, query, where, values) if query.order is None else _by_column(conn, query, where, values)
    following = None
    if len(found) > query.limit:
        del found[query.limit :]
        last = found[-1]
        place = last[-2:]
        following = encode_cursor(*(place if query.order is None else (last[FILE_FIELDS.index(query.order)], *place)))
    return RowPage([_as_row(row) for row in found], following, list(FILE_FIELDS))


def get_row(conn: sqlite3.Connection, tree: Tree, path: str) -> dict[str, Any] | None:
    """
    Return the row of a path; None = there is none.
    """
    above, _, name = path.rpartition("/")
    values = {"tree": tree.id, "root": root_name(tree.root), "above": above, "name": name}
    sql = f"{_INSIDE} AND d.path = :above AND e.name = :name" if path else _ROOT
    found = conn.execute(sql, values).fetchone()
    return None if found is None else _as_row(found)


def _by_key(conn: sqlite3.Connection, query: RowQuery, where: str, values: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = ""
    if query.cursor is None:
        if not query.descending:
            found = conn.execute(f"SELECT * FROM ({_ROOT}) WHERE 1{where}", values).fetchall()
    else:
        values["after_place"], values["after_at"] = decode_cursor(query.cursor, str, str)
        bound, beyond = ("<=", "<") if query.descending else (">=", ">")
        after = f" AND d.path {bound} :after_place AND (d.path, e.name) {beyond} (:after_place, :after_at)"
    way = "DESC" if query.descending else "ASC"
    inside = f"{_INSIDE}{after} ORDER BY d.path {way}, e.name {way}"
    found += conn.execute(f"SELECT * FROM ({inside}) WHERE 1{where} LIMIT :most", values).fetchall()
    ended_at_root = query.cursor is not None and values["after_place"] == values["after_at"] == ""
    if query.descending and len(found) <= query.limit and not ended_at_root:
        found += conn.execute(f"SELECT * FROM ({_ROOT}) WHERE 1{where}", values).fetchall()
    return found


def _by_column(conn: sqlite3.Connection, query: RowQuery, where: str, values: dict[str, Any]) -> list[Any]:
    column = _known(str(query.order))
    way, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
    if query.cursor is not None:
        kind = object if _TYPES[column] != "string" else str
        value, place, at = decode_cursor(query.cursor, kind, str, str)
        if not isinstance(value, str | int | None):
            raise InvalidRequest(
                f"`cursor` {query.cursor!r} does not belong to this request", hint="give `next` of the answer before"
            )
        values |= {"after_value": value, "after_place": place, "after_at": at}
        behind = f"(place, at) {beyond} (:after_place, :after_at)"
        if value is None:
            where += f" AND ({column} IS NULL AND {behind})"
        else:
            where += (
                f" AND ({column} IS NULL OR {column} {beyond} :after_value OR ({column} = :after_value AND {behind}))"
            )
    sql = f"""SELECT * FROM ({_ROOT} UNION ALL {_INSIDE}) WHERE 1{where}
        ORDER BY {column} IS NULL, {column} {way}, place {way}, at {way} LIMIT :most"""
    return conn.execute(sql, values).fetchall()


def _condition(one: RowFilter, values: dict[str, Any]) -> str:
    column = _known(one.column)

    def bind(value: Any) -> str:
        name = f"v{len(values)}"
        values[name] = value
        return f":{name}"

    if one.op == "isnull":
        if one.value.lower() not in {"true", "false", "1", "0", ""}:
            raise InvalidRequest(f"isnull takes true or false, not {one.value!r}", hint="write `column:isnull:true`")
        return f"{column} IS {'NOT ' if one.value.lower() in {'false', '0'} else ''}NULL"
    if one.op == "like":
        return f"{column} LIKE {bind(one.value)}"
    if one.op == "contains":
        literal = one.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"{column} LIKE {bind(f'%{literal}%')} ESCAPE '\\'"
    if one.op == "in":
        return f"{column} IN ({', '.join(bind(_value(column, part)) for part in one.value.split(','))})"
    return f"{column} {_OPS[one.op]} {bind(_value(column, one.value))}"


def _value(column: str, text: str) -> int | str:
    if _TYPES[column] != "integer":
        return text
    try:
        number = int(text)
    except ValueError as e:
        raise InvalidRequest(f"`{column}` holds whole numbers, and {text!r} is none", hint="write it in digits") from e
    if column == "inode" and 2**63 <= number < 2**64:
        return number - 2**64  # as it is stored
    if not -(2**63) <= number < 2**63:
        raise InvalidRequest(f"{text!r} is too large for `{column}`", hint="numbers have 64 bits")
    return number


def _known(column: str) -> str:
    if column not in FILE_COLUMNS:
        raise InvalidRequest(
            f"there is no column {column!r}", hint=f"columns: {', '.join(FILE_FIELDS)}", context={"column": column}
        )
    return column


def _as_row(row: Any) -> dict[str, Any]:
    entry = dict(zip(FILE_FIELDS, row, strict=False))
    if entry["inode"] is not None and entry["inode"] < 0:
        entry["inode"] += 2**64
    return entry
