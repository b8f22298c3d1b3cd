"""
The synchronous client of the Registry: users, datastores, API keys, agents and the audit trail.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar, Unpack

from fustor_client import models
from fustor_client import registry_calls as calls
from fustor_client.base import BaseClient
from fustor_client.calls import Call, header_value
from fustor_client.registry_calls import UNSET, AuditFilters, Unset
from fustor_client.transport import Transport
from fustor_core.errors import Unauthorized

T = TypeVar("T")


class RegistryClient(BaseClient):
    """
    Manages users, datastores and keys. `login` first, or give an API key with the scope `admin`, which manages its own
    datastore; only `verify_key` and `report_agent` need neither. A login is refreshed when its access token has expired.

    Args:
        api_key: An API key to come with.
    """

    def __init__(
        self, url: str, api_key: str | None = None, *, timeout_s: float = 30.0, transport: Transport | None = None
    ) -> None:
        super().__init__(url, timeout_s=timeout_s, transport=transport)
        if api_key is not None:
            self._headers["X-API-Key"] = header_value(api_key)
        self._refresh_token: str | None = None
        self._refreshing = threading.Lock()

    def _send(self, call: Call[T]) -> T:
        carried = self._headers.get("Authorization")
        try:
            return super()._send(call)
        except Unauthorized as exc:
            if carried is None or call.headers:
                raise
            refused = exc
        with self._refreshing:
            # A refresh token is good once: whoever comes second finds the new tokens here.
            if self._headers.get("Authorization") == carried:
                if self._refresh_token is None:
                    raise refused
                token, self._refresh_token = self._refresh_token, None
                self._keep(super()._send(calls.refresh(token)))
        return super()._send(call)

    def _keep(self, login: models.Login) -> None:
        self._headers["Authorization"] = f"Bearer {login.token}"
        self._refresh_token = login.refresh_token

    def login(self, name: str, password: str) -> models.Login:
        """
        Log in; later calls of this client carry the token.

        Raises:
            Unauthorized: Name or password are wrong.
        """
        self._headers.pop("Authorization", None)
        answer = self._send(calls.login(name, password))
        self._keep(answer)
        return answer

    def logout(self) -> None:
        """
        End the login of this client.
        """
        self._send(calls.logout())
        self._headers.pop("Authorization", None)
        self._refresh_token = None

    def me(self) -> models.User:
        """
        Return the user that is logged in.
        """
        return self._send(calls.me())

    def my_logins(self) -> list[models.OpenLogin]:
        """
        Return where the user is logged in.
        """
        return self._send(calls.my_logins())

    def end_login(self, login_id: str) -> None:
        """
        End a login of the user.
        """
        self._send(calls.end_login(login_id))

    def change_password(self, old: str, new: str) -> None:
        """
        Change the user's own password; their other logins end.
        """
        self._send(calls.change_password(old, new))

    def users(self) -> list[models.User]:
        """
        Return all users.
        """
        return self._send(calls.users())

    def user(self, user_id: int) -> models.User:
        """
        Return one user.
        """
        return self._send(calls.user(user_id))

    def create_user(
        self, name: str, password: str, *, role: str = "member", must_change_password: bool = False
    ) -> models.User:
        """
        Create a user.
        """
        return self._send(calls.create_user(name, password, role, must_change_password))

    def change_user(self, user_id: int, *, role: str | None = None, disabled: bool | None = None) -> models.User:
        """
        Change what is not None.
        """
        return self._send(calls.change_user(user_id, role, disabled))

    def remove_user(self, user_id: int) -> None:
        """
        Remove a user.
        """
        self._send(calls.remove_user(user_id))

    def reset_password(self, user_id: int, password: str) -> None:
        """
        Give a user a password that they have to change.
        """
        self._send(calls.reset_password(user_id, password))

    def datastores(self) -> list[models.Datastore]:
        """
        Return the datastores that the caller may see.
        """
        return self._send(calls.datastores())

    def datastore(self, datastore_id: int | str) -> models.Datastore:
        """
        Return one datastore.
        """
        return self._send(calls.datastore(datastore_id))

    def create_datastore(
        self, name: str, *, description: str | None = None, policy: models.Policy | None = None
    ) -> models.Datastore:
        """
        Create a datastore.
        """
        return self._send(calls.create_datastore(name, description, policy))

    def change_datastore(
        self,
        datastore_id: int | str,
        *,
        name: str | None = None,
        description: str | None = None,
        policy: models.Policy | None = None,
    ) -> models.Datastore:
        """
        Change what is not None; of the policy what is set.
        """
        return self._send(calls.change_datastore(datastore_id, name, description, policy))

    def remove_datastore(self, datastore_id: int | str, *, revoke_keys: bool = False) -> None:
        """
        Remove a datastore.

        Raises:
            StateConflictError: It has keys that work, and `revoke_keys` is not set.
        """
        self._send(calls.remove_datastore(datastore_id, revoke_keys))

    def members(self, datastore_id: int | str) -> list[models.Member]:
        """
        Return who belongs to a datastore.
        """
        return self._send(calls.members(datastore_id))

    def set_member(self, datastore_id: int | str, name: str, role: str) -> models.Member:
        """
        Make a user a member of a datastore, or change what they are there.
        """
        return self._send(calls.set_member(datastore_id, name, role))

    def remove_member(self, datastore_id: int | str, name: str) -> None:
        """
        Take a user out of a datastore.
        """
        self._send(calls.remove_member(datastore_id, name))

    def keys(self, *, datastore_id: int | str | None = None, working: bool = False) -> list[models.Key]:
        """
        Return the keys that the caller may see, without their secret; `working` leaves out those that have ended.
        """
        return self._send(calls.keys(datastore_id, working))

    def key(self, key_id: int | str) -> models.Key:
        """
        Return one key, without its secret.
        """
        return self._send(calls.key(key_id))

    def create_key(
        self,
        name: str,
        datastore_id: int | str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_s: int | None = None,
    ) -> models.Key:
        """
        Create a key; `key` of the answer is shown this once.
        """
        return self._send(calls.create_key(name, datastore_id, scopes, expires_in_s))

    def change_key(
        self, key_id: int | str, *, name: str | Unset = UNSET, expires_in_s: int | Unset | None = UNSET
    ) -> models.Key:
        """
        Change the name, or in how many seconds the key ends (None: never).
        """
        return self._send(calls.change_key(key_id, name, expires_in_s))

    def rotate_key(self, key_id: int | str, *, overlap_s: int | None = None) -> models.Key:
        """
        Make a new key in place of one, which works for `overlap_s` longer; `key` of the answer is shown this once.
        """
        return self._send(calls.rotate_key(key_id, overlap_s))

    def revoke_key(self, key_id: int | str) -> None:
        """
        Revoke a key.
        """
        self._send(calls.revoke_key(key_id))

    def verify_key(self, key: str) -> models.KeyCheck:
        """
        Ask whether a key is valid.
        """
        return self._send(calls.verify_key(key))

    def report_agent(
        self, api_key: str, agent_id: str, *, version: str, host: str, syncs: Sequence[models.AgentSync] = ()
    ) -> models.ReportAnswer:
        """
        Tell that an agent lives, with an API key of the datastore that it feeds.
        """
        return self._send(calls.report_agent(header_value(api_key), agent_id, version, host, syncs))

    def agents(self, *, datastore_id: int | str | None = None) -> list[models.AgentSeen]:
        """
        Return the agents that were seen.
        """
        return self._send(calls.agents(datastore_id))

    def forget_agent(self, datastore_id: int | str, agent_id: str) -> None:
        """
        Forget an agent that is gone.
        """
        self._send(calls.forget_agent(datastore_id, agent_id))

    def audit(self, **filters: Unpack[AuditFilters]) -> list[models.AuditEntry]:
        """
        Return entries of the audit trail, newest first; `before` the id of the last one goes on.
        """
        return self._send(calls.audit(filters))

    def audit_all(self, **filters: Unpack[AuditFilters]) -> Iterator[models.AuditEntry]:
        """
        Yield all entries of the audit trail that match, newest first; `limit` is the size of a page.
        """
        while page := self.audit(**filters):
            yield from page
            filters["before"] = page[-1].id
