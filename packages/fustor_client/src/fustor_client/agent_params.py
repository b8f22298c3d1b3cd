"""
What the calls of the Agent's API take, for both of its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from fustor_client.calls import header_value


class InstanceParams(TypedDict, total=False):
    """
    Which syncs: those that are so (`health`), with a text in their id or that of their source or pusher; `limit` of them from `offset` on, each
    with at most `tables` of its tables, those with errors first. With `troubled_first` those that have failed or are trying again come before
    the others, which are in the order of the configuration.
    """

    health: Literal["failed", "retrying", "copying", "live", "starting", "stopping", "stopped"] | None
    text: str | None
    offset: int | None
    limit: int | None
    tables: int | None
    troubled_first: bool | None


class LogParams(TypedDict, total=False):
    """
    Which lines of the log: this severity or worse; of a logger and those below it; with a text in them.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None
    component: str | None
    text: str | None


class LetterParams(TypedDict, total=False):
    """
    Which dead letters.
    """

    sync: str | None
    table: str | None
    code: str | None


class TrialParams(TypedDict, total=False):
    """
    A source (`uri`) or pusher (`endpoint`) to try. `admin_creds` are used once and kept nowhere. `configured` is the id of one in the
    configuration, for what is not given here.
    """

    uri: str
    endpoint: str
    credential: Mapping[str, Any] | None
    admin_creds: Mapping[str, Any] | None
    driver_params: Mapping[str, Any]
    configured: str | None


class PreviewParams(TypedDict, total=False):
    """
    On which rows transforms are tried: of a configured `source` (`tables`, at most `rows` of each), or `samples`
    `{schema, table, key, rows}`. `sync`: the one that is being changed, whose masked salts stay what they are.
    """

    source: str | None
    sync: str | None
    tables: list[str] | None
    rows: int | None
    samples: list[dict[str, Any]] | None


def headers_of(token: str | None) -> dict[str, str]:
    """
    Return the headers that carry a token.
    """
    return {} if token is None else {"Authorization": f"Bearer {header_value(token)}"}
