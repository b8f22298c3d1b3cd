"""
One private MariaDB for all tests of this package.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fustor_core.testing.mariadb_server import MariaDbServer


@pytest.fixture(scope="session")
def server() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new()
    yield made
    made.close()
