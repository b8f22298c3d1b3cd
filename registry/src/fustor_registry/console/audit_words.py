"""
Entries of the audit trail in words: what was done, to what, and what has become of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fustor_client.models import AuditEntry
from fustor_web_ui.formats import NONE, listed, moment, shown
from fustor_web_ui.page import Page

ACTIONS: Final = {
    "login": "Sign-in",
    "login.fail": "Sign-in failed",
    "login.reuse": "Session ended: a token was used twice",
    "logout": "Signed out",
    "user.create": "User created",
    "user.update": "User changed",
    "user.password": "Password changed",
    "user.password_reset": "Password set by an admin",
    "user.remove": "User deleted",
    "datastore.create": "Datastore created",
    "datastore.update": "Datastore changed",
    "datastore.remove": "Datastore deleted",
    "member.set": "Member added or changed",
    "member.remove": "Member removed",
    "key.create": "API key created",
    "key.update": "API key changed",
    "key.rotate": "API key rotated",
    "key.revoke": "API key revoked",
    "agent.seen": "Agent's first report",
    "agent.forget": "Agent forgotten",
}
"""
What was done, in words: those of a newer service may be missing.
"""
GROUPS: Final = {
    "user": "All about users",
    "datastore": "All about datastores",
    "member": "All about members",
    "key": "All about API keys",
    "agent": "All about agents",
}
"""
What the service takes for all actions that begin so.
"""
_FIELDS: Final = {
    "name": "Name",
    "description": "Description",
    "role": "Role",
    "disabled": "Disabled",
    "must_change_password": "Has to change the password",
    "created_at": "Created at",
    "created_by": "Created by",
    "last_login_at": "Last signed in",
    "datastore_id": "Datastore",
    "scopes": "Scopes",
    "prefix": "Prefix",
    "expires_at": "Expires",
    "last_used_at": "Last used",
    "replaced_by": "Replaced by",
    "revoked_at": "Revoked at",
    "agent_id": "Agent",
    "version": "Version",
    "host": "Host",
    "address": "Address",
    "key_id": "API key",
    "first_seen_at": "First report",
    "last_seen_at": "Last heard from",
    "allow_concurrent_sessions": "Several syncs at once",
    "session_timeout_s": "Sessions end after (seconds)",
    "retention_days": "Keep what nobody feeds any more (days)",
    "max_rows": "Most rows",
    "max_bytes": "Most bytes",
    "logins_ended": "Sessions ended",
    "revoked_keys": "Keys revoked",
    "locked": "Has to wait before the next try",
}
_SAID_BESIDE: Final = ("created_at", "created_by")
"""
Of what is new: when it was made and by whom say other columns.
"""
_ALSO: Final = ("logins_ended", "revoked_keys", "locked")
_ACTORS: Final = {"system": "the service itself", "anonymous": "not signed in"}


class Names:
    """
    What ids are called.

    Args:
        datastores: Id to name.
        keys: Id to name.
    """

    def __init__(self, datastores: Mapping[str, str], keys: Mapping[str, str]) -> None:
        self._datastores = datastores
        self._keys = keys

    def datastore(self, identity: object) -> str:
        """
        Return the name of a datastore with its id; the id alone when it is not known (any more).
        """
        return _with_id(self._datastores.get(str(identity)), str(identity))

    def key(self, identity: object, name: str | None = None) -> str:
        """
        Return the name of a key with its id.

        Args:
            name: What it was called, where the entry says so.
        """
        return _with_id(name or self._keys.get(str(identity)), str(identity))


def _with_id(name: str | None, identity: str) -> str:
    return f"{name} ({identity})" if name else identity


def actor_of(page: Page, entry: AuditEntry, names: Names) -> str:
    """
    Say who did it.
    """
    kind, _, identity = entry.actor.partition(":")
    if kind == "key" and identity:
        return page.t("API key {name}", name=names.key(identity))
    return page.t(_ACTORS[entry.actor]) if entry.actor in _ACTORS else entry.actor


def action_of(page: Page, entry: AuditEntry) -> str:
    """
    Say what was done.
    """
    return page.t(ACTIONS.get(entry.action, entry.action))


def target_of(entry: AuditEntry, names: Names) -> str:
    """
    Say to what.
    """
    if not entry.action.startswith("key."):
        return entry.target
    told = (entry.after or {}).get("name") or (entry.details.get("created") or {}).get("name")
    return names.key(entry.target, told)


def details_of(page: Page, entry: AuditEntry, names: Names) -> str:
    """
    Say what is there now, what was there before, or what has become of what: a line for each field, those without a value left out.
    """
    before, after = _flat(entry.before), _flat(entry.after)
    if entry.action.endswith(".create"):
        after = {name: value for name, value in after.items() if name not in _SAID_BESIDE}
    lines = list(_changed(page, before, after, names) if before and after else _there(page, after or before, names))
    lines += _there(page, {name: entry.details.get(name) or None for name in _ALSO}, names)
    return "\n".join(lines)


def _flat(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in (fields or {}).items():
        made |= _flat(value) if isinstance(value, dict) else {name: value}
    return made


def _changed(page: Page, before: dict[str, Any], after: dict[str, Any], names: Names) -> Iterator[str]:
    for name in {**before, **after}:
        old, new = (_written(page, name, fields.get(name), names) for fields in (before, after))
        if old != new:
            yield page.t("{field}: {value}", field=page.t(_FIELDS.get(name, name)), value=f"{old} → {new}")


def _there(page: Page, fields: dict[str, Any], names: Names) -> Iterator[str]:
    for name, value in fields.items():
        # The id is what is acted on; what is empty or off says nothing of something new.
        if name != "id" and value not in (None, "", [], False):
            written = _written(page, name, value, names)
            yield page.t("{field}: {value}", field=page.t(_FIELDS.get(name, name)), value=written)


def _written(page: Page, name: str, value: Any, names: Names) -> str:
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return page.t("yes" if value else "no")
    if name == "datastore_id":
        return names.datastore(value)
    if name in ("replaced_by", "key_id"):
        return names.key(value)
    if name == "role":
        return page.t(str(value))
    if name == "scopes" and isinstance(value, list):
        return listed(page, [page.t(str(scope)) for scope in value])
    if name.endswith("_at") and isinstance(value, str):
        return _time(page, value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _time(page: Page, value: str) -> str:
    try:
        moment(value)
    except ValueError:
        return value
    return shown(page, value)
