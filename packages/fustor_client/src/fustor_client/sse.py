"""
Server-sent events: from the lines of a stream to its events.
"""

from __future__ import annotations

from typing import Final, NamedTuple

IDLE_S: Final = 60.0
"""
After this long without a byte (our services send comments to keep a stream alive) the connection counts as broken.
"""


class Event(NamedTuple):
    """
    One event: its kind, and what it carries.
    """

    kind: str
    data: str


class EventReader:
    """
    Puts the lines of a stream together. One per connection.
    """

    def __init__(self) -> None:
        self._kind = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """
        Take one line; return the event that it completes, None while none is complete.
        """
        if line == "":
            event = Event(self._kind or "message", "\n".join(self._data))
            self._kind, self._data = "", []
            return event if event.data else None
        if line.startswith(":"):
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        return None
