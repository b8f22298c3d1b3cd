"""
The page of the person who is signed in: their password, and where else they are signed in.
"""

from __future__ import annotations

from nicegui import ui

from fustor_client.models import OpenLogin
from fustor_registry.console import PASSWORD_PAGE
from fustor_registry.console.clients import client_name
from fustor_registry.passwords import SHORTEST
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import ago
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices


@console_page(PASSWORD_PAGE, "Your account")
async def account(page: Page) -> None:
    """
    Change the password; see and end other logins.
    """
    t = page.t
    must_change = page.session.detour is not None
    with ui.element("section").classes("console-card"):
        ui.label(t("Change your password")).props('role=heading aria-level="2"').classes("console-subtitle")
        if must_change:
            ui.label(t("This password was given to you. Choose one of your own before anything else.")).classes(
                "console-lead"
            )
        old, new, again = (
            ui.input(t(label), password=True, password_toggle_button=False)
            .props(f'outlined autocomplete="{kind}"')
            .classes("console-field")
            for label, kind in (
                ("Current password", "current-password"),
                ("New password", "new-password"),
                ("Repeat new password", "new-password"),
            )
        )
        new.props["hint"] = t("at least {number} characters", number=SHORTEST)

        async def change() -> None:
            new.error = None
            if len(new.value) < SHORTEST:
                new.error = t("at least {number} characters", number=SHORTEST)
                return
            if new.value != again.value:
                again.error = t("The two are not the same.")
                return
            again.error = None
            if await page.act(page.client.change_password(old.value, new.value), "Your password is changed."):
                if must_change:
                    page.session.detour = None
                    page.go("/")
                    return
                for field in (old, new, again):
                    field.value = ""

        action(t("Change your password"), Kind.CHANGE, change)
    if must_change:
        return

    def client(login: OpenLogin) -> None:
        said = client_name(page, login.client)
        label = ui.label(said)
        if said != login.client:
            label.classes("account-client").props["title"] = login.client

    def actions(login: OpenLogin) -> None:
        if login.current:
            with ui.element("div").classes("cell-actions"):
                state(t("this session"), Mood.GOOD)
            return
        with ui.element("div").classes("cell-actions"):
            action(t("Sign out"), Kind.STOP, lambda: table.after(page.client.end_login(login.id), "Signed out there."))

    ui.label(t("Your sessions")).props('role=heading aria-level="2"').classes("console-subtitle is-next")
    table: PagedTable[OpenLogin] = PagedTable(
        page,
        t("Your sessions"),
        [
            Column(t("Address"), lambda login: login.address, shape="is-short"),
            Column(t("Client"), fill=client),
            Column(t("Signed in"), lambda login: ago(page, login.created_at), shape="is-short"),
            Column(t("Last used"), lambda login: ago(page, login.last_used_at), shape="is-short"),
            Column("", fill=actions, shape="is-short is-actions"),
        ],
        slices(page, page.client.my_logins),
        empty=t("Nowhere else."),
    )
    await table.show()
