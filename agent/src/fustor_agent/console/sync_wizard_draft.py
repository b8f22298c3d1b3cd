"""
What somebody has said so far of a sync that is to be made, or changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fustor_agent.console.source_wizard_draft import full_name
from fustor_client.agent_models import Fields, Table
from fustor_core.errors import FustorError
from fustor_web_ui.page import Page


@dataclass
class Line:
    """
    One field of the consumer, and the fields of the source (`schema.table.field`) it is made of.

    Attributes:
        is_needed: The consumer asks for it.
    """

    to: str = ""
    source: list[str] = field(default_factory=list)
    required: bool = False
    combine: str = "first"
    separator: str = " "
    is_needed: bool = False

    def entry(self) -> dict[str, Any]:
        """
        Return it as the configuration has it.
        """
        made: dict[str, Any] = {"to": self.to, "source": list(self.source)}
        if self.required:
            made["required"] = True
        if self.combine != "first":
            made |= {"combine": self.combine, "separator": self.separator}
        return made


@dataclass
class SyncDraft:
    """
    A sync that is to be made, or changed.

    Attributes:
        id: Of the sync that is changed; None = it is a new one.
        revision: Of the configuration that it was read from.
        source, pusher: Their ids; "" = not chosen yet.
        sources, pushers: All that there are, as the configuration shows them.
        steps: The transforms, as the configuration has them.
        mapping: The fields of the consumer.
        maps: Whether fields are mapped at all.
        tables: Of the source; None = not asked since it was chosen.
        lists_tables: Whether its driver tells them, so that one of them can be asked for.
        fields: Of tables that were looked at.
        needed: The fields that the consumer asks for; None = not asked since it was chosen.
        kept: Keys of the sync that this page does not change.
    """

    id: str | None = None
    revision: int | None = None
    source: str = ""
    pusher: str = ""
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    pushers: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    mapping: list[Line] = field(default_factory=list)
    maps: bool = False
    tables: list[Table] | None = None
    lists_tables: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)
    needed: Fields | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    def take_ends(self, source: str, pusher: str) -> None:
        """
        Note which source and pusher; what was asked of others is forgotten.
        """
        if source != self.source:
            self.tables, self.fields = None, {}
            if self.source:
                self.steps, self.mapping, self.maps = [], [], False
        if pusher != self.pusher:
            self.needed = None
        self.source, self.pusher = source, pusher

    def read(self, entry: Mapping[str, Any]) -> None:
        """
        Begin with a sync as the configuration shows it.
        """
        own = {"source", "pusher", "transforms", "fields_mapping", "id", "problems", "dependants"}
        self.kept = {name: value for name, value in entry.items() if name not in own}
        self.source, self.pusher = str(entry.get("source") or ""), str(entry.get("pusher") or "")
        self.steps = [dict(step) for step in entry.get("transforms") or ()]
        self.mapping = [
            Line(
                str(one.get("to", "")),
                list(one.get("source", ())),
                bool(one.get("required")),
                str(one.get("combine", "first")),
                str(one.get("separator", " ")),
            )
            for one in entry.get("fields_mapping") or ()
        ]
        self.maps = bool(self.mapping)

    def lines(self) -> list[dict[str, Any]]:
        """
        Return the mapping as the configuration has it.
        """
        return [line.entry() for line in self.mapping if line.to and line.source] if self.maps else []

    def entry(self) -> dict[str, Any]:
        """
        Return the sync as an entry of the configuration.
        """
        lines = self.lines()
        return {
            "source": self.source,
            "pusher": self.pusher,
            **self.kept,
            **({"transforms": self.steps} if self.steps else {}),
            **({"fields_mapping": lines} if lines else {}),
        }

    @property
    def table_names(self) -> list[str]:
        """
        The names of the tables that can be read.
        """
        return [full_name(table) for table in self.tables or () if not table.problem]

    @property
    def tables_with_rows(self) -> list[str]:
        """
        The same, those with most rows first.
        """
        tables = sorted(self.tables or (), key=lambda table: -(table.rows or 0))
        return [full_name(table) for table in tables if not table.problem]

    def known_fields(self) -> list[str]:
        """
        Return the fields of all tables that were looked at, as `schema.table.field`.
        """
        return [f"{table}.{name}" if table else name for table, names in self.fields.items() for name in names]

    async def load_tables(self, page: Page) -> FustorError | None:
        """
        Ask which tables the source has, unless that is known. Returns what went wrong.
        """
        if self.tables is not None:
            return None
        driver = str(self.sources[self.source].get("driver"))
        found = await page.attempt(page.client.tables(driver, limit=20_000, configured=self.source))
        if isinstance(found, FustorError):
            return found
        if found is not None:
            self.tables = list(found.rows)
            self.lists_tables = bool(self.tables)
        if self.tables or self.tables is None:
            return None
        return await self._learn_tables_by_rows(page, driver)

    async def _learn_tables_by_rows(self, page: Page, driver: str) -> FustorError | None:
        """
        A source that can't list tables has some all the same: those that its rows are of.
        """
        found = await page.attempt(page.client.rows(driver, rows=1, configured=self.source))
        if isinstance(found, FustorError):
            return found
        for one in [] if found is None else found.tables:
            self.tables = [*(self.tables or ()), Table(one.table, key=one.key)]
            self.fields[one.table] = list(one.fields)
        return None

    async def load_fields(self, page: Page, table: str) -> FustorError | None:
        """
        Ask which fields a table has, unless that is known. Returns what went wrong.
        """
        if table in self.fields:
            return None
        driver = str(self.sources[self.source].get("driver"))
        found = await page.attempt(page.client.fields("sources", driver, table=table or None, configured=self.source))
        if isinstance(found, FustorError):
            return found
        if found is not None:
            self.fields[table] = list(found.properties)
        return None

    async def load_needed(self, page: Page) -> FustorError | None:
        """
        Ask which fields the consumer wants, unless that is known. Returns what went wrong.
        """
        if self.needed is not None:
            return None
        driver = str(self.pushers[self.pusher].get("driver"))
        found = await page.attempt(page.client.fields("pushers", driver, configured=self.pusher))
        if isinstance(found, FustorError):
            return found
        if found is not None:
            self.needed = found
            self._add_needed(found)
        return None

    def _add_needed(self, needed: Fields) -> None:
        known = {line.to: line for line in self.mapping}
        for name in needed.properties:
            line = known.get(name)
            if line is None:
                line = Line(name, required=name in needed.required)
                self.mapping.append(line)
            line.is_needed = True
        self.maps = self.maps or bool(needed.properties)

    def map_by_name(self) -> int:
        """
        Give every field of the consumer that has no source yet the source's field of the same name; returns how many.
        """
        done = 0
        for line in self.mapping:
            if not line.source and line.to:
                found = best_match(line.to, self.known_fields())
                if found is not None:
                    line.source = [found]
                    done += 1
        return done


def best_match(wanted: str, fields: Iterable[str]) -> str | None:
    """
    Return the field whose own name is the wanted one: the very same, else the same but for case and signs.
    """
    loose = None
    for one in fields:
        name = one.rpartition(".")[2]
        if name == wanted:
            return one
        if loose is None and _plain(name) == _plain(wanted):
            loose = one
    return loose


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
