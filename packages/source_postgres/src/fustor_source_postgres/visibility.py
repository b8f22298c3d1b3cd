"""
The visibility gate: which place of the stream a read shows.

PostgreSQL writes a commit to its log before others can see it: for a moment always, and for as long as a synchronous standby
takes. So "current position, then SELECT" loses what is in the log and not visible yet. Here the transactions that the stream has
passed are compared with the snapshot the read was done in (`pg_current_snapshot()`): its low watermark lies before the first
one that it does not show. Transactions that were under way when the stream was opened may have been logged before its
beginning; until that is ruled out, no place is good enough.

Transaction ids of the protocol have 32 bits, those of snapshots 64: they are compared after widening (see "Transaction ID and
Snapshot Information Functions" of the manual).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

_LOOK_EVERY: Final = 16_384
_HALF: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class TransactionSnapshot:
    """
    What a read sees: every transaction before `xmin`, none from `xmax` on, and in between those not in `in_progress`.
    """

    xmin: int
    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> TransactionSnapshot:
        """
        Read "xmin:xmax:xid,xid".
        """
        xmin, xmax, listed = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, listed.split(","))) if listed else frozenset())

    def shows(self, xid: int) -> bool:
        """
        Tell whether what a transaction did can be seen, given that it has committed.
        """
        return xid < self.xmin or (xid < self.xmax and xid not in self.in_progress)

    def widen(self, xid: int) -> int:
        """
        Return the 64 bits of a transaction id of which the lower 32 are known and that is of about this time.
        """
        wide = (self.xmax & ~0xFFFFFFFF) | xid
        if wide >= self.xmax + _HALF:
            wide -= 1 << 32
        elif wide + _HALF < self.xmax:
            wide += 1 << 32
        return wide


UNDER_WAY: Final = """
SELECT pg_current_snapshot(), (SELECT string_agg(xid::text, ',') FROM (
  SELECT DISTINCT ON (virtualtransaction) transactionid AS xid FROM pg_locks
  WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()
  ORDER BY virtualtransaction, age(transactionid) DESC) AS held)
"""
"""
What is under way: a transaction holds the lock on its own id until after others can see what it did. (A snapshot alone does not
tell: it leaves out those that were begun after the last one that ended.) Of a transaction and its savepoints the oldest id.
"""


def read_under_way(row: tuple[str | None, ...]) -> set[int]:
    """
    Return the transactions of an answer to `UNDER_WAY`.
    """
    snapshot = TransactionSnapshot.parse(row[0] or "")
    return {snapshot.widen(int(xid)) for xid in (row[1] or "").split(",") if xid}


class Passed:
    """
    The transactions that the stream has passed and a read may not show yet.

    Args:
        start: The LSN the stream was opened at.
        under_way: The transactions that were under way right after that.
    """

    def __init__(self, start: int, under_way: Iterable[int]) -> None:
        self._start = start
        self._begun_before = {xid & 0xFFFFFFFF: xid for xid in under_way}
        self._transactions: deque[tuple[int, int]] = deque()
        self._looking = threading.Lock()
        self.boundary = start
        """
        Everything that was committed before this LSN has been passed.
        """

    def add(self, xid: int, commit: int) -> bool:
        """
        The stream comes to a transaction (32 bits of its id, LSN of its commit record); True when it is time to `prune`.
        """
        # Invariant: added before `boundary` passes it; `low` reads them in the other order.
        self._transactions.append((xid, commit))
        if self._begun_before:
            self._begun_before.pop(xid, None)
        return len(self._transactions) >= _LOOK_EVERY

    def low(self, take: Callable[[], TransactionSnapshot], idle: Callable[[], set[int]]) -> int:
        """
        Return the low watermark of a read: every change it does not show is in the stream after this LSN.

        Args:
            take: Takes the snapshot of the read's own transaction.
            idle: Asks which transactions sit idle now: they have not begun to commit.
        """
        with self._looking:
            snapshot = take()
            boundary = self.boundary
            unknown = self._unknown(snapshot)
            if unknown:
                for xid in idle():
                    self._begun_before.pop(xid & 0xFFFFFFFF, None)
                unknown = self._unknown(snapshot)
            hidden = self._forget(snapshot)
        if unknown:
            return max(0, self._start - 8)
        return min(boundary, hidden)

    def _unknown(self, snapshot: TransactionSnapshot) -> bool:
        for low_bits, xid in list(self._begun_before.items()):
            if snapshot.shows(xid):
                self._begun_before.pop(low_bits, None)
        return bool(self._begun_before)

    def prune(self, take: Callable[[], TransactionSnapshot]) -> None:
        """
        Forget what a snapshot taken now shows.
        """
        with self._looking:
            self._forget(take())

    def _forget(self, snapshot: TransactionSnapshot) -> int:
        """
        Forget what a snapshot shows; return the first commit that it does not show (a very large number when it shows all).
        """
        # Invariant: no other snapshot was taken since this one; what a newer one shows, an older one may still need.
        transactions = self._transactions
        kept = []
        for _ in range(len(transactions)):  # meanwhile the stream's thread may append
            one = transactions.popleft()
            if not snapshot.shows(snapshot.widen(one[0])):
                kept.append(one)
        transactions.extendleft(reversed(kept))
        return kept[0][1] if kept else 1 << 62
