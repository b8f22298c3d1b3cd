"""
The page of the users, for admins.
"""

from __future__ import annotations

import secrets
from typing import Final

from nicegui import ui

from fustor_client.models import User
from fustor_registry.console.role_words import role_legend
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import ago
from fustor_web_ui.forms import Form
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.shown_once import show_once
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices

_ROLES: Final = ("admin", "owner", "member", "read-only")
_MOST: Final = (
    "The role is the most that somebody may do anywhere; which role they have in a datastore is set among its members."
)


@console_page("/users", "Users")
async def users(page: Page) -> None:
    """
    List the users.
    """
    t = page.t
    if page.session.facts["role"] != "admin":
        ui.label(t("Only admins see this page.")).classes("console-empty")
        return

    admins: set[int] = set()

    async def load() -> list[User]:
        found: list[User] = await page.client.users()
        admins.clear()
        admins.update(user.id for user in found if user.role == "admin" and not user.disabled)
        return found

    def actions(user: User) -> None:
        async def switch() -> None:
            changed = page.client.change_user(user.id, disabled=not user.disabled)
            await table.after(changed, "Saved.")

        with ui.element("div").classes("cell-actions"):
            # Without the last admin nobody could manage users: the service refuses that.
            is_needed = admins == {user.id}
            if not is_needed:
                action(
                    t("Change role"),
                    Kind.CHANGE,
                    lambda: _change_role(page, table, user),
                    describes=t("Change the role of {name}", name=user.name),
                )
            action(
                t("Set password"),
                Kind.CHANGE,
                lambda: _reset(page, user),
                describes=t("Set the password of {name}", name=user.name),
            )
            if is_needed:
                ui.label(t("the last admin: role and state stay as they are")).classes("cell-problem")
                return
            if user.disabled:
                action(t("Enable"), Kind.START, switch, describes=t("Enable {name}", name=user.name))
            else:
                action(t("Disable"), Kind.STOP, switch, describes=t("Disable {name}", name=user.name))
            action(
                t("Delete"),
                Kind.DELETE,
                lambda: _remove(page, table, user),
                describes=t("Delete {name}", name=user.name),
            )

    ui.label(t(_MOST)).classes("console-lead")
    with ui.element("div").classes("console-bar"):
        action(t("New user"), Kind.START, lambda: _create(page, table), icon="person_add")
    role_legend(page, _ROLES)
    table: PagedTable[User] = PagedTable(
        page,
        t("Users"),
        [
            Column(t("User name"), lambda user: user.name),
            Column(t("Role"), lambda user: t(user.role)),
            Column(t("State"), fill=lambda user: _state(page, user)),
            Column(t("Last signed in"), lambda user: ago(page, user.last_login_at), shape="is-short"),
            Column("", fill=actions, shape="is-actions"),
        ],
        slices(page, load),
        empty=t("There are no users."),
    )
    await table.show()


def _state(page: Page, user: User) -> None:
    if user.disabled:
        state(page.t("disabled"), Mood.OFF)
    elif user.must_change_password:
        state(page.t("has to change the password"), Mood.WAIT)
    else:
        state(page.t("active"), Mood.GOOD)


def _create(page: Page, table: PagedTable[User]) -> None:
    t = page.t
    form = Form(page, t("New user"), t("Create"), Kind.START)
    form.note(t("They get a first password, shown to you once, and change it when they sign in."))
    form.text("name", t("User name"), required=True)
    form.choice("role", t("Role"), {role: t(role) for role in _ROLES}, value="member")

    async def save() -> bool:
        password = secrets.token_urlsafe(15)
        made = page.client.create_user(form.said("name"), password, role=form.said("role"), must_change_password=True)
        if not await table.after(made, "{name} is there.", name=form.said("name")):
            return False
        show_once(page, t("First password of {name}", name=form.said("name")), password)
        return True

    form.open(save)


def _change_role(page: Page, table: PagedTable[User], user: User) -> None:
    t = page.t
    form = Form(page, t("Role of {name}", name=user.name), t("Save"), Kind.CHANGE)
    form.note(t(_MOST))
    form.choice("role", t("Role"), {role: t(role) for role in _ROLES}, value=user.role)

    async def save() -> bool:
        return await table.after(page.client.change_user(user.id, role=form.said("role")), "Saved.")

    form.open(save)


def _reset(page: Page, user: User) -> None:
    async def reset() -> None:
        password = secrets.token_urlsafe(15)
        if await page.act(page.client.reset_password(user.id, password)):
            show_once(page, page.t("New password of {name}", name=user.name), password)

    ask_twice(
        page,
        page.t("Give {name} a new password?", name=user.name),
        page.t("They are signed out everywhere, and change the new password when they sign in."),
        page.t("Set password"),
        reset,
    )


def _remove(page: Page, table: PagedTable[User], user: User) -> None:
    async def remove() -> None:
        await table.after(page.client.remove_user(user.id), "{name} is deleted.", name=user.name)

    ask_twice(
        page,
        page.t("Delete the user {name}?", name=user.name),
        page.t("They are signed out at once. API keys that they made go on working."),
        page.t("Delete"),
        remove,
    )
