"""
Both databases that the Registry runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registry_bench import Registry, running

from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """
    One server for the run.
    """
    server = PostgresServer.start_new()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def config_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    The folder in which the Registry of the test keeps its files.
    """
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_postgres_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    """
    Makes empty databases of the server.
    """

    def make() -> str:
        server: PostgresServer = request.getfixturevalue("postgres")
        name = f"registry_{make.count}_{abs(hash(request.node.nodeid))}"  # type: ignore[attr-defined]
        make.count += 1  # type: ignore[attr-defined]
        server.sql(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{name}"

    make.count = 0  # type: ignore[attr-defined]
    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """
    An empty database, of each kind in turn.
    """
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    make: Callable[[], str] = request.getfixturevalue("make_postgres_url")
    return make()


@pytest.fixture
async def registry(database_url: str) -> Iterator[Registry]:  # type: ignore[misc]
    """
    A running Registry with its admin, on each database in turn.
    """
    async with running(database_url=database_url) as made:
        yield made
