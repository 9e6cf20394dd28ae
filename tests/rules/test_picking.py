"""Whose turn it is, and what the operator allows."""

from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.limits import Limits
from clipspool.jobs.records import Spend
from clipspool.scheduler.selection import take_turns
from fakes import a_job


def jobs(inbox, *priorities):
    return [a_job(f"{inbox}{number}", inbox=inbox, priority=p) for number, p in enumerate(priorities)]


def order(queues, first=None):
    return [job.id for job in take_turns(queues, first)]


def test_inboxes_take_turns():
    assert order({"a": jobs("a", 0, 0, 0), "b": jobs("b", 0)}) == ["a0", "b0", "a1", "a2"]


def test_the_one_whose_turn_it_is_begins():
    queues = {name: jobs(name, 0, 0) for name in "abc"}
    assert order(queues, "b") == ["b0", "c0", "a0", "b1", "c1", "a1"]


def test_an_inbox_that_is_gone_has_no_turn():
    assert order({"a": jobs("a", 0), "b": []}, "z") == ["a0"]


def test_higher_priority_goes_first_whoever_has_it():
    assert order({"a": jobs("a", 0, 0), "b": jobs("b", 10, 0)}) == ["b0", "a0", "b1", "a1"]


def test_among_equals_of_a_high_priority_inboxes_take_turns_too():
    assert order({"a": jobs("a", 9, 9), "b": jobs("b", 9, 9)}) == ["a0", "b0", "a1", "b1"]


def test_an_inbox_with_thousands_does_not_keep_one_with_a_single_clip_waiting():
    assert order({"a": jobs("a", *[0] * 2000), "b": jobs("b", 0)}).index("b0") == 1


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(-2, 2), max_size=8)),
    st.sampled_from([None, *"abcd"]),
)
def test_nobody_is_left_out_and_nobody_goes_before_a_higher_priority(wanted, first):
    queues = {name: jobs(name, *sorted(p, reverse=True)) for name, p in wanted.items()}
    taken = list(take_turns(queues, first))
    assert sorted(job.id for job in taken) == sorted(job.id for queue in queues.values() for job in queue)
    assert [job.priority for job in taken] == sorted((job.priority for job in taken), reverse=True)
    for name, queue in queues.items():
        assert [job for job in taken if job.inbox == name] == queue


# --- what the operator allows ---------------------------------------------------------------------------


def test_the_days_submissions_are_counted():
    limits = Limits(submissions_per_day=3)
    assert limits.day_is_spent(Spend(2)) == ""
    assert limits.day_is_spent(Spend(3)) == "today's 3 submissions are used up"


def test_the_days_credits_count_what_one_more_would_cost():
    limits = Limits(credits_per_day=100.0)
    assert limits.day_is_spent(Spend(1, 85.0), 15.0) == ""
    assert limits.day_is_spent(Spend(1, 86.0), 15.0) == "today's 100 credits are used up (86 spent)"


def test_a_job_that_costs_more_than_a_job_may_needs_a_persons_word():
    assert Limits(credits_per_job_max=50.0).is_too_dear(50.0) == ""
    assert "about 51 credits" in Limits(credits_per_job_max=50.0).is_too_dear(51.0)
    assert Limits(credits_per_job_max=50.0).is_too_dear(None) == ""
    assert Limits().is_too_dear(1e9) == ""
