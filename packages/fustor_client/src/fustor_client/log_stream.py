"""
The Agent's log as it grows: the events of its stream read into lines.
"""

from __future__ import annotations

import msgspec

from fustor_client.agent_models import LogLine
from fustor_client.faults import garbled
from fustor_client.sse import EventReader


class LogReader:
    """
    Turns the lines of the stream into lines of the log. One per connection.

    Args:
        url: Address of the stream, for messages.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._events = EventReader()

    def feed(self, text: str) -> LogLine | None:
        """
        Take one line of the stream; return the line of the log that it completes.

        Raises:
            FustorError: It can't be read.
        """
        event = self._events.feed(text)
        if event is None or event.kind != "line":
            return None  # or a kind of event that this version does not know
        try:
            return msgspec.json.decode(event.data, type=LogLine)
        except (msgspec.DecodeError, UnicodeEncodeError) as exc:
            raise garbled(self._url, exc) from exc
