"""
Random work on a tree, snapshots all along, and kill -9 of agent and Fusion at random moments: at the end Fusion's tree is find's.

`FUSTOR_TORTURE_SEEDS` says how many seeds (default 2; `make torture` runs 20), `FUSTOR_TORTURE_SECONDS` how long each works (default 12),
`FUSTOR_TORTURE_FIRST_SEED` where to begin: a failure names its seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable

import httpx
import pytest
from harness.stack import INOTIFY_QUEUE, Stack, inotify_queue_limit
from harness.trees import RandomWork, check_views_agree, make_tree, wait_equal

pytestmark = pytest.mark.timeout(900)  # past every wait below, so that a failed wait is what is reported

FIRST = int(os.environ.get("FUSTOR_TORTURE_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FUSTOR_TORTURE_SEEDS", "2")))
SECONDS = float(os.environ.get("FUSTOR_TORTURE_SECONDS", "12"))
LOW_QUEUE_EVENTS = 32
CALM_TIMEOUT_S = 120.0


def torture(stack: Stack, seed: int) -> None:
    """
    Work, snapshots and kills for a while; then calm, and the comparison.
    """
    chance = random.Random(seed)
    make_tree(stack.tree, 3000)
    stack.start()
    kills = {"agent": 0, "fusion": 0}
    asked = 0
    until = time.monotonic() + SECONDS
    with RandomWork(stack.tree, seed) as work:
        while time.monotonic() < until:
            # A pause of random length is the point: it chooses the moment of the kill.
            pause_until = time.monotonic() + chance.uniform(0.05, 1.5)
            while time.monotonic() < pause_until:
                # The agent may be dead or starting: then nobody can be asked.
                with contextlib.suppress(httpx.TransportError, AssertionError):
                    asked += stack.ask_snapshot()
                time.sleep(0.05)
            for victim in chance.choice(((stack.agent,), (stack.fusion,), (stack.agent, stack.fusion))):
                victim.kill()
                kills[victim.name] += 1
            for victim in (stack.fusion, stack.agent):
                if victim.process is not None and victim.process.poll() is not None:
                    victim.start(wait=False)
    print(f"seed {seed}: {work.done} operations, {kills} killed, {asked} snapshots asked for")
    for service in stack.services:
        service.wait_ready()
    assert min(kills.values()) > 0, "the run was too short to kill both"
    truth = wait_equal(stack, timeout_s=CALM_TIMEOUT_S)
    check_views_agree(stack, truth)
    # Equal because everything arrived, and it stays so through one more whole snapshot and its sweep.
    stack.one_more_snapshot(CALM_TIMEOUT_S)
    wait_equal(stack)


@pytest.mark.torture
@pytest.mark.parametrize("seed", SEEDS)
def test_the_tree_is_right_after_random_work_and_kills(make_stack: Callable[..., Stack], seed: int) -> None:
    """
    Nothing is lost and nothing is left over, path by path.
    """
    torture(make_stack(), seed)


@pytest.mark.torture
@pytest.mark.alone
@pytest.mark.skipif(not os.access(INOTIFY_QUEUE, os.W_OK), reason="only root can lower inotify's queue limit")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_with_an_inotify_queue_that_overflows(make_stack: Callable[..., Stack], seed: int) -> None:
    """
    The kernel drops events all the time, and the tree is right all the same.
    """
    with inotify_queue_limit(LOW_QUEUE_EVENTS):
        torture(make_stack(), seed + 1000)
