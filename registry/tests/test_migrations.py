"""
The schema: from empty, from the first released one, twice, and by several processes at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_bench import PASSWORD, bearer, running
from sqlalchemy import text

from fustor_core.errors import ConfigError
from fustor_registry.models import Base
from fustor_registry.passwords import Passwords
from fustor_registry.store import Store

THEN = "2026-01-01T00:00:00.000000+00:00"


def test_migrations_from_empty_give_the_tables_of_the_models(database_url: str) -> None:
    """
    What the migrations make is what the models say, and a second run changes nothing.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = Store(database_url)
    store.migrate()
    store.migrate()
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        if store.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    store.close()


def fill_first_schema(store: Store) -> None:
    """
    Write what the first released version would have: an admin, two users, two datastores, keys, a login, the trail.
    """
    hashed = Passwords().hash(PASSWORD)
    audit = [
        ("bootstrap", "user.create", "admin", {"is_admin": True}),
        ("ann", "datastore.create", "lab", {"id": "aaaa"}),
        ("gone", "datastore.create", "old", {"id": "bbbb"}),
        ("ann", "key.create", "11111111", {"name": "k", "datastore_id": "aaaa"}),
        ("admin", "key.create", "22222222", {"name": "k", "datastore_id": "bbbb"}),
        ("admin", "key.revoke", "22222222", {"name": "k"}),
    ]
    with store.write() as session:
        for number, name in enumerate(("admin", "ann", "bob"), 1):
            session.execute(
                text("INSERT INTO users (id, name, password_hash, is_admin, created_at) VALUES (:i, :n, :h, :a, :t)"),
                {"i": number, "n": name, "h": hashed, "a": name == "admin", "t": THEN},
            )
        session.execute(text("INSERT INTO login_tokens VALUES ('x', 2, :t, '2100')"), {"t": THEN})
        for identifier, name in (("aaaa", "lab"), ("bbbb", "old")):
            session.execute(
                text("INSERT INTO datastores VALUES (:i, :n, '', :t)"), {"i": identifier, "n": name, "t": THEN}
            )
        for key, datastore, revoked in (("11111111", "aaaa", None), ("22222222", "bbbb", THEN)):
            session.execute(
                text("INSERT INTO api_keys VALUES (:k, 'k', :d, 'ingest,read', :h, :t, :r)"),
                {"k": key, "d": datastore, "h": "0" * 64, "t": THEN, "r": revoked},
            )
        for number, (actor, action, target, details) in enumerate(audit, 1):
            session.execute(
                text("INSERT INTO audit VALUES (:i, :t, :a, :c, :g, :d)"),
                {"i": number, "t": THEN, "a": actor, "c": action, "g": target, "d": json.dumps(details)},
            )


async def test_the_first_released_schema_is_upgraded_with_all_that_is_in_it(database_url: str) -> None:
    """
    Passwords, keys and the trail stay; admins stay admins; who made a datastore owns it; who did not, has nothing to do with it.
    """
    store = Store(database_url)
    store.migrate("0001")
    fill_first_schema(store)
    if not store.is_sqlite:  # its numbers were given by hand above
        with store.write() as session:
            for table in ("users", "audit"):
                session.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
                )
    store.close()
    async with running(database_url=database_url) as registry:
        users = await registry.call("GET", "/users", registry.admin)
        assert [(user["name"], user["role"]) for user in users] == [
            ("admin", "admin"),
            ("ann", "owner"),
            ("bob", "owner"),
        ]
        ann, bob = await registry.login("ann"), await registry.login("bob")
        assert [one["name"] for one in await registry.call("GET", "/datastores", ann)] == ["lab"]
        assert await registry.call("GET", "/datastores", bob) == []
        assert [one["name"] for one in await registry.call("GET", "/datastores", registry.admin)] == ["lab", "old"]
        (key,) = await registry.call("GET", "/keys", ann)
        assert (key["id"], key["created_by"], key["scopes"]) == ("11111111", "ann", ["ingest", "read"])
        assert (await registry.call("GET", "/keys/22222222", registry.admin))["revoked_at"] == THEN
        assert {entry["action"] for entry in await registry.call("GET", "/audit", ann)} == {
            "datastore.create",
            "key.create",
        }
        trail = await registry.trail()
        assert [entry["id"] for entry in trail][-6:] == [6, 5, 4, 3, 2, 1]
        await registry.call("GET", "/users/me", bearer("x"), status=401)
        await registry.key("aaaa", "another", ann)


STARTER = """
import sys
from fustor_registry.app import _open
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store
settings = RegistrySettings.load(database_url=sys.argv[1], admin_password="a long password")
sys.stdin.readline()
store = Store(settings.url_of_database)
_open(store, settings)
store.close()
"""


@pytest.mark.parametrize("begin", [None, "0001"])
def test_processes_that_start_at_once_take_turns(database_url: str, begin: str | None, tmp_path: Path) -> None:
    """
    Four processes start on an empty database, or on one of the first schema: all come up, and there is one admin.
    """
    if begin is not None:
        store = Store(database_url)
        store.migrate(begin)
        store.close()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, database_url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "FUSTOR_CONFIG_DIR": str(tmp_path)},
        )
        for _ in range(4)
    ]
    ended = [process.communicate("go\n", timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, "\n".join(ended)
    store = Store(database_url)
    with store.read() as session:
        assert session.scalar(text("SELECT count(*) FROM users")) == 1
        assert session.scalar(text("SELECT count(*) FROM audit WHERE action = 'user.create'")) == 1
    store.close()


def test_a_migration_that_fails_leaves_what_was(
    tmp_path: Path, make_postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    All migrations are made, or none, on both databases.
    """
    from alembic import op

    def fail(*_args: object, **_more: object) -> None:
        raise RuntimeError("power cut")

    for url in (f"sqlite:///{tmp_path / 'x.db'}", make_postgres_url()):
        store = Store(url)
        store.migrate("0001")
        fill_first_schema(store)
        with monkeypatch.context() as patch:
            patch.setattr(op, "drop_index", fail)  # well in the middle of the second
            with pytest.raises(RuntimeError, match="power cut"):
                store.migrate()
        with store.read() as session:
            assert session.scalar(text("SELECT version_num FROM alembic_version")) == "0001"
            assert session.scalar(text("SELECT count(*) FROM users WHERE is_admin")) == 1
            assert session.scalar(text("SELECT count(*) FROM login_tokens")) == 1
        store.migrate()
        store.close()


def test_a_database_of_a_newer_version_is_refused_with_a_clear_word(tmp_path: Path) -> None:
    """
    An older Registry leaves a newer database alone and says what to do.
    """
    store = Store(f"sqlite:///{tmp_path / 'x.db'}")
    store.migrate()
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer"):
        store.migrate()
    store.close()
