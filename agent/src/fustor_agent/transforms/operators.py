"""
What the operators of the expression language do with values. Null in is null out, and kinds are never mixed silently.
"""

from __future__ import annotations

import decimal
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from fustor_core.values import encode_value

Binary = Callable[[Any, Any], Any]

MOST_BITS: Final = 4096
MOST_TEXT: Final = 1 << 20

_SIMPLE: Final = frozenset({str, int, float, bool, type(None), Decimal})
_CONTEXT: Final = decimal.Context(prec=100, traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow])


class Uncomputable(Exception):
    """
    An expression has no value for the values of this row.

    Attributes:
        expression: In which expression: a field that is derived from another may fail in that one's. "" = not known yet.
        column: Where in the expression, counted from 1; 0 = not known yet.
    """

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.expression = ""
        self.column = column

    def located(self, expression: str, column: int) -> Uncomputable:
        """
        Say where it is, unless something inside has said so.
        """
        if not self.column:
            self.expression, self.column = expression, column
        return self


def kind_of(value: Any) -> str:
    """
    Name the kind of a value for people.
    """
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else "a list" if isinstance(value, list) else "an object"


def operand(value: Any) -> Any:
    """
    Return a value of a row as expressions see it: as it travels, numbers as numbers.
    """
    return value if type(value) in _SIMPLE else encode_value(value)


def decimal_operand(value: Any) -> Any:
    """
    Return a value of a column whose format is decimal as a number.
    """
    if not isinstance(value, str):
        return operand(value)
    try:
        number = Decimal(value)
    except decimal.InvalidOperation:
        raise Uncomputable(f"{value[:40]!r} is no decimal number") from None
    return float("nan") if number.is_nan() else number


def comparison(compare: Binary) -> Binary:
    """
    Make a comparison of two values of the same kind, neither of them null.
    """

    def run(left: Any, right: Any) -> Any:
        if type(left) is type(right) or kind_of(left) == kind_of(right):
            try:
                return bool(compare(left, right))
            except (TypeError, decimal.InvalidOperation):
                raise Uncomputable(f"{kind_of(left)} has no order") from None
        raise Uncomputable(f"can't compare {kind_of(left)} with {kind_of(right)}")

    return run


COMPARISONS: Final[dict[str, Binary]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _arithmetic(sign: str, plain: Binary, exact: Binary) -> Binary:
    def run(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return None
        for value in (left, right):
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                hint = "; `concat` joins texts" if sign == "+" and isinstance(value, str) else ""
                raise Uncomputable(f"`{sign}` is for numbers, not for {kind_of(value)}{hint}")
        try:
            if isinstance(left, Decimal) or isinstance(right, Decimal):
                if isinstance(left, float) or isinstance(right, float):
                    return plain(float(left), float(right))
                return exact(Decimal(left), Decimal(right))
            return bounded(plain(left, right))
        except ZeroDivisionError:
            raise Uncomputable("division by zero") from None
        except (OverflowError, decimal.DecimalException):
            raise Uncomputable(f"the result of `{sign}` is out of range") from None

    return run


ARITHMETIC: Final[dict[str, Binary]] = {
    "+": _arithmetic("+", operator.add, _CONTEXT.add),
    "-": _arithmetic("-", operator.sub, _CONTEXT.subtract),
    "*": _arithmetic("*", operator.mul, _CONTEXT.multiply),
    "/": _arithmetic("/", operator.truediv, _CONTEXT.divide),
    "%": _arithmetic("%", operator.mod, _CONTEXT.remainder),
}


def negative(value: Any) -> Any:
    """
    Return minus a number.
    """
    return None if value is None else ARITHMETIC["-"](0, value)


def bounded(value: Any) -> Any:
    """
    Return a result, unless it is larger than any column holds: no expression may use up memory.
    """
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise Uncomputable(f"the result has more than {MOST_BITS} bits")
    if isinstance(value, str) and len(value) > MOST_TEXT:
        raise Uncomputable(f"the result has more than {MOST_TEXT} characters")
    return value


def truth(value: Any) -> bool | None:
    """
    Return a value that must be true, false or null.
    """
    if value is None or isinstance(value, bool):
        return value
    raise Uncomputable(f"{kind_of(value)} is neither true nor false; compare it with something")
