"""
What a call of an API is, and those of Fusion, described once for the synchronous and the asynchronous clients.
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
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


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


def datastore() -> Call[models.OpenedDatastore]:
    """
    The datastore that the key opens.
    """
    return Call("GET", "/views/datastore", models.OpenedDatastore)


Where = str | tuple[str, str, Any]
"""
A condition on a column: `column:op:value`, or the three of them, the value a text, a number or (for `in`) a list.
"""


class ExportParams(TypedDict, total=False):
    """
    Which rows of a table, in which order: a column, `-column`, or `(column, "desc")`. `safe`: see the API.
    """

    where: Sequence[Where] | None
    order: str | tuple[str, str] | None
    safe: bool


class RowParams(TypedDict, total=False):
    """
    What `rows` takes.
    """

    where: Sequence[Where] | None
    order: str | tuple[str, str] | None
    limit: int | None
    cursor: str | None


class Sorted(TypedDict, total=False):
    """
    Order and page of a list. `order` is asc or desc.
    """

    sort: str | None
    order: str | None
    limit: int | None
    cursor: str | None


class SyncFilters(Sorted, total=False):
    """
    What the list of syncs takes.
    """

    agent: str | None
    state: str | None


class StreamFilters(SyncFilters, total=False):
    """
    What the list of streams takes. `q` is part of the name of its sync, schema or table.
    """

    task: str | None
    q: str | None


def flow() -> Call[models.FlowSummary]:
    """
    What flows into the datastore now.
    """
    return Call("GET", "/views/flow", models.FlowSummary)


def flow_agents(params: Mapping[str, Any]) -> Call[models.Page[models.AgentNow]]:
    """
    The agents that feed the datastore.
    """
    return Call("GET", "/views/flow/agents", models.Page[models.AgentNow], params)


def flow_syncs(params: Mapping[str, Any]) -> Call[models.Page[models.SyncNow]]:
    """
    The syncs that feed the datastore, as they are now.
    """
    return Call("GET", "/views/flow/syncs", models.Page[models.SyncNow], params)


def streams(params: Mapping[str, Any]) -> Call[models.Page[models.StreamNow]]:
    """
    The tables and trees, and how fresh each is.
    """
    return Call("GET", "/views/streams", models.Page[models.StreamNow], params)


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


class TimelineParams(TypedDict, total=False):
    """
    What `timeline` takes besides the path. Times in nanoseconds since the epoch.
    """

    tree: str | None
    since: int | None
    until: int | None
    buckets: int | None
    limit: int | None
    cursor: str | None


def sizes(path: str | None, tree: str | None, limit: int | None) -> Call[models.Sizes]:
    """
    The largest parts of a directory.
    """
    return Call("GET", "/views/fs/sizes", models.Sizes, {"path": path, "tree": tree, "limit": limit})


def timeline(path: str | None, params: Mapping[str, Any]) -> Call[models.Timeline]:
    """
    When what is below a directory was last modified.
    """
    return Call("GET", "/views/fs/timeline", models.Timeline, {"path": path, **params})


def syncs() -> Call[list[models.SyncInfo]]:
    """
    The syncs that feed the datastore.
    """
    return Call("GET", "/ingestor-api/v1/syncs/", list[models.SyncInfo])


class TableFilters(Sorted, total=False):
    """
    What the list of tables takes. `q` is part of the name of its sync, schema or table.
    """

    q: str | None


def tables(params: Mapping[str, Any] | None = None) -> Call[models.Page[models.TableInfo]]:
    """
    The tables of the datastore.
    """
    return Call("GET", "/views/tables", models.Page[models.TableInfo], params or {})


def _table_path(task_id: str, schema: str, table: str) -> str:
    return "/views/tables/" + "/".join(quote(part, safe="") for part in (task_id, schema, table))


def table(task_id: str, schema: str, table: str) -> Call[models.TableInfo]:
    """
    One table.
    """
    return Call("GET", _table_path(task_id, schema, table) + "/info", models.TableInfo)


def rows(task_id: str, schema: str, table: str, params: RowParams) -> Call[models.RowPage]:
    """
    Rows of a table.
    """
    return Call("GET", _table_path(task_id, schema, table) + "/rows", models.RowPage, _row_params(params))


def count_rows(
    task_id: str, schema: str, table: str, where: Sequence[Where] | None, cursor: str | None
) -> Call[models.RowCount]:
    """
    How many rows there are.
    """
    params = _row_params({"where": where, "cursor": cursor})
    return Call("GET", _table_path(task_id, schema, table) + "/count", models.RowCount, params)


def export_rows(
    task_id: str,
    schema: str,
    table: str,
    form: str,
    params: ExportParams,
) -> Call[None]:
    """
    All rows of a table, as text.
    """
    return Call("GET", _table_path(task_id, schema, table) + "/rows", None, {"format": form, **_row_params(params)})


def _row_params(params: Mapping[str, Any]) -> dict[str, Any]:
    sent = dict(params)
    if sent.get("where"):
        sent["where"] = [one if isinstance(one, str) else _written(one) for one in sent["where"]]
    if isinstance(sent.get("order"), tuple):
        sent["order"] = msgspec.json.encode(sent["order"]).decode()
    return sent


def _written(condition: tuple[str, str, Any]) -> str:
    column, op, value = condition
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return msgspec.json.encode((column, op, text)).decode()


def row(task_id: str, schema: str, table: str, key: Any) -> Call[dict[str, Any]]:
    """
    One row by its key.
    """
    text = msgspec.json.encode(key).decode()
    return Call("GET", _table_path(task_id, schema, table) + "/row", dict[str, Any], {"key": text})
