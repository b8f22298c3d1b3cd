"""
What each step does to whole events: inserts, updates with some of the columns, deletes with the key alone, rows without a key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from unittest.mock import ANY

import pytest

from fustor_agent.sync.keys import row_dicts
from fustor_agent.transforms.transformer import Transformer
from fustor_core.errors import BatchRejected, ConfigError
from fustor_core.models.config import SyncConfig
from fustor_core.models.event import DeleteEvent, EventBase, InsertEvent, UpdateEvent

COLUMNS = {
    "id": {"type": "integer"},
    "first": {"type": "string"},
    "last": {"type": "string"},
    "total": {"type": "string", "format": "decimal"},
}
WHOLE = {"id": 1, "first": "Ada", "last": "L", "total": "10.50"}


def made(*transforms: dict[str, Any], mapping: list[dict[str, Any]] | None = None, sweeps: bool = True) -> Transformer:
    config = SyncConfig.model_validate(
        {"source": "a", "pusher": "b", "transforms": list(transforms), "fields_mapping": mapping or []}
    )
    return Transformer(config, sweeps=sweeps)


def insert(*rows: dict[str, Any], **more: Any) -> EventBase:
    return InsertEvent("db", "users", list(rows), index=7, **{"key": ["id"], "columns": COLUMNS, **more})


def update(*rows: dict[str, Any], **more: Any) -> EventBase:
    return UpdateEvent("db", "users", list(rows), index=7, **{"key": ["id"], "columns": COLUMNS, **more})


def delete(*rows: dict[str, Any], **more: Any) -> EventBase:
    return DeleteEvent("db", "users", list(rows), index=7, **{"key": ["id"], "columns": COLUMNS, **more})


def told(transformer: Transformer, *events: EventBase, lane: Any = "message") -> list[tuple[str, list[dict[str, Any]]]]:
    return [(event.event_type.value, row_dicts(event)) for event in transformer.apply(events, lane=lane).events]


def test_without_transforms_events_are_handed_on_as_they_are() -> None:
    transformer = made()
    event = insert(WHOLE)
    assert transformer.is_nothing and transformer.apply([event]).events[0] is event


def test_a_table_that_no_step_is_meant_for_passes_as_it_is() -> None:
    transformer = made({"type": "drop", "fields": ["last"], "tables": ["db.other", "x*"]})
    event = insert(WHOLE)
    assert transformer.apply([event]).events[0] is event


def test_select_and_drop_keep_the_key_and_say_fewer_columns() -> None:
    [event] = made({"type": "select", "fields": ["last"]}).apply([insert(WHOLE)]).events
    assert event.fields == ("id", "last") and event.key == ("id",) and list(event.columns or ()) == ["id", "last"]
    transformer = made({"type": "drop", "fields": ["last"], "tables": ["users"]})
    assert told(transformer, update({"id": 1, "last": "M"}), delete({"id": 1})) == [
        ("update", [{"id": 1}]),
        ("delete", [{"id": 1}]),
    ]


def test_rename_reaches_key_columns_and_deletes_alike() -> None:
    transformer = made({"type": "rename", "fields": {"id": "user_id", "first": "last", "last": "first"}})
    events = transformer.apply([insert(WHOLE), update({"id": 1, "first": "B"}), delete({"id": 1})]).events
    assert [event.key for event in events] == [("user_id",)] * 3
    assert [event.fields for event in events] == [
        ("user_id", "last", "first", "total"),
        ("user_id", "last"),
        ("user_id",),
    ]
    assert list(events[0].columns or ()) == ["user_id", "last", "first", "total"]


def test_a_hashed_key_is_the_same_in_inserts_updates_deletes_and_snapshots() -> None:
    transformer = made({"type": "mask", "fields": ["id", "last"], "method": "hash", "salt": "a long salt"})
    expected = hmac.digest(b"a long salt", b"1", hashlib.sha256).hex()
    for event in (insert(WHOLE), update({"id": 1, "first": "B"}), delete({"id": 1}), insert(WHOLE)):
        [out] = transformer.apply([event], lane="snapshot" if event.index < 0 else "message").events
        assert out.rows[0][out.fields.index("id")] == expected  # type: ignore[index,call-overload]
        assert out.columns and out.columns["id"] == {"type": "string"} and out.key == ("id",)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"type": "mask", "fields": ["id"], "method": "redact"}, "part of the key"),
        ({"type": "mask", "fields": ["id"], "method": "truncate", "length": 3}, "part of the key"),
        ({"type": "mask", "fields": ["id"], "method": "hash", "salt": "a long salt", "digits": 16}, "part of the key"),
        ({"type": "drop", "fields": ["id"]}, "part of the key"),
        ({"type": "constant", "to": "id", "value": 1}, "part of the key"),
        ({"type": "derive", "to": "id", "value": "id + 1"}, "part of the key"),
        ({"type": "rename", "fields": {"first": "last"}}, "two fields"),
        ({"type": "filter", "where": "nothing == 1"}, "no such field"),
        ({"type": "mask", "fields": ["emial"], "method": "redact", "tables": ["users"]}, "no field 'emial'"),
        ({"type": "mask", "fields": ["emial"], "method": "redact", "tables": ["db.users"]}, "no field 'emial'"),
    ],
)
def test_what_can_not_work_on_a_table_stops_with_the_reason(step: dict[str, Any], says: str) -> None:
    for event in (insert(WHOLE), update(WHOLE)):
        with pytest.raises(ConfigError, match=says) as caught:
            made(step).apply([event])
        assert "step 1" in caught.value.message and "'db.users'" in caught.value.message and caught.value.hint


def test_masks_hide_values_and_keep_nulls() -> None:
    transformer = made(
        {"type": "mask", "fields": ["first"], "method": "redact", "text": "?"},
        {"type": "mask", "fields": ["last", "total"], "method": "truncate", "length": 1},
    )
    assert told(transformer, insert(WHOLE | {"last": None})) == [
        ("insert", [{"id": 1, "first": "?", "last": None, "total": "1"}])
    ]


@pytest.mark.parametrize("salt", ["short", "***", "${NOT_SET_ANYWHERE}", "file:/nowhere/at/all"])
def test_a_salt_that_can_not_be_used_is_refused_before_anything_runs(salt: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made({"type": "mask", "fields": ["a"], "method": "hash", "salt": salt})
    assert caught.value.hint and "the salt of the hash of a" in caught.value.message


def test_a_salt_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SALT", "a long salt")
    by_reference = made({"type": "mask", "fields": ["first"], "method": "hash", "salt": "${MY_SALT}"})
    in_clear = made({"type": "mask", "fields": ["first"], "method": "hash", "salt": "a long salt"})
    assert told(by_reference, insert(WHOLE)) == told(in_clear, insert(WHOLE))


def test_derived_and_constant_fields_see_what_the_steps_before_have_made() -> None:
    transformer = made(
        {"type": "mask", "fields": ["last"], "method": "truncate", "length": 0},
        {"type": "derive", "to": "name", "value": "concat(first, '/', last)"},
        {"type": "derive", "to": "double", "value": "total * 2"},
        {"type": "constant", "to": "origin", "value": "eu"},
        {"type": "derive", "to": "both", "value": "concat(name, origin)"},
        {"type": "drop", "fields": ["first", "last", "total", "name"]},
    )
    [event] = transformer.apply([insert(WHOLE)]).events
    assert event.fields == ("id", "double", "origin", "both")
    assert list(map(str, event.rows[0])) == ["1", "21.00", "eu", "Ada/eu"]
    assert (
        event.columns and event.columns["both"] == {"type": "string"} and event.columns["origin"] == {"type": "string"}
    )


def test_a_partial_update_changes_what_it_can_and_asks_for_the_rest() -> None:
    """
    A derived field is left alone when nothing it is made of came, and the row is owed whole when only part of it came.
    """
    transformer = made({"type": "derive", "to": "name", "value": "concat(first, last)"})
    unrelated, half, whole = update({"id": 1, "total": "2"}), update({"id": 1, "first": "B"}), update(WHOLE)
    assert [bool(transformer.untold(event)) for event in (unrelated, half, whole)] == [False, True, False]
    assert told(transformer, unrelated, half, whole) == [
        ("update", [{"id": 1, "total": "2"}]),
        ("update", [{"id": 1, "first": "B"}]),
        ("update", [{**WHOLE, "name": "AdaL"}]),
    ]
    [event] = transformer.apply([half]).events
    assert event.columns and "name" in event.columns, "the consumer must know that the image is partial"


def test_a_partial_image_is_whole_when_what_it_lacks_is_dropped_anyway() -> None:
    transformer = made({"type": "filter", "where": "total > 5"}, {"type": "drop", "fields": ["first", "last"]})
    event = update({"id": 1, "total": "7"})
    assert transformer.untold(event) is None
    assert told(transformer, event) == [("insert", [{"id": 1, "total": "7"}])]


def test_rows_that_do_not_pass_a_filter_are_deleted_at_the_consumer() -> None:
    transformer = made({"type": "filter", "where": "total >= 10"})
    low = {**WHOLE, "id": 2, "total": "9.99"}
    assert told(transformer, insert(WHOLE, low)) == [("insert", [WHOLE]), ("delete", [{"id": 2}])]
    assert told(transformer, update(WHOLE, low)) == [("insert", [WHOLE]), ("delete", [{"id": 2}])]
    assert told(transformer, delete({"id": 2})) == [("delete", [{"id": 2}])]
    assert told(transformer, insert(WHOLE | {"total": None})) == [("delete", [{"id": 1}])], "null does not pass"


def test_in_snapshots_rows_that_do_not_pass_are_left_out_for_consumers_that_sweep() -> None:
    low = {**WHOLE, "total": "1"}
    step = {"type": "filter", "where": "total >= 10"}
    assert told(made(step), insert(low), lane="snapshot") == []
    assert told(made(step, sweeps=False), insert(low), lane="snapshot") == [("delete", [{"id": 1}])]


def test_a_filter_on_the_key_alone_never_sends_the_others() -> None:
    transformer = made({"type": "filter", "where": "id % 2 == 0"})
    two = {**WHOLE, "id": 2}
    assert told(transformer, insert(WHOLE, two), update({"id": 1, "total": "3"}, {"id": 2, "total": "3"})) == [
        ("insert", [two]),
        ("update", [{"id": 2, "total": "3"}]),
    ]
    assert told(transformer, delete({"id": 1}), delete({"id": 2})) == [("delete", [{"id": 2}])]
    assert transformer.untold(update({"id": 2, "total": "3"})) is None


def test_a_partial_update_that_may_let_a_row_in_is_held_back_and_one_that_throws_it_out_is_told() -> None:
    transformer = made({"type": "filter", "where": "total >= 10"})
    passes, fails, unknown = (
        update({"id": 1, "total": "11"}),
        update({"id": 1, "total": "9"}),
        update({"id": 1, "first": "B"}),
    )
    assert [bool(transformer.untold(event)) for event in (passes, fails, unknown)] == [True, False, True]
    assert told(transformer, passes, fails, unknown) == [("delete", [{"id": 1}])]


def test_the_rows_that_are_owed_are_named_one_by_one() -> None:
    """
    Those that fail, and those that are refused when they are sent, are not among them, and don't hide the others.
    """
    transformer = made({"type": "filter", "where": "total >= 10"})
    mixed = update(*({"id": n, "total": total} for n, total in enumerate(["11", "9", True, "12"])))
    assert transformer.untold(mixed) == (ANY, [0, 3])
    other = update({"id": 1, "total": "9"}, {"id": 2, "first": "B"}, {"id": 3, "total": "9"}, {"id": 4, "first": "B"})
    assert transformer.untold(other) == (ANY, [1, 3]), "counted over rows of different columns"


def test_a_key_that_changes_twice_in_one_event_ends_as_the_last_says() -> None:
    transformer = made({"type": "filter", "where": "total >= 10"})
    high, low = WHOLE, {**WHOLE, "total": "1"}
    assert [kind for kind, _ in told(transformer, update(high, low))] == ["insert", "delete"]
    assert [kind for kind, _ in told(transformer, update(low, high))] == ["delete", "insert"]
    assert told(transformer, update(low, high, low)) == [
        ("delete", [{"id": 1}]),
        ("insert", [high]),
        ("delete", [{"id": 1}]),
    ]


def test_deletes_of_a_filter_have_the_masked_key() -> None:
    transformer = made(
        {"type": "filter", "where": "total >= 10"},
        {"type": "mask", "fields": ["id"], "method": "hash", "salt": "a long salt"},
        {"type": "rename", "fields": {"id": "uid"}},
        {"type": "constant", "to": "origin", "value": "x"},
    )
    [gone] = transformer.apply([insert(WHOLE | {"total": "1"})]).events
    [deleted] = transformer.apply([delete({"id": 1})]).events
    assert gone == deleted and gone.key == ("uid",) and gone.fields == ("uid",)


def test_numbers_of_rows_without_a_key_stay_theirs() -> None:
    transformer = made({"type": "filter", "where": "n != 2"}, {"type": "constant", "to": "c", "value": 1})
    rows = [(1, "a"), (2, "b"), (2, "c"), (3, "d"), (1, "a")]
    event = InsertEvent("db", "bag", rows, ["n", "t"], 9, ordinal=10)
    out = transformer.apply([event, EventBase("delete", "db", "bag", rows, ["n", "t"], 9, ordinal=15)]).events
    assert [(e.event_type.value, e.ordinal, len(e.rows)) for e in out] == [
        ("insert", 10, 1),
        ("insert", 13, 2),
        ("delete", 15, 1),
        ("delete", 18, 2),
    ]
    assert all(list(e.fields) == ["n", "t", "c"] and e.key is None for e in out), "what goes looks like what came"


def test_a_filtered_snapshot_of_a_table_without_a_key_counts_what_is_left() -> None:
    transformer = made({"type": "filter", "where": "n != 2"})

    def chunk(ordinal: int, *numbers: int) -> EventBase | None:
        rows = [(n,) for n in numbers]
        return transformer.chunk(InsertEvent("db", "bag", rows, ["n"] if rows else (), 9, ordinal=ordinal))

    for _ in range(2):  # read again from its beginning: counted anew
        first, none, last, end = chunk(0, 1, 2, 3), chunk(3, 2, 2), chunk(5, 2, 1), chunk(7)
        assert first is not None and last is not None and end is not None and none is None
        assert [(e.ordinal, [row[0] for row in e.rows]) for e in (first, last, end)] == [  # type: ignore[index]
            (0, [1, 3]),
            (2, [1]),
            (3, []),
        ]


def test_dict_rows_with_different_fields_keep_their_order_and_what_they_lack() -> None:
    transformer = made({"type": "rename", "fields": {"first": "given"}})
    rows = [{"id": 1, "first": "a"}, {"id": 1, "last": "b"}, {"id": 2, "first": "c"}]
    assert told(transformer, update(*rows)) == [
        ("update", [{"id": 1, "given": "a"}]),
        ("update", [{"id": 1, "last": "b"}]),
        ("update", [{"id": 2, "given": "c"}]),
    ]


def test_a_source_that_does_not_tell_its_columns_is_learnt_from_its_inserts() -> None:
    transformer = made({"type": "filter", "where": "total == 1"})
    row = {"id": 1, "a": 2, "total": 1}
    blind = update(row, columns=None)
    assert transformer.untold(blind), "nothing is known yet: it may lack columns"
    assert transformer.untold(insert(row, columns=None)) is None
    assert transformer.untold(blind) is None and told(transformer, blind) == [("insert", [row])]
    assert transformer.untold(insert({**row, "b": 1}, columns=None)), "a column more: those before lacked it"


MAPPING = [
    {"to": "user_id", "source": ["users.id"]},
    {"to": "name", "source": ["users.first", "users.last"], "combine": "join", "separator": ", ", "required": True},
    {"to": "any", "source": ["users.last", "users.first", "other.x"]},
]


def test_mapping_renames_combines_and_requires() -> None:
    transformer = made(mapping=MAPPING)
    [event] = transformer.apply([insert(WHOLE | {"last": None})]).events
    assert event.fields == ("user_id", "name", "any") and event.key == ("user_id",)
    assert event.rows == [[1, "Ada", "Ada"]]
    assert told(transformer, delete({"id": 1})) == [("delete", [{"user_id": 1}])]
    half = update({"id": 1, "first": "B"})
    assert transformer.untold(half) and told(transformer, half) == [("update", [{"user_id": 1}])]
    with pytest.raises(BatchRejected, match="'name' requires") as caught:
        transformer.apply([insert(WHOLE), insert(WHOLE | {"first": None, "last": None})])
    assert list(caught.value.rejected) == [1] and "fields_mapping" in caught.value.hint


def test_what_a_filter_takes_out_need_not_have_what_the_consumer_requires() -> None:
    """
    Such a row is filtered, in the stream and in snapshots, with a key or without; one that passes is refused as ever.
    """
    nobody = {"id": 2, "first": None, "last": None, "total": "0"}
    for where in ("total > 1", "first is not null", "id < 2"):
        transformer = made({"type": "filter", "where": where}, mapping=MAPPING)
        for lane in ("message", "snapshot"):
            events = transformer.apply([insert(WHOLE, nobody)], lane=lane).events  # type: ignore[arg-type]
            assert [row["user_id"] for row in row_dicts(events[0])] == [1]
        [event] = transformer.apply([insert(WHOLE, nobody, key=None, ordinal=0)]).events
        assert len(event.rows) == 1
        with pytest.raises(BatchRejected, match="'name' requires"):
            made(mapping=MAPPING).apply([insert(nobody)])


def test_every_kind_of_event_tells_the_same_columns() -> None:
    """
    A consumer that learns its columns from events must not see some come and go with each delete.
    """
    steps = made(
        {"type": "filter", "where": "total > 1"},
        {"type": "constant", "to": "origin", "value": "eu"},
        {"type": "derive", "to": "name", "value": "concat(first, last)"},
        {"type": "drop", "fields": ["last"]},
    )
    for transformer in (steps, made(mapping=MAPPING)):
        events = [
            insert(WHOLE),
            update({"id": 1, "total": "0"}),
            update(WHOLE),
            delete({"id": 1}),
            insert(WHOLE | {"total": "0"}),
        ]
        told = [event.columns for event in transformer.apply(events).events]
        assert len(told) == 5 and all(columns == told[0] for columns in told)


def test_mapping_keeps_the_key_and_other_tables() -> None:
    transformer = made(mapping=[{"to": "given", "source": ["db.users.first"]}])
    assert told(transformer, insert(WHOLE)) == [("insert", [{"given": "Ada", "id": 1}])]
    other = InsertEvent("db", "other", [{"x": 1}])
    assert transformer.apply([other]).events[0] is other


def test_a_row_that_can_not_be_computed_is_refused_by_the_event_it_is_in() -> None:
    transformer = made({"type": "derive", "to": "x", "value": "1 / id"})
    with pytest.raises(BatchRejected, match="division by zero") as caught:
        transformer.apply([insert(WHOLE), insert({**WHOLE, "id": 0}), insert(WHOLE)])
    assert list(caught.value.rejected) == [1]
    assert caught.value.code == "transform.failed"


def test_a_row_that_can_not_be_computed_is_told_with_the_expression_that_failed() -> None:
    """
    A field that is derived from another, or a filter that reads it, names the expression that has failed, which is not its own.
    """
    first = {"type": "derive", "to": "x", "value": "10 / total"}
    for step in ({"type": "derive", "to": "y", "value": "x + 1"}, {"type": "filter", "where": "x > 1"}):
        with pytest.raises(BatchRejected, match=r"`10 / total`, at character 1: division by zero"):
            made(first, step).apply([insert(WHOLE | {"total": "0"})])


def test_what_the_consumer_refuses_is_blamed_on_the_event_it_came_from() -> None:
    outgoing = made({"type": "filter", "where": "total >= 10"}).apply(
        [insert(WHOLE, WHOLE | {"total": "1"}, WHOLE), insert(WHOLE)]
    )
    assert outgoing.origins == [0, 0, 0, 1], "one key three ways: each in its turn"
    blamed = outgoing.blamed(BatchRejected("no", rejected={len(outgoing.origins) - 1: "too long"}))
    assert blamed.rejected == {1: "too long"}
