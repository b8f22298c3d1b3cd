"""
A state machine that Hypothesis drives: interleaved transactions, changes of tables and keys, snapshots started, narrowed, paused, resumed and
cancelled, and kill -9 of the server, the agent, Fusion and the consumer. Whenever all is calm, source, Fusion and the guide's consumer
(upserts and deletes in the order of arrival, nothing else) hold the same rows, value for value and type for type.

`FUSTOR_MACHINE_RUNS` says how many examples (default 3), `FUSTOR_MACHINE_SEED` which ones, `FUSTOR_MACHINE_FIRST` from which number on: an
example follows from seed and number, so one that failed is run again alone. Nothing is shrunk unless `FUSTOR_MACHINE_SHRINK=1`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness.feeds import SYNCS, VICTIMS, Feeds, Sync, Victim, differences
from harness.machine_databases import MachineDatabase, Table
from harness.machine_mariadb import MariaDbMachine, MysqlMachine
from harness.machine_model import BLOCK, CONNECTIONS, Known, Transaction
from harness.machine_postgres import PostgresMachine
from harness.stack import wait_for
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

RUNS = int(os.environ.get("FUSTOR_MACHINE_RUNS", "3"))
SEED = int(os.environ.get("FUSTOR_MACHINE_SEED", "1"))
FIRST = int(os.environ.get("FUSTOR_MACHINE_FIRST", "1"))
SHRINK = os.environ.get("FUSTOR_MACHINE_SHRINK") == "1"
STEPS = int(os.environ.get("FUSTOR_MACHINE_STEPS", "28"))
CALM_TIMEOUT_S = 45.0
MOST_KILLS = 3
MOST_FAILURES = 1 if RUNS < 10 else 5  # a long run goes on after a failure, with all new processes

pytestmark = [pytest.mark.timeout(300 + RUNS * 60), pytest.mark.torture]

connections = st.integers(0, 2)
tables = st.integers(0, 5)
seeds = st.integers(0, 9999)
mostly_not = st.sampled_from((False, False, False, True))


class MachineFailed(AssertionError):
    """
    An example failed; carries all that is known.
    """


class World:
    """
    What all examples of a test share: the server, the services, and where Hypothesis is.

    Attributes:
        number: Of the example.
        tries: How often Hypothesis has begun it. The first time it takes the simplest steps there are: they are told only, not run.
        failure: Number of the step that failed, and why. From then on the example is only told: Hypothesis repeats it.
    """

    def __init__(self, kind: type[Any], folder: Path) -> None:
        self.number = 0
        self.tries = 0
        self.failure: tuple[int, str] | None = None
        self.kills = Counter[str]()
        self.seconds: list[float] = []
        self.database: MachineDatabase = kind()
        self._folder = folder
        self._feeds: Feeds | None = None
        self._made = 0

    def next_example(self, number: int) -> None:
        """
        Begin another example.
        """
        self.number, self.tries, self.failure = number, 0, None

    def feeds(self) -> Feeds:
        """
        Return the services and the server; new ones after a failure.
        """
        if self._feeds is None:
            self._made += 1
            database = self.database
            database.start()
            self._feeds = Feeds(self._folder / f"feeds{self._made}", database)
        return self._feeds

    def tails(self) -> str:
        """
        Return the last lines of all processes.
        """
        return "" if self._feeds is None else self._feeds.tails()

    def close(self) -> None:
        """
        End all.
        """
        if self._feeds is not None:
            self._feeds.close()
            self._feeds = None


class DatabaseMachine(RuleBasedStateMachine):
    """
    One example. What it knows follows from its steps alone, never from what the processes answer: so an example can be told without being run.
    """

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        if SHRINK:
            world.failure = None
        self.is_told = world.failure is not None
        if not self.is_told:
            world.tries += 1
            self.is_told = world.tries == 1
        self.database = world.database
        self.began = time.monotonic()
        self.steps = 0
        self.failed = False
        self.log: list[str] = []
        self.kills: list[str] = []
        self.known = Known(self.database, f"e{world.number}_")
        self.down: set[Victim] = set()
        self.open: list[Any] = [None] * (CONNECTIONS + 1)
        self.cancelled: set[Sync] = set()

    @initialize(v=seeds)
    def begin_the_example(self, v: int) -> None:
        with self._step(f"begin the example {v}"):
            if self.is_told:
                return
            self.feeds = self.world.feeds()
            self._run(3, self.database.make_schema(self.known.schema))
            for table in self.known.tables.values():
                self._run(3, self.database.create(self.known.schema, table))
            for c in range(3):
                self._write(c, self.known.tables["wide"], "insert", self.known.numbers(c, 0, 60), v + c)
                self._write(c, self.known.tables["large"], "insert", self.known.numbers(c, 0, 6), v + c)

    # -- running steps -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """
        Run a step; what goes wrong in it is the failure of the example, and is raised at one place, as Hypothesis wants.
        """
        self.steps += 1
        self.log.append(f"{time.monotonic() - self.began:7.2f} {self.steps:3} {what}")
        if not self.is_told:
            try:
                yield
            except Exception:
                text = self._report(traceback.format_exc())
                self.world.failure = (self.steps, text)
                print(text, flush=True)
                self._drop_connections()
                self.world.close()  # the next example begins with all new
        else:
            yield
        self._fail_if_it_did()

    def _fail_if_it_did(self) -> None:
        failure = self.world.failure
        if failure is not None and failure[0] == self.steps:
            self.failed = True
            try:
                raise MachineFailed(failure[1].split("\nsteps:\n")[0])
            except MachineFailed as exc:
                exc.__context__ = None  # told again it has none, and must look the same to Hypothesis
                raise

    def _report(self, error: str) -> str:
        steps = "\n".join(self.log)
        return (
            f"seed {SEED}, example {self.world.number}: FUSTOR_MACHINE_SEED={SEED} FUSTOR_MACHINE_FIRST={self.world.number} "
            f"FUSTOR_MACHINE_RUNS=1 runs it alone\n{error}\nsteps:\n{steps}\n{self.world.tails()}"
        )

    def _run(self, c: int, sql: str) -> None:
        """
        Run a statement over a connection (3 = one that no transaction uses).
        """
        if self.is_told:
            return
        self.log.append(
            f"{time.monotonic() - self.began:7.2f}       {c}: {sql if len(sql) < 260 else sql[:200] + ' ... ' + sql[-50:]}"
        )
        if self.open[c] is None:
            self.open[c] = self.database.connect()
        undone = self.database.execute(self.open[c], sql)
        if undone:
            self.log.append(f"            undone by the server: {undone}")
        transaction = self.known.transactions[c] if c < 3 else None
        if undone == "transaction" and transaction is not None:
            self.database.execute(self.open[c], "BEGIN")
            if transaction.savepoint:
                self.database.execute(self.open[c], "SAVEPOINT s")

    def _write(self, c: int, table: Table, how: str, numbers: list[int], v: int) -> None:
        for sql in self.known.write(c, table, how, numbers, v):
            self._run(c, sql)

    def _drop_connections(self) -> None:
        for c, connection in enumerate(self.open):
            if connection is not None and not self.is_told:
                with contextlib.suppress(self.database.errors):
                    connection.close()
            self.open[c] = None
        for c in range(3):
            self.known.end(c, commit=False)

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def serves(self) -> bool:
        """
        Whether the server is up.
        """
        return "server" not in self.down

    # -- rows --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.serves)
    @rule(
        c=connections,
        t=tables,
        how=st.sampled_from(("insert", "upsert", "update", "replace", "delete", "move", "shift", "swap")),
        n=st.integers(0, 59),
        size=st.sampled_from((1, 3, 12, 60)),
        v=seeds,
    )
    def write(self, c: int, t: int, how: str, n: int, size: int, v: int) -> None:
        table = self.known.pick(c, t, alone=False)
        with self._step(f"write {c} {table.name if table else None} {how} {n} {size} {v}"):
            if table is not None:
                is_large = "lob" in table.columns.values()
                numbers = self.known.numbers(c, n, min(size, 3) if is_large else size, 6 if is_large else 60)
                self._write(c, table, how, numbers, v)

    @precondition(lambda self: self.serves)
    @rule(c=connections, t=tables, how=st.sampled_from(("upsert", "insert", "update", "delete")), v=seeds)
    def load(self, c: int, t: int, how: str, v: int) -> None:
        """
        More rows than a chunk has, in one statement.
        """
        table = self.known.pick(c, t, alone=False)
        with self._step(f"load {c} {table.name if table else None} {how} {v}"):
            if table is not None and "lob" not in table.columns.values():
                self._write(c, table, how, list(range(c * BLOCK + 100, c * BLOCK + 260)), v)

    @precondition(lambda self: self.serves)
    @rule(c=connections)
    def begin(self, c: int) -> None:
        with self._step(f"begin {c}"):
            if self.known.transactions[c] is None:
                self._run(c, "BEGIN")
                self.known.transactions[c] = Transaction()

    @precondition(lambda self: self.serves and any(self.known.transactions))
    @rule(c=connections, commit=st.sampled_from((True, True, False)))
    def end(self, c: int, commit: bool) -> None:
        while self.known.transactions[c] is None:
            c = (c + 1) % 3
        with self._step(f"end {c} {commit}"):
            self._run(c, "COMMIT" if commit else "ROLLBACK")
            self.known.end(c, commit=commit)

    @precondition(lambda self: self.serves and any(one and not one.savepoint for one in self.known.transactions))
    @rule(c=connections)
    def savepoint(self, c: int) -> None:
        while (transaction := self.known.transactions[c]) is None or transaction.savepoint:
            c = (c + 1) % 3
        with self._step(f"savepoint {c}"):
            self._run(c, "SAVEPOINT s")
            transaction.savepoint = True

    @precondition(lambda self: self.serves and any(one and one.savepoint for one in self.known.transactions))
    @rule(c=connections)
    def roll_back_to_savepoint(self, c: int) -> None:
        while (transaction := self.known.transactions[c]) is None or not transaction.savepoint:
            c = (c + 1) % 3
        with self._step(f"roll back to savepoint {c}"):
            self._run(c, "ROLLBACK TO SAVEPOINT s")
            self._run(c, "RELEASE SAVEPOINT s")
            transaction.savepoint = False

    # -- tables ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.serves)
    @rule(c=connections, t=tables)
    def truncate(self, c: int, t: int) -> None:
        self._change("truncate", c, t, 0)

    @precondition(lambda self: self.serves)
    @rule(
        c=connections,
        t=tables,
        what=st.sampled_from(
            ("add", "drop", "rename", "retype", "rewrite", "rename_table", "create_table", "drop_table")
        ),
        v=seeds,
    )
    def alter(self, c: int, t: int, what: str, v: int) -> None:
        self._change(what, c, t, v)

    def _change(self, what: str, c: int, t: int, v: int) -> None:
        """
        Change a table itself: within the transaction of a connection when there is one and the database can, else by itself.
        """
        transaction = self.known.transactions[c]
        if what == "rewrite" or (transaction is not None and transaction.savepoint):
            c, transaction = 3, None
        table = self.known.pick(c, t, alone=True)
        with self._step(f"{what} {c} {table.name if table else None} {v}"):
            if table is None:
                return
            if transaction is not None and not self.database.ddl_in_transactions:
                self.known.end(c, commit=True)
                transaction = None
            if transaction is not None:
                self.known.lock(transaction, table.name)
            sql = self.known.changed(what, transaction, table, v)
            if sql:
                self._run(c, sql)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: "agent" not in self.down)
    @rule(which=st.sampled_from(("indexed", "ordered", "both")), t=st.one_of(st.none(), tables))
    def snapshot(self, which: str, t: int | None) -> None:
        names = list(self.known.tables)
        body = None if t is None else {"tables": [f"{self.known.schema}.{names[t % len(names)]}"]}
        self._ask(which, "snapshot", body)

    @precondition(lambda self: "agent" not in self.down)
    @rule(
        which=st.sampled_from(("indexed", "ordered", "both")),
        what=st.sampled_from(("pause", "resume", "pause", "cancel")),
    )
    def steer_snapshot(self, which: str, what: str) -> None:
        self._ask(which, f"snapshot/{what}")

    def _ask(self, which: str, what: str, body: dict[str, Any] | None = None) -> None:
        with self._step(f"{what} {which} {body or ''}"):
            if self.is_told:
                return
            for sync in SYNCS:
                if which in {sync, "both"}:
                    done = self.feeds.ask(sync, what, body)
                    self.log[-1] += f" {sync}: {'done' if done else 'refused'}"
                    if done and what == "snapshot/cancel":
                        self.cancelled.add(sync)

    # -- life and death ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self._may_kill("server"))
    @rule(in_good_order=mostly_not, at_once=st.booleans())
    def kill_the_server(self, in_good_order: bool, at_once: bool) -> None:
        self._kill("server", in_good_order=in_good_order, at_once=at_once)

    @precondition(lambda self: self._may_kill("agent"))
    @rule(in_good_order=mostly_not, at_once=st.booleans())
    def kill_the_agent(self, in_good_order: bool, at_once: bool) -> None:
        self._kill("agent", in_good_order=in_good_order, at_once=at_once)

    @precondition(lambda self: self._may_kill("fusion"))
    @rule(in_good_order=mostly_not, at_once=st.booleans())
    def kill_fusion(self, in_good_order: bool, at_once: bool) -> None:
        self._kill("fusion", in_good_order=in_good_order, at_once=at_once)

    @precondition(lambda self: self._may_kill("consumer"))
    @rule(in_good_order=mostly_not, at_once=st.booleans())
    def kill_the_consumer(self, in_good_order: bool, at_once: bool) -> None:
        self._kill("consumer", in_good_order=in_good_order, at_once=at_once)

    def _may_kill(self, victim: Victim) -> bool:
        return victim not in self.down and len(self.kills) < MOST_KILLS

    def _kill(self, victim: Victim, *, in_good_order: bool, at_once: bool) -> None:
        with self._step(f"{'stop' if in_good_order else 'kill'} {victim}{', start it again' if at_once else ''}"):
            self.kills.append(victim)
            self.down.add(victim)
            if victim == "server":
                self._drop_connections()
            if not self.is_told:
                self.feeds.end(victim, in_good_order=in_good_order)
        if at_once:
            self._start(victim)

    @precondition(
        lambda self: (
            self.serves
            and len(self.kills) < MOST_KILLS
            and any(one is not None and not one.before for one in self.known.transactions)
        )
    )
    @rule(c=connections, after_ms=st.integers(0, 15))
    def kill_the_server_during_a_commit(self, c: int, after_ms: int) -> None:
        while (transaction := self.known.transactions[c]) is None or transaction.before:
            c = (c + 1) % 3
        with self._step(f"commit {c} and kill the server after {after_ms} ms"):
            self.kills.append("server")
            self.down.add("server")
            if not self.is_told:
                committing = threading.Thread(target=self._commit_if_it_can, args=(self.open[c],))
                committing.start()
                time.sleep(after_ms / 1000)
                self.feeds.end("server", in_good_order=False)
                committing.join(30)
                assert not committing.is_alive(), "a commit goes on though the server is dead"
            self._drop_connections()
        self._start("server")

    def _commit_if_it_can(self, connection: Any) -> None:
        with contextlib.suppress(self.database.errors):  # the server dies: it may or may not have been committed
            self.database.execute(connection, "COMMIT")

    @precondition(lambda self: self.down)
    @rule(who=st.integers(0, 3))
    def start(self, who: int) -> None:
        down = [one for one in VICTIMS if one in self.down]
        self._start(down[who % len(down)])

    def _start(self, victim: Victim) -> None:
        with self._step(f"start {victim}"):
            self.down.discard(victim)
            if not self.is_told:
                self.feeds.begin(victim)

    @rule(tenths=st.integers(1, 10))
    def idle(self, tenths: int) -> None:
        with self._step(f"idle {tenths / 10} s"):
            if not self.is_told:
                time.sleep(tenths / 10)

    # -- the comparison ----------------------------------------------------------------------------------------------

    @rule(commit=st.booleans(), again=st.booleans())
    def settle(self, commit: bool, again: bool) -> None:
        """
        End what is open and compare; once more after one more complete snapshot.
        """
        self._settle(commit=commit, again=again)

    def _settle(self, *, commit: bool, again: bool) -> None:
        with self._step(f"settle, {'commit' if commit else 'roll back'}{', one more snapshot' if again else ''}"):
            if not self.is_told:
                self.feeds.begin_all()
            self.down.clear()
            for c in range(3):
                if self.known.transactions[c] is not None:
                    self._run(c, "COMMIT" if commit else "ROLLBACK")
                    self.known.end(c, commit=commit)
            if not self.is_told:
                self._compare(again=again)
                self.log[-1] += " - equal"

    def _compare(self, *, again: bool) -> None:
        began = time.monotonic()
        wanted = self.database.read_all()
        for sync in SYNCS:
            self._resume(sync)
        for sync in SYNCS:
            if sync in self.cancelled:  # then the consumer's wish is not heard: nobody but a person can ask
                self._one_more(sync)
        self.cancelled.clear()
        for sync in SYNCS:
            self._wait_equal(sync, wanted, "after the changes")
        equal_s = time.monotonic() - began
        if again:
            for sync in SYNCS:
                self._one_more(sync)
            for sync in SYNCS:
                self._wait_snapshot_over(sync)
            for sync in SYNCS:
                self._wait_equal(sync, wanted, "after one more snapshot")
        self.log[-1] += f" ({equal_s:.1f} s, {time.monotonic() - began:.1f} s)"

    def _resume(self, sync: Sync) -> None:
        def is_running() -> bool:
            snapshot = self.feeds.status(sync)["snapshot"]
            return snapshot is None or snapshot["state"] != "paused" or self.feeds.ask(sync, "snapshot/resume")

        wait_for(f"no snapshot of {sync} is paused", self._connected(sync, is_running), timeout_s=CALM_TIMEOUT_S)

    def _connected(self, sync: Sync, condition: Callable[[], bool]) -> Callable[[], bool]:
        # Before its stream is open a sync does not tell of a snapshot that it is going to go on with.
        return lambda: "MESSAGE_SYNC" in self.feeds.status(sync)["states"] and condition()

    def _one_more(self, sync: Sync) -> None:
        wait_for(
            f"a snapshot of {sync} is accepted",
            lambda: self.feeds.ask(sync, "snapshot"),
            timeout_s=CALM_TIMEOUT_S,
            on_timeout=lambda: str(self.feeds.status(sync)),
        )

    def _wait_snapshot_over(self, sync: Sync) -> None:
        wait_for(
            f"the snapshot of {sync} is over",
            self._connected(sync, lambda: self.feeds.status(sync)["snapshot"] is None),
            timeout_s=CALM_TIMEOUT_S,
            on_timeout=lambda: str(self.feeds.status(sync)),
        )

    def _wait_equal(self, sync: Sync, wanted: Any, when: str) -> None:
        wait_for(
            f"{sync} has the source's rows {when}",
            lambda: self.feeds.held(sync) == wanted,
            timeout_s=CALM_TIMEOUT_S,
            every_s=0.15,
            on_timeout=lambda: f"{differences(wanted, self.feeds.held(sync))}\n{self.feeds.status(sync)}",
        )
        status = self.feeds.status(sync)
        assert not status["dead_letters"], status

    def teardown(self) -> None:
        if self.failed:
            return
        self._settle(commit=True, again=self.steps % 3 == 0)
        with self._step("end the example"):
            self._run(3, self.database.drop_schema(self.known.schema))
            self._drop_connections()
        if self.is_told:
            return
        seconds = time.monotonic() - self.began
        self.world.kills.update(self.kills)
        self.world.seconds.append(seconds)
        killed = " ".join(f"{name} {count}" for name, count in Counter(self.kills).items())
        print(
            f"seed {SEED}, example {self.world.number}: {self.steps} steps, killed: {killed or 'none'}, {seconds:.1f} s",
            flush=True,
        )


@pytest.mark.parametrize("kind", [MariaDbMachine, MysqlMachine, PostgresMachine], ids=["mariadb", "mysql", "postgres"])
def test_both_consumers_hold_the_sources_rows_after_any_steps(kind: type[Any], tmp_path: Path) -> None:
    """
    Nothing is lost, nothing is left over, no value changes on its way, in whatever order things happen.
    """
    world = World(kind, tmp_path)
    machine = type("Machine", (DatabaseMachine,), {"world": world})
    phases = (Phase.generate, Phase.shrink) if SHRINK else (Phase.generate,)
    failures: list[MachineFailed] = []
    print(f"\nseed {SEED}, examples {FIRST} to {FIRST + RUNS - 1}")
    try:
        for number in range(FIRST, FIRST + RUNS):
            world.next_example(number)
            try:
                run_state_machine_as_test(
                    seed(SEED * 1_000_000 + number)(machine),
                    settings=settings(
                        max_examples=2,
                        stateful_step_count=STEPS,
                        deadline=None,
                        database=None,
                        phases=phases,
                        report_multiple_bugs=False,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            except MachineFailed as exc:
                failures.append(exc)
                if len(failures) == MOST_FAILURES:
                    break
    finally:
        world.close()
    print(
        f"seed {SEED}: {len(world.seconds)} examples passed, {len(failures)} failed, killed {dict(world.kills)}, "
        f"{sum(world.seconds):.0f} s, longest {max(world.seconds, default=0):.1f} s"
    )
    for failure in failures:
        raise failure
