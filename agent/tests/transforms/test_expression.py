"""
The expression language: what it computes, what it refuses and where it says so, and that nothing gets out of it.
"""

from __future__ import annotations

import ast
import re
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fustor_agent.transforms.expression import MOST_CHARACTERS, ExpressionError, field_getter, parse
from fustor_agent.transforms.functions import FUNCTIONS
from fustor_agent.transforms.operators import MOST_TEXT, Uncomputable


def compute(text: str, schema: dict[str, Any] | None = None, **row: Any) -> Any:
    names = list(row)

    def lookup(name: str) -> Any:
        at = names.index(name)
        return field_getter(lambda values: values[at], (schema or {}).get(name))

    return parse(text).bind(lookup)(list(row.values()))


@pytest.mark.parametrize(
    ("text", "row", "value"),
    [
        ("a > 1 and b in ('x', 'y')", {"a": 2, "b": "x"}, True),
        ("a > 1 or b == 'x'", {"a": 0, "b": "x"}, True),
        ("not a", {"a": True}, False),
        ("0 < a <= 3", {"a": 3}, True),
        ("0 < a < 3", {"a": 3}, False),
        ("a is null", {"a": None}, True),
        ("a is not NULL", {"a": 0}, True),
        ("a is None", {"a": 0}, False),
        ("a == null", {"a": None}, None),
        ("a == 1 or b == 2", {"a": None, "b": 2}, True),
        ("a == 1 or b == 2", {"a": None, "b": 3}, None),
        ("a == 1 and b == 2", {"a": None, "b": 3}, False),
        ("a not in (1, 2)", {"a": 3}, True),
        ("a not in (1, null)", {"a": 3}, None),
        ("a in (1, null)", {"a": 1}, True),
        ("a in (1, 'x', true)", {"a": True}, True),
        ("a in (1, 'x')", {"a": "y"}, False),
        ("a in (-1, 2)", {"a": -1}, True),
        ("-a + 2 * b - 1", {"a": 3, "b": 4}, 4),
        ("a / 4", {"a": 10}, 2.5),
        ("a % 3", {"a": 10}, 1),
        ("a + b", {"a": 1, "b": None}, None),
        ("a * 2", {"a": Decimal("1.10")}, Decimal("2.20")),
        ("a + 0.5", {"a": Decimal(1)}, 1.5),
        ("'x' if a else 'y'", {"a": None}, "y"),
        ("concat(a, '-', b)", {"a": "x", "b": None}, "x-"),
        ("join(', ', a, b, c)", {"a": "x", "b": None, "c": 3}, "x, 3"),
        ("coalesce(a, b, 0)", {"a": None, "b": None}, 0),
        ("lower(trim(a))", {"a": "  ÄB "}, "äb"),
        ("substr(a, 2, 2)", {"a": "abcd"}, "bc"),
        ("substr(a, 3)", {"a": "abcd"}, "cd"),
        ("replace(a, 'x', 'yy')", {"a": "xax"}, "yyayy"),
        ("like(a, '%b_')", {"a": "aabc"}, True),
        ("like(a, 'a%a')", {"a": "a"}, False),
        ("startswith(a, 'ab') and endswith(a, 'cd') and contains(a, 'bc')", {"a": "abcd"}, True),
        ("length(a)", {"a": "äö"}, 2),
        ("abs(a)", {"a": -3}, 3),
        ("round(a, 1)", {"a": 2.25}, 2.2),
        ("round(a)", {"a": Decimal("2.5")}, 2),
        ("text(a)", {"a": True}, "true"),
        ("number(a) + 1", {"a": "41"}, 42),
        ("number(a)", {"a": "1.50"}, Decimal("1.50")),
        ("col('a') == 1", {"a": 1}, True),
        ("upper(a)", {"a": None}, None),
        ("a ==\n   1", {"a": 1}, True),
    ],
)
def test_what_expressions_compute(text: str, row: dict[str, Any], value: Any) -> None:
    result = compute(text, **row)
    assert result == value
    assert type(result) is type(value)


def test_decimals_that_travel_as_text_are_numbers() -> None:
    schema = {"total": {"type": "string", "format": "decimal"}}
    assert compute("total > 9", schema, total="10.50") is True
    assert compute("total * 2", schema, total="10.50") == Decimal("21.00")
    assert compute("total > 9", schema, total="NaN") is False


@pytest.mark.parametrize(
    ("text", "row", "says", "column"),
    [
        ("a > 1", {"a": "x"}, "can't compare text with a number", 1),
        ("b == 1 or a > 1", {"a": "x", "b": 2}, "can't compare text with a number", 11),
        ("a in (1, 2)", {"a": "x"}, "can't look for text among a number", 1),
        ("true and a / b > 1", {"a": 1, "b": 0}, "division by zero", 10),
        ("a + 'x'", {"a": 1}, "`+` is for numbers, not for text", 1),
        ("a and true", {"a": 1}, "neither true nor false", 1),
        ("lower(a)", {"a": 1}, "`lower` wants text", 1),
        ("number(a)", {"a": "abc"}, "is no number", 1),
        ("substr(a, 0)", {"a": "abc"}, "from 1", 1),
        ("a == true", {"a": 1}, "can't compare a number with true/false", 1),
        ("a < b", {"a": True, "b": 1}, "can't compare", 1),
    ],
)
def test_values_that_do_not_fit_are_said_with_their_place(
    text: str, row: dict[str, Any], says: str, column: int
) -> None:
    with pytest.raises(Uncomputable, match=re.escape(says)) as caught:
        compute(text, **row)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("a = 1", 3, "`==` compares"),
        ("'ä' == a.b", 8, "col('a.b')"),
        ("a AND b", 3, "`and` in small letters"),
        ("a <> b", 3, "`!=`"),
        ("x == 1 and __import__('os')", 12, "no function `__import__`"),
        ("(1).__class__", 1, "a dot"),
        ("a[0]", 1, "[...]"),
        ("lambda: 1", 1, "lambda"),
        ("1 + f'{a}'", 5, "f-texts"),
        ("[b for b in a]", 1, "ListComp"),
        ("1 == (a in b)", 7, "list of values"),
        ("a in (b,)", 7, "values only"),
        ("a is 3", 1, "null only"),
        ("a ** 2", 1, "`**`"),
        ("a // 2", 1, "`//`"),
        ("a << 2", 1, "+ - * / %"),
        ("~a", 1, "`~`"),
        ("lowr(a)", 1, "no function"),
        ("substr(a)", 1, "1 arguments"),
        ("lower(x=a)", 1, "without names"),
        ("lower(*a)", 7, "`*`"),
        ("col(a)", 1, "col('a name')"),
        ("a.lower()", 1, "a dot"),
        ("'\\d' == a", 1, "escape"),
        ("1or 2", 1, "literal"),
        ("b'x' == a", 1, "numbers, texts"),
        ("a == 1j", 6, "numbers, texts"),
        ("a == ...", 6, "numbers, texts"),
        ("  ", 1, "empty"),
        ("a\x00", 1, "null bytes"),
        ("9" * 2000, 1, "too large"),
        ("a" * (MOST_CHARACTERS + 1), 1, "longer"),
        ("not " * 60 + "a", 161, "nested deeper"),
        ("(" * 250 + "a" + ")" * 250, 201, "nested"),
        ("-" * 3990 + "1", 1, "nested"),
        ("+".join(["a"] * 1500), 1, "nested"),
        ("a in (" + "1," * 1100 + ")", 2003, "more than 1000 parts"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_column(text: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert says in caught.value.message, caught.value.message
    if "nested" not in says:
        assert caught.value.context["column"] == column


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.binary(), st.lists(st.integers())
)
ATOMS = st.one_of(
    st.sampled_from(["a", "b", "col('a')", "null", "true", "'x'", "''", "3", "-1", "0", "2.5", "9" * 300])
)


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"])
    calls = st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda name: st.lists(inner, min_size=FUNCTIONS[name].least, max_size=min(FUNCTIONS[name].most, 4)).map(
            lambda arguments: f"{name}({', '.join(arguments)})"
        )
    )
    return st.one_of(
        st.tuples(inner, binary, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        inner.map(lambda one: f"(not {one})"),
        inner.map(lambda one: f"(-{one})"),
        inner.map(lambda one: f"({one} is null)"),
        inner.map(lambda one: f"({one} in (1, 'x', null))"),
        calls,
    )


EXPRESSIONS = st.recursive(ATOMS, grow, max_leaves=12)


@given(EXPRESSIONS, VALUES, VALUES)
@example("replace(replace(a, 'x', b), 'x', b)", "x" * 2000, "x" * 2000)
@example("((a * a) * (a * a))", 2**4000, None)
@example("round(a, 50)", Decimal("1e999999"), None)
@example("text(a)", Decimal("1e999999"), None)
@example("(number(a) + 1)", "1e999", None)
def test_any_expression_ends_soon_with_a_value_or_a_reason(text: str, a: Any, b: Any) -> None:
    """
    Whatever is written and whatever the row holds: a bounded value of a simple kind, or `Uncomputable` - never another error.
    """
    began = time.process_time()
    try:
        value = compute(text, a=a, b=b)
    except Uncomputable as exc:
        assert str(exc)
    except ExpressionError as exc:
        assert exc.context["column"] >= 1
    else:
        assert value is None or isinstance(value, bool | int | float | str | Decimal | list)
        assert not isinstance(value, str) or len(value) <= MOST_TEXT
    assert time.process_time() - began < 2.0


@given(st.text(max_size=60))
@example("a" + "\ud800")
@example("'\ud800' == a")
@example("\u2028a")
@example("{1: 2}")
@example("𝓪 == 1")
def test_any_text_is_an_expression_or_is_refused_with_a_place(text: str) -> None:
    try:
        parse(text)
    except ExpressionError as exc:
        assert 1 <= exc.context["column"] <= len(text) + 2


@given(st.one_of(EXPRESSIONS, st.text(alphabet="ab.()[]'\"_=+-* ,:;{}@\\\n", max_size=40)))
def test_what_is_let_through_holds_nothing_but_what_is_allowed(text: str) -> None:
    """
    An independent look at the tree: no attribute, subscript, comprehension, lambda, or call of anything but our functions.
    """
    try:
        expression = parse(text)
    except ExpressionError:
        return
    for node in ast.walk(ast.parse(text.strip().replace("\n", " "), mode="eval")):
        assert not isinstance(node, ast.Attribute | ast.Subscript | ast.Lambda | ast.comprehension | ast.NamedExpr)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name) and node.func.id in {*FUNCTIONS, "col"}
    assert all(isinstance(name, str) for name in expression.names)


@given(st.text("ab%_", max_size=12), st.text("ab", max_size=12))
def test_like_agrees_with_the_definition(pattern: str, text: str) -> None:
    def matches(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "%":
            return any(matches(p[1:], t[n:]) for n in range(len(t) + 1))
        return bool(t) and p[0] in ("_", t[0]) and matches(p[1:], t[1:])

    assert compute("like(a, b)", a=text, b=pattern) is matches(pattern, text)
