"""A node of a farm ended or frozen at each place that matters: another goes on, and nothing is paid twice."""

import contextlib
import signal
from pathlib import Path

import pytest

from clipspool.system.failpoint import EXIT_CODE
from faults.oracle import Oracle
from journeys.nodes import begin, move_to_postgres, node
from patience import patient

CLIPS = 3
QUICK = ("leaving", "placed")
LONG = (
    *("accepting", "accepted", "intent", "noted", "sent", "created", "task-noted"),
    *("fetched", "paper", "retired", *(f"committed:{number}" for number in range(1, 9))),
)
PLACES = (*QUICK, *LONG)
pytestmark = pytest.mark.heavy


@contextlib.contextmanager
def two_nodes(bay, place, action):
    """Begin a leader with an armed failpoint, and a node that follows it."""
    bay.is_checked = False  # it is checked from a node's side
    move_to_postgres(bay)
    a, b = (node(bay, name, top="") for name in ("a", "b"))
    name, _, count = place.partition(":")
    armed = f"{name}:{action}" + (f":{count}" if count else "")
    a.start(wait=False, before=("env",), CLIPSPOOL_FAILPOINT=armed, CLIPSPOOL_TESTING="1")
    a.until(lambda: a.events("leads"), 20, "it leads")
    try:
        yield a, begin(b, "follows")
    finally:
        for one in (a, b):
            if one.daemon is not None and one.daemon.poll() is None:
                one.daemon.send_signal(signal.SIGCONT)
                one.daemon.kill()
                one.daemon.wait()


def is_frozen(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def until_others_finished(bay, heir):
    """Wait until every clip is delivered, or a person has to look; return how many are in doubt."""
    ends = {"delivered", "in_doubt"}
    heir.until(
        lambda: len(bay.jobs()) == CLIPS and set(bay.jobs().values()) <= ends, 40, f"all end: {bay.jobs()}"
    )
    return list(bay.jobs().values()).count("in_doubt")


def nothing_is_wrong(bay, heir, doubts):
    creates = [create.sha256 for create in bay.box.ledger.creates]
    assert len(creates) == len(set(creates)), "one was paid twice"
    assert CLIPS - doubts <= len(creates) <= CLIPS
    assert len([path for path in bay.outbox.iterdir() if path.suffix == ".mp4"]) == CLIPS - doubts
    if not doubts:
        heir.until_retired(CLIPS, 40)
        heir.until_swept()
        # What another thread had half written is removed after an hour.
        found = [one for one in Oracle(heir).violations() if "a temporary file is left over" not in one]
        assert found == [], heir.lately()


@pytest.mark.parametrize("place", PLACES)
def test_a_leader_ended_at_a_failpoint_costs_nothing_but_the_request_of_that_instant(bay, place):
    with two_nodes(bay, place, "exit") as (a, b):
        for number in range(CLIPS):
            bay.drop(f"s{number}.mp4")
        assert a.daemon.wait(patient(30)) == EXIT_CODE
        doubts = until_others_finished(bay, b)
        nothing_is_wrong(bay, b, doubts)


@pytest.mark.parametrize("place", PLACES)
def test_a_leader_frozen_at_a_failpoint_longer_than_its_lease_does_no_harm_when_it_goes_on(bay, place):
    with two_nodes(bay, place, "stop") as (a, b):
        for number in range(CLIPS):
            bay.drop(f"s{number}.mp4")
        a.until(lambda: is_frozen(a.daemon), 30, "it freezes")
        b.until(lambda: b.events("leads"), 30, "another leads")
        until_others_finished(bay, b)
        joined = len(a.events("follows"))
        a.daemon.send_signal(signal.SIGCONT)
        a.until(lambda: len(a.events("follows")) > joined, 30, "it follows")
        doubts = until_others_finished(bay, b)
        nothing_is_wrong(bay, b, doubts)
