"""
What people see of a sync's speed, of how far its snapshot is, and of its health.
"""

from __future__ import annotations

import pytest

from fustor_agent.sync.expected import Expected
from fustor_agent.sync.rates import Rates, Sample, rates
from fustor_core.sync_health import health_of


def sample(at: float, rows: int) -> Sample:
    return Sample(at, rows * 2, rows, rows, rows)


def test_rates_are_those_of_the_last_seconds() -> None:
    samples = [sample(0.0, 0), sample(50.0, 5000), sample(55.0, 5100)]

    assert rates(samples, sample(60.0, 5200)) == Rates(40.0, 20.0, 20.0, 20.0)


def test_a_sync_that_does_nothing_has_no_rate_however_fast_it_was() -> None:
    """
    It takes no samples then, so the newest one is old.
    """
    assert rates([sample(0.0, 0), sample(1.0, 5000)], sample(100.0, 5000)) == Rates()
    assert rates([], sample(1.0, 1)) == Rates()


def test_a_snapshot_is_expected_to_have_what_the_driver_says() -> None:
    expected = Expected()
    expected.begin("a", is_whole=True)
    assert expected.rows is None
    expected.told("a", {"shop.orders": 10, "old.orders": 5, "shop.users": 3})
    expected.read("orders", 4)

    assert expected.rows == 18
    assert (expected.of_table("orders"), expected.of_table("users")) == ((4, 15), (None, 3))


def test_else_what_the_whole_snapshot_before_it_had() -> None:
    expected = Expected()
    expected.begin("a", is_whole=True)
    expected.told("a", None)
    expected.end(70)
    expected.begin("b", is_whole=False)
    assert expected.rows is None, "a narrowed one has not as many"
    expected.end(3)
    expected.begin("c", is_whole=True)

    assert expected.rows == 70


@pytest.mark.parametrize(
    ("states", "is_troubled", "health"),
    [
        (["MESSAGE_SYNC"], False, "live"),
        (["MESSAGE_SYNC", "SNAPSHOT_SYNC"], False, "copying"),
        (["MESSAGE_SYNC", "RUNNING_CONF_OUTDATE"], False, "live"),
        (["MESSAGE_SYNC", "SNAPSHOT_SYNC"], True, "retrying"),
        (["STARTING"], True, "retrying"),
        (["STARTING"], False, "starting"),
        (["STARTING", "RETRYING"], False, "retrying"),
        (["STARTING", "RETRYING", "ERROR"], False, "failed"),
        (["MESSAGE_SYNC", "ERROR"], True, "failed"),
        (["STOPPING"], False, "stopping"),
        (["STOPPED"], False, "stopped"),
    ],
)
def test_health_is_the_worst_and_never_green_while_something_fails(
    states: list[str], is_troubled: bool, health: str
) -> None:
    assert health_of(states, is_troubled=is_troubled) == health
