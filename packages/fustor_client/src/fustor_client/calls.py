"""
Every call of the APIs, described once for the synchronous and the asynchronous clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from fustor_client import models
from fustor_client.faults import error_from, garbled
from fustor_core.errors import Unauthorized

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True)
class Call(Generic[T]):
    """
    One request and the type of its answer.
    """

    method: Method
    path: str
    answer: Any
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def target(self) -> str:
        """
        Return path and query, as they stand in the request line.
        """
        pairs: list[tuple[str, str]] = []
        for name, value in self.params.items():
            if value is None:
                continue
            many = value if isinstance(value, list | tuple) else [value]
            pairs += [(name, str(one).lower() if isinstance(one, bool) else str(one)) for one in many]
        return self.path + ("?" + urlencode(pairs, errors="surrogateescape") if pairs else "")

    def payload(self) -> bytes | None:
        """
        Return the JSON body, None when there is none.
        """
        return None if self.body is None else msgspec.json.encode(self.body)

    def read(self, url: str, status: int, headers: Mapping[str, str], body: bytes) -> T:
        """
        Read the answer.

        Raises:
            FustorError: The answer is an error (of that error's class), or can't be read.
        """
        if status >= 300:
            raise error_from(status, headers, body, url)
        if self.answer is None:
            return None  # type: ignore[return-value]  # T is None for these calls
        try:
            return msgspec.json.decode(body, type=self.answer, strict=False)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise garbled(url, exc) from exc


def header_value(key: str) -> str:
    """
    Return an API key as a header carries it, without the line end that reading it from a file leaves.

    Raises:
        Unauthorized: It has characters that no header can carry, so it is no key of ours.
    """
    stripped = key.strip()
    if not stripped.isascii() or not (stripped.isprintable()):
        raise Unauthorized(
            "the API key has characters that no key of Fustor has", hint="look whether it was copied whole, and alone"
        )
    return stripped


class Filters(TypedDict, total=False):
    """
    Filters and order of file lists. Sizes in bytes; times in nanoseconds since the epoch.
    """

    type: str | None
    min_size: int | None
    max_size: int | None
    newer: int | None
    older: int | None
    sort: str | None
    order: str | None
    limit: int | None
    cursor: str | None
    tree: str | None


class TreeParams(Filters, total=False):
    """
    What `tree` takes besides the path.
    """

    depth: int | None


class SearchParams(Filters, total=False):
    """
    What `search` takes besides the pattern. `in_` is `in` on the wire: auto, name or path.
    """

    mode: str | None
    in_: str | None
    path: str | None
    case: bool | None


def trees() -> Call[models.Page[models.Tree]]:
    """
    The trees of the datastore.
    """
    return Call("GET", "/views/fs/trees", models.Page[models.Tree])


def tree(path: str | None, params: Mapping[str, Any]) -> Call[models.FileEntry]:
    """
    A directory and what is in it.
    """
    return Call("GET", "/views/fs/tree", models.FileEntry, {"path": path, **params})


def entry(path: str, tree: str | None) -> Call[models.FileEntry]:
    """
    One entry.
    """
    return Call("GET", "/views/fs/entry", models.FileEntry, {"path": path, "tree": tree})


def search(q: str, params: Mapping[str, Any]) -> Call[models.Page[models.FileEntry]]:
    """
    Entries by name or path.
    """
    sent = {("in" if name == "in_" else name): value for name, value in params.items()}
    return Call("GET", "/views/fs/search", models.Page[models.FileEntry], {"q": q, **sent})


def stats(path: str | None, tree: str | None) -> Call[models.Stats]:
    """
    Totals of a directory.
    """
    return Call("GET", "/views/fs/stats", models.Stats, {"path": path, "tree": tree})


def syncs() -> Call[list[models.SyncInfo]]:
    """
    The syncs that feed the datastore.
    """
    return Call("GET", "/ingestor-api/v1/syncs/", list[models.SyncInfo])


def tables() -> Call[models.Page[models.TableInfo]]:
    """
    The tables of the datastore.
    """
    return Call("GET", "/views/tables", models.Page[models.TableInfo])


def _table_path(task_id: str, schema: str, table: str) -> str:
    return "/views/tables/" + "/".join(quote(part, safe="") for part in (task_id, schema, table))


def rows(task_id: str, schema: str, table: str, params: Mapping[str, Any]) -> Call[models.Page[dict[str, Any]]]:
    """
    Rows of a table.
    """
    return Call("GET", _table_path(task_id, schema, table) + "/rows", models.Page[dict[str, Any]], params)


def row(task_id: str, schema: str, table: str, key: Any) -> Call[dict[str, Any]]:
    """
    One row by its key.
    """
    text = msgspec.json.encode(key).decode()
    return Call("GET", _table_path(task_id, schema, table) + "/row", dict[str, Any], {"key": text})


def login(name: str, password: str) -> Call[models.Login]:
    """
    A token for a user.
    """
    return Call("POST", "/api/v1/login", models.Login, body={"name": name, "password": password})


def users() -> Call[list[models.User]]:
    """
    All users.
    """
    return Call("GET", "/api/v1/users", list[models.User])


def create_user(name: str, password: str, is_admin: bool) -> Call[models.User]:
    """
    A new user.
    """
    body = {"name": name, "password": password, "is_admin": is_admin}
    return Call("POST", "/api/v1/users", models.User, body=body)


def datastores() -> Call[list[models.Datastore]]:
    """
    All datastores.
    """
    return Call("GET", "/api/v1/datastores", list[models.Datastore])


def create_datastore(name: str, description: str | None) -> Call[models.Datastore]:
    """
    A new datastore.
    """
    body = {"name": name} if description is None else {"name": name, "description": description}
    return Call("POST", "/api/v1/datastores", models.Datastore, body=body)


def keys() -> Call[list[models.Key]]:
    """
    All keys, without their secret.
    """
    return Call("GET", "/api/v1/keys", list[models.Key])


def create_key(name: str, datastore_id: int | str, scopes: Sequence[str] | None) -> Call[models.Key]:
    """
    A new key.
    """
    body: dict[str, Any] = {"name": name, "datastore_id": datastore_id}
    if scopes is not None:
        body["scopes"] = list(scopes)
    return Call("POST", "/api/v1/keys", models.Key, body=body)


def revoke_key(key_id: int | str) -> Call[None]:
    """
    The end of a key.
    """
    return Call("DELETE", f"/api/v1/keys/{quote(str(key_id), safe='')}", None)


def verify_key(key: str) -> Call[models.KeyCheck]:
    """
    Whether a key is valid, and for what.
    """
    return Call("POST", "/api/v1/keys/verify", models.KeyCheck, body={"key": key})
