"""Stages of a farm's clips on all of its nodes, through deaths, freezes and folders that are gone."""

import hashlib
import signal
import time

import pytest

from journeys.nodes import begin, move_to_postgres, node, prepared_by

MANY = [f"shot{number:02}.mp4" for number in range(20)]


@pytest.fixture
def farm(bay):
    """Yield a function that adds nodes to the bay; all are ended with it."""
    move_to_postgres(bay)
    nodes = []

    def add(name, event="follows", **how):
        nodes.append(begin(node(bay, name, **how), event))
        return nodes[-1]

    # The oracle knows one daemon, and no clip that was made smaller.
    bay.is_alone = bay.is_checked = False
    yield add
    for one in nodes:
        if one.daemon is not None:
            one.stop(signal.SIGKILL)


def drop_many(bay, rate=1_000):
    """Drop clips whose downloads take so long that the leader's threads are not enough."""
    bay.box.misbehave(f"download:drip:rate={rate}")
    for name in MANY:
        bay.drop(name)


def is_paid_once(bay):
    """Tell that each clip was paid for once and delivered once, and nothing is left over."""
    films = [name for name in bay.results() if name.endswith(".mp4")]
    sources = [path.name for path in (bay.inbox / "_done").glob("*.mp4")]
    return bay.paid == len(MANY) and sorted(films) == sorted(sources) == MANY


def fingerprints(bay):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in bay.outbox.rglob("*.mp4")}


def begun(one):
    return {line["attempt"] for line in one.events("stage_begun")}


def has_begun(one, stage):
    return any(line["stage"] == stage for line in one.events("stage_begun"))


def test_all_nodes_make_clips_fit_and_fetch_and_one_node_pays(bay, farm):
    farm("one", "started")
    two = farm("two", farm='stages = ["prepare"]')
    dropped = 0
    while not begun(two):  # a slow machine takes clips in one by one, and its threads are enough
        assert dropped < 60, "no clip goes to the other node"
        for number in range(dropped, dropped + 12):
            bay.drop(f"shot{number:02}.mp4")
        dropped += 12
        bay.until_retired(dropped, seconds=60)
    assert bay.paid == len(fingerprints(bay)) == dropped
    assert set(prepared_by(bay).values()) == {"", "two"}
    assert not (bay.inbox / ".clipspool/posters").exists()  # nobody can see them: no node has a page
    assert {line["stage"] for line in two.events("stage_begun")} == {"prepare"}
    shown = bay.call("logs", next(job for job, name in prepared_by(bay).items() if name == "two")).stdout
    assert "clip read and checked on two" in shown
    assert two.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_freezes_in_a_stage_costs_nothing_but_time(bay, farm, how):
    """A frozen one goes on once everything is delivered, and harms nothing."""
    one = farm("one", "started")
    two = farm("two")
    drop_many(bay)
    bay.until(lambda: has_begun(two, "fetch"), 60, "the node downloads")
    two.daemon.send_signal(signal.SIGSTOP)
    assert bay.query("SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'"), "it is caught at work"
    if how is signal.SIGKILL:
        two.stop(how)
    bay.box.behave()
    one.until(lambda: one.events("stage_given_up"), 10, "the leader gives it up")
    bay.until_retired(len(MANY), seconds=60)
    assert is_paid_once(bay)
    if how is signal.SIGSTOP:
        before = fingerprints(bay)
        two.daemon.send_signal(signal.SIGCONT)
        time.sleep(3)
        assert is_paid_once(bay)
        assert fingerprints(bay) == before
        assert two.daemon.poll() is None
        bay.until(lambda: not bay.query("SELECT 1 FROM procrastinate_jobs"), 20, "the queue is empty")
        assert not bay.query("SELECT 1 FROM jobs WHERE state != 'delivered'")


@pytest.mark.slow
def test_a_node_that_does_not_reach_an_inbox_is_given_none_of_its_clips(bay, farm):
    farm("one", "started")
    blind = farm("two", inbox=bay.home / "nowhere" / "bay")
    three = farm("three")
    drop_many(bay)
    bay.until_retired(len(MANY), seconds=60)
    assert is_paid_once(bay)
    assert not begun(blind)
    assert begun(three)


@pytest.mark.slow
def test_a_leader_that_dies_leaves_the_work_of_its_nodes_to_the_next(bay, farm):
    one = farm("one", "started")
    two, three = farm("two"), farm("three")
    drop_many(bay)
    bay.until(lambda: has_begun(two, "fetch") or has_begun(three, "fetch"), 60, "a node downloads")
    one.stop(signal.SIGKILL)
    bay.box.behave()
    bay.until(lambda: two.events("started") or three.events("started"), 30, "another node leads")
    bay.until(lambda: not bay.query("SELECT 1 FROM jobs WHERE state NOT IN ('delivered', 'in_doubt')"), 90)
    doubts = len(bay.query("SELECT 1 FROM jobs WHERE state = 'in_doubt'"))
    assert len(fingerprints(bay)) == len(MANY) - doubts
    assert bay.paid <= len(MANY)


@pytest.mark.slow
def test_nodes_that_end_while_downloads_stall_give_them_back_and_wait_for_none(bay, farm):
    """First one that follows, then the one that leads; each download takes a minute."""
    one = farm("one", "started")
    two, three = farm("two"), farm("three", farm="stages = []")
    drop_many(bay, rate=150)
    bay.until(lambda: has_begun(two, "fetch"), 60, "it downloads")
    assert two.stop() == 0
    assert two.events("stage_given_back")
    assert one.stop() == 0
    assert bay.query("SELECT node FROM leader")[0]["node"] != "one", "the lead is handed over"
    bay.box.behave()
    bay.until(lambda: three.events("started"), 30, "it leads")
    bay.until_retired(len(MANY), seconds=60)
    assert is_paid_once(bay)
    given_up = one.events("stage_given_up") + three.events("stage_given_up")
    assert not [line for line in given_up if "does not answer" in line["why"]], "none counts as lost"
