"""What holds all submissions back, for how long, and what lets them go on."""

import json
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import AnswerLost, Failed, NotSubmitted, StageFailed, TaskCreated, TaskSeen
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Error, State
from clipspool.jobs.nouns import read
from fakes import BUSY, NO_CREDITS, NOON, PROFILE, a_job, a_request, a_task

OFFLINE = Fault(FaultOf.MOMENT, "NETWORK.REFUSED", "nobody listens")
KEY = Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "the key is refused")
TOO_LONG = Fault(FaultOf.CLIP, "INPUT.TOO_LONG", "the clip is too long")
RANDOM = st.floats(0.0, 1.0, exclude_max=True)


def middle():
    return 0.5


def test_without_a_fault_all_that_is_wanted_may_start():
    assert Brake().room(NOON, 5, submitting=3) == 5


def test_after_a_refusal_nothing_starts_until_the_pause_is_over_and_then_one_goes_first():
    brake = Brake().pressed(BUSY, NOON, middle)
    assert brake.until >= NOON + 20.0
    assert brake.room(NOON, 5, submitting=0) == 0
    assert brake.room(brake.until, 5, submitting=0) == 1
    assert brake.room(brake.until, 5, submitting=1) == 0
    assert brake.room(brake.until, 0, submitting=0) == 0


def test_those_that_were_under_way_together_count_once():
    brake = Brake().pressed(BUSY, NOON, middle)
    assert brake.pressed(BUSY, NOON + 1, middle) == brake


def test_each_probe_that_fails_makes_the_pause_longer():
    brake, pauses, now = Brake(), [], NOON
    for _ in range(14):
        brake = brake.pressed(OFFLINE, now, middle)
        pauses.append(brake.until - now)
        now = brake.until
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert (pauses[0], pauses[-1]) == (0.5, 150.0)


def test_an_hour_of_lost_answers_leaves_few_clips_in_doubt():
    brake, now, doubts = Brake(), NOON, 0
    while now < NOON + 3600:
        brake = brake.pressed(OFFLINE, now, middle, is_doubt=True)
        assert brake.until - now <= (1.5 if doubts < 16 else 150.0)
        now, doubts = brake.until, doubts + 1
    assert doubts < 50


@given(RANDOM)
def test_trouble_of_the_account_is_tried_again_after_half_a_minute_at_the_soonest(number):
    assert Brake().pressed(NO_CREDITS, NOON, lambda: number).until >= NOON + 30.0


def test_another_kind_of_trouble_begins_its_own_count():
    brake, now = Brake(), NOON
    for _ in range(9):
        brake = brake.pressed(NO_CREDITS, now, middle)
        now = brake.until
    assert brake.pressed(OFFLINE, now, middle).failures == 1


@given(st.floats(0, 86_400), RANDOM)
def test_the_brake_holds_at_least_as_long_as_the_provider_asked(asked, number):
    fault = Fault(FaultOf.MOMENT, "PROVIDER.BUSY", "Too many requests", retry_after_seconds=asked)
    pause = Brake().pressed(fault, 0.0, lambda: number).until
    assert asked <= pause <= 2 * asked + 1


def after(brake, event, profile=PROFILE):
    return brake.after(a_job(task=a_task()), event, NOON, middle, profile)


REFUSED_LOOK = StageFailed("ACCOUNT.KEY_REFUSED", "the key is refused", trouble=KEY)
SEEN = TaskSeen("RUNNING", rendering=True)
BY_SUBMISSION = Brake().pressed(OFFLINE, NOON - 100, middle)
BY_LOOK = Brake().pressed(KEY, NOON - 100, middle, is_by_look=True)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (NotSubmitted(BUSY), "PROVIDER.BUSY"),
        (AnswerLost("it fell silent", {}), "PROVIDER.NO_ANSWER"),
        (REFUSED_LOOK, "ACCOUNT.KEY_REFUSED"),
        (NotSubmitted(TOO_LONG), None),
        (StageFailed("NETWORK.REFUSED", "nobody listens"), None),
        (SEEN, None),
    ],
)
def test_what_speaks_for_all_holds_all_back_and_what_speaks_for_one_does_not(event, code):
    fault = after(Brake(), event).fault
    assert (fault and fault.code) == code


def test_a_task_that_was_made_lets_all_go_on_and_a_look_only_what_a_look_held_back():
    for brake in (BY_SUBMISSION, BY_LOOK):
        assert after(brake, TaskCreated("task-1")) == Brake()
    assert after(BY_LOOK, SEEN) == Brake()
    assert after(BY_SUBMISSION, SEEN) == BY_SUBMISSION


def test_a_look_at_another_keys_task_says_nothing_about_this_one():
    assert after(Brake(), REFUSED_LOOK, profile="https://api.test/v1#0ther") == Brake()


NO_ROUTE = Fault(FaultOf.MODEL, "MODEL.NOT_ROUTED", "no route to the model")


def sending(job_id, at, model="gen4_aleph"):
    return a_job(job_id, state=State.SUBMITTING, task=a_task(intent_at=at), request=a_request(model=model))


def refused(brake, job_id, at, fault=NO_CREDITS, **more):
    return brake.after(sending(job_id, at, **more), NotSubmitted(fault), at, middle, PROFILE)


def made(brake, job_id, at, **more):
    return brake.after(sending(job_id, at, **more), TaskCreated("task-1"), at, middle, PROFILE)


def test_after_one_clips_refusal_another_asks_soon_and_the_first_one_later():
    brake = refused(Brake(), "bad", NOON)
    assert brake.room(NOON + 1, 1, 0) == 0
    assert brake.room(NOON + 4, 1, 0) == 1
    assert brake.room(NOON + 4, 1, 0, is_fresh=False) == 0
    assert brake.room(NOON + 60, 1, 0, is_fresh=False) == 1
    assert (brake.rank("bad"), brake.rank("good")) == (1, 0)


def test_two_clips_refusals_are_trouble_of_the_account_and_every_clip_waits_for_the_long_pause():
    brake = refused(refused(Brake(), "one", NOON), "two", NOON + 4)
    assert brake.room(NOON + 8, 1, 0) == 0
    assert brake.until >= NOON + 34
    assert brake.failures == 2
    assert brake.rank("one") < brake.rank("two")


def test_a_refused_key_needs_no_second_opinion():
    brake = refused(Brake(), "one", NOON, KEY)
    assert brake.room(NOON + 4, 1, 0) == 0
    assert brake.room(brake.until, 1, 0) == 1
    assert brake.until >= NOON + 30


def test_after_the_clock_was_set_back_the_next_refusal_is_that_of_a_probe():
    brake = refused(Brake(), "one", NOON, KEY).brought_forward(NOON - 3600)
    again = refused(brake, "two", NOON - 3599, KEY)
    assert (again.failures, again.until > NOON - 3569) == (2, True)


def test_those_refused_together_need_no_second_opinion():
    brake = refused(Brake(), "one", NOON)
    brake = brake.after(sending("two", NOON - 1), NotSubmitted(NO_CREDITS), NOON + 0.1, middle, PROFILE)
    assert brake.failures == 1
    assert brake.room(NOON + 8, 1, 0) == 0


def test_a_clip_that_alone_was_refused_while_another_went_through_is_blamed_the_next_time():
    brake = made(refused(Brake(), "bad", NOON), "good", NOON + 4)
    assert not brake.is_on
    assert brake.suspects == ("bad",)
    bad = sending("bad", NOON + 5)
    assert brake.blames(bad, NotSubmitted(NO_CREDITS))
    assert not brake.blames(bad, NotSubmitted(BUSY))
    assert not brake.blames(sending("good", NOON + 5), NotSubmitted(NO_CREDITS))
    after_it = refused(brake, "bad", NOON + 5)
    assert not after_it.is_on
    assert after_it.suspects == ()


def test_nobody_is_blamed_where_several_were_refused_or_the_other_was_on_its_way_before():
    both = refused(refused(Brake(), "one", NOON), "two", NOON + 4)
    assert made(both, "three", NOON + 90).suspects == ()
    one = refused(Brake(), "one", NOON)
    early = one.after(sending("two", NOON - 1), TaskCreated("task-1"), NOON + 1, middle, PROFILE)
    assert early.suspects == ()
    assert made(refused(Brake(), "one", NOON, KEY), "two", NOON + 70).suspects == ()
    assert made(brake_with_suspect(), "bad", NOON + 6).suspects == ()


def brake_with_suspect():
    return made(refused(Brake(), "bad", NOON), "good", NOON + 4)


def test_a_model_without_a_route_holds_back_its_own_clips_only():
    brake = refused(Brake(), "one", NOON, NO_ROUTE, model="old")
    assert not brake.is_on
    assert brake.models["old"].is_on
    assert brake.room(NOON, 5, 2) == 5
    assert made(brake, "other", NOON + 1, model="new").models["old"].is_on
    assert made(brake, "again", NOON + 90, model="old").models == {}


def test_a_clear_answer_about_one_request_ends_trouble_of_the_moment_and_none_of_the_account():
    silent = Brake().after(sending("one", NOON), AnswerLost("it fell silent", {}), NOON, middle, PROFILE)
    failed = Failed(Error("REQUEST.INVALID", "no"))
    assert not silent.after(sending("two", NOON + 2), failed, NOON + 2, middle, PROFILE).is_on
    assert not refused(silent, "two", NOON + 2, NO_ROUTE, model="old").is_on
    no_credits = refused(Brake(), "one", NOON)
    assert no_credits.after(sending("two", NOON + 4), failed, NOON + 4, middle, PROFILE).is_on
    before_it_was_sent = a_job("two", state=State.QUEUED)
    assert silent.after(before_it_was_sent, failed, NOON + 2, middle, PROFILE).is_on


def test_a_brake_is_read_as_it_was_written():
    brake = refused(refused(Brake(), "bad", NOON), "other", NOON + 70, NO_ROUTE, model="old")
    for one in (brake, brake_with_suspect(), Brake()):
        assert read(Brake, json.loads(json.dumps(asdict(one)))) == one
    old = {"failures": 2, "until": NOON, "fault": asdict(BUSY), "is_by_look": False}
    assert read(Brake, json.loads(json.dumps(old))).until == NOON
