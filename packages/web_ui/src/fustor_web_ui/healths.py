"""
How a sync is, in the words that every console has for it. `fustor_core.sync_health` says which of them is right.
"""

from __future__ import annotations

from typing import Final

from fustor_web_ui.states import Mood

MEANINGS: Final[dict[str, str]] = {
    "failed": "It has stopped by itself. The agent's console says why, and what to do.",
    "retrying": "Something is in its way, and it tries again by itself. The agent's console says what it is.",
    "copying": "Changes arrive as they happen, and what was there before is being copied beside them.",
    "live": "Changes arrive as they happen.",
    "starting": "It is on its way to its source and to where it pushes.",
    "stopping": "It is being stopped.",
    "stopped": "It does not run: it is disabled, or somebody stopped it.",
}
"""
What each of them means, in English, for pages that explain them.
"""
HEALTH: Final[dict[str, tuple[str, Mood]]] = {
    "failed": ("failed", Mood.BAD),
    "retrying": ("trying again", Mood.WAIT),
    "copying": ("live, copying", Mood.GOOD),
    "live": ("live", Mood.GOOD),
    "starting": ("starting", Mood.WAIT),
    "stopping": ("stopping", Mood.WAIT),
    "stopped": ("stopped", Mood.OFF),
}
