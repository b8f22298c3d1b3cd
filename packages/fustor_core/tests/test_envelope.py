"""
The envelope says the same in JSON and in MessagePack.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fustor_core.models.envelope import (
    JSON,
    MSGPACK,
    Envelope,
    WireEvent,
    decode_envelope,
    encode_envelope,
    from_wire,
    to_wire,
)
from fustor_core.models.event import InsertEvent, UpdateEvent, progress_mark

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
rows = st.lists(st.tuples(plain, plain), max_size=5).map(lambda r: [list(x) for x in r])


@given(
    rows=rows,
    index=st.integers(-1, 2**63 - 1),
    epoch=st.integers(0, 2**31),
    checkpoint=st.none() | st.integers(-1, 2**62),
    end=st.booleans(),
)
def test_both_encodings_decode_to_the_same(
    rows: list[Any], index: int, epoch: int, checkpoint: int | None, end: bool
) -> None:
    envelope = Envelope(
        session_id="s",
        source_type="snapshot",
        events=[WireEvent(event_schema="a", table="t", fields=["x", "y"], rows=rows, index=index, key=["x"])],
        epoch=epoch,
        checkpoint=checkpoint,
        is_snapshot_end=end,
        snapshot_id="snap",
    )

    for kind in (JSON, MSGPACK):
        assert decode_envelope(encode_envelope(envelope, kind), kind) == envelope


def test_the_least_an_older_client_sends_is_enough() -> None:
    body = b'{"session_id": "s", "source_type": "message", "events": [{"event_type": "insert", "event_schema": "p", "table": "t", "rows": [{"id": 1}], "index": 4}]}'

    envelope = decode_envelope(body)
    event = from_wire(envelope.events[0])

    assert event == InsertEvent("p", "t", [{"id": 1}], index=4)
    assert (envelope.epoch, envelope.checkpoint, envelope.is_snapshot_end) == (0, None, False)


def test_rows_with_different_columns_stay_different() -> None:
    """An absent column must not turn into a null one on its way."""
    event = UpdateEvent("p", "t", [{"id": 1, "a": 2}, {"id": 2}, {"id": 3}], index=9, key=["id"])

    wire = to_wire([event])

    assert [w.fields for w in wire] == [["id", "a"], ["id"]]
    assert [len(w.rows) for w in wire] == [1, 2]
    assert all(w.index == 9 and w.event_type == "update" for w in wire)


def test_rows_without_a_key_keep_their_ordinals() -> None:
    """An event that becomes several on the wire numbers its rows on; the end of a table's reading is no progress mark."""
    event = InsertEvent("s", "t", [{"a": 1}, {"a": 2}, {"b": 3}], index=5, ordinal=7)
    assert [(one.ordinal, one.rows) for one in to_wire([event])] == [(7, [[1], [2]]), (9, [[3]])]
    end = InsertEvent("s", "t", [], ["a"], index=5, ordinal=3)
    assert not end.is_progress_mark and from_wire(to_wire([end])[0]) == end
    assert to_wire([InsertEvent("s", "t", [{"a": 1}], key=["a"])])[0].ordinal is None


def test_a_progress_mark_survives_the_wire() -> None:
    [wire] = to_wire([progress_mark(5)])

    assert from_wire(wire).is_progress_mark
    assert wire.index == 5


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"events": 3}', b'{"events": [{"event_type": "upsert"}]}', b'{"source_type": "other"}'],
)
def test_malformed_bodies_raise_one_family_of_errors(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_envelope(body)
