"""
Events keep the call shapes that drivers in the field rely on.
"""

import pytest

from fustor_core.models.event import DeleteEvent, EventBase, EventType, InsertEvent, UpdateEvent, progress_mark


def test_positional_and_keyword_forms_give_the_same_event() -> None:
    rows = [{"id": 1, "name": "a"}]

    by_position = InsertEvent("public", "users", rows, index=7)
    by_keyword = InsertEvent(event_schema="public", table="users", rows=rows, index=7)

    assert by_position == by_keyword
    assert by_position.fields == ("id", "name")
    assert by_position.event_type is EventType.INSERT


def test_index_is_minus_one_when_unknown() -> None:
    assert DeleteEvent("public", "users", [{"id": 1}]).index == -1


@pytest.mark.parametrize(
    ("cls", "kind"),
    [(InsertEvent, EventType.INSERT), (UpdateEvent, EventType.UPDATE), (DeleteEvent, EventType.DELETE)],
)
def test_each_class_has_its_type(cls: type[EventBase], kind: EventType) -> None:
    assert cls("s", "t", [(1,)], ["id"]).event_type is kind  # type: ignore[arg-type, call-arg]


def test_base_class_takes_the_type_first_as_text_too() -> None:
    assert EventBase("update", "s", "t", [(1,)], ["id"]).event_type is EventType.UPDATE


def test_sequences_need_fields() -> None:
    with pytest.raises(ValueError, match="need `fields`"):
        InsertEvent("s", "t", [(1, 2)])


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="2 values for 3 fields"):
        InsertEvent("s", "t", [(1, 2)], ["a", "b", "c"])


def test_an_event_without_rows_is_a_progress_mark() -> None:
    mark = progress_mark(12)

    assert mark.is_progress_mark
    assert (mark.index, mark.fields, list(mark.rows)) == (12, (), [])
    assert not InsertEvent("s", "t", [{"a": 1}]).is_progress_mark


def test_repr_names_table_count_and_index_but_no_values() -> None:
    text = repr(InsertEvent("s", "t", [{"password": "hunter2"}], index=3))

    assert "s.t" in text and "1 rows" in text and "index=3" in text
    assert "hunter2" not in text
