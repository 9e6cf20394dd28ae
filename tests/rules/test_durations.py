"""How long a model takes, learned from looks that only say "still open" and "done by now"."""

import random
from dataclasses import replace
from heapq import heappop, heappush
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipspool.jobs.events import Failed, TaskCreated, TaskSeen, TaskSucceeded
from clipspool.jobs.lifecycle import advance
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Error, State
from clipspool.jobs.pacing import PollPace
from clipspool.jobs.render_times import Durations, Seen, seconds_left
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


def follow(draw):
    """Follow tasks of these lengths in four histories; give the looks a task needs, and seconds late."""
    looks, lates = zip(*(follow_one(draw, random.Random(seed)) for seed in range(4)), strict=True)
    return mean(looks), mean(lates)


def follow_one(draw, dice, *, tasks=300, at_once=5):
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
    assert late < 1.85


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


# --- a model without a history, and the progress that its provider tells ----------------------------------


def run_of(seconds, shown=None):
    """Follow the first clip of a model; give its looks, and the seconds from its end to the last of them.

    `shown` gives the progress that the provider tells, by the share of the time that has passed.
    """
    pace = replace(PACE, durations=Durations(), random=random.Random(1).random)
    submitting = a_job(state=State.SUBMITTING, task=a_task(task_id=None, created_at=None), prepared=True)
    job, looks = advance(submitting, TaskCreated("t1"), NOON, pace), 1
    while (age := job.due_at - NOON) < seconds:
        progress = None if shown is None else shown(age / seconds)
        job, looks = (
            advance(job, TaskSeen("RUNNING", rendering=True, progress=progress), job.due_at, pace),
            looks + 1,
        )
    return looks, age - seconds


def runs(least, most, shown=None):
    """Return the mean looks and lateness of first clips that take from `least` to `most` seconds."""
    every = [run_of(least + (most - least) * number / 500, shown) for number in range(1, 501)]
    return mean(looks for looks, _ in every), mean(late for _, late in every)


def in_percent(share):
    return round(share, 2)


def test_the_first_clip_of_a_model_is_never_later_than_with_a_look_every_five_seconds():
    for seconds in range(1, 50):
        assert run_of(seconds + 0.5) == pytest.approx((seconds // 5 + 1, 4.5 - seconds % 5))


def test_where_a_provider_tells_progress_the_first_clip_is_seen_in_time_and_in_few_looks():
    looks, late = runs(5, 60, in_percent)
    assert looks < 3.4
    assert late < 1.4
    looks, late = runs(20, 300, in_percent)
    assert looks < 8
    assert late < 2.6


def test_a_render_that_is_a_tenth_further_at_each_look_is_believed():
    assert run_of(50, in_percent)[0] == 4
    assert run_of(100, in_percent)[0] == 6


def test_without_progress_it_takes_more_looks():
    looks, late = runs(5, 60)
    assert 6 < looks < 7.5
    assert 2.4 < late < 2.7


@pytest.mark.parametrize("shown", [0.5, 0.3, 0.0])
def test_a_number_that_stands_for_a_status_is_no_progress(shown):
    assert runs(5, 60, lambda _: shown) == runs(5, 60)


@pytest.mark.parametrize("steps", [4, 10, 20])
def test_progress_in_coarse_steps_costs_no_more_looks_and_hardly_any_time(steps):
    (looks, late), usual = runs(5, 60, lambda share: int(share * steps) / steps), runs(5, 60)
    assert looks < usual[0]
    assert late < usual[1] + 0.2


def test_a_step_from_one_status_to_another_is_no_progress():
    job = a_job(state=State.RUNNING, task=a_task(created_at=NOON), updated_at=NOON + 5, progress=0.1)
    assert seconds_left(job, 0.3, NOON + 10) is None
    assert seconds_left(job, 0.2, NOON + 10) == pytest.approx(12.5)


def test_progress_that_stands_still_at_some_odd_number_is_believed_once():
    stuck, usual = runs(5, 60, lambda _: 0.33), runs(5, 60)
    assert stuck[0] <= usual[0]
    assert stuck[1] < usual[1] + 0.7


@pytest.mark.parametrize("power", [1.7, 0.6])
def test_progress_that_is_uneven_costs_neither_many_looks_nor_much_time(power):
    looks, late = runs(5, 60, lambda share: round(share**power, 2))
    assert looks < 5
    assert late < 4.6


@given(SECONDS, SECONDS, st.floats(-1, 2), st.none() | st.floats(-1, 2))
def test_no_progress_makes_a_pause_longer_than_2_5_times_the_one_before(since, until, before, progress):
    job = a_job(state=State.RUNNING, task=a_task(), updated_at=NOON + since, progress=before)
    left = seconds_left(job, progress, NOON + until)
    assert left is None or 0 < left <= 2.5 * (until - since) + 1e-3


def test_progress_of_a_task_that_waits_in_the_providers_queue_is_not_its_render():
    job = a_job(state=State.RUNNING, task=a_task(), prepared=True)
    queued = advance(job, TaskSeen("PENDING", rendering=False, progress=0.41), NOON + 5, PACE)
    assert queued.due_at == NOON + 15
    seen_again = advance(job, TaskSeen("RUNNING", rendering=True, progress=0.41), NOON + 5, PACE)
    assert seen_again.due_at == pytest.approx(NOON + 5 + 0.6 * 5 / 0.41)
