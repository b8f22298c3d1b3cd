"""
A server that is shut down while a stream reads it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from postgres_bench import Database

from fustor_core.errors import ConnectionLost
from fustor_core.testing.postgres_server import PostgresServer


@pytest.mark.parametrize("is_walked", [True, False])
def test_the_server_can_be_stopped_though_the_consumer_is_away(
    own_server: PostgresServer, tmp_path: Path, is_walked: bool
) -> None:
    """
    A server that is shut down waits until its readers have confirmed all, which they don't while nobody takes the rows.
    """
    database = Database(own_server, tmp_path)
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    driver = database.driver()
    iterator, _ = driver.get_message_iterator(-1, stop_event=threading.Event())
    database.run("INSERT INTO t VALUES (0)")
    seen = [next(iterator), next(iterator)]
    driver.acknowledge(seen[-1].index)
    database.run("INSERT INTO t SELECT generate_series(1, 5000)")
    while len(seen) < 4:
        seen.append(next(iterator))
    failed: list[ConnectionLost] = []

    def walk() -> None:
        try:
            seen.extend(iterator)
        except ConnectionLost as exc:
            failed.append(exc)

    walking = threading.Thread(target=walk)
    if is_walked:
        walking.start()
    own_server.stop()
    if not is_walked:
        walking.start()
    walking.join(20)
    assert failed and not walking.is_alive()
    own_server.start()
    database.close()
