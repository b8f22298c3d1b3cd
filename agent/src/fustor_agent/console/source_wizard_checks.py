"""
What the account may do and how the server is set up: each with a tick, or with what is wrong and what to run. An administrator's credential
may have the account made; it is used for that one call, and kept nowhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple

from nicegui import ui

from fustor_agent.console.schema_fields import sentence
from fustor_agent.console.source_wizard_draft import SourceDraft
from fustor_client.agent_models import Said
from fustor_core.errors import AuthenticationFailed, FustorError
from fustor_core.outcome import PASSWORD
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.copyable import copy_text, copyable
from fustor_web_ui.page import Page
from fustor_web_ui.wizard import Wizard

CheckName = Literal["test_connection", "check_privileges", "check_runtime_params"]
_CHECKS: Final[dict[CheckName, str]] = {
    "test_connection": "Connection and login",
    "check_privileges": "Rights of the account",
    "check_runtime_params": "Set-up for reading changes",
}


class _Result(NamedTuple):
    check: CheckName
    ok: bool
    reason: str
    hint: str
    remedy: list[str]
    code: str


class ChecksStep:
    """
    The checks of a source's driver.

    Args:
        page: Where it stands.
        draft: The source.
    """

    wizard: Wizard

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft
        self._passed = False
        self._made: Any = None
        self._lines: Any = None
        self._help: Any = None

    async def show(self) -> None:
        """
        Run the checks.
        """
        self._passed = False
        # Here and not in a corner of the window, where it would lie on the buttons; it goes with the step.
        self._made = ui.label().classes("console-note is-good").props("role=status")
        self._made.visible = False
        self._lines = ui.element("div").props("role=list aria-live=polite")
        self._help = ui.element("div")
        await self._run()

    async def leave(self) -> bool:
        """
        Go on when all is well, else check again.
        """
        if not self._passed:
            await self._run()
            return False
        return True

    async def _run(self) -> None:
        t = self._page.t
        self._lines.clear()
        self._help.clear()
        checks = [check for check in _CHECKS if self._draft.can(check)]
        failed: list[_Result] = []
        if not checks:
            with self._lines:
                ui.label(t("This driver has nothing to check.")).classes("console-lead")
        for check in checks:
            with self._lines:
                line = ui.element("div").classes("check-line").props("role=listitem")
            if failed and failed[0].check == "test_connection":
                self._tell_skipped(line, check)
                continue
            with line:
                ui.spinner().props("aria-hidden=true")
                ui.label(t(_CHECKS[check])).classes("check-name")
            found = await self._ask(check)
            if found is None:
                return
            self._tell(line, found)
            if not found.ok:
                failed.append(found)
        self._passed = not failed
        self.wizard.relabel(t("Continue") if self._passed else t("Check again"))
        if failed:
            self._offer_help(failed)

    async def _check_account(self) -> None:
        self._made.set_text(self._page.t("The account is made."))
        self._made.visible = True
        await self._run()

    async def _ask(self, check: CheckName) -> _Result | None:
        page = self._page
        said: Said | FustorError | None = await page.attempt(
            page.client.act(self._draft.driver, action=check, **self._draft.trial())
        )
        if said is None:
            return None
        if isinstance(said, FustorError):
            remedy = [str(one) for one in said.context.get("remedy", ())]
            return _Result(check, False, said.message, said.hint, remedy, said.code)
        return _Result(check, said.ok, said.reason or said.message, said.hint, said.remedy, said.code)

    def _tell_skipped(self, line: Any, check: CheckName) -> None:
        with line:
            ui.icon("remove_circle_outline").classes("check-off").props("aria-hidden=true")
            ui.label(self._page.t(_CHECKS[check])).classes("check-name")
            ui.element("span")
            ui.label(self._page.t("not tried: the source has to be reached first")).classes("check-said")

    def _tell(self, line: Any, found: _Result) -> None:
        t = self._page.t
        line.clear()
        with line:
            if found.ok:
                ui.icon("check_circle").classes("check-good").props(f'role=img aria-label="{t("well")}"')
            else:
                ui.icon("cancel").classes("check-bad").props(f'role=img aria-label="{t("not well")}"')
            ui.label(t(_CHECKS[found.check])).classes("check-name")
            ui.element("span")
            with ui.element("div"):
                said = ui.label(sentence(self._page.told(found.reason))).classes("check-said")
                if found.ok:
                    return
                said.classes("check-why")
                is_account = found.code == AuthenticationFailed.code
                if found.hint and (is_account or not found.remedy):
                    ui.label(sentence(self._page.told(found.hint)))
                if is_account and self._draft.credential:
                    action(t("Back to user and password"), Kind.PLAIN, lambda: self.wizard.go(1), icon="arrow_back")
                if found.remedy:
                    self._tell_remedy(found.remedy, is_account=is_account)

    def _tell_remedy(self, remedy: list[str], *, is_account: bool) -> None:
        t, password = self._page.t, (self._draft.credential or {}).get("passwd", "")
        sql = "\n".join(remedy)
        needs_password = is_account and PASSWORD in sql
        if not is_account:
            told = t("An administrator mends that with:")
        elif needs_password:
            told = t(
                "If the account is not there yet, an administrator makes it with this; {placeholder} stands for the password that you gave it:",
                placeholder=PASSWORD,
            )
        else:
            told = t("If the account is not there yet, an administrator makes it with this:")
        ui.label(told)
        copyable(self._page, sql, t("Copy what mends it"))
        if needs_password and password:
            action(t("Copy the password"), Kind.PLAIN, lambda: copy_text(self._page, password), icon="key")

    def _offer_help(self, failed: list[_Result]) -> None:
        t, draft = self._page.t, self._draft
        is_account = any(one.check == "check_privileges" or one.code == AuthenticationFailed.code for one in failed)
        with self._help:
            if is_account and draft.can("create_agent_user"):
                _AdminForm(self._page, draft, self.wizard, self._check_account).show()
            if all(one.check != "test_connection" for one in failed):
                ui.label(
                    t("You can go on all the same; a sync of this source tells what it lacks when it is started.")
                ).classes("wizard-hint")
                action(t("Go on all the same"), Kind.PLAIN, lambda: self.wizard.go(3))


class _AdminForm:
    """
    Has the agent's account made with an administrator's credential.
    """

    def __init__(self, page: Page, draft: SourceDraft, wizard: Wizard, check: Callable[[], Awaitable[None]]) -> None:
        self._page = page
        self._draft = draft
        self._wizard = wizard
        self._check = check
        self._user: Any = None
        self._password: Any = None
        self._button: Any = None

    def show(self) -> None:
        """
        Show the form.
        """
        t = self._page.t
        user = (self._draft.credential or {}).get("user", "")
        with ui.element("div").classes("wizard-admin"):
            ui.label(t("Or let Fustor do it")).props('role=heading aria-level="3"').classes("wizard-part")
            ui.label(
                t(
                    "This changes the server at once, before the source is saved: Fustor makes the account '{user}' there, and gives it the rights it needs. The administrator's name and password are used once for that, and kept nowhere.",
                    user=user,
                )
            ).classes("console-lead")
            with ui.element("div").classes("wizard-fields"):
                self._user = (
                    ui.input(t("Administrator's user name")).props("outlined autocomplete=off").classes("console-field")
                )
                self._password = (
                    ui.input(t("Administrator's password"), password=True)
                    .props("outlined autocomplete=new-password")
                    .classes("console-field")
                )
            self._password.on("keydown.enter", self._make)
            self._button = action(t("Make the account"), Kind.START, self._make, icon="person_add")

    async def _make(self) -> None:
        with self._wizard.root:  # the checks take this form away
            await self._make_and_check()

    async def _make_and_check(self) -> None:
        page, draft, t = self._page, self._draft, self._page.t
        admin = {"user": str(self._user.value or "").strip(), "passwd": str(self._password.value or "")}
        self._user.error = None if admin["user"] else t("This is needed.")
        if not admin["user"]:
            return
        # Away with it before anything is done: neither the page nor this process keeps it.
        self._password.set_value("")
        own = dict(draft.credential or {})
        if own.get("user") and not own.get("passwd"):
            own["passwd"] = secrets.token_urlsafe(18)
        trial = {**draft.trial(), "credential": own or None}
        self._button.disable()
        try:
            said: Said | FustorError | None = await page.attempt(
                page.client.act(draft.driver, action="create_agent_user", **trial, admin_creds=admin)
            )
        finally:
            admin.clear()
            self._button.enable()
        if said is None:
            return
        if isinstance(said, FustorError) or not said.ok:
            reason = said.message if isinstance(said, FustorError) else said.reason or said.message
            self._user.error = sentence(page.told(reason))
            return
        draft.credential = own or None
        await self._check()
