"""Leaders of farms freeze at random instants, for longer than their lease: nothing is paid twice."""

import os
import random
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import postgres
from journeys.nodes import RUNNING_MAX, opened

FREEZES = int(os.environ.get("CLIPSPOOL_TEST_FREEZES", "500"))
SEED = int(os.environ.get("CLIPSPOOL_TEST_SEED", "1"))
FARMS = 4
"""Side by side, since each spends most of its time waiting for a lease to run out."""
CLIPS_A_FREEZE, RENDER_SECONDS = 3, 0.2
REST_SECONDS = 0.5
"""A freeze begins within so long after a clip of its turn was accepted, or is being paid for, or is paid."""

SLOW = "create:slow:seconds=0.5:probability=0.5"
"""So that often a request is under way at that instant."""

REACHED = (
    lambda farm, _paid, known: lambda: len(farm.bay.jobs()) > known,
    lambda farm, paid, _: lambda: farm.bay.paid > paid or states(farm)["submitting"],
    lambda farm, paid, _: lambda: farm.bay.paid > paid,
)

pytestmark = pytest.mark.heavy


def test_a_leader_that_freezes_at_any_instant_pays_for_nothing_twice(open_bays):
    shares = [FREEZES // FARMS + (number < FREEZES % FARMS) for number in range(FARMS)]
    postgres.shared()  # it is started once, before threads use it
    with ThreadPoolExecutor(FARMS) as pool:
        told = sum(
            pool.map(lambda number: freeze(open_bays, number, shares[number]), range(FARMS)), Counter()
        )
    sys.stdout.write(f"{dict(told)}\n")
    assert told["freezes"] == FREEZES


def freeze(open_bays, number, freezes):
    """Freeze the leader of one farm so many times; return what became of its clips, as counts."""
    chance = random.Random(SEED * FARMS + number)
    with opened(open_bays, ("a", "b"), bay=f"farm{number}", render_seconds=RENDER_SECONDS) as farm:
        farm.bay.box.misbehave(SLOW)
        farm.start()
        for turn in range(freezes):
            farm.until(lambda: works(farm))
            before = farm.bay.paid, len(farm.bay.jobs())
            farm.drop(CLIPS_A_FREEZE, f"s{turn:03}-")
            farm.until(chance.choice(REACHED)(farm, *before))
            time.sleep(chance.uniform(0.0, REST_SECONDS))
            frozen = farm.leader or "a"
            farm.nodes[frozen].daemon.send_signal(signal.SIGSTOP)
            farm.until_led_by_another(frozen)
            time.sleep(chance.uniform(0.0, REST_SECONDS))
            farm.nodes[frozen].daemon.send_signal(signal.SIGCONT)
            assert max(paid(farm).values(), default=1) == 1, farm.lately()
        clips = freezes * CLIPS_A_FREEZE
        farm.until(lambda: states(farm)["delivered"] + states(farm)["in_doubt"] == clips, 60)
        assert max(paid(farm).values()) == 1, "nor later"
        assert states(farm)["delivered"] <= len(paid(farm)) <= clips
        assert farm.live_tasks_max(RENDER_SECONDS) <= RUNNING_MAX
        assert all(node.daemon.poll() is None for node in farm.nodes.values())
        doubted = farm.bay.query("SELECT DISTINCT job_id FROM events WHERE to_state = 'in_doubt'")
        return states(farm) + Counter(freezes=freezes, paid=len(paid(farm)), ever_in_doubt=len(doubted))


def works(farm):
    """Whether the node that leads has begun to work: on a busy machine that takes longer than the lease."""
    leader = farm.nodes.get(farm.leader)
    told = [one["event"] for one in leader.events() if one["event"] in {"leads", "started"}] if leader else []
    return told[-1:] == ["started"]


def paid(farm):
    return farm.bay.box.ledger.creates_by_clip()


def states(farm):
    return Counter(farm.bay.jobs().values())
