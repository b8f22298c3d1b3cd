"""
File names survive, whatever bytes they are made of.
"""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fustor_core.models.file_row import FILE_COLUMNS, FILE_FIELDS, escape_name, unescape_name


@given(raw=st.binary(min_size=1).map(lambda b: b.replace(b"\0", b"a").replace(b"/", b"b")))
@example(raw=rb"\x41")
@example(raw=b"\\x4\x80")
@example(raw=b"\\\xff")
@example(raw=rb"\\x5cx41")
@example(raw=b"caf\xe9 \\xe9")
@example(raw="日本.h5".encode())
def test_any_name_round_trips_and_travels_as_utf8(raw: bytes) -> None:
    name = os.fsdecode(raw)

    escaped = escape_name(name)

    escaped.encode("utf-8")
    assert os.fsencode(unescape_name(escaped)) == raw


@given(a=st.binary(max_size=6), b=st.binary(max_size=6))
def test_two_names_never_escape_to_the_same_text(a: bytes, b: bytes) -> None:
    same = escape_name(os.fsdecode(a)) == escape_name(os.fsdecode(b))

    assert same == (a == b)


@pytest.mark.parametrize("name", ["plain.txt", "with space", "tab\there", "new\nline", "日本語", "back\\slash", "😀"])
def test_a_name_that_needs_no_escape_stays_as_it_is(name: str) -> None:
    assert escape_name(name) == name


def test_every_field_has_a_type() -> None:
    assert tuple(FILE_COLUMNS) == FILE_FIELDS
