"""
What somebody has said so far of a source that is to be made. It lives as long as the page; nothing of it is stored before it is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from fustor_agent.driver_tables import exclude_globs, literal_glob
from fustor_client.agent_models import DriverDetails, Table

CHOOSERS: Final = ("include", "exclude", "exclude_columns")
"""
The parameters that the step of the tables fills in, where there are tables to choose.
"""
NOT_ASKED: Final = (*CHOOSERS, "state_dir")
OF_THE_ENTRY: Final = ("uri", "credential", "admin_creds", "driver_params", "endpoint")


@dataclass
class Address:
    """
    An address in the parts that people know.
    """

    host: str
    port: int | None
    database: str

    @classmethod
    def of(cls, uri: str) -> tuple[Address, str | None, str | None]:
        """
        Take an address apart; returns besides the user and the password that stand in it, where they do.

        Raises:
            ValueError: It is none.
        """
        parts = urlsplit(uri.strip())
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname or "", parts.port, unquote(parts.path.strip("/"))), user, password

    def uri(self, scheme: str) -> str:
        """
        Return it as the configuration has it.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{scheme}://{host}{port}/{quote(self.database, safe='')}"


def full_name(table: Table) -> str:
    """
    Return the schema and the name of a table, as the API wants them.
    """
    return f"{table.schema}.{table.table}" if table.schema else table.table


@dataclass
class Choice:
    """
    Which tables and columns are wanted.

    Attributes:
        everything: All tables, also those that are made later.
        tables: Else: those that were chosen, in their order.
        without: The columns of a table that are left out.
    """

    everything: bool = True
    tables: dict[str, None] = field(default_factory=dict)
    without: dict[str, set[str]] = field(default_factory=dict)

    def params(self) -> dict[str, Any]:
        """
        Return it as `driver_params`.
        """
        left_out = [
            glob for table, columns in sorted(self.without.items()) for glob in exclude_globs(table, sorted(columns))
        ]
        return {
            **({} if self.everything else {"include": [literal_glob(table) for table in self.tables]}),
            **({"exclude_columns": left_out} if left_out else {}),
        }


@dataclass
class SourceDraft:
    """
    A source that is to be made.

    Attributes:
        details: Its driver.
        title: What the driver reads, as people call it; English.
        steps: The driver's own steps.
        uri, credential, params: As in the configuration.
        choice: Which tables and columns.
        known: The tables that there are; None = not asked since the address or the account was changed.
        choosable: Which parameters choose among them.
    """

    details: DriverDetails | None = None
    title: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    uri: str = ""
    credential: dict[str, str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    choice: Choice = field(default_factory=Choice)
    known: list[Table] | None = None
    choosable: list[str] = field(default_factory=list)

    @property
    def driver(self) -> str:
        """
        The name of its driver.
        """
        return "" if self.details is None else self.details.name

    def can(self, action: str) -> bool:
        """
        Tell whether its driver knows an action.
        """
        return self.details is not None and action in self.details.actions

    def take_driver(self, details: DriverDetails, title: str, steps: list[dict[str, Any]]) -> None:
        """
        Begin with a driver; with another one than before all else is begun anew.
        """
        if details.name == self.driver:
            return
        self.details, self.title, self.steps = details, title, steps
        self.uri, self.credential, self.params = "", None, {}
        self.choice, self.known, self.choosable = Choice(), None, []

    def take_connection(self, uri: str, credential: dict[str, str] | None, params: Mapping[str, Any]) -> None:
        """
        Note where it is and who reads. What was chosen there stays chosen as long as it is the same place.
        """
        if uri != self.uri:
            self.choice = Choice()
        if (uri, credential) != (self.uri, self.credential):
            self.known = None
        self.uri, self.credential = uri, credential
        self.params = dict(params)

    def properties(self) -> dict[str, Any]:
        """
        Return the schemas of all that the driver's first step asks.
        """
        return dict(self.steps[0].get("schema", {}).get("properties", {})) if self.steps else {}

    def required(self) -> list[str]:
        """
        Return what the driver's first step can't do without.
        """
        return list(self.steps[0].get("schema", {}).get("required", ())) if self.steps else ["uri"]

    def param_schemas(self) -> dict[str, Any]:
        """
        Return the schemas of the parameters that any of the driver's steps asks for.
        """
        found: dict[str, Any] = {}
        for step in self.steps:
            properties = step.get("schema", {}).get("properties", {})
            found |= properties.get("driver_params", {}).get("properties", {})
            found |= {name: schema for name, schema in properties.items() if name not in OF_THE_ENTRY}
        return found

    def trial(self, *, with_choice: bool = False) -> dict[str, Any]:
        """
        Return it as the driver's actions want it.
        """
        params = {**self.params, **(self.choice.params() if with_choice and self.choosable else {})}
        return {"uri": self.uri, "credential": self.credential, "driver_params": params}

    def entry(self) -> dict[str, Any]:
        """
        Return it as an entry of the configuration.
        """
        given = self.trial(with_choice=True)
        kept = {name: value for name, value in given.items() if value}
        return {"driver": self.driver, **kept, "max_retries": 0, "disabled": False}
