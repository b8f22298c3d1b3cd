"""
One private MariaDB and one private MySQL for all tests of this package: every test with a `server` or a `database` runs on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_bench import SERVERS, Database

from fustor_core.testing.binlog_server import BinlogServer


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, BinlogServer]]:
    """
    The servers that were started so far: each once for all tests.
    """
    made: dict[str, BinlogServer] = {}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest, servers: dict[str, BinlogServer]) -> BinlogServer:
    if request.param not in servers:
        servers[request.param] = SERVERS[request.param].start_new()
    return servers[request.param]


@pytest.fixture
def database(server: BinlogServer, tmp_path: Path) -> Iterator[Database]:
    made = Database(server, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=list(SERVERS))
def own_server(request: pytest.FixtureRequest) -> Iterator[BinlogServer]:
    """
    A server of the test's own, to be killed and set up otherwise.
    """
    made = SERVERS[request.param].start_new()
    yield made
    made.close()
