"""
Which values an entry of the configuration may hold: those that the API can show, and that the agent can keep, as they are.

YAML knows more (binary data, sets, keys that are lists, text with halves of characters); such a value would break whatever shows it.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import Any, Final

from fustor_agent.config_problems import Finding
from fustor_agent.writable import is_writable
from fustor_agent.yaml_places import DEEPEST, Place

_DEEPEST: Final = DEEPEST - 2  # the section and the id are above an entry
_ALLOWED: Final = "allowed: text, numbers, true, false, dates, lists, and keys with values"


def unfit(value: Any, place: Place = ()) -> Iterator[Finding]:
    """
    Give a finding for each value at or below a place that an entry may not hold.
    """
    if len(place) > _DEEPEST:
        yield Finding(place[:3], "nested too deeply", f"allowed: {_DEEPEST} levels")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(name, str) and is_writable(name):
                yield from unfit(inner, (*place, name))
            elif name is None or isinstance(name, int | float):
                yield from unfit(inner, (*place, str(name)))
            else:
                yield Finding(place, "a key below it is no text", "allowed: keys that are text")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from unfit(inner, (*place, str(at)))
    elif isinstance(value, str):
        if not is_writable(value):
            yield Finding(place, "half a character (a lone surrogate)", "allowed: text that UTF-8 can write")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Finding(place, "no number that can be counted with", "allowed: a number, neither infinite nor `.nan`")
    elif not (value is None or isinstance(value, int | datetime.date)):
        yield Finding(place, "a value of a kind that can't be used here", _ALLOWED)
