"""
How values of a column compare: as numbers, decimals of any length, times or texts, by the type that the source told.

Rows are JSON documents, so what SQLite compares is made from the document's text: each kind of column has *parts*, compared one after the
other, and *steps* that work them out. No part goes through a float where digits would be lost. The value that a request gives goes through
the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

Kind = Literal["integer", "number", "decimal", "boolean", "text", "moment", "time", "duration", "any"]

SORTED_CHARACTERS: Final = 500
"""
Texts are sorted by so many characters of their beginning, so that a cursor stays short; those that are the same so far, by key.
"""

_BY_FORMAT: Final[Mapping[str, Kind]] = {
    "decimal": "decimal",
    "date": "moment",
    "date-time": "moment",
    "local-date-time": "moment",
    "time": "time",
    "mysql-time": "time",
    "duration": "duration",
}


@dataclass(frozen=True, slots=True)
class Part:
    """
    One of the values that a column's values are compared by.

    Attributes:
        sql: Name of it among the steps.
        is_falling: Larger ones come first (digits of negative numbers).
    """

    sql: str
    is_falling: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    How the values of one column compare.

    Attributes:
        steps: Each names what is worked out from the column (`v`, its value; `j`, its JSON text) and the steps before. `{}` stands for the
            column's prefix.
        parts: What decides, the first first; none is NULL unless the value is.
        rough: What tells quickly that most rows are far from a value, from the column alone; "" = nothing does. It never goes the other way
            than the parts do.
        is_odd: Which values it says nothing of.
        slack: By which share of it rough values may be wrong.
    """

    steps: tuple[Mapping[str, str], ...]
    parts: tuple[Part, ...]
    rough: str = ""
    is_odd: str = "0"
    slack: float = 0.0


def kind_of(schema: Any) -> Kind:
    """
    Return the kind of a column from its entry in `columns`; "any" when its type is not known, or values of several types are in it.
    """
    if not isinstance(schema, dict):
        return "any"
    kinds = schema.get("type")
    named = {kinds} if isinstance(kinds, str) else set(kinds or ()) - {"null"}
    if named == {"integer"}:
        return "integer"
    if named and named <= {"integer", "number"}:
        return "number"
    if named == {"boolean"}:
        return "boolean"
    if named == {"string"}:
        return _BY_FORMAT.get(str(schema.get("format")), "text")
    return "any"


def comparison(kind: Kind, *, sorting: bool) -> Comparison:
    """
    Return how values of a kind compare.

    Args:
        kind: Of the column.
        sorting: For an order, where long texts are cut.
    """
    if kind == "text":
        text = "CAST({}v AS TEXT)"
        return Comparison(({"{}t": f"substr({text}, 1, {SORTED_CHARACTERS})" if sorting else text},), (Part("{}t"),))
    if kind == "any":
        cut = f"CASE typeof({{}}v) WHEN 'text' THEN substr({{}}v, 1, {SORTED_CHARACTERS}) ELSE {{}}v END"
        return Comparison(({"{}t": cut if sorting else "{}v"},), (Part("{}t"),))
    if kind == "decimal" and sorting:
        return replace(_DECIMAL, steps=(*_DECIMAL.steps, _CUT_DIGITS))
    return _BY_KIND[kind]


_BOOLEAN: Final = Comparison((), (Part("{}v"),))

# SQLite reads whole numbers past 2**63 as floats; their digits are in the JSON text.
_LARGE: Final = "typeof({}v) = 'real' AND {}v >= 9.2e18"
_INTEGER: Final = Comparison(
    (
        {
            "{}length": f"CASE WHEN {_LARGE} THEN length({{}}j) ELSE 0 END",
            "{}digits": f"CASE WHEN {_LARGE} THEN {{}}j ELSE '' END",
        },
    ),
    (Part("{}v"), Part("{}length"), Part("{}digits")),
    rough="{}v",
)

# NaN is the largest, as in PostgreSQL.
_NUMBER: Final = Comparison(
    (
        {"{}class": "CASE {}v WHEN '-Infinity' THEN -1 WHEN 'Infinity' THEN 1 WHEN 'NaN' THEN 2 ELSE 0 END"},
        {"{}number": "CASE {}class WHEN 0 THEN {}v ELSE 0 END"},
    ),
    (Part("{}class"), Part("{}number")),
    rough="{}v",
    is_odd="typeof({}v) = 'text'",
)

# A decimal is 0.DIGITS times ten to the power of `point`, DIGITS without zeros at either end.
_DECIMAL: Final = Comparison(
    (
        {"{}s": "upper(CAST({}v AS TEXT))"},
        {"{}b": "ltrim({}s, '+-')", "{}negative": "substr({}s, 1, 1) = '-'"},
        {"{}e": "instr({}b, 'E')"},
        {
            "{}m": "CASE WHEN {}e THEN substr({}b, 1, {}e - 1) ELSE {}b END",
            "{}x": "CASE WHEN {}e THEN CAST(substr({}b, {}e + 1) AS INTEGER) ELSE 0 END",
        },
        {"{}p": "instr({}m, '.')"},
        {
            "{}i": "ltrim(CASE WHEN {}p THEN substr({}m, 1, {}p - 1) ELSE {}m END, '0')",
            "{}f": "CASE WHEN {}p THEN substr({}m, {}p + 1) ELSE '' END",
        },
        {"{}d": "rtrim(ltrim({}i || {}f, '0'), '0')"},
        {
            "{}class": "CASE WHEN {}b = 'INFINITY' THEN CASE WHEN {}negative THEN -2 ELSE 2 END WHEN {}b = 'NAN' THEN 3"
            " WHEN {}d = '' THEN 0 WHEN {}negative THEN -1 ELSE 1 END",
            "{}point": "CASE WHEN {}i <> '' THEN length({}i) ELSE length(ltrim({}f, '0')) - length({}f) END + {}x",
        },
        {
            "{}size": "CASE {}class WHEN 1 THEN {}point WHEN -1 THEN -{}point ELSE 0 END",
            "{}more": "CASE {}class WHEN 1 THEN {}d ELSE '' END",
            "{}less": "CASE {}class WHEN -1 THEN {}d ELSE '' END",
        },
    ),
    (Part("{}class"), Part("{}size"), Part("{}more"), Part("{}less", is_falling=True)),
    rough="CAST({}v AS REAL)",
    is_odd="substr({}v, -1) > '9'",  # NaN and the infinities
    slack=1e-9,
)
_CUT_DIGITS: Final = {f"{{}}{name}": f"substr({{}}{name}, 1, {SORTED_CHARACTERS})" for name in ("more", "less")}

# Years are of any length and may be before year 1; what follows the year is of one shape within a column, but for the digits of a fraction.
_MOMENT: Final = Comparison(
    (
        {"{}s": "CAST({}v AS TEXT)"},
        {"{}before": "substr({}s, -3) = ' BC'"},
        {"{}x": "rtrim(CASE WHEN {}before THEN substr({}s, 1, length({}s) - 3) ELSE {}s END, 'Z')"},
        {
            "{}class": "CASE {}s WHEN '-infinity' THEN -1 WHEN 'infinity' THEN 1 ELSE 0 END",
            "{}year": "CASE WHEN {}before THEN -CAST({}x AS INTEGER) ELSE CAST({}x AS INTEGER) END",
            "{}rest": "substr({}x, instr({}x, '-') + 1)",
        },
        {"{}rest2": "CASE WHEN instr({}rest, '.') THEN rtrim(rtrim({}rest, '0'), '.') ELSE {}rest END"},
    ),
    (Part("{}class"), Part("{}year"), Part("{}rest2")),
    rough="substr({}v, 1, 19)",
    is_odd="(substr({}v, 5, 1) <> '-' OR substr({}v, -2) = 'BC')",
)

# [-]HHH:MM:SS[.ffffff][+HH[:MM[:SS]]], in microseconds; those with an offset by the moment they mean.
_TIME: Final = Comparison(
    (
        {"{}s": "CAST({}v AS TEXT)"},
        {"{}t": "ltrim({}s, '-')", "{}sign": "CASE WHEN substr({}s, 1, 1) = '-' THEN -1 ELSE 1 END"},
        {"{}r": "substr({}t, instr({}t, ':') + 1)"},
        {"{}q": "substr({}r, 4)"},
        {"{}o": "max(instr({}q, '+'), instr({}q, '-'))"},
        {"{}z": "CASE WHEN {}o THEN substr({}q, {}o + 1) ELSE '' END"},
        {
            "{}micros": "{}sign * ((CAST({}t AS INTEGER) * 3600 + CAST({}r AS INTEGER) * 60) * 1000000"
            " + CAST(round(CAST({}q AS REAL) * 1e6) AS INTEGER))"
            " - CASE WHEN {}o THEN (CASE substr({}q, {}o, 1) WHEN '+' THEN 1 ELSE -1 END) * 1000000"
            " * (CAST(substr({}z, 1, 2) AS INTEGER) * 3600 + CAST(substr({}z, 4, 2) AS INTEGER) * 60"
            " + CAST(substr({}z, 7, 2) AS INTEGER)) ELSE 0 END"
        },
    ),
    (Part("{}micros"),),
)

# ISO 8601, in microseconds; a month counts as 30 days and a day as 24 hours, as PostgreSQL compares intervals.
_DURATION: Final = Comparison(
    (
        {"{}s": "CAST({}v AS TEXT)"},
        {
            "{}sign": "CASE WHEN substr({}s, 1, 1) = '-' THEN -1 ELSE 1 END",
            "{}p": "substr({}s, instr({}s, 'P') + 1)",
        },
        {"{}t": "instr({}p, 'T')"},
        {
            "{}d": "CASE WHEN {}t THEN substr({}p, 1, {}t - 1) ELSE {}p END",
            "{}h": "CASE WHEN {}t THEN substr({}p, {}t + 1) ELSE '' END",
        },
        {"{}d1": "substr({}d, instr({}d, 'Y') + 1)", "{}h1": "substr({}h, instr({}h, 'H') + 1)"},
        {"{}d2": "substr({}d1, instr({}d1, 'M') + 1)", "{}h2": "substr({}h1, instr({}h1, 'M') + 1)"},
        {"{}d3": "substr({}d2, instr({}d2, 'W') + 1)"},
        {
            "{}days": "CASE WHEN instr({}d, 'Y') THEN CAST({}d AS INTEGER) * 360 ELSE 0 END"
            " + CASE WHEN instr({}d1, 'M') THEN CAST({}d1 AS INTEGER) * 30 ELSE 0 END"
            " + CASE WHEN instr({}d2, 'W') THEN CAST({}d2 AS INTEGER) * 7 ELSE 0 END"
            " + CASE WHEN instr({}d3, 'D') THEN CAST({}d3 AS INTEGER) ELSE 0 END",
            "{}seconds": "CASE WHEN instr({}h, 'H') THEN CAST({}h AS INTEGER) * 3600 ELSE 0 END"
            " + CASE WHEN instr({}h1, 'M') THEN CAST({}h1 AS INTEGER) * 60 ELSE 0 END",
            "{}small": "CASE WHEN instr({}h2, 'S') THEN CAST(round(CAST({}h2 AS REAL) * 1e6) AS INTEGER) ELSE 0 END",
        },
        {"{}micros": "{}sign * (({}days * 86400 + {}seconds) * 1000000 + {}small)"},
    ),
    (Part("{}micros"),),
)
_BY_KIND: Final[Mapping[Kind, Comparison]] = {
    "integer": _INTEGER,
    "number": _NUMBER,
    "decimal": _DECIMAL,
    "boolean": _BOOLEAN,
    "moment": _MOMENT,
    "time": _TIME,
    "duration": _DURATION,
}
