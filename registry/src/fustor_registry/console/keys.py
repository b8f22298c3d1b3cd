"""
The page of the API keys. A key's secret is shown once, when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from nicegui import ui

from fustor_client.models import Datastore, Key
from fustor_registry.keys import LAST_USE_EVERY_S
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import NONE, ago, listed, moment
from fustor_web_ui.forms import Form
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.shown_once import show_once
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices
from fustor_web_ui.time_label import time_label

_SCOPES: Final = {
    "ingest": "ingest: agents write",
    "read": "read: people and programs look",
    "admin": "admin: manages the datastore",
}
_DAY_S: Final = 86_400
_LIVES: Final = {"0": "no expiry", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}
_OVERLAPS: Final = {"0": "at once", "3600": "in an hour", "86400": "in a day", "604800": "in a week"}


@console_page("/keys", "API keys")
async def keys(page: Page, datastore: str | None = None) -> None:
    """
    List the keys that the person may see; of one datastore, when it is named.
    """
    t = page.t
    stores = await page.ask(page.client.datastores()) or []
    names = {str(store.id): store.name for store in stores}
    only_working = True

    def actions(key: Key) -> None:
        if key.revoked_at is not None:
            return
        with ui.element("div").classes("cell-actions"):
            # Of a key that was replaced or has expired the service makes no other.
            if key.replaced_by is None and not _has_expired(key):
                action(
                    t("Rotate"),
                    Kind.CHANGE,
                    lambda: _rotate(page, table, key),
                    describes=t("Rotate {name}", name=key.name),
                )
            action(
                t("Revoke"), Kind.DELETE, lambda: _revoke(page, table, key), describes=t("Revoke {name}", name=key.name)
            )

    prefixes: dict[str, str] = {}

    async def load() -> list[Key]:
        found: list[Key] = await page.client.keys(datastore_id=datastore, working=only_working)
        prefixes.clear()
        prefixes.update({str(key.id): key.prefix or key.name for key in found})
        return found

    async def choose(all_of_them: bool) -> None:
        nonlocal only_working
        only_working = not all_of_them
        await table.restart()

    with ui.element("div").classes("console-bar"):
        if names:
            action(t("New API key"), Kind.START, lambda: _create(page, table, stores, datastore), icon="add")
        ui.switch(t("Show ended keys"), on_change=lambda event: choose(event.value))
    table: PagedTable[Key] = PagedTable(
        page,
        t("API keys"),
        [
            Column(t("Name"), lambda key: key.name),
            Column(t("Prefix"), lambda key: key.prefix or NONE, shape="is-short"),
            Column(t("Datastore"), lambda key: names.get(str(key.datastore_id), str(key.datastore_id))),
            Column(t("Scopes"), lambda key: listed(page, [t(scope) for scope in key.scopes]), shape="is-short"),
            Column(t("Expires"), fill=lambda key: _expires(page, key)),
            Column(t("Last used"), lambda key: last_use(page, key.last_used_at), shape="is-short"),
            Column(t("State"), fill=lambda key: _state(page, key, prefixes)),
            Column("", fill=actions, shape="is-short is-actions"),
        ],
        slices(page, load),
        empty=t("There is no API key here. Agents and readers of a datastore each need one."),
    )
    await table.show()


def last_use(page: Page, at: str | None, *, now: datetime | None = None) -> str:
    """
    Say when a key was used last. That is noted now and then: so much that is later may be missing.
    """
    used = moment(at)
    if used is not None and ((now or datetime.now(UTC)) - used).total_seconds() < 2 * LAST_USE_EVERY_S:
        return page.t("within 2 minutes")
    return ago(page, at, now=now)


def _has_expired(key: Key) -> bool:
    ends = moment(key.expires_at)
    return ends is not None and ends <= datetime.now(UTC)


def _expires(page: Page, key: Key) -> None:
    with ui.element("div"):
        time_label(page, key.expires_at, never="no expiry")
        if _is_replaced(key):
            ui.label(page.t("works until then")).classes("cell-problem")


def _is_replaced(key: Key) -> bool:
    return key.replaced_by is not None and key.revoked_at is None and not _has_expired(key)


def _state(page: Page, key: Key, prefixes: Mapping[str, str]) -> None:
    if key.revoked_at is not None:
        state(page.t("revoked"), Mood.OFF)
    elif _has_expired(key):
        state(page.t("expired"), Mood.OFF)
    elif key.replaced_by is not None:
        with ui.element("div"):
            state(page.t("replaced"), Mood.WAIT)
            by = prefixes.get(key.replaced_by, key.replaced_by)
            ui.label(page.t("by {key}", key=by)).classes("cell-problem")
    else:
        state(page.t("valid"), Mood.GOOD)


def _create(page: Page, table: PagedTable[Key], stores: list[Datastore], datastore: str | None) -> None:
    t = page.t
    form = Form(page, t("New API key"), t("Create"), Kind.START)
    form.text("name", t("Name"), required=True)
    names = {str(store.id): store.name for store in stores}
    form.choice("datastore", t("Datastore"), names, value=datastore if datastore in names else next(iter(names)))
    for scope, english in _SCOPES.items():
        form.check(scope, t(english), value=scope != "admin")
    form.choice("life", t("Expires"), {days: t(english) for days, english in _LIVES.items()}, value="0")

    async def save() -> bool:
        life = int(form.said("life")) * _DAY_S
        made = await page.act(
            page.client.create_key(
                form.said("name"),
                form.said("datastore"),
                scopes=[scope for scope in _SCOPES if form.is_checked(scope)],
                expires_in_s=life or None,
            )
        )
        return await _show(page, table, made)

    form.open(save)


def _rotate(page: Page, table: PagedTable[Key], key: Key) -> None:
    t = page.t
    form = Form(page, t("Rotate {name}", name=key.name), t("Rotate"), Kind.CHANGE)
    form.note(
        t("A new key takes its place. The old one goes on for as long as you say, so that nothing stops meanwhile.")
    )
    form.choice("overlap", t("The old key ends"), {s: t(english) for s, english in _OVERLAPS.items()}, value="86400")

    async def save() -> bool:
        made = await page.act(page.client.rotate_key(key.id, overlap_s=int(form.said("overlap"))))
        return await _show(page, table, made)

    form.open(save)


async def _show(page: Page, table: PagedTable[Key], made: object) -> bool:
    if not isinstance(made, Key):
        return False
    await table.restart()
    show_once(page, page.t("The key {name}", name=made.name), made.key or "")
    return True


def _revoke(page: Page, table: PagedTable[Key], key: Key) -> None:
    async def revoke() -> None:
        await table.after(page.client.revoke_key(key.id), "{name} is revoked.", name=key.name)

    ask_twice(
        page,
        page.t("Revoke {name}?", name=key.name),
        page.t("Whoever uses it is refused from now on. This can't be undone."),
        page.t("Revoke"),
        revoke,
    )
