"""
One private PostgreSQL for all tests of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_bench import Database

from fustor_core.testing.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    made = PostgresServer.start_new()
    yield made
    made.close()


@pytest.fixture
def database(server: PostgresServer, tmp_path: Path) -> Iterator[Database]:
    made = Database(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """
    A server of the test's own, to be killed and set up otherwise.
    """
    made = PostgresServer.start_new()
    yield made
    made.close()
