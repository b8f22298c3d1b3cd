"""
The expression language of filters and derived fields: a small part of Python's syntax, parsed by `ast`, never run as Python.

Allowed are the nodes that `_build` knows and nothing else: no attributes, no subscripts, no calls but those of `functions`. What is
parsed is built into closures that read a row; nothing of it is ever given to `eval`. Cost is bounded by the size of the text, and by
`operators.bounded` for results. Null behaves as in SQL: what is compared with it is null, and a filter keeps what is true.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from fustor_agent.transforms import operators
from fustor_agent.transforms.functions import FUNCTIONS
from fustor_agent.transforms.operators import ARITHMETIC, COMPARISONS, Uncomputable, operand, truth
from fustor_core.errors import ConfigError

Getter = Callable[[Sequence[Any]], Any]
Lookup = Callable[[str], Getter]
"""
Returns what reads a field out of a row.
"""

MOST_CHARACTERS: Final = 4000
MOST_NODES: Final = 1000
MOST_DEPTH: Final = 40

_WORDS: Final = {"null": None, "true": True, "false": False}
_COMPARE: Final[dict[type[ast.AST], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_ARITHMETIC: Final[dict[type[ast.AST], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%",
}  # fmt: skip
_FORBIDDEN: Final[dict[type[ast.AST], str]] = {
    ast.Attribute: "a dot can't be used here; a field whose name has one is written `col('a.b')`",
    ast.Subscript: "`[...]` behind a value can't be used",
    ast.Lambda: "`lambda` can't be used",
    ast.Pow: "`**` can't be used",
    ast.FloorDiv: "`//` can't be used; write `round(a / b)`",
    ast.JoinedStr: "f-texts can't be used; write `concat(...)`",
    ast.NamedExpr: "`:=` can't be used",
    ast.Starred: "`*` before a value can't be used",
}
_LANGUAGE: Final = "docs/how-to/transform-rows.md has the whole language"


class ExpressionError(ConfigError):
    """
    An expression of a transform can't be understood; `context` has the place in it.
    """

    code = "transform.expression"
    default_hint = _LANGUAGE


@dataclass(frozen=True, slots=True)
class Expression:
    """
    An expression that was parsed and is allowed.

    Attributes:
        text: As it was written.
        names: The fields that it reads.
        gives: JSON type of its value; "" when that depends on the row.
    """

    text: str
    names: frozenset[str]
    gives: str
    _tree: ast.expr

    def bind(self, lookup: Lookup) -> Getter:
        """
        Return what computes the value for a row.

        The getter raises `Uncomputable` when the values of a row don't fit.

        Args:
            lookup: Returns for each of `names` what reads that field.
        """
        return _Builder(self.text, lookup).build(self._tree)


def parse(text: str) -> Expression:
    """
    Parse an expression.

    Raises:
        ExpressionError: It is not one; says where.
    """
    if len(text) > MOST_CHARACTERS:
        raise _error(text, 0, f"it is longer than {MOST_CHARACTERS} characters")
    # Lines and indents of YAML's block texts mean nothing here; the places stay the same.
    flat = "".join(" " if one in "\r\n\t\f" else one for one in text)
    stripped = flat.lstrip()
    skipped = len(flat) - len(stripped)
    if not stripped:
        raise _error(text, 0, "it is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `"\d"`, `1or 2`: what Python only warns of is refused
            tree = ast.parse(stripped, mode="eval").body
    except SyntaxError as exc:
        at = max((exc.offset or 1) - 1, 0)
        raise _error(text, skipped + at, _syntax(stripped, at, exc)) from None
    except (ValueError, RecursionError, MemoryError, Warning) as exc:
        what = "it is nested too deeply" if isinstance(exc, RecursionError | MemoryError) else str(exc)
        raise _error(text, 0, what) from None
    _count_columns(tree, stripped, skipped)
    check = _Check(text)
    check.node(tree, 1)
    return Expression(text, frozenset(check.names), _gives(tree), tree)


def _count_columns(tree: ast.expr, stripped: str, skipped: int) -> None:
    """
    Make `col_offset`, which `ast` counts in bytes from 0, the column that people count.
    """
    data = stripped.encode("utf-8", "surrogatepass")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            before = data[: node.col_offset].decode("utf-8", "surrogatepass")
            node.col_offset = skipped + len(before) + 1


def _syntax(text: str, at: int, exc: SyntaxError) -> str:
    rest = text[at:].lstrip()
    if rest.startswith("=") or "==" in (exc.msg or ""):
        return "this is no expression; `==` compares"
    if rest.startswith("<>"):
        return "`<>` is written `!=`"
    if rest.startswith(("&&", "||", "!")):
        return "write `and`, `or`, `not`"
    first = rest.split(" ", 1)[0]
    if first.isupper() and first.lower() in ("and", "or", "not", "in", "is"):
        return f"write `{first.lower()}` in small letters"
    return f"this is no expression: {exc.msg}"


def _error(text: str, at: int, what: str, hint: str | None = None) -> ExpressionError:
    column = at + 1
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ExpressionError(
        f"column {column} of {shown!r}: {what}",
        hint=hint,
        context={"expression": text[:MOST_CHARACTERS], "column": column},
    )


class _Check:
    """
    Checks a tree against what is allowed, and collects the fields.
    """

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._nodes = 0

    def node(self, node: ast.expr, depth: int) -> None:
        """
        Check a node and what is below it.
        """
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._refused(node, f"it has more than {MOST_NODES} parts")
        if depth > MOST_DEPTH:
            raise self._refused(node, f"it is nested deeper than {MOST_DEPTH} levels")
        self._check(node, depth)

    def _refused(self, node: ast.expr, what: str, hint: str | None = None) -> ExpressionError:
        return _error(self._text, node.col_offset - 1, what, hint)

    def _check(self, node: ast.expr, depth: int) -> None:
        match node:
            case ast.Constant(value=value):
                if isinstance(value, bytes | complex) or value is Ellipsis:
                    raise self._refused(node, "only numbers, texts, true, false and null are values")
                if isinstance(value, int) and value.bit_length() > operators.MOST_BITS:
                    raise self._refused(node, "the number is too large")
            case ast.Name(id=name):
                if name.lower() not in _WORDS:
                    self.names.add(name)
            case ast.BoolOp(values=values):
                self._all(values, depth)
            case ast.UnaryOp(op=op, operand=inner):
                if not isinstance(op, ast.Not | ast.USub | ast.UAdd):
                    raise self._refused(node, "`~` can't be used")
                self.node(inner, depth + 1)
            case ast.BinOp(left=left, op=op, right=right):
                if type(op) not in _ARITHMETIC:
                    raise self._refused(node, _FORBIDDEN.get(type(op), "only + - * / % compute"))
                self._all([left, right], depth)
            case ast.Compare():
                self._comparison(node, depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._all([test, body, orelse], depth)
            case ast.Call():
                self._call(node, depth)
            case _:
                raise self._refused(node, _FORBIDDEN.get(type(node), f"{type(node).__name__} can't be used here"))

    def _all(self, nodes: Sequence[ast.expr], depth: int) -> None:
        for node in nodes:
            self.node(node, depth + 1)

    def _comparison(self, node: ast.Compare, depth: int) -> None:
        self.node(node.left, depth + 1)
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
                    raise self._refused(
                        node, "`in` wants a list of values: `state in ('new', 'open')`", "`contains` looks into texts"
                    )
                for one in right.elts:
                    self.node(one, depth + 1)
                    if not _is_constant(one):
                        raise self._refused(one, "the list of `in` holds values only, no fields")
                continue
            self.node(right, depth + 1)
            if isinstance(op, ast.Is | ast.IsNot) and not _is_null(right):
                raise self._refused(node, "`is` and `is not` are for null only; `==` compares")

    def _call(self, node: ast.Call, depth: int) -> None:
        if not isinstance(node.func, ast.Name):
            raise self._refused(node, _FORBIDDEN.get(type(node.func), "only functions of the language can be called"))
        name, arguments = node.func.id, node.args
        if node.keywords:
            raise self._refused(node, f"`{name}` takes its arguments in their order, without names")
        if name == "col":
            if (
                len(arguments) != 1
                or not isinstance(arguments[0], ast.Constant)
                or not isinstance(arguments[0].value, str)
            ):
                raise self._refused(node, "`col` takes the name of a field as a text: `col('a name')`")
            self.names.add(arguments[0].value)
            return
        function = FUNCTIONS.get(name)
        if function is None:
            close = get_close_matches(name, FUNCTIONS, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(FUNCTIONS))}"
            raise self._refused(node, f"there is no function `{name}`", hint)
        if not function.least <= len(arguments) <= function.most:
            raise self._refused(node, f"`{name}` does not take {len(arguments)} arguments", function.usage)
        self._all(arguments, depth)


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.lower() in _WORDS)


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp):
        return operators.negative(_constant(node.operand))
    return node.value if isinstance(node, ast.Constant) else _WORDS[node.id.lower()]  # type: ignore[attr-defined]


def _is_null(node: ast.expr) -> bool:
    return _is_constant(node) and _constant(node) is None


def _gives(node: ast.expr) -> str:
    match node:
        case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "boolean"
        case ast.Constant(value=str()):
            return "string"
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            return FUNCTIONS[name].gives
        case ast.IfExp(body=body, orelse=orelse):
            return _gives(body) if _gives(body) == _gives(orelse) else ""
    return ""


class _Builder:
    """
    Builds the closures of a tree that was checked.
    """

    def __init__(self, text: str, lookup: Lookup) -> None:
        self._text = text
        self._lookup = lookup

    def build(self, node: ast.expr) -> Getter:
        if _is_constant(node):
            value = _constant(node)
            return lambda row: value
        match node:
            case ast.Name(id=name):
                return self._lookup(name)
            case ast.BoolOp(op=op, values=values):
                return self._logic([self._truth(one) for one in values], stop=isinstance(op, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return _negation(self._truth(inner))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._guarded(node, operators.negative, [self.build(inner)])
            case ast.UnaryOp(operand=inner):
                return self.build(inner)
            case ast.BinOp(left=left, op=op, right=right):
                return self._guarded(node, ARITHMETIC[_ARITHMETIC[type(op)]], [self.build(left), self.build(right)])
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return _choice(self._truth(test), self.build(body), self.build(orelse))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                if name == "col":
                    return self._lookup(arguments[0].value)  # type: ignore[attr-defined]  # checked: a text
                return self._call(node, name, arguments)
        raise AssertionError(f"{type(node).__name__} was not checked")

    def _truth(self, node: ast.expr) -> Getter:
        if isinstance(node, ast.Compare | ast.BoolOp):
            return self.build(node)
        return self._guarded(node, truth, [self.build(node)])

    def _guarded(self, node: ast.expr, call: Callable[..., Any], arguments: list[Getter], name: str = "") -> Getter:
        text, column = self._text, node.col_offset

        def run(row: Sequence[Any]) -> Any:
            values = [argument(row) for argument in arguments]
            try:
                return call(*values)
            except Uncomputable as exc:
                if name and not exc.column:
                    exc.args = (f"`{name}` {exc}",)
                raise exc.located(text, column) from None

        return run

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Getter:
        function = FUNCTIONS[name]
        call = function.call if function.takes_null else _null_in_null_out(function.call)
        return self._guarded(node, call, [self.build(one) for one in arguments], name)

    @staticmethod
    def _logic(parts: list[Getter], *, stop: bool) -> Getter:
        def run(row: Sequence[Any]) -> Any:
            result: bool | None = not stop
            for part in parts:
                value = part(row)
                if value is stop:
                    return stop
                if value is None:
                    result = None
            return result

        return run

    def _compare(self, node: ast.Compare) -> Getter:
        lefts = [node.left, *node.comparators[:-1]]
        parts = [
            self._one(node, left, op, right) for left, op, right in zip(lefts, node.ops, node.comparators, strict=True)
        ]
        return parts[0] if len(parts) == 1 else self._logic(parts, stop=False)

    def _one(self, node: ast.Compare, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Getter:
        get = self.build(left)
        if isinstance(op, ast.Is | ast.IsNot):
            wanted = isinstance(op, ast.Is)
            return lambda row: (get(row) is None) is wanted
        if isinstance(op, ast.In | ast.NotIn):
            values = [_constant(one) for one in right.elts]  # type: ignore[attr-defined]  # checked: a list
            member = self._guarded(node, _membership(values), [get])
            return member if isinstance(op, ast.In) else _negation(member)
        return _comparison(self._text, node.col_offset, COMPARISONS[_COMPARE[type(op)]], get, self.build(right))


def _comparison(text: str, column: int, compare: operators.Binary, left: Getter, right: Getter) -> Getter:
    careful = operators.comparison(compare)

    def run(row: Sequence[Any]) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None:
            return None
        kind = type(one)
        if kind is type(other) and (kind is str or kind is int or kind is float):
            return compare(one, other)
        try:
            return careful(one, other)
        except Uncomputable as exc:
            raise exc.located(text, column) from None

    return run


def _membership(values: list[Any]) -> Callable[[Any], bool | None]:
    kinds = {operators.kind_of(value) for value in values if value is not None}
    known = [value for value in values if value is not None]
    alike = frozenset(known) if len(kinds) == 1 else frozenset()
    otherwise = None if None in values else False

    def run(value: Any) -> bool | None:
        if value is None:
            return None
        if kinds and operators.kind_of(value) not in kinds:
            raise Uncomputable(f"can't look for {operators.kind_of(value)} among {' and '.join(sorted(kinds))}")
        if alike:
            found = value in alike
        else:  # 1 == True in Python, so the kinds are compared too
            found = any(one == value and operators.kind_of(one) == operators.kind_of(value) for one in known)
        return True if found else otherwise

    return run


def _negation(get: Getter) -> Getter:
    def run(row: Sequence[Any]) -> Any:
        value = get(row)
        return None if value is None else not value

    return run


def _choice(test: Getter, body: Getter, orelse: Getter) -> Getter:
    return lambda row: body(row) if test(row) is True else orelse(row)


def _null_in_null_out(call: Callable[..., Any]) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        return None if any(value is None for value in values) else call(*values)

    return run


def field_getter(get: Getter, schema: Any) -> Getter:
    """
    Return what reads a field as expressions see it.

    Args:
        get: Reads it as it is.
        schema: Its JSON Schema; None when unknown.
    """
    read = operand
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            read = operators.decimal_operand
        elif schema.get("type") in ("string", "integer", "boolean") and not schema.keys() - {"type"}:
            return get
    return lambda row: read(get(row))
