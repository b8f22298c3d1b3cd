"""
One mapping of values, the same on every path.
"""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fustor_core.values import encode_rows, encode_value


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, None),
        (True, True),
        ("", ""),
        (2**53 + 1, 2**53 + 1),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
        (Decimal("1.10"), "1.10"),
        (Decimal("12345678901234567890.12345678901234567890"), "12345678901234567890.12345678901234567890"),
        (b"\x00\xff", "AP8="),
        (b"", ""),
        (datetime(2024, 2, 29, 1, 2, 3, 4), "2024-02-29T01:02:03.000004"),
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03Z"),
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=timezone(timedelta(hours=8))), "2024-02-28T17:02:03Z"),
        (date(1, 1, 1), "0001-01-01"),
        (time(23, 59, 59, 999999), "23:59:59.999999"),
        (timedelta(days=1, seconds=2), "P1DT2S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"b", "a"}, ["a", "b"]),
        ([1, Decimal("2")], [1, "2"]),
        ({"k": b"x", 1: None}, {"k": "eA==", "1": None}),
    ],
)
def test_the_documented_mapping(value: Any, wire: Any) -> None:
    assert encode_value(value) == wire


def test_null_and_empty_stay_apart() -> None:
    assert encode_rows([(None, "", b"")]) == [[None, "", ""]]


def test_an_unknown_type_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match="complex"):
        encode_value(1j)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(value=anything)
def test_whatever_is_mapped_reads_back_equal_from_both_encodings(value: Any) -> None:
    wire = encode_value(value)

    assert msgspec.json.decode(msgspec.json.encode(wire)) == wire
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(wire)) == wire


def test_rows_of_plain_columns_are_passed_on_untouched() -> None:
    rows = [(1, "a")]

    assert encode_rows(rows, {"id": {"type": "integer"}, "n": {"type": ["string", "null"]}}) is rows


def test_a_format_makes_a_column_not_plain() -> None:
    assert encode_rows([(Decimal("1"),)], {"d": {"type": "string", "format": "decimal"}}) == [["1"]]
