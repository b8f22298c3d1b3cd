"""
What people do at the Agent's wizards, and drivers of others that they meet there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, expect

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from harness.browser import Visitor
from harness.stack import AGENT_TOKEN, Service, Stack

Server = MariaDbServer | PostgresServer
Visit = Callable[..., Visitor]
CARDS = {"mysql": "MariaDB / MySQL", "postgres": "PostgreSQL", "fs": "Files and folders"}
THIRD_PARTY = '''
from pydantic import BaseModel
from fustor_core.drivers import SourceDriver
from fustor_core.models.event import InsertEvent, progress_mark

class Params(BaseModel):
    region: str = "eu"

class Counts(SourceDriver):
    """Counts what <b>there</b> is."""
    params_model = Params

    @classmethod
    async def test_connection(cls, **given):
        return given["uri"] == "acme://here", "the host answers" if given["uri"] == "acme://here" else "no such host"

    @classmethod
    async def get_wizard_steps(cls):
        schema = {"properties": {"uri": {"type": "string", "title": "Where"},
            "credential": {"type": "object", "properties": {"key": {"type": "string", "format": "password", "title": "Token"}}},
            "region": {"type": "string", "title": "Region of the shop", "default": "eu", "enum": ["eu", "us"]}},
            "required": ["uri"]}
        return {"steps": [{"step_id": "all", "title": "All", "schema": schema, "validations": ["test_connection"]}]}

    def get_snapshot_iterator(self, **kwargs):
        yield InsertEvent("demo", "numbers", [{"id": 1, "region": self.config.driver_params.get("region", "eu")}],
            index=1, key=["id"], resume_token="end")

    def get_message_iterator(self, start_position=-1, **kwargs):
        def marks():
            while not kwargs["stop_event"].wait(0.02):
                yield progress_mark(1)
        return marks(), False

    def high_watermark(self):
        return 1

    def is_position_available(self, position):
        return True
'''

PICKY = '''
import json
from fustor_core.drivers import PusherDriver
from fustor_core.values import encode_value

class Picky(PusherDriver):
    """Writes what it is given into a file, and asks for three fields."""

    async def get_needed_fields(self, **kwargs):
        return {"properties": {"ID": {"type": "integer"}, "subject": {}, "content": {}}, "required": ["ID", "content"]}

    async def create_session(self, task_id, **kwargs):
        return {"session_id": "s", "snapshot_needed": True}

    async def push(self, events, **control):
        with open(self.config.endpoint, "a") as out:
            for event in events:
                for row in event.rows:
                    row = row if isinstance(row, dict) else dict(zip(event.fields, row))
                    out.write(json.dumps({name: encode_value(value) for name, value in row.items()}) + chr(10))
        return {"snapshot_needed": control.get("source_type") != "snapshot"}
'''


def install(site: Path, distribution: str, name: str, source: str, attribute: str, kind: str = "source") -> None:
    """
    Lay a package with a driver out as an installer does.
    """
    module = distribution.replace("-", "_")
    info = site / f"{module}-2.1.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(f"[fustor.drivers.{kind}s]\n{name} = {module}:{attribute}\n")


def api(stack: Stack, method: str, path: str, body: Any = None) -> Any:
    answer = stack.http.request(method, f"{stack.agent.url}/api/{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def log_of(service: Service) -> list[dict[str, Any]]:
    text = (service.folder / "fustor_agent.log").read_text("utf-8", "replace")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def primary(visitor: Visitor) -> Locator:
    return visitor.page.locator(".wizard-buttons .act-primary")


def go_on(visitor: Visitor, heading: str) -> None:
    """
    Press the one button that goes on; wait until the step with this heading is there.
    """
    visitor.click(primary(visitor))
    at(visitor, heading)


def at(visitor: Visitor, heading: str) -> None:
    expect(visitor.page.get_by_role("heading", name=heading, level=2, exact=True)).to_be_visible()


def begin(visitor: Visitor, card: str) -> None:
    visitor.go("/sources/new", "New source")
    visitor.click(visitor.page.get_by_role("button", name=card))
    at(visitor, "Where is it, and who reads it?")


def driver_of(server: Server) -> str:
    return "postgres" if isinstance(server, PostgresServer) else "mysql"


def fill_in(visitor: Visitor, server: Server, user: str, password: str, database: str = "shop") -> None:
    visitor.fill("Host", "127.0.0.1")
    visitor.fill("Port", str(server.port))
    visitor.fill("Database", database)
    visitor.fill("User", user)
    visitor.fill("Password", password)


def signed_in(visit: Visit, stack: Stack, **how: str | int) -> Visitor:
    visitor = visit(f"{stack.agent.url}/console", **how)
    visitor.page.goto(f"{visitor.console}/sign-in")
    visitor.page.fill("#token", AGENT_TOKEN)
    visitor.page.click("button[type=submit]")
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    return visitor


def go_on_to_the_dashboard(visitor: Visitor, sync: str) -> None:
    visitor.click(primary(visitor))
    visitor.is_at("Dashboard")
    visitor.sees(sync)


def make_up_a_password(visitor: Visitor) -> str:
    """
    Have a password made up, and see that somebody else can be told it.
    """
    visitor.press("Make up a password")
    secret = visitor.page.get_by_label("Password", exact=True)
    expect(secret).not_to_have_value("")
    made_up = secret.input_value()
    expect(secret).to_have_attribute("type", "password")
    visitor.press("Show what is typed")
    expect(secret).to_have_attribute("type", "text")
    visitor.press("Show what is typed")
    expect(secret).to_have_attribute("type", "password")
    visitor.press("Copy what is typed")
    visitor.sees("Copied.")
    return made_up


def expect_ticks(visitor: Visitor) -> None:
    expect(visitor.page.locator(".check-good")).to_have_count(3)
    expect(primary(visitor)).to_have_text("Continue")


def run(server: Server, *statements: str) -> None:
    use = "" if isinstance(server, PostgresServer) else "USE shop; "
    server.sql(use + "; ".join(statements))


def quoted(server: Server, name: str) -> str:
    sign = '"' if isinstance(server, PostgresServer) else "`"
    return sign + name.replace(sign, sign * 2) + sign


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def schema_of(server: Server) -> str:
    return "public" if isinstance(server, PostgresServer) else "shop"


def sent_rows(stack: Stack, sync: str, schema: str, table: str) -> list[dict[str, Any]]:
    answer = stack.http.get(
        f"{stack.fusion.url}/views/tables/{sync}/{schema}/{table}/rows",
        params={"limit": 1000},
        headers={"X-API-Key": stack.key},
    )
    rows: list[dict[str, Any]] = answer.json()["rows"] if answer.status_code == 200 else []
    return rows


def is_live(stack: Stack, sync: str) -> bool:
    found = [one for one in api(stack, "GET", "instances")["syncs"] if one["id"] == sync]
    return bool(found) and "MESSAGE_SYNC" in found[0]["states"]
