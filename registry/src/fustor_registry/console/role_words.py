"""
What the roles may do, in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fustor_web_ui.legend import Meaning, legend
from fustor_web_ui.page import Page

_MEANINGS: Final = {
    "admin": "Sees and does everything in every datastore, and manages the users.",
    "owner": "May make datastores. In those that they own: changes the rules, the members and every API key.",
    "member": "Makes API keys for reading and writing, and changes or revokes those of their own.",
    "read-only": "Sees the datastore with its API keys and agents, and changes nothing.",
}


def role_legend(page: Page, roles: Iterable[str]) -> None:
    """
    Say what roles may do.
    """
    t = page.t
    legend(t("What the roles may do"), [("", [Meaning(t(role), t(_MEANINGS[role])) for role in roles])])
