"""
The page of the datastores, and of who belongs to one.
"""

from __future__ import annotations

from typing import Final

import msgspec
from nicegui import ui

from fustor_client.models import Datastore, Member, Policy
from fustor_registry.console.role_words import role_legend
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import NONE, ago, count, size
from fustor_web_ui.forms import Form
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.tables import Column, PagedTable, slices

_ROLES: Final = ("owner", "member", "read-only")


@console_page("/", "Datastores")
async def datastores(page: Page) -> None:
    """
    List the datastores that the person may see.
    """
    t = page.t
    ui.label(t("A datastore keeps the rows that agents send. Each API key opens one datastore.")).classes(
        "console-lead"
    )
    with ui.element("div").classes("console-bar"):
        if page.session.facts["role"] == "admin":
            action(t("New datastore"), Kind.START, lambda: _create(page, table), icon="add")

    def actions(store: Datastore) -> None:
        with ui.element("div").classes("cell-actions"):
            action(t("Keys"), Kind.PLAIN, lambda: page.go("/keys", datastore=str(store.id)))
            action(t("Members"), Kind.PLAIN, lambda: page.go(f"/datastores/{store.id}"))
            action(t("Change"), Kind.CHANGE, lambda: _change(page, table, store))
            action(t("Delete"), Kind.DELETE, lambda: _remove(page, table, store))

    table: PagedTable[Datastore] = PagedTable(
        page,
        t("Datastores"),
        [
            Column(t("Name"), lambda store: store.name),
            Column(t("Description"), lambda store: store.description or NONE),
            Column(t("Rules"), lambda store: _rules(page, store.policy)),
            Column(t("Created"), lambda store: ago(page, store.created_at), shape="is-short"),
            Column("", fill=actions, shape="is-actions"),
        ],
        slices(page, page.client.datastores),
        empty=t("There is no datastore that you may see. An admin makes one, or adds you to one."),
    )
    await table.show()


def _rules(page: Page, policy: Policy | None) -> str:
    if policy is None:
        return NONE
    rules: list[str] = []
    rules.append(page.t("several syncs at once" if policy.allow_concurrent_sessions else "one sync at a time"))
    for value, english in (
        (policy.session_timeout_s, "sessions end after {value} s"),
        (policy.retention_days, "kept {value} days"),
    ):
        if value is not None and value is not msgspec.UNSET:
            rules.append(page.t(english, value=f"{value:g}"))
    if policy.max_rows is not None and policy.max_rows is not msgspec.UNSET:
        rules.append(page.t("at most {value} rows", value=count(policy.max_rows)))
    if policy.max_bytes is not None and policy.max_bytes is not msgspec.UNSET:
        rules.append(page.t("at most {value}", value=size(policy.max_bytes)))
    return "; ".join(rules)


def _form(page: Page, title: str, label: str, store: Datastore | None) -> Form:
    policy = store.policy if store is not None and store.policy is not None else Policy()
    form = Form(page, title, label, Kind.CHANGE if store is not None else Kind.START)
    form.text("name", page.t("Name"), value="" if store is None else store.name, required=True)
    form.text("description", page.t("Description"), value="" if store is None else store.description or "")
    form.number("session_timeout_s", page.t("Sessions end after (seconds)"), value=_given(policy.session_timeout_s))
    form.number("retention_days", page.t("Keep what nobody feeds any more (days)"), value=_given(policy.retention_days))
    form.number("max_rows", page.t("Most rows"), value=_given(policy.max_rows))
    form.number("max_bytes", page.t("Most bytes"), value=_given(policy.max_bytes))
    form.check(
        "allow_concurrent_sessions",
        page.t("Several syncs may feed it at once"),
        value=policy.allow_concurrent_sessions is not False,
    )
    return form


def _given(value: float | msgspec.UnsetType | None) -> float | None:
    return None if isinstance(value, msgspec.UnsetType) else value


def _policy(form: Form) -> Policy:
    return Policy(
        allow_concurrent_sessions=form.is_checked("allow_concurrent_sessions"),
        session_timeout_s=form.amount("session_timeout_s"),
        retention_days=form.whole("retention_days"),
        max_rows=form.whole("max_rows"),
        max_bytes=form.whole("max_bytes"),
    )


def _create(page: Page, table: PagedTable[Datastore]) -> None:
    form = _form(page, page.t("New datastore"), page.t("Create"), None)

    async def save() -> bool:
        made = page.client.create_datastore(
            form.said("name"), description=form.said("description") or None, policy=_policy(form)
        )
        return await table.after(made, "The datastore is there.")

    form.open(save)


def _change(page: Page, table: PagedTable[Datastore], store: Datastore) -> None:
    form = _form(page, page.t("Change {name}", name=store.name), page.t("Save"), store)

    async def save() -> bool:
        changed = page.client.change_datastore(
            store.id, name=form.said("name"), description=form.said("description"), policy=_policy(form)
        )
        return await table.after(changed, "Saved.")

    form.open(save)


def _remove(page: Page, table: PagedTable[Datastore], store: Datastore) -> None:
    async def remove() -> None:
        await table.after(page.client.remove_datastore(store.id, revoke_keys=True), "The datastore is deleted.")

    ask_twice(
        page,
        page.t("Delete the datastore {name}?", name=store.name),
        page.t("Its API keys stop working at once. The rows that Fusion holds are not shown to anybody any more."),
        page.t("Delete"),
        remove,
    )


@console_page("/datastores/{datastore_id}", "Members of a datastore")
async def members(page: Page, datastore_id: str) -> None:
    """
    List who belongs to a datastore.
    """
    t = page.t
    store = await page.ask(page.client.datastore(datastore_id))
    if store is None:
        ui.label(t("This datastore can't be shown.")).classes("console-empty")
        return
    ui.label(t("Datastore {name}", name=store.name)).classes("console-subtitle")

    def actions(member: Member) -> None:
        async def remove() -> None:
            await table.after(page.client.remove_member(datastore_id, member.user), "{name} is out.", name=member.user)

        with ui.element("div").classes("cell-actions"):
            action(
                t("Remove"),
                Kind.DELETE,
                lambda: ask_twice(
                    page,
                    t("Remove {name}?", name=member.user),
                    t("They will not see this datastore any more. API keys that they made go on working."),
                    t("Remove"),
                    remove,
                ),
                describes=t("Remove {name}", name=member.user),
            )

    def add() -> None:
        form = Form(page, t("Add a member, or change one"), t("Save"), Kind.START)
        form.text("name", t("User name"), required=True)
        form.choice("role", t("Role"), {role: t(role) for role in _ROLES}, value="member")

        async def save() -> bool:
            made = page.client.set_member(datastore_id, form.said("name"), form.said("role"))
            return await table.after(made, "Saved.")

        form.open(save)

    with ui.element("div").classes("console-bar"):
        action(t("Add a member, or change one"), Kind.START, add, icon="person_add")
        action(t("All datastores"), Kind.PLAIN, lambda: page.go("/"))
    role_legend(page, _ROLES)
    table: PagedTable[Member] = PagedTable(
        page,
        t("Members"),
        [
            Column(t("User"), lambda member: member.user),
            Column(t("Role"), lambda member: t(member.role)),
            Column(t("Since"), lambda member: ago(page, member.created_at)),
            Column("", fill=actions, shape="is-actions"),
        ],
        slices(page, lambda: page.client.members(datastore_id)),
        empty=t("Nobody belongs to this datastore yet; admins see it all the same."),
    )
    await table.show()
