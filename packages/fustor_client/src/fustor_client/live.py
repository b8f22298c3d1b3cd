"""
The live stream: its events read into `Change` and `Lost`, and when to connect again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec

from fustor_client.faults import garbled
from fustor_client.models import Change, Lost
from fustor_client.sse import EventReader
from fustor_core.errors import FustorError, OverloadedError


class ChangeReader:
    """
    Turns the lines of the live stream into changes. One per connection.

    Args:
        url: Address of the stream, for messages.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._events = EventReader()

    def feed(self, line: str) -> Change | Lost | None:
        """
        Take one line; return what it completes, None while nothing is complete.

        Raises:
            FustorError: An event can't be read.
        """
        event = self._events.feed(line)
        if event is None:
            return None
        try:
            if event.kind == "change":
                return msgspec.json.decode(event.data, type=Change)
            if event.kind == "lost":
                said = msgspec.json.decode(event.data)
                return Lost(said if isinstance(said, int) else int(said["count"]))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as exc:
            raise garbled(self._url, exc) from exc
        return None  # a kind of event that this version does not know


@dataclass
class Reconnect:
    """
    How long to wait before connecting again: doubling from `first_s` to `most_s`, with jitter.
    """

    first_s: float = 0.2
    most_s: float = 5.0
    _failures: int = field(default=0, init=False)

    def reset(self) -> None:
        """
        Note that the connection works.
        """
        self._failures = 0

    def wait_s(self, error: FustorError | None) -> float:
        """
        Return the seconds to wait after this failure.
        """
        wait: float = min(self.most_s, self.first_s * 2.0**self._failures)
        self._failures += 1
        if isinstance(error, OverloadedError):
            wait = max(wait, error.wait_s)
        return wait * random.uniform(0.7, 1.0)
