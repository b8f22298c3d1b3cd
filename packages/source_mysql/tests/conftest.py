"""
One private MariaDB for all tests of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_bench import Database

from fustor_core.testing.mariadb_server import MariaDbServer


@pytest.fixture(scope="session")
def server() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new()
    yield made
    made.close()


@pytest.fixture
def database(server: MariaDbServer, tmp_path: Path) -> Iterator[Database]:
    made = Database(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_server() -> Iterator[MariaDbServer]:
    """
    A server of the test's own, to be killed and set up otherwise.
    """
    made = MariaDbServer.start_new()
    yield made
    made.close()
