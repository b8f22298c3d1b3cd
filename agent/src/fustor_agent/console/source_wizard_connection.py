"""
Where the source is, and who reads it: a form made from what its driver asks for, tried before it is left.
"""

from __future__ import annotations

import secrets
from typing import Any

from nicegui import ui

from fustor_agent.console.schema_fields import SchemaFields, label_of, plain_schema, sentence
from fustor_agent.console.source_wizard_draft import NOT_ASKED, OF_THE_ENTRY, Address, SourceDraft
from fustor_client.agent_models import Said
from fustor_core.errors import AuthenticationFailed, FustorError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page
from fustor_web_ui.wizard import Wizard


class ConnectionStep:
    """
    The form of address and account.

    Args:
        page: Where it stands.
        draft: What it fills in.
    """

    wizard: Wizard

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft
        self._address: dict[str, Any] = {}
        self._shape: dict[str, Any] | None = None
        self._account: SchemaFields | None = None
        self._more: list[SchemaFields] = []
        self._made_up: Any = None
        self._trouble: Any = None

    async def show(self) -> None:
        """
        Show the form.
        """
        draft, t = self._draft, self._page.t
        properties = draft.properties() or {"uri": {"type": "string", "title": "Address"}}
        self._more = []
        self._account = None
        self._show_address(plain_schema(properties.get("uri", {"type": "string", "title": "Address"})))
        credential = plain_schema(properties.get("credential", {}))
        if credential.get("properties"):
            ui.label(t("Who reads it")).props('role=heading aria-level="3"').classes("wizard-part")
            with ui.element("div").classes("wizard-fields"):
                needed = credential.get("required", ()) if "credential" in draft.required() else ()
                self._account = SchemaFields(self._page, credential["properties"], draft.credential or {}, needed)
            if draft.can("create_agent_user"):
                with ui.element("div").classes("wizard-own"):
                    ui.label(
                        t(
                            "No account for Fustor yet? Choose a name and a password here; one of the next steps can make it."
                        )
                    ).classes("wizard-hint")
                    action(t("Make up a password"), Kind.PLAIN, self._make_up, icon="casino")
                    self._made_up = ui.label().classes("wizard-hint").props("role=status")
        own = {name: one for name, one in properties.items() if name not in OF_THE_ENTRY}
        if own:
            with ui.element("div").classes("wizard-fields"):
                self._more.append(SchemaFields(self._page, own, draft.params, draft.required()))
        later = {
            name: one
            for name, one in draft.param_schemas().items()
            if name not in own and name not in (NOT_ASKED if self._chooses_tables() else ())
        }
        if later:
            with (
                ui.expansion(t("More settings"), icon="tune").classes("wizard-more").props("dense"),
                ui.element("div").classes("wizard-fields"),
            ):
                self._more.append(SchemaFields(self._page, later, draft.params))
        self._trouble = ui.element("div")

    def _chooses_tables(self) -> bool:
        # Of files `include` has patterns; of tables it is filled in by choosing them.
        return self._draft.can("get_available_tables") or "exclude_columns" in self._draft.param_schemas()

    def _show_address(self, schema: dict[str, Any]) -> None:
        t, draft = self._page.t, self._draft
        self._shape = schema.get("x-address")
        self._address = {}
        given = draft.uri or str(schema.get("default") or "")
        shape = self._shape
        if shape is None:
            with ui.element("div").classes("wizard-fields"):
                made = ui.input(t(label_of("uri", schema)), value=given).props("outlined autofocus")
                if told := str(schema.get("description") or ""):
                    made.props["hint"] = t(told)
                self._address["uri"] = made.classes("console-field is-whole has-hint")
                made.on("keydown.enter", lambda: self.wizard.forward())
            return
        address, _, _ = Address.of(given)
        database = address.database if draft.uri else ""
        with ui.element("div").classes("wizard-fields wizard-address"):
            self._address["host"] = ui.input(t("Host"), value=address.host).props("outlined autofocus")
            self._address["host"].props["hint"] = t("Name or IP address of the server; or paste a whole address here.")
            self._address["port"] = ui.number(t("Port"), value=address.port, min=1, max=65535, format="%d").props(
                "outlined"
            )
            self._address["database"] = ui.input(t("Database"), value=database).props("outlined")
            if shape.get("database") == "optional":
                self._address["database"].props["hint"] = t("Empty: every database that the account may read.")
            for made in self._address.values():
                made.classes("console-field has-hint")
                made.on("keydown.enter", lambda: self.wizard.forward())
        self._address["host"].on_value_change(self._take_what_was_pasted)
        self._address["host"].on("blur", self._split)

    async def _take_what_was_pasted(self, event: Any) -> None:
        # Who types an address is not disturbed before the field is left; what comes all at once is whole. A task of its own: what a
        # handler of the change itself sets is not sent back to the window.
        before, now = str(event.previous_value or ""), str(event.value or "")
        self._address["host"].error = None
        if len(now) - len(before) > 1:
            self._split()

    def _split(self) -> None:
        host = self._address["host"]
        text = str(host.value or "")
        if "://" not in text:
            return
        if self._take_apart(text):
            host.error = None
        else:
            host.error = self._page.t("This address can't be read.")

    def _make_up(self) -> None:
        if self._account is not None:
            self._account.set("passwd", secrets.token_urlsafe(18))
            # Beside the button and not in a corner of the window, where it would lie on other buttons.
            self._made_up.set_text(
                self._page.t(
                    "A password is filled in; it is kept with the source. Who makes the account by hand needs it too: show or copy it in its field."
                )
            )

    def _take_address(self) -> str | None:
        t, shape = self._page.t, self._shape
        for field in self._address.values():
            field.error = None
        if shape is None:
            uri = str(self._address["uri"].value or "").strip()
            if not uri:
                self._address["uri"].error = t("This is needed.")
            return uri or None
        host, database = self._address["host"], self._address["database"]
        if "://" in str(host.value or "") and not self._take_apart(str(host.value)):
            host.error = t("This address can't be read.")
            return None
        lacks = [host] if not str(host.value or "").strip() else []
        if shape.get("database") == "needed" and not str(database.value or "").strip():
            lacks.append(database)
        for field in lacks:
            field.error = t("This is needed.")
        if lacks:
            return None
        port = self._address["port"].value
        made = Address(str(host.value).strip(), None if port is None else int(port), str(database.value or "").strip())
        return made.uri(str(shape["scheme"]))

    def _take_apart(self, text: str) -> bool:
        try:
            address, user, password = Address.of(text)
        except ValueError:
            return False
        if not address.host:
            return False
        self._address["host"].set_value(address.host)
        if address.port is not None:
            self._address["port"].set_value(address.port)
        if address.database:
            self._address["database"].set_value(address.database)
        for name, value in (("user", user), ("passwd", password)):
            if value is not None and self._account is not None:
                self._account.set(name, value)
        return True

    async def leave(self) -> bool:
        """
        Take what was filled in, and try the connection.
        """
        self._trouble.clear()
        uri = self._take_address()
        account = {} if self._account is None else self._account.take()
        params: dict[str, Any] = {}
        for one in self._more:
            taken = one.take()
            if taken is None:
                return False
            params |= taken
        if uri is None or account is None:
            return False
        self._draft.take_connection(uri, account or None, params)
        if not self._draft.can("test_connection"):
            return True
        page = self._page
        said = await page.attempt(page.client.act(self._draft.driver, action="test_connection", **self._draft.trial()))
        if said is None or (isinstance(said, Said) and said.ok):
            return said is not None
        self._tell(said)
        return False

    def _tell(self, said: Said | FustorError) -> None:
        """
        Say what is wrong beside the field that it is about.
        """
        t = self._page.t
        reason = said.message if isinstance(said, FustorError) else said.reason or said.message
        reason, hint = self._page.told(reason), self._page.told(said.hint)
        is_account = said.code == AuthenticationFailed.code
        if is_account and self._account is not None and self._account.blame("passwd", sentence(reason)):
            told = hint
        elif not is_account and self._address:
            next(iter(self._address.values())).error = sentence(reason)
            told = hint
        else:
            told = f"{reason}\n{hint}".strip()
        with self._trouble, ui.element("div").classes("console-note is-bad").props("role=alert"):
            if told:
                ui.label(sentence(told))
            if is_account and self._draft.can("create_agent_user"):
                ui.label(t("Is this account not there yet? An administrator's account can make it, in the next step."))
                with ui.element("div").classes("console-bar"):
                    action(t("Make this account"), Kind.CHANGE, lambda: self.wizard.go(2), icon="person_add")
