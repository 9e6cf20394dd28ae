"""How long a model takes, learned from looks that only say "still open" and "done by now"."""

import random
from dataclasses import replace
from heapq import heappop, heappush
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipspool.jobs.events import Failed, TaskCreated, TaskSucceeded
from clipspool.jobs.lifecycle import advance
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Error, State
from clipspool.jobs.pacing import PollPace
from clipspool.jobs.render_times import Durations, Seen
from fakes import NOON, PACE, PROFILE, a_job, a_task

PAUSE = 5.0
SECONDS = st.floats(0.0, 100_000.0)


TASK = a_task()
MODEL = "gen4_aleph"


def never():
    return 0.999


def seen(open_seconds, done_seconds):
    return Seen(PROFILE, MODEL, open_seconds, done_seconds)


def next_look(durations, age=0.0, number=0.999):
    return durations.next_look(TASK, MODEL, age, PAUSE, lambda: number)


def follow(draw, *, tasks=300, at_once=5):
    """Follow tasks of these lengths as the daemon would; give the looks a task needs, and seconds late."""
    dice = random.Random(1)
    durations, pace = Durations(), PollPace(PAUSE, 30.0, 1000.0)
    followed, began = [], 0
    looks = []

    def begin(now):
        nonlocal began
        began += 1
        heappush(looks, (now + pause_at(0.0), began, now, draw(dice), 0.0, 1))

    def pause_at(age):
        best = durations.next_look(TASK, MODEL, age, PAUSE, dice.random)
        return pace.seconds(age, at_once, rendering=True, random=dice.random, best_age_seconds=best)

    for number in range(at_once):
        begin(number * 0.2)
    while len(followed) < tasks:
        now, number, made_at, takes, open_at, count = heappop(looks)
        age = now - made_at
        if age >= takes:
            followed.append((count, age - takes))
            durations.learn(seen(open_at, age))
            begin(now)
        else:
            heappush(looks, (now + pause_at(age), number, made_at, takes, age, count + 1))
    return mean(count for count, _ in followed), mean(late for _, late in followed)


@pytest.mark.parametrize("spread", [0.0, 0.6])
def test_a_model_that_takes_its_twelve_seconds_is_seen_in_fewer_looks_and_sooner_than_every_five(spread):
    looks, late = follow(lambda dice: dice.gauss(12.0, spread))
    assert (looks, late) < (1.3, 3.0)
    assert late < 1.8


def test_a_model_that_takes_anything_is_looked_at_half_as_often_and_hardly_later():
    looks, late = follow(lambda dice: dice.uniform(30.0, 90.0))
    assert looks < 12.5 * 0.65
    assert late < 2.5 * 1.15


def test_a_model_that_varies_by_more_than_a_pause_is_hardly_later_than_every_five_and_never_looked_at_early():
    looks, late = follow(lambda dice: dice.gauss(30.0, 7.5))
    assert looks < 6.5 * 0.65
    assert late < 2.5 * 1.12


def test_a_model_that_takes_one_of_two_times_is_looked_at_around_both():
    looks, late = follow(lambda dice: dice.choice([10.0, 40.0]) * dice.uniform(0.97, 1.03))
    assert looks < 5.6 * 0.75
    assert late < 2.5 * 1.4


def test_a_model_that_became_slower_is_looked_at_later():
    durations = Durations([seen(9.0, 10.0)] * 50)
    assert next_look(durations) == pytest.approx(10.0, rel=0.05)
    for _ in range(50):
        durations.learn(seen(39.0, 40.0))
    assert next_look(durations) == pytest.approx(40.0, rel=0.05)


def test_a_task_that_outlived_all_others_is_not_judged_by_them():
    assert next_look(Durations([seen(9.0, 10.0)]), age=15.0) is None


def test_of_a_model_never_seen_nothing_is_known():
    assert next_look(Durations()) is None


@settings(deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=60), SECONDS, st.floats(0, 1, exclude_max=True))
def test_whatever_was_seen_the_next_look_keeps_its_distance(spans, age, number):
    durations = Durations(seen(open_seconds, open_seconds + lasted) for open_seconds, lasted in spans)
    at = next_look(durations, age, number)
    assert at is None or at >= age + PAUSE


def test_models_and_providers_are_told_apart():
    durations = Durations([seen(9.0, 10.0)])
    assert next_look(durations) is not None
    assert durations.next_look(a_task(), "aleph2", 0.0, PAUSE, never) is None
    assert durations.next_look(a_task(profile="other"), "gen4_aleph", 0.0, PAUSE, never) is None


def heard(event, **changes):
    durations = Durations()
    running = a_job(state=State.RUNNING, task=a_task(), updated_at=NOON + 10, prepared=True)
    before = replace(running, **changes)
    durations.on_news(Happened(before, advance(before, event, NOON + 15, PACE), event))
    return next_look(durations)


def test_a_task_that_was_seen_done_is_learned_from():
    assert 10.0 <= heard(TaskSucceeded()) <= 15.2


def test_a_task_that_failed_says_nothing_of_how_long_one_takes():
    assert heard(Failed(Error("SAFETY.INPUT", "refused"))) is None


def test_a_task_that_a_person_found_says_nothing_of_how_long_one_takes():
    assert heard(TaskSucceeded(), task=a_task(intent_at=NOON - 3600)) is None


def test_a_task_of_a_known_model_is_first_looked_at_when_it_should_be_done():
    durations = Durations([seen(19.9, 20.0)] * 9)
    pace = replace(PACE, durations=durations, random=never)
    submitting = a_job(state=State.SUBMITTING, task=a_task(task_id=None, created_at=None), prepared=True)
    assert advance(submitting, TaskCreated("t1"), NOON, pace).due_at == pytest.approx(NOON + 20, abs=1.0)
