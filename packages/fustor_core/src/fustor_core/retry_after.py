"""
`Retry-After` of HTTP (RFC 9110, section 10.2.3): how long a service asks its client to wait.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Return how long the header asks to wait, seconds; None when it is not there or says nothing that can be read.

    Args:
        headers: Of the answer; names as the HTTP client gives them, which need not tell capitals apart.
    """
    value = (headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
