"""
The fields of a source or a pusher, made of the JSON Schema of the configuration: what is documented of a driver has a field each, the rest
is written as YAML.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Final

from nicegui import ui
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from fustor_client.agent_models import Wizard
from fustor_core.errors import FustorError, InvalidRequest
from fustor_web_ui.page import Page

MASK: Final = "***"
"""
What stands for a secret; sent back it leaves the secret as it is.
"""

Entry = dict[str, Any]
Path = tuple[str, ...]

_NUMBERS: Final = ("integer", "number")
_OWN: Final = {
    "max_retries": ("Retries", "How often something that can pass is tried again; 0 = for ever."),
    "retry_delay_sec": ("Longest wait between two tries, seconds", ""),
    "max_queue_size": ("Most events that wait in the bus", ""),
    "batch_size": ("Most rows in one push", ""),
}
_ADDRESSES: Final = {"sources": "A URL without a password.", "pushers": "Where the consumer listens."}
_OF_A_SECRET: Final = (
    "Better than the secret itself: an environment variable of the agent as ${NAME}, or a file as file:/path."
)
_NOT_FIELDS: Final = ("driver", "disabled", "credential", "driver_params")


def written(value: Any) -> str:
    """
    Return a value as YAML.
    """
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 4096
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue().removesuffix("...\n")


def read(text: str) -> Any:
    """
    Read YAML.

    Raises:
        InvalidRequest: It is none; says where.
    """
    yaml: Any = YAML(typ="safe", pure=True)
    try:
        return yaml.load(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise InvalidRequest(
            f"{where}{exc.problem or exc.context}", hint="write it as `key: value`, one to a line"
        ) from None
    except (YAMLError, ValueError) as exc:
        raise InvalidRequest(str(exc).splitlines()[0], hint="write it as `key: value`, one to a line") from None


async def address_schema(page: Page, section: str, driver: str) -> dict[str, Any]:
    """
    Return what a driver says of its address (what it looks like, an example), as its set-up has it.
    """
    try:
        wizard: Wizard = await page.client.wizard(section, driver)
    except FustorError:
        return {}  # a driver that can't be asked: what is wrong with it is told beside the entry
    return asked_for(wizard).get(address_key(section), {})


def asked_for(wizard: Wizard) -> dict[str, dict[str, Any]]:
    """
    Return what the steps of a driver's set-up ask for: the schema of each key.
    """
    found: dict[str, dict[str, Any]] = {}
    for step in wizard.steps:
        for name, schema in (step.get("schema") or {}).get("properties", {}).items():
            found.setdefault(name, schema)
    return found


def address_key(section: str) -> str:
    """
    Return the key that holds the address of a source, or of a pusher.
    """
    return "uri" if section == "sources" else "endpoint"


class Blamed:
    """
    A field that can be said to be wrong.
    """

    def __init__(self, element: Any, take: Callable[[], Any], read: Callable[[Any], Any] = lambda given: given) -> None:
        self.element = element
        self._take = take
        self._read = read
        self._before = take()

    @property
    def has_changed(self) -> bool:
        """
        Whether something else was filled in.
        """
        return bool(self._take() != self._before)

    def value(self) -> Any:
        """
        Return what was filled in.

        Raises:
            InvalidRequest: It can't be read.
        """
        return self._read(self._take())

    def blame(self, text: str | None) -> bool:
        """
        Say what is wrong beside it; False when this field can't.
        """
        if not hasattr(self.element, "error"):
            return text is None
        self.element.error = text
        return True


class EntryFields:
    """
    The fields of one entry.

    Args:
        page: Where they stand.
        schema: Of the configuration file, as `GET /api/configs/schema` gives it.
        section: sources or pushers.
        entry: What is there.
        address: What the driver says of the address; see `address_schema`.
        credential: Which kind is asked for at first where there is none: none, passwd or key.
    """

    def __init__(
        self,
        page: Page,
        schema: Mapping[str, Any],
        section: str,
        entry: Mapping[str, Any],
        *,
        address: Mapping[str, Any],
        credential: str = "none",
    ) -> None:
        self._page = page
        self._first_credential = credential
        self._entry = entry
        self._fields: dict[Path, Blamed] = {}
        model = schema["$defs"][f"{section[:-1].capitalize()}Config"]
        own = {name: about for name, about in model["properties"].items() if name not in _NOT_FIELDS}
        key = address_key(section)
        told = self._about_address(section, address)
        self._field((key,), page.t("Address"), {**own.pop(key), "description": told})
        self._credential()
        params = _params_of(model, str(entry.get("driver") or ""))
        if params is None:
            self._yaml(("driver_params",), page.t("Parameters of the driver, as YAML"), "")
        elif params:
            with ui.expansion(page.t("Parameters of the driver"), value=bool(entry.get("driver_params"))).classes(
                "entry-more"
            ):
                for name, about in params.items():
                    self._field(("driver_params", name), name, about)
        with ui.expansion(page.t("Retries and batch size")).classes("entry-more"):
            for name, about in own.items():
                label, told = _OWN.get(name, (name, str(about.get("description") or "")))
                self._field((name,), page.t(label), {**about, "description": page.t(told)})

    def _about_address(self, section: str, address: Mapping[str, Any]) -> str:
        t = self._page.t
        told = t(str(address.get("description") or _ADDRESSES[section]))
        example = next(iter(address.get("examples") or ()), address.get("default"))
        if not example or example == self._entry.get(address_key(section)):
            return told
        return self._and(told, t("For example {example}", example=example))

    def _value(self, path: Path) -> Any:
        found: Any = self._entry
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def _field(self, path: Path, label: str, about: Mapping[str, Any]) -> None:
        plain, value, told = _plain(about), self._value(path), str(about.get("description") or "")
        kind = plain.get("type")
        if isinstance(value, str) and kind != "string" and "enum" not in plain:
            plain, kind = {}, "string"  # a reference, or something wrong: it stays what it is
        if kind == "boolean":
            box = ui.checkbox(label, value=bool(plain.get("default")) if value is None else bool(value))
            if told:
                ui.label(told).classes("entry-told")
            self._fields[path] = Blamed(box, lambda: bool(box.value))
        elif "enum" in plain:
            choices = [one for one in plain["enum"] if one is not None]
            at = value if value in choices else plain.get("default")
            select = ui.select(choices, label=label, value=at).props("outlined").classes("console-field")
            self._hint(select, told, None)
            self._fields[path] = Blamed(select, lambda: select.value)
        elif kind == "array" and _plain(plain.get("items", {})).get("type", "string") == "string":
            lines = "\n".join(map(str, value or ()))
            area = ui.textarea(label, value=lines).props("outlined autogrow").classes("console-field")
            self._hint(area, self._and(told, self._page.t("One to a line.")), None)
            self._fields[path] = Blamed(area, lambda: _lines(area.value) or None)
        elif kind in ("string", *_NUMBERS) or not plain:
            field, said = self._input(label, "" if value is None else str(value))
            self._hint(field, told, about.get("default"))
            self._fields[path] = Blamed(field, lambda: _scalar(said(), str(kind)))
        else:
            self._yaml(path, label, told)

    def _input(self, label: str, value: str, *, is_secret: bool = False) -> tuple[ui.input, Callable[[], str]]:
        """
        Make a field for a text, and what reads it. A saved secret is not filled in: who types would add to what stands for it.
        """
        is_saved = value == MASK
        hides = is_secret or is_saved
        field = ui.input(label, value="" if is_saved else value, password=hides, password_toggle_button=hides)
        field.props("outlined").classes("console-field")
        if hides:
            field.props("autocomplete=new-password")
        if is_saved:
            field.props("stack-label").props["placeholder"] = self._page.t("saved; leave empty to keep it")
        return field, lambda: field.value or (MASK if is_saved else "")

    def _yaml(self, path: Path, label: str, told: str) -> None:
        value = self._value(path)
        area = (
            ui.textarea(label, value="" if value in (None, {}, []) else written(value))
            .props("outlined autogrow")
            .classes("console-field is-code")
        )
        self._hint(area, self._and(told, self._page.t("As YAML.")), None)
        self._fields[path] = Blamed(area, lambda: (area.value or "").strip(), lambda text: read(text) if text else None)

    def _hint(self, element: Any, told: str, default: Any) -> None:
        if default not in (None, "", [], {}):
            told = self._and(told, self._page.t("By default {value}.", value=default))
        if told:
            element.props["hint"] = told
            element.classes("has-hint")

    def _and(self, one: str, other: str) -> str:
        # Between two sentences there is a space, in English.
        return self._page.t("{one} {other}", one=one, other=other) if one else other

    def _credential(self) -> None:
        t = self._page.t
        credential = self._entry.get("credential")
        known: Mapping[str, Any] = credential if isinstance(credential, Mapping) else {}
        kinds = {"none": t("None"), "passwd": t("User and password"), "key": t("API key")}
        now = "key" if "key" in known else "passwd" if known else self._first_credential
        kind = ui.select(kinds, label=t("Credential"), value=now).props("outlined").classes("console-field")
        user = ui.input(t("User"), value=str(known.get("user") or "")).props("outlined").classes("console-field")
        user.bind_visibility_from(kind, "value", value="passwd")
        secrets: dict[str, ui.input] = {}
        said: dict[str, Callable[[], str]] = {}
        for name, label in (("passwd", t("Password")), ("key", t("API key"))):
            secrets[name], said[name] = self._input(label, str(known.get(name) or ""), is_secret=True)
            self._hint(secrets[name], t(_OF_A_SECRET), None)
            secrets[name].bind_visibility_from(kind, "value", value=name)
        # A user may have no password; of a key there is nothing left without it.
        no_password = ui.checkbox(t("Remove the saved password"))
        if known.get("passwd") == MASK:
            no_password.bind_visibility_from(kind, "value", value="passwd")
            secrets["passwd"].bind_enabled_from(no_password, "value", backward=lambda removes: not removes)
        else:
            no_password.visible = False

        def take() -> dict[str, Any] | None:
            if kind.value == "none":
                return None
            removes = kind.value == "passwd" and no_password.value
            given = {kind.value: None if removes else said[kind.value]() or None}
            if kind.value == "passwd" or "user" in known:
                given = {"user": user.value or "", **given}
            return {name: value for name, value in given.items() if value is not None}

        self._fields["credential",] = Blamed(kind, take)
        self._fields["credential", "user"] = Blamed(user, lambda: None)
        for name, made in secrets.items():
            self._fields["credential", name] = Blamed(made, lambda: None)

    def take(self) -> Entry | None:
        """
        Return the entry as it was filled in; None when a field can't be read: that is said beside it.
        """
        entry: Entry = dict(self._entry.items())
        if isinstance(entry.get("driver_params"), Mapping):
            entry["driver_params"] = dict(entry["driver_params"])
        is_readable = True
        for path, field in self._fields.items():
            field.blame(None)
            try:
                value, has_changed = field.value(), field.has_changed
            except InvalidRequest as exc:
                field.blame(self._page.told(exc.message))
                is_readable = False
                continue
            if not has_changed:
                continue
            within = entry if len(path) == 1 else entry.setdefault(path[0], {})
            if value in (None, ""):
                within.pop(path[-1], None)
            else:
                within[path[-1]] = value
        if entry.get("driver_params") == {} and "driver_params" not in self._entry:
            del entry["driver_params"]
        return entry if is_readable else None

    def blame(self, path: Path, text: str) -> bool:
        """
        Say what is wrong beside the field of a key, or of what that is in; False when there is no such field.
        """
        for length in range(len(path), 0, -1):
            field = self._fields.get(path[:length])
            if field is not None and field.element.visible:
                return field.blame(text)
        return False

    def values(self, *names: str) -> Entry:
        """
        Return some keys of the entry as it was filled in.
        """
        entry = self.take() or {}
        return {name: entry[name] for name in names if name in entry}


def _params_of(model: Mapping[str, Any], driver: str) -> dict[str, Any] | None:
    for rule in model.get("allOf", ()):
        if rule["if"]["properties"]["driver"]["const"] == driver:
            found: dict[str, Any] = rule["then"]["properties"]["driver_params"].get("properties", {})
            return found
    return None


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the schema of a value without "or null" and "or a reference".
    """
    kinds = [
        one
        for one in about.get("anyOf", ())
        if one.get("type") != "null" and not str(one.get("pattern", "")).startswith(r"\$\{")
    ]
    if len(kinds) == 1:
        return {**{name: value for name, value in about.items() if name != "anyOf"}, **_plain(kinds[0])}
    return dict(about)


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _scalar(text: str | None, kind: str) -> Any:
    given = (text or "").strip()
    if not given:
        return None
    if kind in _NUMBERS:
        for make in (int, float):
            try:
                return make(given)
            except ValueError:
                continue
    return given
