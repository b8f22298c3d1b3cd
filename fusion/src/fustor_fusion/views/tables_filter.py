"""
From the conditions and the order of a request to SQL over one table's rows.

Column names are checked against those the table has, and values are bound: nothing of a request becomes SQL.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_fusion.views.base import RowFilter
from fustor_fusion.views.tables_given import MOST_CHARACTERS, read_given
from fustor_fusion.views.tables_types import Comparison, Kind, comparison, kind_of

MOST_FILTERS: Final = 20
MOST_LISTED: Final = 200
PATTERN_CHARACTERS: Final = 1_000

_ORDERED: Final = {"lt": ("<", False), "le": ("<", True), "gt": (">", False), "ge": (">", True)}
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Values = Sequence[Any]


class Question:
    """
    What is asked of the rows of a table: conditions, and what to order by, as SQL that is put around whatever chooses the rows.

    Args:
        columns: The table's, with their types.
        key: Its key: these values are in the index of keys, so that no row has to be read for them.

    Attributes:
        bound: Values of the SQL's names.
        reads_rows: Whether rows have to be read.
        copies: What says how many copies of a row there are.
    """

    def __init__(self, columns: dict[str, Any], key: Sequence[str] = ()) -> None:
        self.bound: dict[str, Any] = {}
        self.reads_rows = False
        self.copies = "copies"
        self._columns = columns
        self._key = list(key)
        self._rough: list[str] = []
        self._fetched: list[str] = []
        self._steps: list[dict[str, str]] = []
        self._conditions: list[str] = []

    def bind(self, value: Any) -> str:
        """
        Take in a value; return how SQL names it.
        """
        name = f"b{len(self.bound)}"
        self.bound[name] = value
        return f":{name}"

    def kind(self, column: str) -> Kind:
        """
        Return the kind of a column.

        Raises:
            InvalidRequest: There is none of that name.
        """
        if column not in self._columns:
            alike = difflib.get_close_matches(column, self._columns, 1)
            known = ", ".join(sorted(self._columns)[:50])
            raise InvalidRequest(
                f"there is no column {column!r}",
                hint=f"did you mean {alike[0]!r}? columns: {known}" if alike else f"columns: {known}",
                context={"column": column, "columns": sorted(self._columns)},
            )
        return kind_of(self._columns[column])

    def take(self, column: str, compared: Comparison) -> str:
        """
        Have a column worked out for comparing; return its prefix.
        """
        prefix = f"c{len(self._fetched) // 2}_"
        value, text = self._value(column)
        needs_text = any("{}j" in sql for step in compared.steps for sql in step.values())
        self._fetched += [f"{value} AS {prefix}v", f"{text if needs_text else 'NULL'} AS {prefix}j"]
        for at, step in enumerate(compared.steps):
            if at == len(self._steps):
                self._steps.append({})
            self._steps[at].update({named(name, prefix): named(sql, prefix) for name, sql in step.items()})
        return prefix

    def _value(self, column: str) -> tuple[str, str]:
        """
        Return SQL for a column's value, and for its JSON text.
        """
        if column in self._key:
            path = self.bind(f"$[{self._key.index(column)}]")
            return f"json_extract(key, {path})", f"key -> {path}"
        self.reads_rows = True
        if any(c in '"\\' or c < " " for c in column):
            # A JSON path can't name it: look the member up instead.
            value = f"(SELECT value FROM json_each(doc) WHERE key = {self.bind(column)})"
            return value, f"json_quote({value})"
        path = self.bind(f'$."{column}"')
        return f"json_extract(doc, {path})", f"doc -> {path}"

    def leave_out(self, prefix: str, compared: Comparison, limit: str, *, falling: bool) -> None:
        """
        Leave out rows that are clearly behind a rough value before more is worked out of them.

        Args:
            limit: How SQL names that value; while it is NULL nothing is left out.
            falling: What is smaller is behind.
        """
        if compared.rough:
            rough, odd = named(compared.rough, prefix), named(compared.is_odd, prefix)
            self._rough.append(f"({limit} IS NULL OR {odd} OR {rough} {'>=' if falling else '<='} {limit})")

    def add_filter(self, one: RowFilter, conn: sqlite3.Connection) -> None:
        """
        Add a condition; all of them have to hold.

        Raises:
            InvalidRequest: There is no such column, or its values can't be compared with what is given.
        """
        self._conditions.append(_condition(self, one, self.kind(one.column), self._columns, conn))

    @property
    def where(self) -> str:
        """
        The conditions over `around`.
        """
        return " AND ".join(self._conditions) or "1"

    @property
    def is_plain(self) -> bool:
        """
        Whether nothing is asked of the rows.
        """
        return not self._fetched

    def around(self, *sources: str) -> str:
        """
        Return what gives id, key, copies and all that is worked out of the rows that `sources` (FROM and WHERE over `tables_row`) choose.
        """
        fetched = "".join(f", {sql}" for sql in self._fetched)
        made = " UNION ALL ".join(f"SELECT id, key, {self.copies} AS copies{fetched} {source}" for source in sources)
        # Each limit keeps SQLite from putting a step's SQL into the next one, where it would be worked out many times.
        made = f"({made} LIMIT -1)"
        if self._rough:
            made = f"(SELECT * FROM {made} WHERE {' AND '.join(self._rough)} LIMIT -1)"
        for step in self._steps:
            made = f"(SELECT *, {', '.join(f'{sql} AS {name}' for name, sql in step.items())} FROM {made} LIMIT -1)"
        return made


def named(sql: str, prefix: str) -> str:
    """
    Fill a column's prefix in.
    """
    return sql.replace("{}", prefix)


def values_of(given: bytes, compared: Comparison, conn: sqlite3.Connection) -> Values:
    """
    Return the parts of a given value, worked out as those of rows are; and, at the end, its rough value.
    """
    made = "(SELECT json_extract(:given, '$[0]') AS g_v, :given -> '$[0]' AS g_j LIMIT -1)"
    for step in compared.steps:
        worked = ", ".join(f"{named(sql, 'g_')} AS {named(name, 'g_')}" for name, sql in step.items())
        made = f"(SELECT *, {worked} FROM {made} LIMIT -1)"
    parts = "".join(f"{named(part.sql, 'g_')}, " for part in compared.parts)
    asked = f"SELECT {parts}{rough_of(compared, 'g_')} FROM {made}"
    found: Values = conn.execute(asked, {"given": f"[{given.decode()}]"}).fetchone()
    return found


def rough_of(compared: Comparison, prefix: str) -> str:
    """
    Return SQL for the rough value of a column; NULL where it has none.
    """
    if not compared.rough:
        return "NULL"
    return f"CASE WHEN NOT {named(compared.is_odd, prefix)} THEN {named(compared.rough, prefix)} END"


def limit_of(compared: Comparison, rough: Any, *, falling: bool) -> Any:
    """
    Return the rough value that rows are clearly behind of, from that of a row or a given value.
    """
    if rough is None or not compared.slack:
        return rough
    return rough - abs(rough) * compared.slack if falling else rough + abs(rough) * compared.slack


def _condition(
    question: Question, one: RowFilter, kind: Kind, columns: dict[str, Any], conn: sqlite3.Connection
) -> str:
    if one.op == "isnull":
        if one.value.lower() not in {"true", "false", "1", "0", ""}:
            raise InvalidRequest(
                f"`isnull` of the column {one.column!r} takes true or false, not {one.value!r}",
                hint=f"write {one.column}:isnull:true, or {one.column}:isnull:false for those that are not NULL",
                context={"column": one.column, "value": one.value},
            )
        wanted = one.value.lower() not in {"false", "0"}
        return f"{question.take(one.column, Comparison((), ()))}v IS {'' if wanted else 'NOT '}NULL"
    if one.op in ("like", "contains"):
        return _pattern(question, one)
    compared = comparison(kind, sorting=False)
    prefix = question.take(one.column, compared)

    def alike(text: str) -> str:
        if kind == "any":
            return _of_any(question, prefix, "=", text)
        *values, rough = values_of(read_given(text, one.column, kind, columns[one.column]), compared, conn)
        if one.op == "eq":
            for falling in (True, False):
                limit = question.bind(limit_of(compared, rough, falling=falling))
                question.leave_out(prefix, compared, limit, falling=falling)
        return _equal(question, prefix, compared, values)

    there = f"{prefix}v IS NOT NULL"
    if one.op == "in":
        return f"({there} AND ({' OR '.join(f'({alike(text)})' for text in _listed(one)) or '0'}))"
    if one.op == "eq":
        return f"({there} AND {alike(one.value)})"
    if one.op == "ne":
        return f"({there} AND NOT ({alike(one.value)}))"
    sign, or_equal = _ORDERED[one.op]
    if kind == "any":
        return _of_any(question, prefix, sign + ("=" if or_equal else ""), one.value)
    *values, rough = values_of(read_given(one.value, one.column, kind, columns[one.column]), compared, conn)
    is_less = sign == "<"
    limit = question.bind(limit_of(compared, rough, falling=not is_less))
    question.leave_out(prefix, compared, limit, falling=not is_less)
    return f"({there} AND {behind(question, prefix, compared, values, falling=is_less, last=str(int(or_equal)))})"


def _equal(question: Question, prefix: str, compared: Comparison, values: Values) -> str:
    return " AND ".join(
        f"{named(part.sql, prefix)} = {question.bind(value)}"
        for part, value in zip(compared.parts, values, strict=True)
    )


def behind(
    question: Question, prefix: str, compared: Comparison, values: Values, *, falling: bool, last: str, null: str = ""
) -> str:
    """
    Return the condition that a row comes behind a value in an order.

    Args:
        falling: Largest first.
        last: The condition for rows with the same value.
        null: Name of a part that comes first, rising in any case; `values` begins with its value.
    """
    parts = [(null, False)] if null else []
    parts += [(named(part.sql, prefix), falling != part.is_falling) for part in compared.parts]
    if null and values[0]:
        return f"({null} AND {last})"
    made = last
    for (sql, is_falling), value in reversed(list(zip(parts, values, strict=True))):
        name = question.bind(value)
        made = f"({sql} {'<' if is_falling else '>'} {name} OR ({sql} = {name} AND {made}))"
    return made


def _of_any(question: Question, prefix: str, sign: str, text: str) -> str:
    """
    Compare with a column whose type is unknown: numbers with numbers, texts with texts.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequest("a value of a filter is too long", hint=f"give at most {MOST_CHARACTERS} characters")
    as_text = f"{prefix}v {sign} {question.bind(text)}"
    number = _number(text)
    if number is None:
        return f"(typeof({prefix}v) = 'text' AND {as_text})"
    return f"CASE typeof({prefix}v) WHEN 'text' THEN {as_text} ELSE {prefix}v {sign} {question.bind(number)} END"


def _number(text: str) -> int | float | None:
    if text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    try:
        whole = int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None
    return whole if -(2**63) <= whole < 2**63 else float(whole) if abs(whole) < 10**300 else None


def _pattern(question: Question, one: RowFilter) -> str:
    if len(one.value) > PATTERN_CHARACTERS:
        raise InvalidRequest(
            f"`{one.op}` of the column {one.column!r} has {len(one.value)} characters",
            hint=f"give at most {PATTERN_CHARACTERS}",
            context={"column": one.column},
        )
    prefix = question.take(one.column, Comparison((), ()))
    if one.op == "like":
        return f"CAST({prefix}v AS TEXT) LIKE {question.bind(one.value)}"
    literal = one.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"CAST({prefix}v AS TEXT) LIKE {question.bind(f'%{literal}%')} ESCAPE '\\'"


def _listed(one: RowFilter) -> list[str]:
    if not one.value.startswith("["):
        values: list[Any] = one.value.split(",")
    else:
        try:
            values = _decode(one.value)
        except msgspec.DecodeError as exc:
            raise InvalidRequest(
                f"`in` of the column {one.column!r}: {one.value!r} is not a JSON array: {exc}",
                hint='write a,b,c or ["a", "b"]',
                context={"column": one.column},
            ) from exc
    if len(values) > MOST_LISTED:
        raise InvalidRequest(
            f"`in` of the column {one.column!r} lists {len(values)} values",
            hint=f"give at most {MOST_LISTED}",
            context={"column": one.column},
        )
    return [value if isinstance(value, str) else _encode(value).decode() for value in values]
