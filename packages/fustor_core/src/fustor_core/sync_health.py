"""
How a sync is, in one word: what people look for among many.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

Health = Literal["failed", "retrying", "copying", "live", "starting", "stopping", "stopped"]
HEALTHS: Final[tuple[Health, ...]] = get_args(Health)

RETRYING: Final = "RETRYING"
"""
What an agent adds to the states of a sync for a service that is told nothing but those: something went wrong, and is being tried again.
"""
_BY_STATE: Final[tuple[tuple[str, Health], ...]] = (
    ("ERROR", "failed"),
    (RETRYING, "retrying"),
    ("STOPPING", "stopping"),
    ("SNAPSHOT_SYNC", "copying"),
    ("MESSAGE_SYNC", "live"),
    ("STARTING", "starting"),
)


def health_of(states: Collection[str], *, is_troubled: bool = False) -> Health:
    """
    Return the word for the states of a sync: the worst of them; `copying` is live, too.

    Args:
        states: The states.
        is_troubled: Whether something went wrong that waiting may cure, so that it is being tried again.
    """
    if is_troubled and "ERROR" not in states:
        return "retrying"
    return next((health for state, health in _BY_STATE if state in states), "stopped")
