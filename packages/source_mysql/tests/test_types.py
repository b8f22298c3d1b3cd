"""
Every column type with its edge values: the snapshot's row and the live row are the same, and what the server shows.
"""

from __future__ import annotations

import json
import random
import struct
import threading
from typing import Any

import pytest
from mysql_bench import Database, only_mysql

from fustor_core.models.event import EventBase
from fustor_core.testing.source_contract import chunks_of, rows_of, settle
from fustor_core.values import encode_value

Types = dict[str, tuple[str, list[tuple[str, Any]]]]

TYPES: Types = {
    "tinyint": ("TINYINT", [("-128", -128), ("127", 127), ("NULL", None)]),
    "tinyint_u": ("TINYINT UNSIGNED", [("0", 0), ("255", 255)]),
    "smallint": ("SMALLINT", [("-32768", -32768), ("32767", 32767)]),
    "smallint_u": ("SMALLINT UNSIGNED", [("65535", 65535)]),
    "mediumint": ("MEDIUMINT", [("-8388608", -8388608), ("8388607", 8388607)]),
    "mediumint_u": ("MEDIUMINT UNSIGNED", [("16777215", 16777215)]),
    "int": ("INT", [("-2147483648", -(2**31)), ("2147483647", 2**31 - 1)]),
    "int_u": ("INT UNSIGNED ZEROFILL", [("4294967295", 2**32 - 1), ("7", 7)]),
    "bigint": ("BIGINT", [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)]),
    "bigint_u": ("BIGINT UNSIGNED", [("18446744073709551615", 2**64 - 1)]),
    "bool": ("BOOLEAN", [("TRUE", 1), ("FALSE", 0)]),
    "float": ("FLOAT", [("1.1", 1.100000023841858), ("-3.4028234e38", -3.4028234663852886e38), ("0", 0.0)]),
    "double": ("DOUBLE", [("1.1", 1.1), ("-1.7976931348623157e308", -1.7976931348623157e308), ("5e-324", 5e-324)]),
    "decimal": ("DECIMAL(10,2)", [("-99999999.99", "-99999999.99"), ("0", "0.00"), ("0.05", "0.05"), ("-0.05", "-0.05")]),
    "decimal_65": (
        "DECIMAL(65,30)",
        [("-12345678901234567890123456789012345.123456789012345678901234567891",) * 2, ("0.000000000000000000000000000001",) * 2],
    ),
    "decimal_0": ("DECIMAL(9,0)", [("-999999999", "-999999999"), ("1000", "1000")]),
    "bit_1": ("BIT(1)", [("b'1'", 1), ("b'0'", 0)]),
    "bit_10": ("BIT(10)", [("b'1000000001'", 513)]),
    "bit_64": ("BIT(64)", [("0xFFFFFFFFFFFFFFFF", 2**64 - 1)]),
    "char": ("CHAR(5)", [("'ab'", "ab"), ("''", ""), ("'\U0001f600中文ab'", "\U0001f600中文ab")]),
    "char_long": ("CHAR(255)", [("REPEAT('中', 255)", "中" * 255)]),
    "varchar": ("VARCHAR(300)", [("''", ""), ("'a\\b''c'", "a\\b'c"), ("REPEAT('\U0001f600', 300)", "\U0001f600" * 300)]),
    "varchar_latin1": ("VARCHAR(50) CHARACTER SET latin1", [("'café €'", "café €"), ("CONVERT(0x81 USING latin1)", "\x81")]),
    "varchar_utf16": ("VARCHAR(50) CHARACTER SET utf16", [("'\U0001f600中'", "\U0001f600中")]),
    "varchar_gbk": ("VARCHAR(50) CHARACTER SET gbk", [("'中文'", "中文")]),
    "varchar_bin": ("VARCHAR(50) COLLATE utf8mb4_bin", [("'aA'", "aA")]),
    "tinytext": ("TINYTEXT", [("'x'", "x")]),
    "text": ("TEXT", [("REPEAT('中', 20000)", "中" * 20000), ("''", "")]),
    "mediumtext": ("MEDIUMTEXT", [("REPEAT('x', 100000)", "x" * 100000)]),
    "longtext": ("LONGTEXT", [("REPEAT('y', 17000000)", "y" * 17_000_000)]),
    "binary": ("BINARY(6)", [("0x0102", b"\x01\x02\0\0\0\0"), ("0x010200000000", b"\x01\x02\0\0\0\0"), ("0x20", b" \0\0\0\0\0")]),
    "varbinary": ("VARBINARY(300)", [("0x00FF00", b"\0\xff\0"), ("''", b"")]),
    "tinyblob": ("TINYBLOB", [("0xFE", b"\xfe")]),
    "blob": ("BLOB", [("REPEAT(0xFF, 65535)", b"\xff" * 65535)]),
    "mediumblob": ("MEDIUMBLOB", [("REPEAT(0x00, 16777215)", b"\0" * 16_777_215)]),
    "longblob": ("LONGBLOB", [("0x00", b"\0")]),
    "enum": ("ENUM('x','y','中''s')", [("'y'", "y"), ("'中''s'", "中's"), ("NULL", None)]),
    "set": ("SET('a','b','c')", [("'c,a'", ["a", "c"]), ("''", []), ("NULL", None)]),
    "date": ("DATE", [("'1000-01-01'", "1000-01-01"), ("'9999-12-31'", "9999-12-31"), ("'0000-00-00'", "0000-00-00"), ("'2024-00-00'", "2024-00-00")]),
    "datetime": ("DATETIME", [("'9999-12-31 23:59:59'", "9999-12-31T23:59:59"), ("'0000-00-00 00:00:00'", "0000-00-00T00:00:00")]),
    "datetime_6": ("DATETIME(6)", [("'2024-05-01 01:02:03.000001'", "2024-05-01T01:02:03.000001")]),
    "datetime_1": ("DATETIME(1)", [("'2024-05-01 01:02:03.4'", "2024-05-01T01:02:03.4")]),
    "timestamp": ("TIMESTAMP NULL", [("'1970-01-01 08:00:01'", "1970-01-01T00:00:01Z"), ("'2038-01-19 11:14:07'", "2038-01-19T03:14:07Z"), ("NULL", None)]),
    "timestamp_2": ("TIMESTAMP(2) NULL", [("'2024-05-01 09:02:03.45'", "2024-05-01T01:02:03.45Z")]),
    "time": ("TIME", [("'-838:59:59'", "-838:59:59"), ("'838:59:59'", "838:59:59"), ("'00:00:00'", "00:00:00")]),
    "time_3": ("TIME(3)", [("'-00:00:00.001'", "-00:00:00.001"), ("'-838:59:58.999'", "-838:59:58.999"), ("'12:34:56.789'", "12:34:56.789")]),
    "time_6": ("TIME(6)", [("'-01:02:03.000004'", "-01:02:03.000004")]),
    "year": ("YEAR", [("1901", 1901), ("2155", 2155), ("0", 0)]),
    "json": ("JSON", [("'{\"a\": [1, null, \"中\"]}'", '{"a": [1, null, "中"]}')]),
    "point": ("POINT", [("POINT(1, 2)", bytes.fromhex("000000000101000000000000000000F03F0000000000000040"))]),
    "virtual": ("INT AS (id + 1) VIRTUAL", []),
    "stored": ("INT AS (id + 2) STORED", []),
}  # fmt: skip


TYPES_OF_MARIADB: Types = {
    "varchar_compressed": ("VARCHAR(300) COMPRESSED", [("''", ""), ("'a'", "a"), ("REPEAT('中', 300)", "中" * 300)]),
    "text_compressed": ("TEXT COMPRESSED CHARACTER SET latin1", [("''", ""), ("'é'", "é"), ("REPEAT('é', 60000)", "é" * 60000)]),
    "blob_compressed": ("MEDIUMBLOB COMPRESSED", [("0x00", b"\0"), ("REPEAT(0xFF, 100000)", b"\xff" * 100_000), ("NULL", None)]),
    "uuid": ("UUID", [("'123e4567-e89b-12d3-a456-426614174000'",) * 1 + ("123e4567-e89b-12d3-a456-426614174000",), ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "ffffffff-ffff-ffff-ffff-ffffffffffff"), ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"), ("'018f4e2a-7b3c-7def-8123-456789abcdef'", "018f4e2a-7b3c-7def-8123-456789abcdef"), ("'9b2e0b0c-0e4b-4a65-8c2f-3d1f0c5b7a99'", "9b2e0b0c-0e4b-4a65-8c2f-3d1f0c5b7a99")]),
    "inet6": ("INET6", [("'2001:db8::1'", "2001:db8::1"), ("'::'", "::"), ("'::ffff:1.2.3.4'", "::ffff:1.2.3.4"), ("'::1'", "::1"), ("'::1.2.3.4'", "::1.2.3.4")]),
    "inet4": ("INET4", [("'1.2.3.4'", "1.2.3.4"), ("'0.0.0.0'", "0.0.0.0")]),
}  # fmt: skip

TYPES_OF_MYSQL: Types = {
    "json_numbers": ("JSON", [(f"'{text}'", text) for text in (
        "0", "-1", "32767", "-32768", "32768", "65535", "2147483647", "-2147483649", "9007199254740993", "9223372036854775807",
        "-9223372036854775808", "18446744073709551615", "1.5", "-0.25", "1e16", "1.5e-16", "0.00001", "-0.0", "2.5e-300",
        "123456789012345.6", "1234567890123456.8", "-1.234567890123456e15", "1.2345678901234568e16",
    )]),
    "json_texts": ("JSON", [
        ("'\"\"'", '""'), ("'\"😀 中\"'", '"😀 中"'), ("JSON_QUOTE('a\"b\\c/d')", r'"a\"b\\c/d"'),
        (r"""'"\b\t\n\f\r\u0001\u001f\u00e9\/"'""", r'"\b\t\n\f\r\u0001\u001fé/"'),
        ("JSON_QUOTE(REPEAT('x', 127))", f'"{"x" * 127}"'), ("JSON_QUOTE(REPEAT('y', 20000))", f'"{"y" * 20000}"'),
    ]),
    "json_nested": ("JSON", [
        ("'{}'", "{}"), ("'[]'", "[]"), ("'null'", "null"), ("NULL", None), ("'[true, false, null]'", "[true, false, null]"),
        ("'{\"bb\": 1, \"a\": {\"é\": [[], {}]}, \"\": 2}'", '{"": 2, "a": {"é": [[], {}]}, "bb": 1}'),
        ("CONCAT(REPEAT('[', 99), REPEAT(']', 99))", "[" * 99 + "]" * 99),
    ]),
    "json_opaque": ("JSON", [
        ("JSON_ARRAY(CAST(-1.50 AS DECIMAL(10,2)), CAST('99999999999999999999.5' AS DECIMAL(30,10)))", "[-1.50, 99999999999999999999.5000000000]"),
        ("JSON_ARRAY(DATE'1000-01-01', TIME'-838:59:59', TIME'12:00:00.5', TIMESTAMP'2024-05-01 01:02:03.000004')",
         '["1000-01-01", "-838:59:59.000000", "12:00:00.500000", "2024-05-01 01:02:03.000004"]'),
        ("JSON_ARRAY(x'00ff')", '["base64:type15:AP8="]'), ("JSON_ARRAY(b'101')", None), ("JSON_ARRAY(CAST('x' AS BINARY(3)))", None),
    ]),
    "json_large": ("JSON", [
        ("JSON_ARRAY(REPEAT('x', 70000), 1, 70000, -70000, 3000000000, TRUE)", f'["{"x" * 70000}", 1, 70000, -70000, 3000000000, true]'),
        ("JSON_OBJECT('k', REPEAT('中', 30000), 'n', 100000, 'o', JSON_OBJECT('a', 1))",
         '{"k": "' + "中" * 30000 + '", "n": 100000, "o": {"a": 1}}'),
    ]),
    "vector": ("VECTOR(3)", [("STRING_TO_VECTOR('[1, -2.5, 1e30]')", [1.0, -2.5, 1.0000000150474662e30]), ("NULL", None)]),
    "varchar_0900": ("VARCHAR(20) COLLATE utf8mb4_0900_as_cs", [("'é😀'", "é😀")]),
    "enum_latin1": ("ENUM('x','é') CHARACTER SET latin1", [("'é'", "é")]),
    "set_utf16": ("SET('x','中') CHARACTER SET utf16", [("'中,x'", ["x", "中"])]),
    "geometry": ("GEOMETRY SRID 4326", [("ST_SRID(POINT(1, 2), 4326)", bytes.fromhex("E6100000" + "0101000000000000000000F03F0000000000000040"))]),
}  # fmt: skip

_SERVERS_TYPES = {"mariadb": {**TYPES, **TYPES_OF_MARIADB}, "mysql": {**TYPES, **TYPES_OF_MYSQL}}


@pytest.mark.parametrize(
    ("server", "name"),
    [(server, name) for server, types in _SERVERS_TYPES.items() for name in types],
    indirect=["server"],
)
@pytest.mark.timeout(120)
def test_a_type_is_the_same_on_both_paths(database: Database, name: str) -> None:
    declared, values = _SERVERS_TYPES["mysql" if database.is_mysql else "mariadb"][name]
    database.run("SET NAMES utf8mb4, time_zone = '+08:00', sql_mode = 'NO_BACKSLASH_ESCAPES'")
    database.run(f"CREATE TABLE t (id INT PRIMARY KEY, y YEAR, u INT UNSIGNED, v {declared}, w VARCHAR(5))")
    driver = database.driver()
    stop = threading.Event()
    stream, _ = driver.get_message_iterator(-1, stop_event=stop)
    if values:
        rows = ", ".join(f"({at}, 2024, 4000000000, {sql}, 'end')" for at, (sql, _) in enumerate(values))
        database.run(f"INSERT INTO t (id, y, u, v, w) VALUES {rows}")
    else:
        database.run("INSERT INTO t (id, y, u, w) VALUES (0, 2024, 4000000000, 'end')")
    wanted = len(values) or 1
    live: list[EventBase] = []
    while sum(len(event.rows) for event in live) < wanted:
        live.append(next(stream))
    chunks = chunks_of(driver, stop_event=stop)
    stop.set()
    seen = [_rows(events) for events in (live, chunks)]
    assert seen[0] == seen[1]
    for at, (sql, value) in enumerate(values):
        if value is None and sql != "NULL":
            continue  # only that both paths give the same
        assert seen[0][at]["v"] == value
        assert type(seen[0][at]["v"]) is type(value)
    for row in seen[0].values():
        assert (row["y"], row["u"], row["w"]) == (2024, 4_000_000_000, "end")
        encode_value(row["v"])
    first, second = (next(event for event in events if event.rows) for events in (live, chunks))
    assert first.columns == second.columns
    assert first.key == second.key == ("id",)
    assert set(first.columns or ()) == {"id", "y", "u", "v", "w"}


@only_mysql
def test_json_of_every_shape_is_the_same_on_both_paths(database: Database) -> None:
    """
    The text of MySQL's JSON in the log is the one that a SELECT gives, whatever it holds.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v JSON)")
    driver = database.driver()
    stream = database.stream(driver)
    with database.admin.cursor() as cursor:
        for at in range(400):
            cursor.execute("INSERT INTO t VALUES (%s, %s)", (at, json.dumps(_random_json(chance, 0))))
        cursor.execute("UPDATE t SET v = JSON_ARRAY(v, JSON_OBJECT('k', v)) WHERE id % 2")
    live = rows_of(settle(stream, driver))
    chunks = _rows(list(driver.get_snapshot_iterator(stop_event=threading.Event())))
    assert len(live) == 400
    for at, row in chunks.items():
        assert live[at]["v"] == row["v"]


def _random_json(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(9 if depth < 5 else 7)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return chance.randint(-(2 ** chance.randrange(1, 64)), 2 ** chance.randrange(1, 65) - 1)
    if kind == 2:
        return struct.unpack("<d", struct.pack("<Q", chance.getrandbits(63) % (0x7FF << 52)))[0] * chance.choice(
            (1, -1)
        )
    if kind == 3:
        return chance.choice((1, -1)) * chance.randrange(10**6) * 10.0 ** chance.randint(-20, 20)
    if kind in (4, 5, 6):
        return "".join(chance.choice('aé中😀"\\\n\t\x01/ ') for _ in range(chance.randrange(12)))
    if kind == 7:
        return [_random_json(chance, depth + 1) for _ in range(chance.randrange(6))]
    keys = {"".join(chance.choice('abé"😀') for _ in range(chance.randrange(6))) for _ in range(chance.randrange(6))}
    return {key: _random_json(chance, depth + 1) for key in keys}


def _rows(events: list[EventBase]) -> dict[int, dict[str, Any]]:
    return {
        row["id"]: row
        for event in events
        for row in (dict(zip(event.fields, values, strict=True)) for values in event.rows)
    }
