"""
Fields of a form made from a JSON Schema: what a driver wants to be told, without knowing the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nicegui import ui

from fustor_web_ui.copyable import copy_text
from fustor_web_ui.page import Page

_NUMBERS: Final = ("integer", "number")


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the schema of a value that may be left out without the "or null" of it.
    """
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return {**schema, **kinds[0]} if len(kinds) == 1 else dict(schema)


def label_of(name: str, schema: Mapping[str, Any]) -> str:
    """
    Return what a field is called, in English: its title, where somebody has given it one, else its name in the configuration.
    """
    title, plain = str(schema.get("title") or ""), name.replace("_", " ")
    return title if title and title.lower() != plain else sentence(plain)


def sentence(text: str) -> str:
    """
    Return what a driver says as it stands alone: it begins with a capital letter.
    """
    return text[:1].upper() + text[1:]


def lines_of(text: str | None) -> list[str]:
    """
    Return the lines of a text that say something.
    """
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


class SchemaFields:
    """
    The fields of an object's properties; add them where they are to stand.

    Args:
        page: Where they stand.
        properties: The properties' schemas by name.
        values: What they hold at first.
        required: The names that can't be left out.
    """

    def __init__(
        self,
        page: Page,
        properties: Mapping[str, Any],
        values: Mapping[str, Any],
        required: Sequence[str] = (),
        *,
        focus: bool = False,
    ) -> None:
        self._page = page
        self._required = set(required)
        self._fields: dict[str, Any] = {}
        self._read: dict[str, Callable[[Any], Any]] = {}
        self._defaults: dict[str, Any] = {}
        for name, raw in properties.items():
            schema = plain_schema(raw)
            if self._add(name, schema, values.get(name, schema.get("default"))):
                self._defaults[name] = schema.get("default")
        if focus and self._fields:
            next(iter(self._fields.values())).props("autofocus")

    def _add(self, name: str, schema: Mapping[str, Any], value: Any) -> bool:
        t, label = self._page.t, self._page.t(label_of(name, schema))
        kind = schema.get("type")
        made: Any
        read: Callable[[Any], Any] = lambda given: None if given in (None, "") else given  # noqa: E731
        if "enum" in schema:
            made = ui.select([str(one) for one in schema["enum"]], label=label, value=value)
        elif kind == "boolean":
            with ui.element("div"):
                made = ui.checkbox(label, value=bool(value))
                ui.label(t(str(schema.get("description") or ""))).classes("wizard-hint")
        elif kind in _NUMBERS:
            made = ui.number(label, value=value, min=schema.get("minimum", schema.get("exclusiveMinimum")))
            if kind == "integer":
                read = lambda given: None if given is None else int(given)  # noqa: E731
        elif kind == "array" and schema.get("items", {}).get("type", "string") == "string":
            made = (
                ui.textarea(label, value="\n".join(map(str, value or ()))).props("autogrow rows=2").classes("is-whole")
            )
            read = lines_of
        elif kind == "string":
            secret = schema.get("format") == "password" or schema.get("writeOnly")
            made = ui.input(label, value=None if value is None else str(value), password=bool(secret))
            if secret:
                made.props("autocomplete=new-password")
                self._let_be_seen(made)
        else:
            return False
        made.classes("console-field")
        if kind == "boolean":
            made.classes(remove="console-field")
        else:
            made.props("outlined")
        if kind != "boolean" and (told := str(schema.get("description") or "")):
            made.props["hint"] = t(told)
            made.classes("has-hint")
        self._fields[name], self._read[name] = made, read
        return True

    def _let_be_seen(self, field: ui.input) -> None:
        """
        Put into a field of a secret what shows it, and what copies it: somebody else may have to be told.
        """
        t = self._page.t

        def turn() -> None:
            is_seen = field._props["type"] == "password"
            field.props(f"type={'text' if is_seen else 'password'}")
            shows.props(f"icon={'visibility_off' if is_seen else 'visibility'} aria-pressed={str(is_seen).lower()}")

        with field.add_slot("append"):
            shows = ui.button(icon="visibility", on_click=turn, color=None)
            shows.props("flat dense round aria-pressed=false").props["aria-label"] = t("Show what is typed")
            copies = ui.button(
                icon="content_copy", on_click=lambda: copy_text(self._page, str(field.value)), color=None
            ).props("flat dense round")
            copies.props["aria-label"] = t("Copy what is typed")
            copies.bind_visibility_from(field, "value", backward=bool)

    def take(self) -> dict[str, Any] | None:
        """
        Return what was filled in, without what is as it is by default; None when something is missing: that is said beside it.
        """
        taken: dict[str, Any] = {}
        missing = False
        for name, field in self._fields.items():
            value = self._read[name](field.value)
            lacks = name in self._required and value in (None, [], "")
            self.blame(name, self._page.t("This is needed.") if lacks else None)
            missing = missing or lacks
            if name in self._required or (value not in (None, []) and value != self._defaults[name]):
                taken[name] = value
        return None if missing else taken

    def blame(self, name: str, what: str | None) -> bool:
        """
        Say what is wrong with a field beside it; None takes that back. Returns whether there is such a field.
        """
        field = self._fields.get(name)
        if field is None or isinstance(field, ui.checkbox):
            return False
        field.error = what
        return True

    def set(self, name: str, value: Any) -> None:
        """
        Fill in a field.
        """
        if name in self._fields:
            self._fields[name].set_value(value)
