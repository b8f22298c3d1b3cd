"""
The synchronous client of the Registry: users, datastores and API keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from fustor_client import calls, models
from fustor_client.base import BaseClient


class RegistryClient(BaseClient):
    """
    Manages users, datastores and keys. `login` first; only `verify_key` needs no login.
    """

    def login(self, name: str, password: str) -> models.Login:
        """
        Log in; later calls of this client carry the token.

        Raises:
            Unauthorized: Name or password are wrong.
        """
        answer = self._send(calls.login(name, password))
        self._headers["Authorization"] = f"Bearer {answer.token}"
        return answer

    def users(self) -> list[models.User]:
        """
        Return all users.
        """
        return self._send(calls.users())

    def create_user(self, name: str, password: str, *, is_admin: bool = False) -> models.User:
        """
        Create a user.
        """
        return self._send(calls.create_user(name, password, is_admin))

    def datastores(self) -> list[models.Datastore]:
        """
        Return all datastores.
        """
        return self._send(calls.datastores())

    def create_datastore(self, name: str, *, description: str | None = None) -> models.Datastore:
        """
        Create a datastore.
        """
        return self._send(calls.create_datastore(name, description))

    def keys(self) -> list[models.Key]:
        """
        Return all keys, without their secret.
        """
        return self._send(calls.keys())

    def create_key(self, name: str, datastore_id: int | str, *, scopes: Sequence[str] | None = None) -> models.Key:
        """
        Create a key; `key` of the answer is shown this once.
        """
        return self._send(calls.create_key(name, datastore_id, scopes))

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
