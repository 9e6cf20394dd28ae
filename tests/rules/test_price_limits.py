"""What would hold a clip is said with its price, before it is ordered."""

from dataclasses import replace

import pytest

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits
from clipspool.jobs.records import ClipCost, Spend
from clipspool.jobs.shares import Share, Shares
from fakes import NOON, a_job, a_request

ALEPH = "gen4_aleph"
SPENT = Spend(2, 70.0, {("bay", ALEPH): 60.0, ("hall", "aleph2"): 10.0})
NIGHT = read_hours(("UTC Mon-Sun 22:00-06:00",))


def held(limits=None, jobs=((ALEPH, 15.0),), cost=None, inbox="bay", **more):
    return Conditions(NOON, limits=limits or Limits(), spend=SPENT, **more).would_hold(inbox, jobs, cost)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(credits_per_job_max=14.9), "it would cost about 15 credits, and a job may cost 14.9"),
        (Limits(credits_per_clip_max=29.9), "would cost about 30 credits in all, and a clip may cost 29.9"),
        (Limits(credits_per_day=99.9), "today's 99.9 credits are used up (85 spent); it continues tomorrow"),
        (Limits(submissions_per_day=3), "today's 3 submissions are used up"),
        (Limits(shares=Shares({"bay": Share(credits_per_day=89)})), "89 credits of the inbox bay are used"),
        (Limits(shares=Shares({}, {ALEPH: Share(credits_per_day=89)})), "credits of gen4_aleph are used up"),
    ],
)
def test_a_limit_that_would_hold_a_clip_is_named(limits, says):
    word, reason = held(limits, [(ALEPH, 15.0)] * 2)
    assert word == "budget"
    assert says in reason


def test_what_would_be_sent_in_its_turn_is_not_held():
    just = Limits(
        credits_per_job_max=15.0,
        credits_per_clip_max=30.0,
        credits_per_day=100.0,
        submissions_per_day=4,
        shares=Shares({"bay": Share(credits_per_day=90.0)}, {ALEPH: Share(credits_per_day=90.0)}),
    )
    assert held(just, [(ALEPH, 15.0)] * 2) == (None, "")
    assert held(just, [("aleph2", None)], inbox="hall") == (None, "")


def test_a_clip_is_held_for_what_its_earlier_versions_cost():
    limits = Limits(credits_per_clip_max=40.0)
    assert held(limits, cost=ClipCost(spent=25.0)) == (None, "")
    word, reason = held(limits, cost=ClipCost(spent=15.0, waiting=(15.0,)))
    assert word == "budget"
    assert "45 credits in all, 15 of them for what was sent before, and a clip may cost 40" in reason


def test_a_paused_inbox_and_one_outside_its_hours_are_named_too():
    assert held(paused=frozenset({"bay"}))[0] == "paused"
    assert "`_pause`" in held(pause_files={"bay": "_pause"})[1]
    assert held(paused=frozenset({"hall"})) == (None, "")
    word, reason = held(Limits(hours={"bay": NIGHT}))
    assert (word, "22:00-06:00" in reason) == ("hours", True)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (Limits(), None),
        (Limits(credits_per_day=100.0), 30.0),
        (Limits(credits_per_day=100.0, shares=Shares({"bay": Share(credits_per_day=75.0)})), 15.0),
        (Limits(credits_per_day=75.0, shares=Shares({}, {ALEPH: Share(credits_per_day=100.0)})), 5.0),
        (Limits(shares=Shares({"hall": Share(credits_per_day=1.0)})), None),
        (Limits(credits_per_day=50.0), 0.0),
    ],
)
def test_what_is_left_of_the_day_is_the_least_of_its_limits(limits, left):
    assert limits.credits_left(SPENT, "bay", ALEPH) == left


DAY = Limits(credits_per_day=20.0, shares=Shares({"hall": Share(credits_per_day=10.0)}))


@pytest.mark.parametrize(("inbox", "most"), [("bay", 20), ("hall", 10)])
def test_a_job_that_is_dearer_than_any_day_is_not_said_to_go_on_tomorrow(inbox, most):
    job = a_job(inbox=inbox, credits_estimated=25.0)
    word, reason = Conditions(NOON, limits=DAY).why_waiting(job)
    said = f"it would cost about 25 credits, and a day may cost {most}"
    assert (word, reason) == (
        "budget",
        f"{said}; it is sent after `clipspool approve`, or with a higher limit",
    )
    word, reason = Conditions(NOON, limits=DAY).would_hold(inbox, [(ALEPH, 25.0)], is_whole=True)
    assert (word, reason) == ("budget", f"{said}; it waits until an operator approves it")


def test_a_part_that_is_dearer_than_any_day_is_not_said_to_go_on_tomorrow():
    part = a_job(request=replace(a_request(), long_clips="split"), credits_estimated=25.0, part=2)
    _, reason = Conditions(NOON, limits=DAY).why_waiting(part)
    assert "it is sent after `clipspool approve`, or with a higher limit" in reason


def test_parts_may_be_sent_on_several_days():
    assert "continues tomorrow" in Conditions(NOON, limits=DAY).would_hold("bay", [(ALEPH, 25.0)])[1]
    split = a_job(request=replace(a_request(), long_clips="split"), credits_estimated=25.0)
    assert "continues tomorrow" in Conditions(NOON, limits=DAY).why_waiting(split)[1]
    just = a_job(credits_estimated=20.0)
    assert Conditions(NOON, limits=DAY).why_waiting(just)[0] is None
    assert Conditions(NOON, limits=DAY).why_waiting(a_job(credits_estimated=25.0, approved=True))[0] is None
