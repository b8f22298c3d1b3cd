"""
The visibility gate by itself, without a server.
"""

from __future__ import annotations

import threading

from fustor_source_postgres.visibility import Passed, TransactionSnapshot


def test_what_an_older_read_does_not_show_is_not_forgotten_for_a_newer_one() -> None:
    """
    While one read takes its snapshot and its low watermark, no newer snapshot may make the gate forget what the older one hides.
    """
    passed = Passed(100, ())
    passed.add(7, 200)
    passed.boundary = 208
    begun = threading.Event()

    def newer() -> TransactionSnapshot:
        return TransactionSnapshot.parse("8:8:")  # shows transaction 7

    def prune() -> None:
        begun.set()
        passed.prune(newer)

    other = threading.Thread(target=prune)

    def older() -> TransactionSnapshot:
        found = TransactionSnapshot.parse("7:7:")  # does not show transaction 7
        other.start()
        assert begun.wait(10)
        other.join(0.2)  # without the lock it would be through by now
        return found

    assert passed.low(older, set) == 200
    other.join(10)
    assert passed.low(newer, set) == 208
