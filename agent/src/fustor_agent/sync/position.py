"""
Where a sync is in the history of its source: epoch, checkpoint, gap, and what of it is remembered on disk.

`save` is called before anything that relies on what it saves goes out. Neighbours: `checkpoint` (what is safe), `ports`
(what is remembered), `engine` (who tells it what happened).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fustor_agent.sync.checkpoint import AckTracker
from fustor_agent.sync.keys import TableId, full_name
from fustor_agent.sync.ordering import Push
from fustor_agent.sync.ports import Origin, SyncMemory
from fustor_agent.sync.settings import SyncSettings


class Position:
    """
    The position of one sync.

    Args:
        memory: What is remembered of the sync; changed in place, and given to `save`.
        save: Makes the memory durable; on disk when it returns.
        clock: Monotonic seconds.
        settings: Sizes and waits.

    Attributes:
        tracker: Follows the stream of the present epoch.
        is_open: The stream was opened.
        start_unknown: The stream was opened at "now" and has not said yet where that is.
    """

    def __init__(
        self,
        memory: SyncMemory,
        save: Callable[[SyncMemory], None],
        clock: Callable[[], float],
        settings: SyncSettings,
    ) -> None:
        self.memory = memory
        self.tracker = AckTracker()
        self.is_open = False
        self.start_unknown = False
        self._save_memory = save
        self._clock = clock
        self._settings = settings
        self._consumer_epochs: set[int] = set()
        self._consumer_epoch: int | None = None
        self._start_position = -1
        self._gap_seq = 0
        self._is_gap_told = False
        self._before_gap: list[tuple[AckTracker, int]] = []
        self._acked_checkpoint = -1
        self._saved_checkpoint = -1
        self._saved_at = -1e9
        self._dirty = False

    # -- epochs ------------------------------------------------------------------------------------------------------

    def first_session(self, answer: Mapping[str, Any], consumer_index: int) -> int:
        """
        Take what the consumer has; return where the stream is to be opened (-1 = now).
        """
        epoch = answer.get("epoch")
        self._consumer_epoch = None if epoch is None else int(epoch)
        self._consumer_epochs = set() if epoch is None else {int(epoch)}
        if consumer_index >= 0:
            position = consumer_index
        elif self._consumer_epoch is None:
            position = max(self.memory.checkpoint, self.memory.start_index)
        elif self._consumer_epoch == self.memory.epoch:
            position = self.memory.start_index
        else:
            position = -1  # the consumer keeps positions and has nothing: it wants all
        self._start_position = position
        return position

    def is_same_consumer(self, answer: Mapping[str, Any]) -> bool:
        """
        Tell whether the consumer, by the answer to a later session, is what it was.
        """
        epoch = answer.get("epoch")
        return epoch is None or self._consumer_epoch is None or int(epoch) in self._consumer_epochs

    def opened(self, *, lost: bool, incarnation: str) -> bool:
        """
        The stream was opened (again): at the place asked for, or, when `lost`, at the newest one. Return whether changes are
        missing. The caller saves.
        """
        memory = self.memory
        first = not self.is_open
        consumer = self._consumer_epoch if first else None
        same = memory.epoch >= 0 and memory.incarnation == incarnation and consumer in (None, memory.epoch)
        positioned = not lost and (self._start_position >= 0 if first else same)
        previous = self.tracker
        if not same:
            # A consumer with rows of another epoch has a gap to fill, also when it never got as far as a checkpoint.
            had_position = not first or self._start_position >= 0 or (consumer is not None and consumer >= 0)
            memory.epoch = self._next_epoch()
            memory.incarnation = incarnation
            memory.checkpoint = memory.start_index = -1
            self.tracker = AckTracker(self._start_position if first and not lost else -1)
            lost = lost or had_position
            self._acked_checkpoint = -1
        elif first:
            self.tracker = AckTracker(-1 if lost else self._start_position)
        elif lost:
            # Indexes go on in the same epoch; what was queued before the gap still has to be acknowledged first.
            self.tracker.last = max(self.tracker.last, self.tracker.passed)
        if first and not lost and self._start_position >= 0 and memory.start_index < 0:
            memory.start_index = self._start_position
        self.is_open = True
        self.start_unknown = self.start_unknown or not positioned
        if lost:
            self._wait_for_all_before(previous)
        return lost

    def _wait_for_all_before(self, tracker: AckTracker) -> None:
        self._before_gap.append((tracker, tracker.seen_seq))

    def _next_epoch(self) -> int:
        # Versions compare as (epoch, index): positions of another incarnation may be smaller.
        return max(self.memory.epoch, self._consumer_epoch if self._consumer_epoch is not None else -1) + 1

    def note_start(self, index: int) -> None:
        """
        The stream begins behind `index`, if nobody knows better.
        """
        # Invariant 3: saved before the first row is sent.
        if self.memory.start_index < 0 <= index:
            self.memory.start_index = index
            self.save()

    # -- gaps --------------------------------------------------------------------------------------------------------

    def lose(self, seq: int) -> None:
        """
        Changes are missing anywhere; `seq` is the number of the newest send. The caller saves.
        """
        self.memory.put_off = []
        self._remember_gap(None, seq)

    def lose_table(self, table: TableId | None, index: int, seq: int) -> None:
        """
        Changes of one table (None = of any) up to `index` are missing, and the stream goes on.
        """
        self._wait_for_all_before(self.tracker)
        self.memory.put_off = [one for one in self.memory.put_off if table not in (None, one)]
        self._remember_gap(None if table is None else full_name(*table), seq)
        self.save()
        # Not passed yet: what is released before the mark that follows must look older than what the snapshot will bring.
        self.tracker.last = max(self.tracker.last, index)

    def put_off(self, table: TableId) -> None:
        """
        Changes of one table are missing, which is to become a gap later.
        """
        # Invariant 10, as for a gap: remembered before the checkpoint can pass what was not told.
        if table not in self.memory.put_off:
            self.memory.put_off = [*self.memory.put_off, table]
            self.save()

    def take_origin(self, origin: Origin, tables: Sequence[str] | None, seq: int) -> None:
        """
        Rows are made as `origin` says from now on; those of some tables (None = of any) that the consumer has are not. Nothing of
        the new shape may have been sent yet.
        """
        if self.memory.epoch >= 0:  # else the consumer has none
            for table in (None,) if tables is None else tables:
                self._remember_gap(table, seq)
        self.memory.origin = origin
        self.save()

    def _remember_gap(self, table: str | None, seq: int) -> None:
        # Invariant 2 and 10: remembered before anything newer is sent; never a silent gap.
        memory = self.memory
        if table is None:
            memory.gap_tables = None
        elif not memory.gap:
            memory.gap_tables = [table]
        elif memory.gap_tables is not None:
            memory.gap_tables = sorted({*memory.gap_tables, table})
        memory.gap = True
        self._gap_seq = seq
        self._is_gap_told = False

    @property
    def is_gap_untold(self) -> bool:
        """
        Whether there is a gap that the consumer has to hear of.
        """
        return self.memory.gap and not self._is_gap_told

    def gap_told(self, *, is_answered: bool, is_later: bool) -> None:
        """
        A push that told the consumer of the gap was answered.

        Args:
            is_answered: The consumer wants no snapshot, or the one that fills the gap has begun.
            is_later: Another one is under way: until that ends there is no use in asking again.
        """
        if not is_answered:
            self._is_gap_told = is_later
            return
        self.memory.gap = False
        self.memory.gap_tables = None
        self.save()

    def gap_is_later(self, seq: int) -> None:
        """
        The push `seq` begins or ends a snapshot that does not fill the gap: only what is sent after it tells the consumer of the
        gap, lest it takes that snapshot for the answer.
        """
        self._gap_seq = max(self._gap_seq, seq)

    def snapshot_ended(self) -> None:
        """
        None is under way any more: the consumer hears again of a gap that is still there.
        """
        self._is_gap_told = False

    def tells_gap(self, push: Push) -> bool:
        """
        Tell whether a push that was sent told the consumer of the gap.
        """
        return self.memory.gap and push.suggested and push.sent > self._gap_seq

    def is_before_gap_settled(self) -> bool:
        """
        Tell whether all that was delivered before a gap is acknowledged.
        """
        # What changed in the gap is in the chunk only: older live rows must not arrive after it.
        while self._before_gap and self._before_gap[0][0].settled_seq >= self._before_gap[0][1]:
            self._before_gap.pop(0)
        return not self._before_gap

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def stamp(self, push: Push) -> None:
        """
        Write into a push that goes out what it says of the position.
        """
        push.suggested = self.memory.gap
        push.suggested_tables = self.memory.gap_tables
        push.checkpoint = self.tracker.checkpoint if push.epoch == self.memory.epoch else -1

    def acknowledged(self, push: Push) -> None:
        """
        A push was answered: what is in it is durable at the consumer.
        """
        self._consumer_epochs.add(push.epoch)
        for unit in push.units:
            unit.tracker.settle(unit)
        if push.epoch == self.memory.epoch:
            self._acked_checkpoint = max(self._acked_checkpoint, push.checkpoint)

    @property
    def has_news(self) -> bool:
        """
        Whether the checkpoint is newer than the one the consumer has.
        """
        return self.tracker.checkpoint > self._acked_checkpoint

    @property
    def forgettable(self) -> int:
        """
        The index up to which nobody asks the source again: saved here, and known to the consumer. -1 = none.
        """
        return min(self._saved_checkpoint, self._acked_checkpoint)

    # -- the disk ----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """
        Save now.
        """
        self._dirty = False
        self._saved_at = self._clock()
        self._save_memory(self.memory)
        self._saved_checkpoint = self.memory.checkpoint

    def save_soon(self) -> None:
        """
        Save what may be lost in a crash: at once, unless that was done a moment ago.
        """
        self._dirty = True
        self._save_if_due()

    def checkpoint_moved(self) -> None:
        """
        Take over the safe checkpoint, and save what was put off and is due.
        """
        checkpoint = self.tracker.checkpoint
        if checkpoint > self.memory.checkpoint:
            self.memory.checkpoint = checkpoint
            self._dirty = True
        self._save_if_due()

    def _save_if_due(self) -> None:
        if self._dirty and self._clock() - self._saved_at >= self._settings.checkpoint_interval_s:
            self.save()

    def flush(self) -> None:
        """
        Save now what was put off.
        """
        self.checkpoint_moved()
        if self._dirty:
            self.save()

    @property
    def is_due_later(self) -> bool:
        """
        Whether time alone brings a save, or a push with the checkpoint.
        """
        return self._dirty or self.has_news
