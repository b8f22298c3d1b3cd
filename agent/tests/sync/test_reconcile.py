"""
What the log of touches remembers in little space, against a list of everything that happened.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fustor_agent.sync.reconcile import TouchedLog
from fustor_core.models.event import EventBase, EventType, InsertEvent

KEYS = range(4)
touches = st.lists(
    st.tuples(
        st.integers(1, 12), st.sampled_from(list(EventType)), st.lists(st.sampled_from(KEYS), min_size=1, unique=True)
    ),
    max_size=14,
)


def live(index: int, kind: EventType, keys: list[int]) -> EventBase:
    rows = [{"id": key, **({} if kind is EventType.DELETE else {f"c{index}": index})} for key in keys]
    columns = {"id": {}, **{f"c{n}": {} for n in range(13)}} if kind is EventType.UPDATE else None
    return EventBase(kind, "s", "t", rows, index=index, key=("id",), columns=columns)


@given(touches, st.integers(0, 12), st.integers(0, 12))
def test_a_chunk_is_reconciled_as_if_every_touch_were_remembered(
    happened: list[tuple[int, EventType, list[int]]], low: int, pruned: int
) -> None:
    """
    Also with repetitions (an index goes back after the stream was opened again), and after forgetting what no chunk needs.
    """
    log = TouchedLog(1000)
    log.start(-1)
    for at, (index, kind, keys) in enumerate(happened):
        log.record(live(index, kind, keys))
        if at == len(happened) // 2:
            log.prune(min(pruned, low), 12)
    chunk = InsertEvent("s", "t", [{"id": key, "old": True} for key in KEYS], index=low, key=("id",))
    left = log.reconcile(chunk, chunk.rows, low)
    untouched, merged, dropped = set(), {}, 0
    for key in KEYS:
        newer = [(index, kind) for index, kind, keys in happened if key in keys and index > low]
        if not newer:
            untouched.add(key)
        elif any(kind is not EventType.UPDATE for _, kind in newer):
            dropped += 1
        else:
            merged[key] = {"id": key, "old": True, **{f"c{index}": index for index, _ in newer}}
    assert {row["id"] for row in left.untouched} == untouched  # type: ignore[index, call-overload]
    assert {row["id"]: row for row in left.merged} == merged
    assert left.dropped == dropped


def test_rows_touched_again_and_again_take_no_more_room() -> None:
    log = TouchedLog(10)
    log.start(-1)
    for index in range(100):
        log.record(live(index, EventType.INSERT, [1, 2, 3]))
    assert not log.is_full
    for index in range(100, 110):
        log.record(live(index, EventType.UPDATE, [1]))
    assert log.is_full
