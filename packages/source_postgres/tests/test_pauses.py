"""
How long a reader that is behind pauses between two reads.
"""

from __future__ import annotations

from fustor_source_postgres.pauses import LONGEST_S, SHORTEST_S, Pauses


class _Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def work(self, share_of_pause: float) -> None:
        self.now += share_of_pause * (self.slept[-1] if self.slept else SHORTEST_S)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_pauses_grow_while_the_reader_is_at_work_and_shrink_when_it_has_caught_up() -> None:
    time = _Time()
    pauses = Pauses(lambda: time.now, time.sleep)
    for _ in range(8):
        time.work(0.5)  # what a pause brought keeps it busy for half as long again
        pauses.take()
    assert time.slept == sorted(time.slept) and time.slept[-1] == LONGEST_S
    for _ in range(8):
        time.work(0.01)
        pauses.take()
    assert time.slept[-1] == SHORTEST_S


def test_a_steady_load_that_the_reader_keeps_up_with_has_short_pauses() -> None:
    time = _Time()
    pauses = Pauses(lambda: time.now, time.sleep)
    for _ in range(50):
        time.work(0.25)
        pauses.take()
    assert set(time.slept) == {SHORTEST_S}


def test_a_reader_that_had_caught_up_begins_with_a_short_pause() -> None:
    time = _Time()
    pauses = Pauses(lambda: time.now, time.sleep)
    for _ in range(8):
        time.now += LONGEST_S
        pauses.take()
    pauses.caught_up()
    time.now += 60  # nothing came
    pauses.take()
    assert time.slept[-2:] == [LONGEST_S, SHORTEST_S]
