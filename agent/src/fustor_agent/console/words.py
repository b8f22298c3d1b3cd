"""
The words of the states of tables, and what they mean for a person; and what the agent says of itself in the person's language, where that is
always the same.
"""

from __future__ import annotations

import re
from typing import Final

from fustor_web_ui.formats import count, listed
from fustor_web_ui.page import Page
from fustor_web_ui.states import Mood

TABLE: Final[dict[str, tuple[str, Mood]]] = {
    "errored": ("errored", Mood.BAD),
    "copying": ("copying", Mood.WAIT),
    "paused": ("paused", Mood.OFF),
    "waiting": ("waiting", Mood.WAIT),
    "live": ("live", Mood.GOOD),
}

TABLE_COUNTS: Final[dict[str, str]] = {
    "errored": "{number} errored",
    "copying": "{number} copying",
    "paused": "{number} paused",
    "waiting": "{number} waiting",
    "live": "{number} live",
}

IN_TROUBLE: Final = ("failed", "retrying")
"""
The healths of a sync that something is wrong with, which it tells the reason of.
"""

ALL_ARRIVED: Final = "Everything has arrived."

REASONS: Final[dict[str, str]] = {
    "stopped": "It is stopped.",
    "stopped by a person": "Somebody has stopped it. It stays so until it is started, or the agent starts again.",
    "stopping: waiting for pushes under way": "It is stopping: pushes under way are finished first.",
    "opening a session with the consumer": "It is connecting to the consumer.",
    "waiting for the source to open its stream": "It is waiting for the source to open its stream.",
    "sending live changes": "Live changes are being sent.",
    "changes are missing; the consumer was told and has not answered": "Changes are missing. The consumer was told, and has not answered yet.",
    "live; every change was sent, and the consumer asks for nothing": ALL_ARRIVED,
    "live; the snapshot is paused by a person": "Somebody has paused the snapshot. Live changes go on.",
    "the snapshot waits for that of another sync of this source": "The snapshot waits for that of another sync of this source.",
    "copying": "What was there before is being copied; live changes go on.",
    "its configuration has changed since it was started": "Its configuration has changed. It goes on with the one before until the changes are applied.",
}
"""
What the agent says of a sync that needs nobody to do anything.
"""

NOTES: Final = (
    "This filter uses fields other than the key. If an update does not carry them, the row is read again from the source.",
)
"""
What the agent says of transforms when they are tried on rows, where that is always the same.
"""

_REVISIONS: Final = (
    (r"found at start", "found at start"),
    (r"edited by hand", "edited by hand"),
    (r"edited by hand: (?P<names>.+)", "edited by hand: {names}"),
    (r"added (?P<what>.+)", "added {what}"),
    (r"changed (?P<what>[^:]+): (?P<names>.+)", "changed {what}: {names}"),
    (r"changed (?P<what>.+)", "changed {what}"),
    (r"enabled (?P<what>.+)", "enabled {what}"),
    (r"disabled (?P<what>.+)", "disabled {what}"),
    (r"cloned (?P<what>.+) by (?P<by>.+)", "cloned {what} as {by}"),
    (r"superseded (?P<what>.+) by (?P<by>.+)", "put {by} in the place of {what}"),
    (r"rolled back to revision (?P<what>.+)", "rolled back to revision {what}"),
    (r"deleted what no sync uses: (?P<names>.+)", "deleted what no sync uses: {names}"),
    (r"deleted (?P<what>.+) and the syncs (?P<names>.+)", "deleted {what} and the syncs {names}"),
    (r"deleted (?P<what>.+)", "deleted {what}"),
)


def letters(page: Page, number: int) -> str:
    """
    Say how many dead letters there are. A letter has one row.
    """
    return page.t("1 dead letter") if number == 1 else page.t("{number} dead letters", number=count(number))


def of_revision(page: Page, reason: str) -> str:
    """
    Say what brought a revision about.
    """
    for pattern, english in _REVISIONS:
        found = re.fullmatch(pattern, reason, re.DOTALL)
        if found is not None:
            values = found.groupdict()
            if "names" in values:
                values["names"] = listed(page, values["names"].split(", "))
            return page.t(english, **values)
    return reason
