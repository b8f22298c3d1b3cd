"""
The revision of the configuration as an `ETag`, so that of two people who edit at the same time the second does not undo the first unseen:
a change that carries `If-Match` is made only when the configuration still is what its author has read.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Header, Response

from fustor_agent.configs import Configs

_ETAG = re.compile(r'"([0-9]+)"')

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        # Weak ones too: a proxy that compresses makes them so, and a revision is the same text in every encoding.
        pattern=r'^(W/)?"[0-9]{1,18}"( *, *(W/)?"[0-9]{1,18}")*$',
        description="The `ETag` of what the change is made to: 412 when the configuration is another one by now. Without it the change is made in "
        "any case.",
        examples=['"12"'],
    ),
]
TAGGED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            "ETag": {
                "description": "The revision that the configuration is at, for `If-Match`.",
                "required": True,
                "schema": {"type": "string"},
                "example": '"12"',
            }
        }
    }
}
"""
What a route says of its answer when that has the revision.
"""

TAGGED_201: Final[dict[int | str, dict[str, Any]]] = {201: TAGGED[200]}


def tag(response: Response, configs: Configs) -> None:
    """
    Have an answer tell the revision.
    """
    response.headers["ETag"] = f'"{configs.revision}"'


def check_unchanged(configs: Configs, if_match: str | None) -> None:
    """
    Check that the configuration is still at the revision that a change was made for.

    Raises:
        PreconditionFailed: It is not.
    """
    if if_match is not None:
        configs.expect(frozenset(int(number) for number in _ETAG.findall(if_match)))
