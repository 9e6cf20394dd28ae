"""Whose turn it is, and what the operator allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.limits import Limits
from clipspool.jobs.records import Spend
from clipspool.jobs.shares import Share, Shares
from clipspool.scheduler.turns import Turns
from fakes import a_job


def jobs(inbox, *priorities):
    return [a_job(f"{inbox}{number}", inbox=inbox, priority=p) for number, p in enumerate(priorities)]


def order(queues, turns=None):
    return [job.id for job in (turns or Turns()).merge(queues)]


def after(*inboxes):
    """Turns in which these inboxes have sent a clip each, one after the other."""
    turns = Turns()
    for inbox in inboxes:
        turns.took(inbox)
    return turns


def test_inboxes_take_turns():
    assert order({"a": jobs("a", 0, 0, 0), "b": jobs("b", 0)}) == ["a0", "b0", "a1", "a2"]


def test_the_one_whose_turn_it_is_begins():
    queues = {name: jobs(name, 0, 0) for name in "abc"}
    assert order(queues, after("a")) == ["b0", "c0", "a0", "b1", "c1", "a1"]
    assert order(queues, after("a", "b", "c")) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_an_inbox_that_had_nothing_to_send_does_not_catch_up_on_it():
    turns = after(*"a" * 50)
    assert order({"a": jobs("a", 0, 0, 0), "b": jobs("b", 0, 0, 0)}, turns) == [
        *("b0", "a0", "b1", "a1", "b2", "a2")
    ]


def test_an_inbox_of_weight_three_sends_three_while_another_sends_one():
    turns = Turns()
    turns.weights = {"a": 3.0}
    sent = []
    for _ in range(40):
        (first, *_) = turns.merge({"a": jobs("a", 0), "b": jobs("b", 0)})
        turns.took(first.inbox)
        sent.append(first.inbox)
    assert sent.count("a") == 30
    assert all(sent[begin : begin + 4].count("b") == 1 for begin in range(0, 40, 4))


def test_higher_priority_goes_first_whoever_has_it():
    assert order({"a": jobs("a", 0, 0), "b": jobs("b", 10, 0)}) == ["b0", "a0", "b1", "a1"]


def test_among_equals_of_a_high_priority_inboxes_take_turns_too():
    assert order({"a": jobs("a", 9, 9), "b": jobs("b", 9, 9)}) == ["a0", "b0", "a1", "b1"]


def test_an_inbox_with_thousands_does_not_keep_one_with_a_single_clip_waiting():
    assert order({"a": jobs("a", *[0] * 2000), "b": jobs("b", 0)}).index("b0") == 1


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(-2, 2), max_size=8)),
    st.text("abcd", max_size=6),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.5, 2.0, 7.0])),
)
def test_nobody_is_left_out_and_nobody_goes_before_a_higher_priority(wanted, sent, weights):
    queues = {name: jobs(name, *sorted(p, reverse=True)) for name, p in wanted.items()}
    turns = after(*sent)
    turns.weights = weights
    taken = list(turns.merge(queues))
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


# --- limits of single inboxes and models ----------------------------------------------------------------

SHARES = Shares({"bay": Share(2, 100.0)}, {"aleph2": Share(1, 50.0)})
RUNNING = {("bay", "gen4_aleph"): 1, ("hall", "aleph2"): 1}


@pytest.mark.parametrize(
    ("inbox", "model", "words"),
    [
        ("bay", "gen4_aleph", ""),
        ("bay", "aleph2", "as many tasks of aleph2 as may be (1) are under way"),
        ("hall", "aleph2", "as many tasks of aleph2 as may be (1) are under way"),
        ("hall", "gen4_aleph", ""),
    ],
)
def test_a_share_is_full_when_as_many_tasks_as_it_may_have_are_under_way(inbox, model, words):
    assert SHARES.why_full(RUNNING, inbox, model) == words


def test_an_inbox_is_full_whatever_the_models_of_its_tasks_are():
    full = {("bay", "gen4_aleph"): 1, ("bay", "aleph2"): 1}
    assert SHARES.why_full(full, "bay", "x") == "as many tasks as the inbox bay may have (2) are under way"


@pytest.mark.parametrize(
    ("inbox", "model", "more", "words"),
    [
        ("bay", "gen4_aleph", 20.0, ""),
        ("bay", "gen4_aleph", 21.0, "today's 100 credits of the inbox bay are used up (80 spent)"),
        ("hall", "aleph2", 10.0, ""),
        ("hall", "aleph2", 11.0, "today's 50 credits of aleph2 are used up (40 spent)"),
        ("hall", "gen4_aleph", 1e6, ""),
    ],
)
def test_a_share_of_the_day_is_spent_by_what_one_more_would_cost(inbox, model, more, words):
    spend = Spend(5, 120.0, {("bay", "gen4_aleph"): 80.0, ("hall", "aleph2"): 40.0})
    assert Limits(shares=SHARES).why_spent(spend, inbox, model, more) == words
