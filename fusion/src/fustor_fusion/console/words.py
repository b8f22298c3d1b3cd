"""
What states are called, and how well that is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fustor_web_ui.states import Mood


class Word(NamedTuple):
    """
    What something is called.

    Attributes:
        text: English.
        mood: How well that is.
        meaning: English: a sentence that says what it means, and what to do.
    """

    text: str
    mood: Mood
    meaning: str


STATES: Final[dict[str, Word]] = {
    "silent": Word(
        "silent",
        Mood.BAD,
        "The agent has not been heard of for a while. Look whether it runs and reaches Fusion; it goes on where it was.",
    ),
    "stopped": Word(
        "stopped",
        Mood.BAD,
        "No agent feeds it now. Start the agent, or enable the sync there; it goes on where it was.",
    ),
    "waiting": Word(
        "awaiting copy",
        Mood.WAIT,
        "Changes arrive. What was there before has not begun to be copied; the agent was asked to.",
    ),
    "copying": Word("copying", Mood.WAIT, "Changes arrive, and what was there before is being copied beside them."),
    "live": Word("live", Mood.GOOD, "Changes arrive as they happen, and everything is there."),
    "removed": Word(
        "removed", Mood.OFF, "Nobody fed it for as long as the datastore keeps data, so its rows were removed."
    ),
}
COVERAGES: Final[dict[str, Word]] = {
    "complete": Word("complete", Mood.GOOD, "Every row is there."),
    "copying": Word("copying", Mood.WAIT, "Older rows are being copied: some may not be there yet."),
    "gap": Word(
        "gap",
        Mood.BAD,
        "Changes went missing at the source. The agent was asked to copy the rows again, which fills the gap.",
    ),
    "partial": Word(
        "incomplete",
        Mood.WAIT,
        "Only what changed since the sync began is there for sure: no copy of older rows has ended yet.",
    ),
}


def word_of(words: dict[str, Word], name: str) -> Word:
    """
    Return the word of a state; a newer service may know states that are unknown here.
    """
    return words.get(name) or Word(name, Mood.OFF, "")
