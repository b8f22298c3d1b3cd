"""
Pushes between their first send and their answer, by lane.

Live pushes and those of a snapshot have lanes of their own; each push is numbered over both. Neighbours: `ordering` (what a
push is, and who waits for whom), `live` and `snapshot_lane` (who build them).
"""

from __future__ import annotations

from collections import deque

from fustor_agent.sync.ordering import Lane, Push


class Traffic:
    """
    What was sent and is not done.

    Attributes:
        seq: Number of the newest send.
        retry: Pushes that failed and are sent again, by lane.
        under_way: Pushes from their first send to their answer, by lane.
        transit: How many were sent and neither answered nor failed, by lane.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.retry: dict[Lane, deque[Push]] = {"message": deque(), "snapshot": deque()}
        self.under_way: dict[Lane, list[Push]] = {"message": [], "snapshot": []}
        self.transit: dict[Lane, int] = {"message": 0, "snapshot": 0}

    def next_seq(self) -> int:
        """
        Number the next send.
        """
        self.seq += 1
        return self.seq

    def send(self, push: Push) -> None:
        """
        A push goes out, for the first time or again.
        """
        push.sent = self.next_seq()
        self.transit[push.lane] += 1
        if not any(push is one for one in self.under_way[push.lane]):
            self.under_way[push.lane].append(push)

    def came_back(self, push: Push) -> None:
        """
        A push was answered, or failed.
        """
        self.transit[push.lane] -= 1

    def done(self, push: Push) -> None:
        """
        A push is no longer under way.
        """
        self.under_way[push.lane] = [one for one in self.under_way[push.lane] if one is not push]

    def send_again(self, push: Push) -> None:
        """
        A push that failed is the next of its lane.
        """
        self.retry[push.lane].appendleft(push)

    def replace(self, push: Push, parts: list[Push]) -> None:
        """
        Smaller pushes take the place of one that was refused.
        """
        self.done(push)
        self.under_way[push.lane].extend(parts)
        self.retry[push.lane].extendleft(reversed(parts))

    def abandon(self, lane: Lane) -> None:
        """
        Nothing of a lane is sent again.
        """
        retrying = self.retry[lane]
        for push in self.under_way[lane]:
            push.abandoned = True
        self.under_way[lane] = [push for push in self.under_way[lane] if not any(push is one for one in retrying)]
        retrying.clear()

    @property
    def in_transit(self) -> int:
        """
        Pushes sent and not yet answered.
        """
        return sum(self.transit.values())
