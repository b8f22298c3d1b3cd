"""
Every column type with its edge values: the snapshot's row and the live row are the same, and what the server shows.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from postgres_bench import Database

from fustor_core.models.event import EventBase
from fustor_core.testing.source_contract import chunks_of
from fustor_core.values import encode_value

NAN, INF = math.nan, math.inf
TYPES: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "smallint": ("SMALLINT", [("-32768", -32768), ("32767", 32767), ("NULL", None)]),
    "integer": ("INTEGER", [("-2147483648", -(2**31)), ("2147483647", 2**31 - 1), ("0", 0)]),
    "bigint": ("BIGINT", [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)]),
    "serial": ("BIGSERIAL", [("5", 5)]),
    "oid": ("OID", [("4294967295", 2**32 - 1)]),
    "xid8": ("XID8", [("'18446744073709551615'", 2**64 - 1)]),
    "boolean": ("BOOLEAN", [("TRUE", True), ("FALSE", False), ("NULL", None)]),
    "real": ("REAL", [("1.1", 1.1), ("-3.4028235e38", -3.4028235e38), ("'-0'", -0.0), ("'NaN'", NAN), ("'Infinity'", INF), ("1e-45", 1e-45)]),
    "double": ("DOUBLE PRECISION", [("0.1", 0.1), ("-1.7976931348623157e308", -1.7976931348623157e308), ("5e-324", 5e-324), ("'-Infinity'", -INF), ("'-0'", -0.0)]),
    "numeric": ("NUMERIC", [("-0.05", "-0.05"), ("1.10", "1.10"), ("1e-30", "0.000000000000000000000000000001"), ("'NaN'", "NaN"), ("'Infinity'", "Infinity"), ("'-Infinity'", "-Infinity")]),
    "numeric_65": ("NUMERIC(65,30)", [("-12345678901234567890123456789012345.123456789012345678901234567891",) * 2]),
    "numeric_1000": ("NUMERIC", [("repeat('9', 1000)::numeric", "9" * 1000)]),
    "money": ("MONEY", [("'-12345.67'", "-$12,345.67")]),
    "char": ("CHAR(5)", [("'ab'", "ab   "), ("''", "     "), ("'\U0001f600中文ab'", "\U0001f600中文ab")]),
    "char_internal": ('"char"', [("'x'", "x"), ("''", "")]),
    "varchar": ("VARCHAR(300)", [("''", ""), (r"'a\b''c'", r"a\b'c"), (r"E'tab\there\nline\r\b\f\x0b\\N'", "tab\there\nline\r\b\f\v\\N"), ("repeat('\U0001f600', 300)", "\U0001f600" * 300)]),
    "text": ("TEXT", [("''", ""), (r"'\N'", r"\N"), ("NULL", None), (r"'\.'", r"\."), (r"'\\'", "\\\\"), ("repeat('中', 200000)", "中" * 200000), ("repeat('y', 17000000)", "y" * 17_000_000)]),
    "name": ("NAME", [("'n'", "n")]),
    "citext": ("CITEXT", [("'MiXed'", "MiXed")]),
    "bytea": ("BYTEA", [(r"'\x00ff5c'", b"\x00\xff\\"), ("''", b""), (r"decode(repeat('00ff', 8388608), 'hex')", b"\x00\xff" * 8_388_608)]),
    "date": ("DATE", [("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31"), ("'5874897-12-31'", "5874897-12-31"), ("'0044-03-15 BC'", "0044-03-15 BC"), ("'infinity'", "infinity")]),
    "time": ("TIME", [("'00:00'", "00:00:00"), ("'24:00:00'", "24:00:00"), ("'12:34:56.789'", "12:34:56.789")]),
    "time_2": ("TIME(2)", [("'12:34:56.789'", "12:34:56.79")]),
    "timetz": ("TIMETZ", [("'12:34:56.7+05:30'", "12:34:56.7+05:30"), ("'00:00:00-12'", "00:00:00-12")]),
    "timestamp": ("TIMESTAMP", [("'2024-05-01 01:02:03.000001'", "2024-05-01T01:02:03.000001"), ("'0001-01-01 00:00:00'", "0001-01-01T00:00:00"), ("'294276-12-31 23:59:59.999999'", "294276-12-31T23:59:59.999999"), ("'infinity'", "infinity"), ("'-infinity'", "-infinity"), ("'4713-01-01 00:00:00 BC'", "4713-01-01T00:00:00 BC")]),
    "timestamptz": ("TIMESTAMPTZ", [("'2024-05-01 09:02:03.45+08'", "2024-05-01T01:02:03.45Z"), ("'2024-03-10 02:30:00 America/New_York'", "2024-03-10T07:30:00Z"), ("'infinity'", "infinity"), ("'0044-03-15 00:00:00+00 BC'", "0044-03-15T00:00:00Z BC")]),
    "interval": ("INTERVAL", [("'1 year 2 months 3 days 04:05:06.7'", "P1Y2M3DT4H5M6.7S"), ("'-1 day'", "P-1D"), ("'0'", "PT0S"), ("'178000000 years'", "P178000000Y")]),
    "uuid": ("UUID", [("'123e4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000")]),
    "json": ("JSON", [("'{\"a\":  [1, null, \"中\"]}'", '{"a":  [1, null, "中"]}'), ("'null'", "null")]),
    "jsonb": ("JSONB", [("'{\"b\": 1.50, \"a\": \"x\\ty\"}'", '{"a": "x\\ty", "b": 1.50}')]),
    "jsonpath": ("JSONPATH", [("'$.a'", '$."a"')]),
    "xml": ("XML", [("'<a>b</a>'", "<a>b</a>")]),
    "enum": ("mood", [("'sad'", "sad"), ("'it''s, \"odd\"'", "it's, \"odd\"")]),
    "domain": ("positive", [("7", 7)]),
    "domain_of_domain": ("tiny", [("3", 3)]),
    "composite": ("pair", [("ROW(1, 'a b')", '(1,"a b")')]),
    "int_array": ("INTEGER[]", [("'{1,NULL,3}'", [1, None, 3]), ("'{}'", []), ("'{{1,2},{3,4}}'", [[1, 2], [3, 4]]), ("'[2:3]={5,6}'", [5, 6])]),
    "text_array": ("TEXT[]", [("ARRAY['a', 'NULL', NULL, 'q\"uo\\te', 'com,ma', '{x}', '', ' sp ', '\U0001f600']", ["a", "NULL", None, 'q"uo\\te', "com,ma", "{x}", "", " sp ", "\U0001f600"])]),
    "bytea_array": ("BYTEA[]", [(r"ARRAY['\x00ff'::bytea]", [b"\x00\xff"])]),
    "timestamptz_array": ("TIMESTAMPTZ[]", [("ARRAY['2024-05-01 09:02:03+08'::timestamptz, NULL]", ["2024-05-01T01:02:03Z", None])]),
    "numeric_array": ("NUMERIC[]", [("'{1.10,NaN}'", ["1.10", "NaN"])]),
    "bool_array": ("BOOLEAN[]", [("'{t,f,NULL}'", [True, False, None])]),
    "enum_array": ("mood[]", [("ARRAY['sad','it''s, \"odd\"']::mood[]", ["sad", "it's, \"odd\""])]),
    "box_array": ("BOX[]", [("ARRAY['(2,2),(1,1)'::box, '(4,4),(3,3)'::box]", ["(2,2),(1,1)", "(4,4),(3,3)"])]),
    "bit": ("BIT(10)", [("B'1000000001'", "1000000001")]),
    "varbit": ("BIT VARYING(80)", [("B''", ""), ("B'101'", "101")]),
    "inet": ("INET", [("'2001:db8::1/64'", "2001:db8::1/64"), ("'1.2.3.4'", "1.2.3.4")]),
    "cidr": ("CIDR", [("'10.0.0.0/8'", "10.0.0.0/8")]),
    "macaddr": ("MACADDR", [("'08:00:2b:01:02:03'", "08:00:2b:01:02:03")]),
    "macaddr8": ("MACADDR8", [("'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05")]),
    "point": ("POINT", [("'(1.5,-2)'", "(1.5,-2)")]),
    "line": ("LINE", [("'{1,2,3}'", "{1,2,3}")]),
    "lseg": ("LSEG", [("'[(0,0),(1,1)]'", "[(0,0),(1,1)]")]),
    "box": ("BOX", [("'(2,2),(1,1)'", "(2,2),(1,1)")]),
    "path": ("PATH", [("'((0,0),(1,1))'", "((0,0),(1,1))")]),
    "polygon": ("POLYGON", [("'((0,0),(1,1),(1,0))'", "((0,0),(1,1),(1,0))")]),
    "circle": ("CIRCLE", [("'<(0,0),2>'", "<(0,0),2>")]),
    "tsvector": ("TSVECTOR", [("'a b:3A'", "'a' 'b':3A")]),
    "tsquery": ("TSQUERY", [("'a & b'", "'a' & 'b'")]),
    "int4range": ("INT4RANGE", [("'[1,5]'", "[1,6)"), ("'empty'", "empty")]),
    "tstzrange": ("TSTZRANGE", [("'[2024-05-01 08:00+08,)'", '["2024-05-01 00:00:00+00",)')]),
    "multirange": ("INT4MULTIRANGE", [("'{[1,3),[5,7)}'", "{[1,3),[5,7)}")]),
    "pg_lsn": ("PG_LSN", [("'16/B374D848'", "16/B374D848")]),
    "regclass": ("REGCLASS", [("'pg_class'", "pg_class")]),
    "hstore": ("HSTORE", [("'a=>1, b=>NULL'", '"a"=>"1", "b"=>NULL')]),
    "identity": ("INTEGER GENERATED BY DEFAULT AS IDENTITY", [("9", 9)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.timeout(120)
def test_a_type_is_the_same_on_both_paths(database: Database, name: str) -> None:
    declared, values = TYPES[name]
    database.run(
        "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('sad', 'it''s, \"odd\"');"
        "CREATE DOMAIN positive AS INT CHECK (VALUE > 0); CREATE DOMAIN tiny AS positive CHECK (VALUE < 10);"
        "CREATE TYPE pair AS (a INT, b TEXT)"
    )
    database.run(f"CREATE TABLE t (id INT PRIMARY KEY, u BIGINT, v {declared}, w VARCHAR(5))")
    driver = database.driver()
    stop = threading.Event()
    stream, _ = driver.get_message_iterator(-1, stop_event=stop)
    rows = ", ".join(f"({at}, 4000000000, {sql}, 'end')" for at, (sql, _) in enumerate(values))
    database.run(f"INSERT INTO t (id, u, v, w) VALUES {rows}")
    live: list[EventBase] = []
    while sum(len(event.rows) for event in live) < len(values):
        live.append(next(stream))
    chunks = chunks_of(driver, stop_event=stop)
    stop.set()
    seen = [_rows(events) for events in (live, chunks)]
    assert repr(seen[0]) == repr(seen[1]), "also NaN and -0"
    for at, (_, value) in enumerate(values):
        assert repr(seen[0][at]["v"]) == repr(value)
    for row in seen[0].values():
        assert (row["u"], row["w"]) == (4_000_000_000, "end")
        encode_value(row["v"])
    first, second = (next(event for event in events if event.rows) for events in (live, chunks))
    assert first.columns == second.columns
    assert first.key == second.key == ("id",)
    assert set(first.columns or ()) == {"id", "u", "v", "w"}
    if name == "enum":
        assert (first.columns or {})["v"] == {"type": "string", "enum": ["sad", 'it\'s, "odd"']}


def _rows(events: list[EventBase]) -> dict[int, dict[str, Any]]:
    return {
        row["id"]: row
        for event in events
        for row in (dict(zip(event.fields, values, strict=True)) for values in event.rows)
    }


def test_generated_columns_do_not_travel(database: Database) -> None:
    """
    The log has no values of them: sending those of a snapshot would let them grow old.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, g INT GENERATED ALWAYS AS (id * 2) STORED)")
    driver = database.driver()
    stop = threading.Event()
    stream, _ = driver.get_message_iterator(-1, stop_event=stop)
    database.run("INSERT INTO t VALUES (1)")
    live = next(event for event in stream if event.rows)
    (chunk,) = chunks_of(driver, stop_event=stop)
    stop.set()
    assert live.fields == chunk.fields == ("id",)
