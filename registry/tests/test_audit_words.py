"""
What the console says of programs and of entries of the audit trail.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from harness.reader import page_of

from fustor_client.models import AuditEntry
from fustor_registry import console
from fustor_registry.console.audit_words import Names, action_of, actor_of, details_of, target_of
from fustor_registry.console.clients import client_name
from fustor_registry.console.keys import last_use
from fustor_web_ui.page import Page
from fustor_web_ui.texts import Language

NAMES = Names({"d1": "lab"}, {"k1": "agent one"})


def page(language: Language = "en") -> Page:
    return page_of(console, language)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36",
            "Chrome 156 on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/155.1",
            "Edge 155 on Windows",
        ),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140 on Linux"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari 18 on iOS",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Mobile Safari/537.36",
            "Chrome 150 on Android",
        ),
        ("fustor-client/1.0", "fustor-client/1.0"),
        ("x" * 60, "x" * 40 + "…"),
        ("", ""),
    ],
)
def test_clients_are_called_what_people_call_them(said: str, shown: str) -> None:
    assert client_name(page(), said) == shown


def test_a_new_key_is_told_without_what_it_has_not() -> None:
    after = {
        "id": "k1",
        "name": "agent one",
        "datastore_id": "d1",
        "scopes": ["ingest", "read"],
        "created_at": "2026-11-27T09:33:23.851774+00:00",
        "expires_at": None,
        "policy": {"max_rows": 5, "max_bytes": None},
        "odd": {"of": "a newer service"},
    }
    entry = AuditEntry(1, "2026-11-27", "key:k1", "key.create", "k1", after=after)
    assert details_of(page(), entry, NAMES).split("\n") == [
        "Name: agent one",
        "Datastore: lab (d1)",
        "Scopes: ingest, read",
        "Most rows: 5",
        "of: a newer service",
    ]
    assert details_of(page("zh"), entry, NAMES).split("\n")[2] == "权限：写入、读取"
    assert target_of(entry, NAMES) == "agent one (k1)"
    assert actor_of(page(), entry, NAMES) == "API key agent one (k1)"


def test_what_is_deleted_is_told_with_when_it_was_made() -> None:
    before = {"id": 4, "role": "owner", "created_at": "2026-11-27T09:33:23+00:00", "disabled": False}
    entry = AuditEntry(1, "2026-11-27", "ann", "user.remove", "bo", before=before)
    assert details_of(page(), entry, NAMES).split("\n") == ["Role: owner", "Created at: 2026-11-27 09:33:23 UTC"]


def test_a_change_is_told_with_what_was_before() -> None:
    before, after = (
        {"expires_at": None, "replaced_by": None},
        {"expires_at": "2026-11-28T09:33:23+00:00", "replaced_by": "k1"},
    )
    entry = AuditEntry(
        1,
        "2026-11-27",
        "ann",
        "key.rotate",
        "k9",
        before=before,
        after=after,
        details={"created": {"name": "old name"}},
    )
    assert details_of(page(), entry, NAMES).split("\n") == [
        "Expires: — → 2026-11-28 09:33:23 UTC",
        "Replaced by: — → agent one (k1)",
    ]
    assert target_of(entry, NAMES) == "old name (k9)"


def test_what_is_unknown_is_shown_as_it_is() -> None:
    entry = AuditEntry(
        1, "2026-11-27", "bob", "rocket.launch", "{moon}", after={"fuel_at": "soon {x}", "parts": [1, 2]}
    )
    assert action_of(page("zh"), entry) == "rocket.launch"
    assert actor_of(page("zh"), entry, NAMES) == "bob"
    assert target_of(entry, NAMES) == "{moon}"
    assert details_of(page(), entry, NAMES) == "fuel_at: soon {x}\nparts: " + json.dumps([1, 2])


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-05-01T11:59:30Z", "within 2 minutes"),
        ("2026-05-01T11:58:00Z", "2 min ago"),
        (None, "never"),
    ],
)
def test_when_a_key_was_used_is_told_as_exactly_as_it_is_noted(at: str | None, shown: str) -> None:
    assert last_use(page(), at, now=datetime(2026, 5, 1, 12, tzinfo=UTC)) == shown
