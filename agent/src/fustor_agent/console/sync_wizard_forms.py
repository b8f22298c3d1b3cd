"""
The form of one transform. It changes the step in place, as the configuration has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.sync_wizard_draft import SyncDraft
from fustor_agent.driver_tables import literal_glob
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

_METHODS: Final = {
    "redact": "a fixed text in its place",
    "truncate": "only the first characters",
    "hash": "a hash: equal stays equal",
}
_MOST_OFFERED: Final = 500
_FIELDS: Final = frozenset({"select", "drop", "mask"})


class StepForm:
    """
    The fields of a transform.

    Args:
        page: Where it stands.
        step: The step; it is changed in place.
        draft: The sync.
        changed: Told of each change.
        focus: Whether its first field gets the focus.
    """

    def __init__(
        self, page: Page, step: dict[str, Any], draft: SyncDraft, changed: Callable[[], None], *, focus: bool
    ) -> None:
        self._page = page
        self._step = step
        self._draft = draft
        self._changed = changed
        self._fields: dict[str, Any] = {}
        self._pairs: list[list[str]] = []
        self._box: Any = ui.element("div").classes("wizard-change-form")
        with self._box:
            self._show()
            self._trouble = ui.label().classes("wizard-problem")
            self._trouble.set_visibility(False)
        if focus and self._fields:
            next(iter(self._fields.values())).props("autofocus")

    def _show(self) -> None:
        kind = self._step.get("type")
        if kind == "filter":
            self._text(
                "where",
                self._page.t("Keep rows for which this is true"),
                self._page.t("for example: state == 'active' and total >= 10"),
            )
        elif kind == "rename":
            self._renames()
        elif kind in _FIELDS:
            self._names("fields", self._page.t("Fields"))
            if kind == "mask":
                self._mask()
        elif kind == "constant":
            self._text("to", self._page.t("Name of the new field"))
            self._constant()
        elif kind == "derive":
            self._text("to", self._page.t("Name of the new field"))
            self._text("value", self._page.t("Computed as"), self._page.t("for example: concat(first, ' ', last)"))
        self._tables()

    # -- kinds of fields ---------------------------------------------------------------------------------------------

    def _set(self, name: str, value: Any, *, empty: Any = None) -> None:
        if value in (None, "", []) and empty is None:
            self._step.pop(name, None)
        else:
            self._step[name] = value
        self.blame(name, None)
        self._changed()

    def _text(self, name: str, label: str, hint: str = "") -> None:
        made = ui.input(
            label,
            value=str(self._step.get(name) or ""),
            on_change=lambda event: self._set(name, str(event.value or ""), empty=""),
        )
        made.props("outlined dense").classes("console-field is-whole")
        if hint:
            made.props["hint"] = hint
            made.classes("has-hint")
        self._fields[name] = made

    def _names(self, name: str, label: str) -> None:
        value = list(self._step.get(name) or ())
        known = list(dict.fromkeys([*value, *(field for fields in self._draft.fields.values() for field in fields)]))
        made = ui.select(
            known,
            label=label,
            value=value,
            multiple=True,
            with_input=True,
            new_value_mode="add-unique",
            on_change=lambda event: self._set(name, list(event.value or ()), empty=[]),
        )
        self._fields[name] = made.props("outlined dense use-chips").classes("console-field is-whole")

    def _tables(self) -> None:
        value = list(self._step.get("tables") or ())
        # Others can be typed in, as globs can.
        names = [literal_glob(name) for name in self._draft.table_names[:_MOST_OFFERED]]
        if len(names) < 2 and not value:
            return
        made = ui.select(
            list(dict.fromkeys([*value, *names])),
            label=self._page.t("Only in these tables (none = in all)"),
            value=value,
            multiple=True,
            with_input=True,
            new_value_mode="add-unique",
            on_change=lambda event: self._set("tables", list(event.value or ())),
        )
        self._fields["tables"] = made.props("outlined dense use-chips").classes("console-field is-whole")

    def _mask(self) -> None:
        t = self._page.t
        made = ui.select(
            {name: t(english) for name, english in _METHODS.items()},
            label=t("What is seen instead"),
            value=self._step.get("method"),
            on_change=self._set_method,
        )
        self._fields["method"] = made.props("outlined dense").classes("console-field is-whole")
        self._details = ui.element("div").classes("is-whole")
        self._mask_details()

    def _set_method(self, event: Any) -> None:
        for name in ("salt", "digits", "length", "text"):
            self._step.pop(name, None)
        self._mask_details(method=str(event.value))
        self._set("method", event.value)

    def _mask_details(self, method: str | None = None) -> None:
        t, step = self._page.t, self._step
        for name in ("salt", "length", "text"):
            self._fields.pop(name, None)
        self._details.clear()
        method = method or str(step.get("method"))
        with self._details:
            if method == "redact":
                self._text("text", t("The text (*** when nothing is given)"))
            elif method == "truncate":
                step.setdefault("length", 3)
                made = ui.number(
                    t("So many characters stay"),
                    value=step["length"],
                    min=0,
                    format="%d",
                    on_change=lambda event: self._set("length", None if event.value is None else int(event.value)),
                )
                self._fields["length"] = made.props("outlined dense").classes("console-field is-whole")
            elif method == "hash":
                salt = ui.input(
                    t("Salt: a secret of at least 8 characters"),
                    value=str(step.get("salt") or ""),
                    password=True,
                    on_change=lambda event: self._set("salt", str(event.value or ""), empty=""),
                )
                salt.props("outlined dense autocomplete=new-password").classes("console-field is-whole has-hint")
                salt.props["hint"] = t("${NAME} and file:/path keep it out of the configuration file.")
                self._fields["salt"] = salt

    def _constant(self) -> None:
        t, value = self._page.t, self._step.get("value")
        kind = (
            "null"
            if value is None
            else "boolean"
            if isinstance(value, bool)
            else "text"
            if isinstance(value, str)
            else "number"
        )
        field = ui.input(
            t("Its value"), value="" if value is None else str(value).lower() if kind == "boolean" else str(value)
        )
        self._fields["value"] = field.props("outlined dense").classes("console-field is-whole")
        choice = ui.select(
            {"text": t("a text"), "number": t("a number"), "boolean": t("true or false"), "null": t("null: no value")},
            label=t("The value is"),
            value=kind,
        )
        choice.props("outlined dense").classes("console-field is-whole")

        def take(_: Any) -> None:
            text = str(field.value or "").strip()
            field.set_enabled(choice.value != "null")
            made, wrong = _constant_of(str(choice.value), text)
            self._step["value"] = made
            field.error = t("This is no number.") if wrong == "number" else t("Write true or false.") if wrong else None
            self._changed()

        field.on_value_change(take)
        choice.on_value_change(take)
        field.set_enabled(kind != "null")

    def _renames(self) -> None:
        self._pairs = [[old, new] for old, new in (self._step.get("fields") or {}).items()] or [["", ""]]
        self._rename_box = ui.element("div").classes("is-whole")
        self._show_pairs()

    def _show_pairs(self) -> None:
        t = self._page.t
        names = list(dict.fromkeys(field for fields in self._draft.fields.values() for field in fields))
        self._rename_box.clear()
        with self._rename_box:
            for pair in self._pairs:
                with ui.element("div").classes("wizard-line"):
                    options = list(dict.fromkeys([*([pair[0]] if pair[0] else []), *names]))

                    def set_old(event: Any, pair: list[str] = pair) -> None:
                        self._set_pair(pair, 0, event.value)

                    def set_new(event: Any, pair: list[str] = pair) -> None:
                        self._set_pair(pair, 1, event.value)

                    def remove(pair: list[str] = pair) -> None:
                        self._remove_pair(pair)

                    old = ui.select(
                        options,
                        label=t("Field"),
                        value=pair[0] or None,
                        with_input=True,
                        new_value_mode="add-unique",
                        on_change=set_old,
                    ).props("outlined dense")
                    self._fields.setdefault("fields", old)
                    ui.icon("arrow_forward").classes("wizard-arrow").props("aria-hidden=true")
                    ui.input(t("New name"), value=pair[1], on_change=set_new).props("outlined dense")
                    button = action("", Kind.DELETE, remove, icon="close")
                    button.props["aria-label"] = t("Leave out {name}", name=pair[0] or t("this field"))
            action(t("Rename one more"), Kind.PLAIN, self._add_pair, icon="add")

    def _set_pair(self, pair: list[str], at: int, value: Any) -> None:
        pair[at] = str(value or "").strip()
        self._take_pairs()

    def _add_pair(self) -> None:
        self._pairs.append(["", ""])
        self._fields.pop("fields", None)
        self._show_pairs()

    def _remove_pair(self, pair: list[str]) -> None:
        self._pairs.remove(pair)
        self._fields.pop("fields", None)
        self._pairs = self._pairs or [["", ""]]
        self._show_pairs()
        self._take_pairs()

    def _take_pairs(self) -> None:
        self._set("fields", {old: new for old, new in self._pairs if old and new}, empty={})

    # -- what is wrong -----------------------------------------------------------------------------------------------

    def _missing(self) -> list[str]:
        step, kind = self._step, self._step.get("type")
        needed = {"filter": ["where"], "constant": ["to"], "derive": ["to", "value"], "rename": ["fields"]}.get(
            str(kind), ["fields"]
        )
        if kind == "mask" and step.get("method") == "hash":
            needed = [*needed, "salt"]
        if kind == "mask" and step.get("method") == "truncate":
            needed = [*needed, "length"]
        return [name for name in needed if step.get(name) in (None, "", [], {})]

    def is_whole(self, *, tell: bool = False) -> bool:
        """
        Return whether all that it needs is filled in, and that can be read.

        Args:
            tell: Say beside the fields what is missing.
        """
        missing = self._missing()
        if tell:
            for name in missing:
                self.blame(name, self._page.t("This is needed."))
        wrong = self._fields.get("value")
        return not missing and not (self._step.get("type") == "constant" and wrong is not None and wrong.error)

    def blame(self, name: str | None, what: str | None) -> None:
        """
        Say what is wrong, beside the field where it is known; None takes everything back that was said.
        """
        if what is None:
            for field in [self._fields.get(name)] if name else self._fields.values():
                if field is not None and not (
                    self._step.get("type") == "constant" and field is self._fields.get("value")
                ):
                    field.error = None
            self._trouble.set_visibility(False)
            return
        field = self._fields.get(name or "")
        if field is not None:
            field.error = what
        else:
            self._trouble.set_text(what)
            self._trouble.set_visibility(True)


def _constant_of(kind: str, text: str) -> tuple[Any, str]:
    """
    Return the value that a text stands for, and what it is wrongly meant to be.
    """
    if kind == "null":
        return None, ""
    if kind == "boolean":
        return (text == "true", "") if text in ("true", "false") else (False, "boolean")
    if kind == "number":
        try:
            return int(text), ""
        except ValueError:
            pass
        try:
            return float(text), ""
        except ValueError:
            return 0, "number"
    return text, ""
