"""
What goes wrong again and again is in the log once, then at growing intervals.
"""

from __future__ import annotations

from itertools import pairwise

from fustor_agent.sync.complaints import FIRST_S, LONGEST_S, Complaints


class Clock:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_failure_is_told_at_growing_intervals_with_how_often_it_happened() -> None:
    clock = Clock()
    complaints = Complaints(clock)
    told: list[tuple[float, str]] = []
    for at in range(4 * int(FIRST_S) + 1):
        clock.now = 1000.0 + at
        if (text := complaints.due("can't connect")) is not None:
            told.append((at, text))
    assert told == [
        (0, "can't connect"),
        (FIRST_S, f"can't connect ({int(FIRST_S) - 1} times more in the last 60 s)"),
        (3 * FIRST_S, f"can't connect ({2 * int(FIRST_S) - 1} times more in the last 120 s)"),
    ]


def test_the_wait_between_two_lines_has_an_end() -> None:
    clock = Clock()
    complaints = Complaints(clock)
    told = []
    for at in range(0, 3 * 3600, 10):
        clock.now = 1000.0 + at
        if complaints.due("can't connect") is not None:
            told.append(at)
    gaps = [after - before for before, after in pairwise(told)]
    assert gaps == sorted(gaps) and gaps[-1] == LONGEST_S


def test_another_failure_is_told_at_once_and_numbers_make_no_other() -> None:
    clock = Clock()
    complaints = Complaints(clock)
    assert complaints.due("no answer within 3.5 s on port 50312") is not None
    assert complaints.due("no answer within 4.25 s on port 50414") is None
    assert complaints.due("the key is not accepted") == "the key is not accepted"
    assert complaints.due("no answer within 3 s on port 50999") is None


def test_what_has_not_happened_for_long_is_told_as_if_for_the_first_time() -> None:
    clock = Clock()
    complaints = Complaints(clock)
    for _ in range(3):
        complaints.due("can't connect")
    clock.now += LONGEST_S + 1
    assert complaints.due("can't connect") == "can't connect"
    assert complaints.due("can't connect") is None


def test_what_always_differs_does_not_grow_without_end() -> None:
    complaints = Complaints(Clock())
    texts = [f"wrong {chr(0x4E00 + at)}" for at in range(1000)]
    assert all(complaints.due(text) == text for text in texts)
    assert complaints.due(texts[-1]) is None
    assert complaints.due(texts[0]) == texts[0]


def test_what_is_said_to_be_alike_is_told_once_whatever_its_text() -> None:
    clock = Clock()
    complaints = Complaints(clock)
    assert complaints.due("the row 'ann' is too long", alike="rows of t") == "the row 'ann' is too long"
    assert complaints.due("the row 'bob' is too long", alike="rows of t") is None
    assert complaints.due("the row 'bob' is too long", alike="rows of u") is not None
    clock.now += FIRST_S
    assert complaints.due("the row 'cid' is too long", alike="rows of t") == (
        "the row 'cid' is too long (1 times more in the last 60 s)"
    )
