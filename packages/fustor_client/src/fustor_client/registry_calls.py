"""
The calls of the Registry, described once for the synchronous and the asynchronous client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import quote

import msgspec

from fustor_client import models
from fustor_client.calls import Call

API = "/api/v1"
UNSET = msgspec.UNSET
Unset = msgspec.UnsetType


class AuditFilters(TypedDict, total=False):
    """
    Which entries of the audit trail are wanted. Times are ISO text with a zone.
    """

    limit: int
    before: int | None
    actor: str | None
    action: str | None
    target: str | None
    datastore_id: str | None
    since: str | None
    until: str | None


def _part(value: object) -> str:
    return quote(str(value), safe="")


def _given(**fields: Any) -> dict[str, Any]:
    """
    Return the fields that were given: None is a value, UNSET is none.
    """
    return {name: value for name, value in fields.items() if value is not UNSET}


def login(name: str, password: str) -> Call[models.Login]:
    """
    Tokens for a user.
    """
    return Call("POST", f"{API}/login", models.Login, body={"name": name, "password": password})


def refresh(refresh_token: str) -> Call[models.Login]:
    """
    The next tokens of a login.
    """
    return Call("POST", f"{API}/refresh", models.Login, body={"refresh_token": refresh_token})


def logout() -> Call[None]:
    """
    The end of the login that asks.
    """
    return Call("POST", f"{API}/logout", None)


def me() -> Call[models.User]:
    """
    Who asks.
    """
    return Call("GET", f"{API}/users/me", models.User)


def my_logins() -> Call[list[models.OpenLogin]]:
    """
    Where who asks is logged in.
    """
    return Call("GET", f"{API}/users/me/logins", list[models.OpenLogin])


def end_login(login_id: str) -> Call[None]:
    """
    The end of a login of who asks.
    """
    return Call("DELETE", f"{API}/users/me/logins/{_part(login_id)}", None)


def change_password(old: str, new: str) -> Call[None]:
    """
    Another password for who asks.
    """
    return Call("POST", f"{API}/users/me/password", None, body={"old_password": old, "new_password": new})


def users() -> Call[list[models.User]]:
    """
    All users.
    """
    return Call("GET", f"{API}/users", list[models.User])


def user(user_id: int) -> Call[models.User]:
    """
    One user.
    """
    return Call("GET", f"{API}/users/{user_id}", models.User)


def create_user(name: str, password: str, role: str, must_change_password: bool) -> Call[models.User]:
    """
    A new user.
    """
    body = {"name": name, "password": password, "role": role, "must_change_password": must_change_password}
    return Call("POST", f"{API}/users", models.User, body=body)


def change_user(user_id: int, role: str | None, disabled: bool | None) -> Call[models.User]:
    """
    Another role, or the end or the beginning of being disabled.
    """
    return Call("PATCH", f"{API}/users/{user_id}", models.User, body={"role": role, "disabled": disabled})


def remove_user(user_id: int) -> Call[None]:
    """
    The end of a user.
    """
    return Call("DELETE", f"{API}/users/{user_id}", None)


def reset_password(user_id: int, password: str) -> Call[None]:
    """
    A password that the user has to change.
    """
    return Call("POST", f"{API}/users/{user_id}/password", None, body={"password": password})


def datastores() -> Call[list[models.Datastore]]:
    """
    The datastores that the caller may see.
    """
    return Call("GET", f"{API}/datastores", list[models.Datastore])


def datastore(datastore_id: int | str) -> Call[models.Datastore]:
    """
    One datastore.
    """
    return Call("GET", f"{API}/datastores/{_part(datastore_id)}", models.Datastore)


def create_datastore(name: str, description: str | None, policy: models.Policy | None) -> Call[models.Datastore]:
    """
    A new datastore.
    """
    body = _given(
        name=name, description=UNSET if description is None else description, policy=UNSET if policy is None else policy
    )
    return Call("POST", f"{API}/datastores", models.Datastore, body=body)


def change_datastore(
    datastore_id: int | str, name: str | None, description: str | None, policy: models.Policy | None
) -> Call[models.Datastore]:
    """
    What is not None changes; of the policy what is set.
    """
    body = {"name": name, "description": description, "policy": policy}
    return Call("PATCH", f"{API}/datastores/{_part(datastore_id)}", models.Datastore, body=body)


def remove_datastore(datastore_id: int | str, revoke_keys: bool) -> Call[None]:
    """
    The end of a datastore.
    """
    return Call("DELETE", f"{API}/datastores/{_part(datastore_id)}", None, {"revoke_keys": revoke_keys})


def members(datastore_id: int | str) -> Call[list[models.Member]]:
    """
    Who belongs to a datastore.
    """
    return Call("GET", f"{API}/datastores/{_part(datastore_id)}/members", list[models.Member])


def set_member(datastore_id: int | str, name: str, role: str) -> Call[models.Member]:
    """
    What a user is to be in a datastore.
    """
    path = f"{API}/datastores/{_part(datastore_id)}/members/{_part(name)}"
    return Call("PUT", path, models.Member, body={"role": role})


def remove_member(datastore_id: int | str, name: str) -> Call[None]:
    """
    The end of a membership.
    """
    return Call("DELETE", f"{API}/datastores/{_part(datastore_id)}/members/{_part(name)}", None)


def keys(datastore_id: int | str | None, working: bool) -> Call[list[models.Key]]:
    """
    The keys that the caller may see, without their secret.
    """
    params = {"datastore_id": datastore_id, "working": True if working else None}
    return Call("GET", f"{API}/keys", list[models.Key], params)


def key(key_id: int | str) -> Call[models.Key]:
    """
    One key, without its secret.
    """
    return Call("GET", f"{API}/keys/{_part(key_id)}", models.Key)


def create_key(
    name: str, datastore_id: int | str, scopes: Sequence[str] | None, expires_in_s: int | None
) -> Call[models.Key]:
    """
    A new key.
    """
    body = _given(
        name=name,
        datastore_id=datastore_id,
        scopes=UNSET if scopes is None else list(scopes),
        expires_in_s=UNSET if expires_in_s is None else expires_in_s,
    )
    return Call("POST", f"{API}/keys", models.Key, body=body)


def change_key(key_id: int | str, name: str | Unset, expires_in_s: int | Unset | None) -> Call[models.Key]:
    """
    Another name or end.
    """
    body = _given(name=name, expires_in_s=expires_in_s)
    return Call("PATCH", f"{API}/keys/{_part(key_id)}", models.Key, body=body)


def rotate_key(key_id: int | str, overlap_s: int | None) -> Call[models.Key]:
    """
    A new key in place of one.
    """
    body = _given(overlap_s=UNSET if overlap_s is None else overlap_s)
    return Call("POST", f"{API}/keys/{_part(key_id)}/rotate", models.Key, body=body)


def revoke_key(key_id: int | str) -> Call[None]:
    """
    The end of a key.
    """
    return Call("DELETE", f"{API}/keys/{_part(key_id)}", None)


def verify_key(key: str) -> Call[models.KeyCheck]:
    """
    Whether a key is valid, and for what.
    """
    return Call("POST", f"{API}/keys/verify", models.KeyCheck, body={"key": key})


def report_agent(
    api_key: str, agent_id: str, version: str, host: str, syncs: Sequence[models.AgentSync]
) -> Call[models.ReportAnswer]:
    """
    A sign of life of an agent.
    """
    body = {"agent_id": agent_id, "version": version, "host": host, "syncs": list(syncs)}
    headers = {"X-API-Key": api_key}
    return Call("POST", f"{API}/agents/heartbeat", models.ReportAnswer, body=body, headers=headers)


def agents(datastore_id: int | str | None) -> Call[list[models.AgentSeen]]:
    """
    The agents that were seen.
    """
    return Call("GET", f"{API}/agents", list[models.AgentSeen], {"datastore_id": datastore_id})


def forget_agent(datastore_id: int | str, agent_id: str) -> Call[None]:
    """
    The end of an agent that is gone.
    """
    return Call("DELETE", f"{API}/datastores/{_part(datastore_id)}/agents/{_part(agent_id)}", None)


def audit(filters: AuditFilters) -> Call[list[models.AuditEntry]]:
    """
    Entries of the audit trail.
    """
    return Call("GET", f"{API}/audit", list[models.AuditEntry], dict(filters))
