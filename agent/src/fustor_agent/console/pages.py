"""
Imports every page, which registers it.
"""

from __future__ import annotations

from fustor_agent.console import (
    banner,
    dashboard,
    dead_letters,
    entries,
    entry_form,
    log,
    new_pusher,
    revisions,
    source_wizard,
    sync_wizard,
    watch,
)

__all__ = [
    "banner",
    "dashboard",
    "dead_letters",
    "entries",
    "entry_form",
    "log",
    "new_pusher",
    "revisions",
    "source_wizard",
    "sync_wizard",
    "watch",
]
