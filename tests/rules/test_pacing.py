"""When something is tried again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.pacing import PollBudget, PollPace, backoff_seconds, retry_seconds, within_a_result

PACE = PollPace(5.0, 30.0, 20.0)
OFFLINE = Fault(FaultOf.MOMENT, "NETWORK.REFUSED", "nobody listens")
RANDOM = st.floats(0.0, 1.0, exclude_max=True)
SECONDS = st.floats(0, 86_400)


def least():
    return 0.0


def middle():
    return 0.5


def most():
    return 0.999


# --- one job --------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), RANDOM)
def test_a_backoff_lies_between_a_twentieth_and_the_whole_of_its_bound(attempts, number):
    bound = min(300.0, 2.0 ** min(attempts, 30))
    assert bound / 20 <= backoff_seconds(attempts, (1.0, 300.0), lambda: number) <= bound


def test_a_backoff_doubles_until_its_bound():
    pauses = [backoff_seconds(n, (1.0, 600.0), lambda: 1.0) for n in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_two_that_fail_together_do_not_come_back_together():
    assert backoff_seconds(5, (1.0, 300.0), least) != backoff_seconds(5, (1.0, 300.0), most)


@given(st.floats(0, 86_400), st.integers(0, 100), RANDOM)
def test_what_the_provider_asks_for_is_never_cut_short_and_at_most_doubled(asked, attempts, number):
    pause = retry_seconds(attempts, asked, lambda: number)
    assert asked <= pause <= 2 * asked


# --- looking at tasks -----------------------------------------------------------------------------------


def test_a_fresh_task_is_looked_at_soon_and_an_old_one_seldom():
    ages = [0, 50, 100, 200, 300, 86_400]
    pauses = [PACE.seconds(age, 1, rendering=True, random=middle) for age in ages]
    assert pauses == [5, 5, 10, 20, 30, 30]


def test_a_task_that_only_waits_in_the_providers_queue_is_looked_at_half_as_often():
    assert PACE.seconds(0, 1, rendering=False, random=middle) == 10.0


@pytest.mark.parametrize("open_tasks", [1, 100, 1000, 10_000])
def test_all_looks_together_stay_within_the_budget(open_tasks):
    seconds = PACE.seconds(0, open_tasks, rendering=True, random=middle)
    assert open_tasks / seconds <= 20.0


@given(st.floats(0, 50), RANDOM)
@example(50.0, 0.999)
def test_the_least_pause_is_kept_to_the_dot(age, number):
    assert PACE.seconds(age, 1, rendering=True, random=lambda: number) == 5.0


def test_looks_are_spread_by_a_twentieth_either_way():
    assert PACE.seconds(300, 1, rendering=True, random=least) == pytest.approx(28.5)
    assert PACE.seconds(300, 1, rendering=True, random=most) == pytest.approx(31.5, abs=0.01)


@given(SECONDS, st.integers(1, 10_000), st.none() | SECONDS, st.booleans(), RANDOM)
def test_no_task_is_looked_at_sooner_than_the_least_pause_whatever_was_learned(
    age, tasks, best, busy, number
):
    pause = PACE.seconds(age, tasks, rendering=busy, random=lambda: number, best_age_seconds=best)
    assert pause >= max(5.0, tasks / 20.0)


def test_where_experience_says_when_to_look_there_is_no_look_before_but_for_the_longest_pause():
    pauses = [
        PACE.seconds(age, 1, rendering=True, random=most, best_age_seconds=70) for age in (0, 30, 60, 68)
    ]
    assert pauses == [30, 30, 10, 5]


def test_a_task_that_waits_in_the_providers_queue_is_not_judged_by_what_others_took():
    assert PACE.seconds(0, 1, rendering=False, random=middle, best_age_seconds=12.0) == 10.0


@given(st.integers(0, 10_000), RANDOM)
def test_a_look_that_failed_is_not_repeated_sooner_than_one_that_worked(attempts, number):
    assert 5.0 < PACE.after_fault(attempts, None, lambda: number) <= 5.0 + 240.0


def test_a_look_waits_as_long_as_the_provider_asks():
    assert PACE.after_fault(0, 900.0, middle) == 900.0
    assert PACE.after_fault(0, 0.0, middle) > 5.0


def test_a_task_that_is_paid_for_waits_an_hour_at_most_whatever_the_provider_asks():
    assert PACE.after_fault(0, 86_400.0, middle) == 3600.0
    assert within_a_result(86_400.0) == 3600.0
    assert within_a_result(7.0) == 7.0
    assert within_a_result(None) is None


# --- the poll budget -------------------------------------------------------------------------------------


def test_looks_never_come_faster_than_their_budget_whatever_is_due():
    budget = PollBudget()
    assert budget.room(100.0, 20.0) == 20
    budget.spend(20)
    assert budget.room(100.0, 20.0) == 0
    assert budget.room(100.25, 20.0) == 5
    budget.spend(5)
    assert budget.room(900.0, 20.0) == 20


def test_a_budget_below_one_look_a_second_still_lets_one_through():
    budget = PollBudget()
    assert budget.room(0.0, 0.5) == 1
    budget.spend(1)
    assert budget.room(1.0, 0.5) == 0
    assert budget.room(2.0, 0.5) == 1
