"""
What keeps one sync going: runtime, engine, reconciliation, ordering, sessions and snapshots.
"""
